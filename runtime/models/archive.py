"""Zips of strangers, unpacked."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from voxturn.runtime.errors import DownloadFailed

_MOST_BYTES = 16 << 30
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""RuntimeError: a member is encrypted."""


def size_of(path: Path) -> int:
    """Bytes that the files of a zip have unpacked, as it says. Raises `DownloadFailed`."""
    return sum(member.file_size for member in _members(path).values())


def unpack(path: Path, target: Path) -> None:
    """Write the files of a zip into `target`, without the folder that all of them lie in.

    Raises `DownloadFailed` for what is no whole zip, and for names that lead out of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name, member in _members(path).items():
                place = target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)  # no more than the size it states
    except _UNREADABLE as exc:
        raise DownloadFailed(f"{path.name}: not a whole zip ({type(exc).__name__})") from exc


def _members(path: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of a zip by their places."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = [member for member in archive.infolist() if not member.is_dir()]
    except _UNREADABLE as exc:
        raise DownloadFailed(f"{path.name}: not a whole zip ({type(exc).__name__})") from exc
    names = [PurePosixPath(member.filename) for member in listed]
    for name in names:
        if name.is_absolute() or ".." in name.parts or "\\" in str(name):
            raise DownloadFailed(f"{path.name}: {str(name)[:80]!r} is not a name of a file in it")
    if sum(member.file_size for member in listed) > _MOST_BYTES:
        raise DownloadFailed(f"{path.name}: unpacked it has more than {_MOST_BYTES >> 30} GB")
    kept = [n for n in names if not any(part.startswith((".", "__MACOSX")) for part in n.parts)]
    tops = {name.parts[0] for name in kept}
    strip = len(tops) == 1 and all(len(name.parts) > 1 for name in kept)
    return {
        PurePosixPath(*name.parts[1:]) if strip else name: member
        for name, member in zip(names, listed, strict=True)
        if name in kept
    }
