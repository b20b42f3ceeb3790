"""Runs commands of the corpus in this one process, and says of each how it ended: a line of JSON
each on standard output.

    python -m tests.security.run_corpus FOLDER NAME...

`before` and `peak` are kilobytes of memory: after everything was imported, and at the most until
this command had ended.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path

import ctranslate2  # noqa: F401  -- all that commands import, so that it is no part of what they need
import onnxruntime  # noqa: F401
import torch  # noqa: F401
from voxturn.runtime.cli import main

from tests.security.hostile_models import MODELS


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _ended(name: str, folder: Path) -> dict[str, object]:
    hostile, place, said = MODELS[name], folder / str(len(list(folder.iterdir()))), io.StringIO()
    place.mkdir()
    hostile.write(place / "model")
    command = [word.format(path=place / "model", out=place / "out.wav") for word in hostile.command]
    written = sorted(str(path) for path in place.rglob("*"))
    begin = time.monotonic()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    seconds = time.monotonic() - begin
    left = sorted(str(path) for path in place.rglob("*"))
    return {
        "name": name, "code": code, "said": said.getvalue(), "seconds": seconds, "peak": _peak(),
        "left": [path for path in left if path not in written],
    }  # fmt: skip


def run(folder: Path, names: list[str]) -> None:
    before = _peak()
    for name in names:
        sys.stdout.write(json.dumps(_ended(name, folder) | {"before": before}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
