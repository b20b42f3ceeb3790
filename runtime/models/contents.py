"""Whether the files of an artifact are those that its manifest records: by their sizes at every
load, by their hashes when asked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from voxturn.runtime.models.manifest import Manifest, sha256_of

_NOTHING = hashlib.sha256().hexdigest()
"""The hash of an empty file."""
_MOST_ENTRIES = 10_000


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
    """What is no file, in words: pipes, devices and sockets anywhere in a folder, which a graph
    might name as the file of its weights. Whoever opens one waits for ever.

    Links to folders are not followed, and a folder that has more than any artifact is not searched
    to its end.
    """
    wrong, count = list[str](), 0
    for where, _, names in os.walk(folder):
        entries = [Path(where, name) for name in sorted(names)]
        strange = [p for p in entries if p.exists() and not p.is_file()]
        wrong += [f"{p.relative_to(folder).as_posix()} is no file" for p in strange]
        count += 1 + len(entries)
        if count > _MOST_ENTRIES:
            return [*wrong, f"has more than {_MOST_ENTRIES:,} files and folders"]
    return wrong


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
    wrong += _strange(folder)
    if missing:
        wrong.insert(0, f"lacks {', '.join(missing)}")
    if altered:
        wrong.append(f"{', '.join(altered)} differ from the manifest")
    return ", ".join(wrong)
