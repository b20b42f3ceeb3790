"""Hostile RIFF, AIFF, AU, CAF, FLAC, MP3 and Ogg: rates, widths, lengths and pictures that lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from tests.recordings import RATE, sine
from tests.security.audio_files import Write, patched, sound, written

MOST = 0xFFFFFFFF


@cache
def _pcm(count: int = RATE // 2) -> bytes:
    return np.rint(sine(RATE, count / RATE) * 32767).astype("<i2").tobytes()


def _chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(content) if size is None else size) + content


def wav(
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = RATE,
    align: int = 2,
    bits: int = 16,
    extension: bytes = b"",
    before: bytes = b"",
    size: int | None = None,
    riff: int | None = None,
    data: bytes | None = None,
    fmt: int | None = None,
) -> bytes:
    """A WAV whose header says what it is told to."""
    form = struct.pack("<HHIIHH", tag, channels, rate, min(MOST, rate * align), align % 65536, bits)
    sound_data = _pcm() if data is None else data
    body = (
        b"WAVE"
        + _chunk(b"fmt ", form + extension, fmt)
        + before
        + _chunk(b"data", sound_data, size)
    )
    return _chunk(b"RIFF", body, riff)


def _lists(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _chunk(b"LIST", b"INFO" + data)
    return data


_RUBBISH = struct.pack("<HHI", 22, 65535, MOST) + bytes(range(16))

READABLE_HEADERS = {
    "align-0.wav", "align-65535.wav", "data-0.wav", "data-most.wav", "data-beyond.wav", "riff-0.wav",
    "riff-most.wav", "lists-in-lists.wav", "chunks.wav", "total-most.flac", "numbers.flac",
    "picture-most.flac", "picture-60000-wide.flac", "tag-of-200-mb.mp3", "tags.mp3",
    "picture-30000-wide.mp3", "picture-16-mb.mp3", "frames-most.mp3", "granules.ogg",
    "begins-in-days.ogg", "tags-most.opus",
}  # fmt: skip
"""Those whose sound is there, whatever else they say."""
RIFFS: dict[str, Write] = {
    "rate-0.wav": written(lambda: wav(rate=0)),
    "rate-1.wav": written(lambda: wav(rate=1, data=_pcm(64_000))),
    "rate-999.wav": written(lambda: wav(rate=999)),
    "rate-most.wav": written(lambda: wav(rate=MOST)),
    "channels-0.wav": written(lambda: wav(channels=0)),
    "channels-64.wav": written(lambda: wav(channels=64, rate=768_000, align=128)),
    "channels-65535.wav": written(lambda: wav(channels=65535, align=131070)),
    "bits-0.wav": written(lambda: wav(bits=0)),
    "bits-65535.wav": written(lambda: wav(bits=65535)),
    "align-0.wav": written(lambda: wav(align=0)),
    "align-65535.wav": written(lambda: wav(align=65535)),
    "codec-unknown.wav": written(lambda: wav(tag=0xABCD)),
    "adpcm-align-1.wav": written(lambda: wav(tag=2, bits=4, align=1)),
    "extensible-rubbish.wav": written(lambda: wav(tag=0xFFFE, extension=_RUBBISH)),
    "data-0.wav": written(lambda: wav(size=0)),
    "data-most.wav": written(lambda: wav(size=MOST)),
    "data-beyond.wav": written(lambda: wav(size=1 << 30)),
    "riff-0.wav": written(lambda: wav(riff=0)),
    "riff-most.wav": written(lambda: wav(riff=MOST)),
    "header-of-2-31.wav": written(lambda: wav(fmt=0x7FFFFFFF)),
    "lists-in-lists.wav": written(lambda: wav(before=_lists(2_000))),
    "list-most.wav": written(lambda: wav(before=b"LIST" + struct.pack("<I", MOST))),
    "chunks.wav": written(lambda: wav(before=_chunk(b"junk", b"") * 100_000)),
    "no-format.wav": written(lambda: _chunk(b"RIFF", b"WAVE" + _chunk(b"data", _pcm()))),
    "sizes.rf64": written(
        lambda: b"RF64" + struct.pack("<I", MOST) + b"WAVE" + _chunk(b"ds64", b"\xff" * 28)
    ),
}
"""Of RIFF."""


def _extended(rate: bytes) -> bytes:
    """An AIFF with these ten bytes for a rate."""
    common = struct.pack(">HIH", 1, RATE // 2, 16) + rate
    body = b"AIFF" + b"COMM" + struct.pack(">I", 18) + common
    body += b"SSND" + struct.pack(">III", 8 + len(_pcm()), 0, 0) + _pcm()
    return b"FORM" + struct.pack(">I", len(body)) + body


def _au(offset: int, rate: int = RATE, channels: int = 1) -> bytes:
    return struct.pack(">4sIIIIII", b".snd", offset, MOST, 3, rate, channels, 0) + _pcm()


def _caf(rate: float, packets: int = 0) -> bytes:
    about = struct.pack(">d4sIIIII", rate, b"alac", 0, 0, 4096, 1, 16)
    table = struct.pack(">qqii", packets, packets * 4096, 0, 0)
    return (
        b"caff\0\1\0\0"
        + b"desc"
        + struct.pack(">q", len(about))
        + about
        + b"pakt"
        + struct.pack(">q", len(table))
        + table
        + b"data"
        + struct.pack(">q", -1)
        + bytes(4)
        + _pcm()
    )


def _crc(data: bytes, polynomial: int, width: int) -> int:
    """A checksum as FLAC and Ogg have theirs: highest bit first, from zero."""
    value, top, mask = 0, 1 << (width - 1), (1 << width) - 1
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


def _coded(number: int) -> bytes:
    """A number as UTF-8 codes characters, up to 36 bits."""
    if number < 0x80:
        return bytes([number])
    count = next(n for n in range(2, 8) if number < 1 << (5 * n + 1))
    lead = (0xFF << (8 - count) & 0xFF) | number >> 6 * (count - 1)
    rest = [0x80 | number >> 6 * i & 0x3F for i in reversed(range(count - 1))]
    return bytes([lead, *rest])


def _silent_frame(number: int, size: int = 65535) -> bytes:
    """A frame of mono FLAC, all of whose samples are zero."""
    head = b"\xff\xf8\x70\x08" + _coded(number) + struct.pack(">H", size - 1)
    head += bytes([_crc(head, 0x07, 8)])
    frame = head + b"\0\0\0"
    return frame + struct.pack(">H", _crc(frame, 0x8005, 16))


def flac(rate: int, numbers: Iterable[int], total: int = 0, before: bytes = b"") -> bytes:
    """Silence in FLAC: a frame of 65,535 samples for each of `numbers`."""
    about = rate << 44 | 0 << 41 | 15 << 36 | total
    info = struct.pack(">HH", 65535, 65535) + bytes(6) + about.to_bytes(8, "big") + bytes(16)
    last = b"\0" if before else b"\x80"
    frames = b"".join(_silent_frame(number) for number in numbers)
    return b"fLaC" + last + struct.pack(">I", len(info))[1:] + info + before + frames


def _picture(length: int, data: bytes = b"") -> bytes:
    """A FLAC picture that claims so many bytes."""
    content = (
        struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 60_000, 60_000, 32, 0, length) + data
    )
    return b"\x86" + struct.pack(">I", min(len(content), 0xFFFFFF))[1:] + content


def png(width: int, height: int) -> bytes:
    """The beginning of a picture of that size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100_000)))


