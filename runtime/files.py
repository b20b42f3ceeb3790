"""Files that may be anybody's: regular ones alone, and only as much of them as a file of their kind
has.

Links are followed, since model hubs keep files as links. Everything here raises `OSError` for a
file that cannot be read and `ValueError`, in one line without the file's name, for one that is not
what it must be; whoever reads it says what to do.
"""

from __future__ import annotations

import io
import json
import math
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

MOST_JSON = 32 << 20
"""Bytes of a JSON file: twice the largest tokenizer's.

A list in a list takes 64 bytes of memory for two in the file.
"""
MOST_TOKENIZER = 64 << 20
"""Bytes of a tokenizer's file that its own library reads."""
_MOST_ARRAYS = 512 << 20
_MOST_READ = 16 << 20
"""Bytes that are read of an archive at once: of its directory, which lists every member."""
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


def size_of(path: Path, most: int | None = None) -> int:
    """The bytes of a regular file, which is not opened: opening a pipe waits, and reading a device
    never ends."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS.items() if is_kind(status.st_mode)), "none")
        raise ValueError(f"it is {kind}, not a file")
    if most is not None and status.st_size > most:
        raise ValueError(f"it has {status.st_size:,} bytes; such a file has {most:,} at most")
    return status.st_size


def read_text(path: Path, most: int = MOST_JSON) -> str:
    """A file in UTF-8 of at most so many bytes."""
    size_of(path, most)
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(read_text(path))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def is_inside(name: str) -> bool:
    """Whether a file's name, relative to its folder, stays in it."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


class InPieces(io.BufferedReader):
    """A file of which no header can make anybody read gigabytes at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MOST_READ:
            raise ValueError(f"a part of it has {size:,} bytes, more than any of its kind")
        return super().read(size)


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file whose members are stored as they are and are no more than the file itself.

    What numpy and torch write is so. Packed members may hold a thousand times their size.
    """
    size = size_of(path)
    try:
        with InPieces(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
                raise ValueError("its members are packed or encrypted")
            if sum(member.file_size for member in members) > size:
                raise ValueError("its members are more than the whole file")
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as exc:
        raise ValueError(f"it is not a whole archive ({exc})") from exc


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an `.npz`: numbers alone, no objects."""
    size_of(path, _MOST_ARRAYS)
    with open_archive(path) as archive:
        return {
            name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()
        }


def _array(member: bytes) -> npt.NDArray[Any]:
    """An array whose header says as many bytes as there are."""
    stream: BinaryIO = io.BytesIO(member)
    shape, dtype = _header(stream)
    if dtype.hasobject:
        raise ValueError("an array holds objects, which are not unpickled")
    held = len(member) - stream.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"an array of {list(shape)} {dtype.name} has {held:,} bytes")
    array: npt.NDArray[Any] = np.load(io.BytesIO(member), allow_pickle=False)
    return array


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """An array's shape and type.

    They are a Python literal, on which Python's parser fails in its own ways.
    """
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"an array has a header of version {version}")
    try:
        shape, _, dtype = _HEADERS[version](stream)
    except (ValueError, TypeError, LookupError, RecursionError, MemoryError) as exc:
        raise ValueError("an array has a damaged header") from exc
    return shape, dtype


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
