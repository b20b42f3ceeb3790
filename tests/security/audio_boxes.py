"""Hostile MP4, QuickTime and Matroska: tables, sizes, times and depths that lie."""

from __future__ import annotations

import struct
from functools import cache

import numpy as np

from tests.recordings import RATE, matroska, sine
from tests.security.audio_files import SECONDS, Write, patched, sound, written

MOST = 0xFFFFFFFF
_INDEX = 80_000_000
"""Entries, of which FFmpeg's index would have 24 bytes each."""
_MANY = 3_000_000
"""Entries, of which it would have one for each of many tracks: no one is too large."""
_DAY_MS = 86_400_000


def box(kind: bytes, *contents: bytes) -> bytes:
    """An MP4 box."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes) -> bytes:
    """An MP4 box with a version and flags."""
    return box(kind, bytes(4), content)


def ebml(identifier: int, *contents: bytes, size: int | None = None) -> bytes:
    """An element of Matroska; `size`: what its header claims."""
    content = b"".join(contents)
    length = len(content) if size is None else size
    head = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return head + (1 << 56 | length).to_bytes(8, "big") + content


@cache
def _pcm() -> bytes:
    return np.rint(sine(RATE, SECONDS) * 32767).astype("<i2").tobytes()


def wave_track(
    *,
    data_reference: bytes = bytes.fromhex("0000000c75726c2000000001"),
    rate: int = RATE,
    channels: int = 1,
    timescale: int = RATE,
    times: tuple[int, int] = (RATE // 2, 1),
    chunk: int = RATE // 2,
    sizes: tuple[int, int] = (2, RATE // 2),
    offset: int = 28,
    edits: bytes = b"",
    codec: bytes = b"sowt",
) -> bytes:
    """A track of PCM, `times` (count, duration), `sizes` (bytes, count) and the `chunk` of whose
    samples may lie."""
    entry = box(
        codec, bytes(6), b"\0\1", bytes(8), struct.pack(">HHIHH", channels, 16, 0, rate % 65536, 0)
    )
    table = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1) + entry),
        full_box(b"stts", struct.pack(">III", 1, *times)),
        full_box(b"stsc", struct.pack(">IIII", 1, 1, chunk, 1)),
        full_box(b"stsz", struct.pack(">II", *sizes)),
        full_box(b"stco", struct.pack(">II", 1, offset)),
    )
    where = box(b"dinf", full_box(b"dref", struct.pack(">I", 1) + data_reference))
    media = box(
        b"mdia",
        full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, timescale, RATE // 2, 0, 0)),
        full_box(b"hdlr", b"mhlrsoun" + bytes(13)),
        box(b"minf", full_box(b"smhd", bytes(4)), where, table),
    )
    return box(b"trak", full_box(b"tkhd", struct.pack(">III", 0, 0, 1) + bytes(68)), edits, media)


def movie(*tracks: bytes) -> bytes:
    """A QuickTime movie with half a second of PCM at byte 28."""
    header = full_box(b"mvhd", struct.pack(">IIII", 0, 0, 1000, 500) + bytes(80))
    return (
        box(b"ftyp", b"qt  ", bytes(4), b"qt  ")[:20]
        + box(b"mdat", _pcm())
        + box(b"moov", header, *tracks)
    )


def _fragments() -> bytes:
    """An MP4 whose one fragment claims packets that take no bytes to claim."""
    track = wave_track(times=(0, 2), sizes=(0, 0))
    extends = box(b"mvex", full_box(b"trex", struct.pack(">IIIII", 1, 1, 2, 1, 0)))
    run = full_box(b"trun", struct.pack(">I", _INDEX))
    piece = box(
        b"moof",
        full_box(b"mfhd", struct.pack(">I", 1)),
        box(b"traf", full_box(b"tfhd", struct.pack(">I", 1)), run),
    )
    return movie(track, extends) + piece + box(b"mdat", bytes(100))


def _nested(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = box(kind, data)
    return data


def _m4a(kind: bytes, skip: int, new: bytes) -> bytes:
    """An honest AAC in MP4 with other bytes `skip` after a box's name."""
    data = sound("m4a")
    return patched(data, data.index(kind) + 4 + skip, new)