def _tag(size: int, frames: bytes = b"") -> bytes:
    """An ID3 tag that claims so many bytes."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + sizes + frames


def _cover(picture: bytes) -> bytes:
    content = b"\0image/png\0\3\0" + picture
    frame = b"APIC" + struct.pack(">I", len(content)) + b"\0\0" + content
    return _tag(len(frame), frame)


def _long_tag(path: Path) -> None:
    """A tag with a picture of 200 MB, which takes no room on the disk."""
    size = 200 << 20
    with path.open("wb") as file:
        file.write(_tag(size, b"APIC" + struct.pack(">I", size - 10) + b"\0\0\0image/png\0\3\0"))
        file.truncate(10 + size)
        file.seek(0, 2)
        file.write(sound("mp3"))


@cache
def _xing() -> bytes:
    """An MP3 whose first frame claims billions of frames."""
    data = sound("mp3")
    at = next(i for i in range(len(data)) if data[i : i + 4] in (b"Xing", b"Info"))
    return patched(data, at + 8, struct.pack(">II", MOST, MOST))


def _page(content: bytes, granule: int, number: int, kind: int, serial: int = 1) -> bytes:
    """A page of Ogg."""
    sizes = bytes([255] * (len(content) // 255) + [len(content) % 255])
    head = b"OggS\0" + struct.pack("<BqIII", kind, granule, serial, number, 0)
    page = head + bytes([len(sizes)]) + sizes + content
    return patched(page, 22, struct.pack("<I", _crc(page, 0x04C11DB7, 32)))


def _opus(*, channels: int = 1, skip: int = 312, granule: int = 960, tags: int = 0) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, skip, 48000, 0, 0)
    comment = b"OpusTags" + struct.pack("<I", tags) + bytes(4)
    packet = b"\xf8\xff\xfe"  # 20 ms of silence
    pages = [_page(head, 0, 0, 2), _page(comment, 0, 1, 0)]
    pages += [_page(packet, granule * (i + 1), i + 2, 0) for i in range(25)]
    return b"".join(pages)


def _logical_streams(count: int) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48000, 0, 0)
    return b"".join(_page(head, 0, 0, 2, serial) for serial in range(count))


HEADERS: dict[str, Write] = {
    "rate-nan.aiff": written(lambda: _extended(b"\x7f\xff\xc0" + bytes(7))),
    "rate-infinite.aiff": written(lambda: _extended(b"\x7f\xff\x80" + bytes(7))),
    "rate-0.aiff": written(lambda: _extended(bytes(10))),
    "rate-negative.aiff": written(lambda: _extended(b"\xc0\x0c\xfa" + bytes(7))),
    "offset-beyond.au": written(lambda: _au(0x7FFFFFFF)),
    "rate-0.au": written(lambda: _au(28, rate=0)),
    "channels-most.au": written(lambda: _au(28, channels=MOST)),
    "packets.caf": written(lambda: _caf(16000.0, packets=1 << 50)),
    "rate-nan.caf": written(lambda: _caf(float("nan"))),
    "sizes.w64": written(
        lambda: b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + b"\xff" * 8 + bytes(99)
    ),
    "total-most.flac": written(lambda: _claiming((1 << 36) - 1)),
    "days.flac": written(lambda: flac(1000, range(40))),
    "days-at-1-hz.flac": written(lambda: flac(1, range(30))),
    "rate-0.flac": written(lambda: flac(0, range(3))),
    "numbers.flac": written(lambda: flac(RATE, (0, 1, 1_000_000, 1_000_001), (1 << 36) - 1)),
    "picture-header.flac": written(
        lambda: b"fLaC\0\0\0\x22" + bytes(34) + b"\x86\xff\xff\xff" + bytes(32)
    ),
    "picture-most.flac": written(lambda: flac(RATE, range(3), before=_picture(MOST))),
    "picture-60000-wide.flac": written(
        lambda: flac(RATE, range(3), before=_picture(len(png(60_000, 60_000)), png(60_000, 60_000)))
    ),
    "tag-of-256-mb.mp3": written(lambda: _tag((1 << 28) - 1) + sound("mp3")),
    "tag-of-200-mb.mp3": _long_tag,
    "tags.mp3": written(lambda: _tag(0) * 50_000 + sound("mp3")),
    "picture-30000-wide.mp3": written(lambda: _cover(png(30_000, 30_000)) + sound("mp3")),
    "picture-16-mb.mp3": written(lambda: _cover(bytes(16 << 20)) + sound("mp3")),
    "frames-most.mp3": written(_xing),
    "granules.ogg": written(lambda: _opus(granule=1 << 56)),
    "granules-negative.ogg": written(lambda: _opus(granule=-(1 << 56))),
    "begins-in-days.ogg": written(lambda: _opus(granule=48_000 * 86_400)),
    "channels-255.opus": written(lambda: _opus(channels=255)),
    "skip-most.opus": written(lambda: _opus(skip=65535)),
    "tags-most.opus": written(lambda: _opus(tags=MOST)),
    "streams.ogg": written(lambda: _logical_streams(1_500)),
    "sphere-rate.sph": written(
        lambda: (
            (
                b"NIST_1A\n   1024\nsample_count -i 8000\nsample_rate -i 2147483647\nchannel_count -i 1\n"
                b"sample_n_bytes -i 2\nsample_byte_format -s2 01\nend_head\n"
            ).ljust(1024)
            + _pcm()
        )
    ),
}
"""Of other containers."""


def _claiming(total: int) -> bytes:
    """An honest FLAC but for the number of its samples."""
    data = sound("flac")
    about = int.from_bytes(data[18:26], "big")
    return patched(data, 18, (about >> 36 << 36 | total).to_bytes(8, "big"))
