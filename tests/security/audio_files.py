"""What the hostile recordings are made of: honest sound, and how a file and its decoys are written."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.recordings import RATE, encoded, sine

Write = Callable[[Path], None]
"""Writes the file of that path, and beside it those that it refers to, whose names begin with
`decoy-`."""
SECONDS = 0.5


def written(make: Callable[[], bytes]) -> Write:
    """A file of the bytes that `make` gives."""

    def write(path: Path) -> None:
        path.write_bytes(make())

    return write


def text(lines: str) -> Write:
    """A file of text, with decoys beside it.

    `{folder}` is where it lies, `{port}` a port that is listened on.
    """

    def write(path: Path) -> None:
        with_decoys(path.parent)
        filled = lines.replace("{folder}", str(path.parent)).replace("{port}", listened_port())
        path.write_text(filled, encoding="utf-8")

    return write


def with_decoys(folder: Path) -> None:
    """Recordings that nobody handed over, in several containers, a key and a playlist of them."""
    for kind, suffix in (("wav-s16", "wav"), ("aac", "aac"), ("mp3", "mp3")):
        (folder / f"decoy-words.{suffix}").write_bytes(sound(kind))
    (folder / "decoy-key.bin").write_bytes(bytes(16))
    (folder / "decoy-list.m3u8").write_text(HLS.format("decoy-words.aac"), encoding="utf-8")


def listened_port() -> str:
    """The port on loopback that files refer to: `DECOY_PORT` in the environment, or one where
    nobody is."""
    return os.environ.get("DECOY_PORT", "9")


@cache
def sound(kind: str) -> bytes:
    """A short tone in a container and codec of `tests.recordings`."""
    rate = {"aac": 44100, "m4a": 44100, "mp3": 44100, "flac": 44100}.get(kind, RATE)
    return encoded(kind, rate, sine(rate, SECONDS)[None])


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The same bytes with others in a place."""
    return data[:at] + new + data[at + len(new) :]


HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n"