def film(
    *,
    rate: float = RATE,
    channels: int = 1,
    scale: int = 1_000_000,
    time: int = 0,
    info: bytes = b"",
    extra: bytes = b"",
    codec: bytes = b"A_PCM/INT/LIT",
    block: bytes | None = None,
) -> bytes:
    """Matroska with half a second of PCM, at a `time` in units of `scale` nanoseconds."""
    about = ebml(0x1549A966, ebml(0x2AD7B1, scale.to_bytes(8, "big")), info)
    audio = ebml(
        0xE1,
        ebml(0xB5, struct.pack(">d", rate)),
        ebml(0x9F, channels.to_bytes(4, "big")),
        ebml(0x6264, b"\x10"),
    )
    entry = ebml(
        0xAE, ebml(0xD7, b"\1"), ebml(0x73C5, b"\1"), ebml(0x83, b"\2"), ebml(0x86, codec), audio
    )
    data = b"\x81\0\0\x80" + _pcm() if block is None else block
    cluster = ebml(0x1F43B675, ebml(0xE7, time.to_bytes(8, "big")), ebml(0xA3, data))
    header = ebml(0x1A45DFA3, ebml(0x4282, b"matroska"))
    return header + ebml(0x18538067, about, ebml(0x1654AE6B, entry), extra, cluster)


def _twice(time: int) -> bytes:
    """Two blocks of 1 ms, one after the other, which so agree about their time."""
    data = _pcm()[:32]
    blocks = (ebml(0xA3, b"\x81" + struct.pack(">hB", at, 0x80) + data) for at in (0, 1))
    return ebml(0x1F43B675, ebml(0xE7, time.to_bytes(8, "big")), *blocks)


def attached(size: int, claimed: int | None = None) -> bytes:
    """A picture among the attachments, of which more bytes may be claimed than are there."""
    picture = ebml(0x465C, bytes(size), size=claimed)
    about = ebml(0x466E, b"cover.png"), ebml(0x4660, b"image/png"), ebml(0x46AE, b"\1")
    return ebml(0x1941A469, ebml(0x61A7, *about, picture))


