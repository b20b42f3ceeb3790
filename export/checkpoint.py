"""Reads a checkpoint's folder: its JSON files, and its weights in safetensors, under the names that
they have there.

Nothing is unpickled and no weight is read before it is asked for. What a model must hold is its
family's business.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.files import is_inside, read_json, size_of

Float = npt.NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]
"""Shapes of parameters by name."""

_FLOATS = ("F32", "F16", "BF16", "F64")
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_ADAPTER = "adapter_config.json"
_AGAIN = "pull or get the checkpoint again"
_HEAD_BYTES = 1024
_MOST_HEADER = 16 << 20
"""Bytes of the JSON that a safetensors file begins with; the library takes 100 million, and memory
for as many tensors."""
_LISTED = 40
_LFS_POINTER = b"version https://git-lfs"
_WEB_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|error)\b",
    re.IGNORECASE | re.DOTALL,
)
"""The beginning of HTML, or of the XML in which object stores tell errors."""


def check_content(path: Path, most: int | None = None) -> None:
    """Raise `CorruptModel` for what a failed download leaves in a file's place; nothing where there
    is nothing.

    These are a pointer of git-lfs (a clone without the large files), and a web page (the error page
    of a site). So is what is no regular file, as a named pipe, or has more bytes than `most`.
    """
    try:
        size_of(path, most)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as exc:
        raise CorruptModel(f"{path}: cannot be read ({exc}); {_AGAIN}") from exc
    if head.startswith(_LFS_POINTER):
        raise CorruptModel(
            f"{path}: is a pointer of git-lfs in place of the file; run `git lfs pull`, or download the file itself"
        )
    if _WEB_PAGE.match(head):
        raise CorruptModel(
            f"{path}: is a web page in place of the file, as a failed download leaves; download the file again"
        )


def read_table(path: Path) -> dict[str, Any]:
    """A JSON file that holds a table.

    Raises `CorruptModel` if it is missing or holds anything else.
    """
    check_content(path)
    try:
        table = read_json(path)
    except (OSError, ValueError) as exc:
        raise CorruptModel(f"{path}: is missing or not JSON ({exc}); {_AGAIN}") from exc
    if not isinstance(table, dict):
        raise CorruptModel(f"{path}: is not a table; {_AGAIN}")
    return table


@contextmanager
def settings_of(where: object) -> Iterator[None]:
    """For reading what a checkpoint says of itself: raises `CorruptModel` where a value is not
    there or of another type."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())[:200]
        raise CorruptModel(
            f"{where}: lacks a setting, or one is of another type ({reason}); {_AGAIN}"
        ) from exc


def shortened(names: Sequence[str]) -> list[str]:
    """As many of them as a line can have, each cut short, and how many more there are."""
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return [name[:200] for name in names[:_LISTED]] + more


def check_layers(where: object, layers: int, tensors: int) -> None:
    """Raise `ExportFailed` for a number of layers that cannot be true, before anything is made for
    each of them."""
    if not 0 < layers <= tensors:
        raise ExportFailed(
            f"{where}: its configuration has {layers:,} layers, its weights are {tensors:,} tensors; {_AGAIN}"
        )


def refuse_adapter(folder: Path) -> None:
    """Raise `ExportFailed` for a folder with an adapter, whose weights are not the model's."""
    if (folder / _ADAPTER).exists():
        raise ExportFailed(
            f"{folder}: holds an adapter ({_ADAPTER}); merge it into the model's weights first and export "
            "the merged folder"
        )


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a `tokenizer.json`, without the truncation and the padding that it may ask for of
    whoever reads it."""
    table = read_table(source)
    if table.get("truncation") is None and table.get("padding") is None:
        shutil.copyfile(source, target)
        return
    plain = table | {"truncation": None, "padding": None}
    target.write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")


class Safetensors:
    """The weights of a folder: `model.safetensors`, else the shards of its index, else every
    `*.safetensors`.

    A file is opened for each tensor, because one that stays mapped stays in memory: of 8 GB, 8.
    """

    def __init__(self, folder: Path) -> None:
        """Read names, types and shapes.

        Raises `CorruptModel` for damaged files, `ExportFailed` for integer weights.
        """
        import ml_dtypes  # noqa: F401 -- gives numpy the type bfloat16, in which most checkpoints are stored
        from safetensors import SafetensorError, safe_open

        self._open = safe_open
        self._files: dict[str, Path] = {}
        self._shapes: Shapes = {}
        types: dict[str, str] = {}
        for file in _files(folder):
            check_content(file)
            _check_header(file)
            try:
                with safe_open(str(file), framework="np") as handle:
                    slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
                    types |= {name: part.get_dtype() for name, part in slices.items()}
                    self._shapes |= {name: tuple(part.get_shape()) for name, part in slices.items()}
            except (SafetensorError, OSError) as exc:
                raise CorruptModel(
                    f"{file}: not a whole safetensors file ({exc}); {_AGAIN}"
                ) from exc
            self._files |= dict.fromkeys(slices, file)
        wrong = sorted(name for name, kind in types.items() if kind not in _FLOATS)
        if wrong:
            raise ExportFailed(
                f"{folder}: {wrong[0]} is stored as {types[wrong[0]]}, one of {len(wrong)} such weights; "
                f"supported: {', '.join(_FLOATS)}"
            )

    def names(self) -> set[str]:
        """The names of all weights."""
        return set(self._files)

    def shapes(self) -> Shapes:
        """The shapes of all weights, by name."""
        return dict(self._shapes)

    def array(self, name: str) -> Float:
        """A weight in float32, read now."""
        with self._open(str(self._files[name]), framework="np") as file:
            return np.asarray(file.get_tensor(name), np.float32)


def _check_header(path: Path) -> None:
    """Raise `CorruptModel` for a file that says that its header is longer than it is itself, or
    than any is."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(_MOST_HEADER, size_of(path)):
        raise CorruptModel(
            f"{path}: not a whole safetensors file (its header would have {length:,} bytes); {_AGAIN}"
        )


def _files(folder: Path) -> list[Path]:
    """The files with weights, in the order in which transformers looks for them.

    Raises `CorruptModel`.
    """
    whole, index = folder / _WHOLE, folder / _INDEX
    if whole.exists():
        return [whole]
    if not index.exists():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise CorruptModel(f"{folder}: holds no *.safetensors; {_AGAIN}")
        return files
    check_content(index)
    try:
        names = sorted({str(name) for name in read_table(index)["weight_map"].values()})
    except (CorruptModel, KeyError, AttributeError) as exc:
        raise CorruptModel(f"{index}: not an index of shards; {_AGAIN}") from exc
    outside = [name for name in names if not is_inside(name)]
    if outside:
        raise CorruptModel(
            f"{index}: names {outside[0][:200]!r}, which is not in its folder; {_AGAIN}"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        some = ", ".join(shortened(missing))
        raise CorruptModel(
            f"{folder}: shards are missing: {some} ({len(missing)} of {len(names)}); {_AGAIN}"
        )
    return [folder / name for name in names]
