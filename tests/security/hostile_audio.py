"""Recordings by people who mean no good, made while a test runs: more than a hundred, small and
from scratch.

`AUDIO[name](folder / name)` writes one. What it refers to is written beside it, under names that
begin with `decoy-`.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tests.recordings import RATE, encoded, float_wav
from tests.security.audio_boxes import BOXES, READABLE_BOXES
from tests.security.audio_files import Write, sound, text, written
from tests.security.audio_headers import HEADERS, READABLE_HEADERS, RIFFS, png, wav
from tests.security.audio_references import READABLE_REFERENCES, REFERENCES


def _noise(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("words.wav", bytes(10 << 20))
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        info = tarfile.TarInfo("words.wav")
        info.size = 1000
        file.addfile(info, io.BytesIO(bytes(1000)))
    return buffer.getvalue()


def _gzip() -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(bytes(10 << 20)) + packer.flush()


def _loud() -> bytes:
    """Samples as large as numbers go, on both channels."""
    return np.full(2 * RATE, 3e38, "<f4").tobytes()


def _silence(seconds: float) -> bytes:
    return encoded("opus", 48000, np.zeros((1, int(48000 * seconds)), np.float32))


def _link_to(device: str) -> Write:
    def write(path: Path) -> None:
        path.symlink_to(device)

    return write


DISGUISES: dict[str, Write] = {
    "packed.gz.mp3": written(_gzip),
    "packed.zip.mp3": written(_zip),
    "packed.tar.mp3": written(_tar),
    "page.html.mp3": text("<!doctype html><audio src='decoy-words.wav'></audio>\n"),
    "object.json.mp3": text(json.dumps({"audio": "decoy-words.wav"})),
    "image.jpg.mp3": written(lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1" + _noise(500)),
    "image.png.mp3": written(lambda: png(60_000, 60_000)),
    "image.gif.wav": written(lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + _noise(500)),
    "image.svg.mp3": text(
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="decoy-words.wav"/></svg>\n'
    ),
    "document.pdf.mp3": written(lambda: b"%PDF-1.7\n" + _noise(500)),
    "program.elf.mp3": written(lambda: b"\x7fELF\2\1\1" + bytes(9) + _noise(500)),
    "subtitles.srt.mp3": text("1\n00:00:00,000 --> 99:59:59,000\nWords.\n\n"),
    "subtitles.vtt.wav": text("WEBVTT\n\n00:00.000 --> 99:59:59.000\nWords.\n"),
    "subtitles.ass.mp3": text("[Script Info]\nScriptType: v4.00+\n\n[Events]\n"),
    "lyrics.lrc": text("[00:00.00]Words\n[99:59.99]more\n"),
    "metadata.wav": text(";FFMETADATA1\ntitle=words\n"),
    "frames.mjpg": written(lambda: b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + _noise(500)),
    "empty.wav": written(bytes),
    "one-byte.wav": written(lambda: b"R"),
    "zeros.wav": written(lambda: bytes(1 << 20)),
    "ones.mp3": written(lambda: b"\xff" * (1 << 20)),
    "noise.wav": written(lambda: _noise(1 << 20)),
    "noise.mp3": written(lambda: b"\xff\xfb\x90\x64" + _noise(1 << 16)),
    "noise.aac": written(lambda: b"\xff\xf1\x50\x80\x02\x1f\xfc" + _noise(1 << 16)),
    "noise.amr": written(lambda: b"#!AMR\n" + _noise(1 << 14)),
    "noise.flac": written(lambda: sound("flac")[:42] + _noise(1 << 16)),
    "noise.ogg": written(lambda: b"OggS" + _noise(1 << 16)),
    "noise.mkv": written(lambda: b"\x1a\x45\xdf\xa3" + _noise(1 << 16)),
    "noise.wma": written(
        lambda: bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + _noise(1 << 16)
    ),
    "noise.avi": written(lambda: b"RIFF\xff\xff\xff\xffAVI LIST" + _noise(1 << 16)),
    "noise.mpg": written(lambda: b"\0\0\1\xba" + _noise(1 << 16)),
    "noise.ts": written(lambda: b"".join(b"G" + _noise(187) for _ in range(200))),
    "noise.rm": written(lambda: b".RMF" + _noise(1 << 16)),
    "noise.wv": written(lambda: b"wvpk" + _noise(1 << 16)),
    "noise.ape": written(lambda: b"MAC " + _noise(1 << 16)),
    "noise.tta": written(lambda: b"TTA1" + _noise(1 << 16)),
    "cut.mp3": written(lambda: sound("mp3")[:100]),
    "twice.wav": written(lambda: sound("wav-s16") + sound("mp3")),
    "silence.opus": written(lambda: _silence(60.0)),
    "samples-that-are-none.wav": written(lambda: float_wav(np.full(RATE, np.nan, np.float32))),
    "samples-beyond-numbers.wav": written(
        lambda: wav(tag=3, channels=2, bits=32, align=8, data=_loud())
    ),
    "device.wav": _link_to("/dev/zero"),
    "random-device.wav": _link_to("/dev/urandom"),
    "nowhere.wav": _link_to("decoy-nowhere.wav"),
    "itself.wav": _link_to("itself.wav"),
    "folder.wav": lambda path: path.mkdir(),
}
"""Other things than recordings, and recordings of nothing."""

AUDIO: dict[str, Write] = REFERENCES | RIFFS | HEADERS | BOXES | DISGUISES
READABLE = (
    READABLE_REFERENCES
    | READABLE_HEADERS
    | READABLE_BOXES
    | {"twice.wav", "silence.opus", "noise.amr"}
)
"""Those that hold sound, which is heard at its length; all others end in an error."""