def _deep(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = ebml(0xB6, data)  # a chapter within a chapter
    return ebml(0x1043A770, ebml(0x45B9, data))


def lasting(seconds: float) -> bytes:
    return ebml(0x4489, struct.pack(">d", seconds * 1000))


_EMPTY_EDIT = box(
    b"edts", full_box(b"elst", struct.pack(">IIiIIII", 2, 10 * _DAY_MS, -1, 65536, 500, 0, 65536))
)

READABLE_BOXES = {
    "tables-time-count.m4a", "tables-chunks.m4a", "clock-0.m4a", "clock-most.m4a", "length-most.m4a", "index-of-chunks.mov", "index-of-many-tracks.mov",
    "begins-in-ten-days.mov", "begins-in-ten-days.mkv", "begins-in-ten-days-truly.mkv", "jumps.mkv",
    "block-of-2-40.mkv", "name-of-2-40.mkv", "scale-0.mkv", "rate-nan.mkv", "rate-infinite.mkv",
    "rate-negative.mkv", "length-infinite.mkv", "picture.mkv", "picture-claimed.mkv", "deep.mkv",
}  # fmt: skip
BOXES: dict[str, Write] = {
    "tables-times.m4a": written(lambda: _m4a(b"stts", 4, struct.pack(">I", MOST))),
    "tables-time-count.m4a": written(lambda: _m4a(b"stts", 8, struct.pack(">I", MOST))),
    "tables-time-long.m4a": written(lambda: _m4a(b"stts", 12, struct.pack(">I", 0x7FFFFFFF))),
    "tables-sizes.m4a": written(lambda: _m4a(b"stsz", 8, struct.pack(">I", MOST))),
    "tables-one-size.m4a": written(lambda: _m4a(b"stsz", 4, struct.pack(">II", 1, MOST))),
    "tables-chunks.m4a": written(lambda: _m4a(b"stco", 4, struct.pack(">I", MOST))),
    "tables-offset.m4a": written(lambda: _m4a(b"stco", 8, struct.pack(">I", MOST))),
    "clock-0.m4a": written(lambda: _m4a(b"mdhd", 12, bytes(4))),
    "clock-most.m4a": written(lambda: _m4a(b"mdhd", 12, struct.pack(">I", MOST))),
    "length-most.m4a": written(lambda: _m4a(b"mdhd", 16, struct.pack(">I", MOST))),
    "index.mov": written(
        lambda: movie(wave_track(times=(_INDEX, 2), chunk=_INDEX, sizes=(1, _INDEX)))
    ),
    "index-of-many-tracks.mov": written(
        lambda: movie(*[wave_track(times=(_MANY, 2), chunk=_MANY, sizes=(100, _MANY))] * 40)
    ),
    "tracks-1000.mov": written(
        lambda: movie(*[wave_track(times=(1000, 2), chunk=1000, sizes=(1, 1000))] * 1000)
    ),
    "index-of-chunks.mov": written(lambda: movie(wave_track(chunk=MOST, sizes=(2, MOST)))),
    "fragments.mp4": written(_fragments),
    "begins-in-ten-days.mov": written(lambda: movie(wave_track(edits=_EMPTY_EDIT))),
    "channels-65535.mov": written(lambda: movie(wave_track(channels=65535))),
    "rate-1.mov": written(lambda: movie(wave_track(rate=1, timescale=1))),
    "beyond.mov": written(lambda: movie(wave_track(offset=0x7FFFFFFF))),
    "deep.mp4": written(lambda: box(b"ftyp", b"isom", bytes(4)) + _nested(b"moov", 10_000)),
    "empty-boxes.mp4": written(lambda: box(b"ftyp", b"isom", bytes(4)) + bytes(4096)),
    "box-of-2-63.mp4": written(
        lambda: box(b"ftyp", b"isom", bytes(4)) + b"\0\0\0\1moov" + b"\x7f" + b"\xff" * 7
    ),
    "begins-in-ten-days.mkv": written(lambda: matroska(sine(RATE, 0.5), begin_s=864_000.0)),
    "begins-in-ten-days-truly.mkv": written(
        lambda: film(time=10 * _DAY_MS, info=lasting(864_000.5))
    ),
    "jumps.mkv": written(
        lambda: film(
            info=lasting(864_000.0),
            extra=b"".join(_twice(600_000 * i) for i in range(20)),
            time=864_000_000 - 500,
            block=b"\x81\0\0\x80" + _pcm()[:32],
        )
    ),
    "sizes-of-2-56.mkv": written(
        lambda: ebml(0x1A45DFA3, ebml(0x4282, b"matroska")) + ebml(0x18538067, size=(1 << 56) - 2)
    ),
    "block-of-2-40.mkv": written(lambda: film(extra=ebml(0x1F43B675, ebml(0xA3, size=1 << 40)))),
    "name-of-2-40.mkv": written(lambda: film(info=ebml(0x7BA9, size=1 << 40))),
    "scale-most.mkv": written(lambda: film(scale=(1 << 63) - 1, time=1)),
    "scale-0.mkv": written(lambda: film(scale=0)),
    "rate-nan.mkv": written(lambda: film(rate=float("nan"))),
    "rate-infinite.mkv": written(lambda: film(rate=float("inf"))),
    "rate-1.mkv": written(lambda: film(rate=1.0)),
    "rate-negative.mkv": written(lambda: film(rate=-16000.0)),
    "channels-most.mkv": written(lambda: film(channels=MOST)),
    "length-infinite.mkv": written(lambda: film(info=lasting(float("inf")))),
    "picture.mkv": written(lambda: film(extra=attached(16 << 20))),
    "picture-claimed.mkv": written(lambda: film(extra=attached(16, claimed=200 << 20))),
    "deep.mkv": written(lambda: film(extra=_deep(10_000))),
    "laces.mkv": written(lambda: film(block=b"\x81\0\0\x86" + b"\xff" * 300)),
    "codec-unknown.mkv": written(lambda: film(codec=b"A_NOTHING")),
}
