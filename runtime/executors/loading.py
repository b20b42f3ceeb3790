"""What an inference library says of a file that it cannot load, as one line with the file and the
remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxturn.runtime.errors import CorruptModel, ResourceError

_LINE, _SENTENCE = 300, 160
_WHERE = ("Exception from ", "Check '", "Loading input model")
"""How OpenVINO's lines begin that say where an error was, and not what."""
_ORIGIN = re.compile(
    r"^(.*\[ONNXRuntimeError\] : \d+ : \w+ : )?(Exception during initialization: )?(\S+\.(cc|h):\d+ \S+ )?"
)
"""What ONNX Runtime's errors begin with: number and name of the error, and where it was."""
_END = re.compile(r"\.(?=\s|[A-Z]|\w+\.(?:cc|h):|$)")


def first_line(exc: BaseException) -> str:
    """What an error of a library begins with."""
    return _reason(exc)[:_LINE]


def sentence(exc: BaseException) -> str:
    """The first sentence of an error of a library."""
    return _END.split(_ORIGIN.sub("", _reason(exc)), maxsplit=1)[0].strip()[:_SENTENCE]


def _reason(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_WHERE)] or lines
    return reasons[0] if reasons else type(exc).__name__


def unloadable(path: Path, library: str, exc: BaseException) -> CorruptModel:
    """The error for a file that a library refuses to load."""
    return CorruptModel(
        f"{path}: {library} cannot load it ({sentence(exc)}); `voxturn doctor --verify` says whether it is damaged; "
        "pull or export the model again"
    )


@contextmanager
def in_memory(folder: Path) -> Iterator[None]:
    """For making engines: raises `ResourceError` where the sizes of an artifact need more memory
    than can be had."""
    try:
        yield
    except MemoryError as exc:
        raise ResourceError(
            f"{folder}: needs more memory than this machine has ({first_line(exc)}); if it ran here before, "
            "`voxturn doctor --verify` says whether it is damaged"
        ) from exc
