"""Whether the files of an artifact are those that its manifest records: by their sizes at every
load, by their hashes when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from voxturn.runtime.models.manifest import Manifest, sha256_of

_NOTHING = hashlib.sha256().hexdigest()
"""The hash of an empty file."""


class Recorded(TypedDict):
    """The fields of a `Manifest` that say what lies beside it, by relative name."""

    files: dict[str, str]
    sizes: dict[str, int]


def recorded(folder: Path, paths: Iterable[Path]) -> Recorded:
    """Hashes and sizes of files of a folder."""
    names = {path.relative_to(folder).as_posix(): path for path in sorted(paths)}
    return {
        "files": {name: sha256_of(path) for name, path in names.items()},
        "sizes": {name: path.stat().st_size for name, path in names.items()},
    }


def _strange(folder: Path) -> list[str]:
    """Pipes, devices and sockets, which a graph might name as the file of its weights: whoever
    opens one waits for ever."""
    entries = sorted(folder.iterdir())
    return [p.name for p in entries if p.exists() and not p.is_file() and not p.is_dir()]


def misfits(folder: Path, manifest: Manifest, read: bool = False) -> str:
    """What is wrong with the files of a folder, in words; empty where nothing is.

    Names and sizes are compared, and no file is opened; with `read` every file is read, and hashes
    are compared as well. A manifest of an earlier version has no sizes: then a file is wrong if it
    is empty and was not.
    """
    missing, altered, wrong = list[str](), list[str](), list[str]()
    for name, sha256 in manifest.files.items():
        path = folder / name
        if not path.is_file():
            missing.append(name)
            continue
        size, expected = path.stat().st_size, manifest.sizes.get(name)
        if expected is not None and size != expected:
            wrong.append(f"{name} has {size:,} bytes, not {expected:,}")
        elif expected is None and not size and sha256 != _NOTHING:
            wrong.append(f"{name} is empty")
        elif read and sha256_of(path) != sha256:
            altered.append(name)
    wrong += [f"{name} is no file" for name in _strange(folder)]
    if missing:
        wrong.insert(0, f"lacks {', '.join(missing)}")
    if altered:
        wrong.append(f"{', '.join(altered)} differ from the manifest")
    return ", ".join(wrong)
