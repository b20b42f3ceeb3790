"""When the frames of a recording begin and how long its track is, by what its container and its
bytes say."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

_FREE_START = 0x200
"""FFmpeg's AVFMT_TS_DISCONT: a container whose times begin anywhere, as a broadcast's do."""
_FROM_ZERO = frozenset({"ogg"})
"""Of these, those whose times begin at zero but where a broadcast was joined, which then runs for
long already."""
_LONG_S = 60.0
_DECLARED = frozenset(
    {"aiff", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "w64", "wav"}
)
"""Containers that say how long a track is, though its end may be missing.

Of others FFmpeg guesses by the bytes there are.
"""
_ENDLESS_BYTES = 2**31 - 2**16
"""A size that only headers have which were written before it was known: those of pipes."""
_SYNC = {"mp1": 0xFFE0, "mp2": 0xFFE0, "mp3": 0xFFE0}
"""How frames of a codec begin. The decoder passes over what lies before, without a word."""
_TAG_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
"""How Matroska's tags write the length of a track."""
_LATELY = 40
"""Packets: about a second."""


class ByteTimes:
    """Times of a stream that has none: by the samples decoded, and by the bytes that were lost
    between them.

    How many bytes a second has, varies: the most that it had, over the whole and lately, so that
    silence is rather too short than too long.
    """

    def __init__(self, codec: str) -> None:
        self._sync = _SYNC.get(codec)
        self._next_byte: int | None = None
        self._lost_bytes = 0
        self._bytes = 0
        self._seconds = 0.0
        self._lately: deque[tuple[int, float]] = deque(maxlen=_LATELY)
        self._clock_s = 0.0

    @property
    def missing_s(self) -> float:
        """How long what was lost since the last good frame lasts."""
        if not self._lost_bytes or not self._seconds:
            return 0.0
        lately_s = sum(seconds for _, seconds in self._lately)
        lately = sum(size for size, _ in self._lately) / lately_s
        return self._lost_bytes / max(lately, self._bytes / self._seconds)

    def lose(self, packet: Any) -> None:
        """A packet that cannot be decoded."""
        self._skip_to(packet)
        self._lost_bytes += packet.size

    def take(self, packet: Any, seconds: float) -> None:
        """A packet that was decoded; `seconds` is 0 where that says nothing of how many bytes a
        second has."""
        self._skip_to(packet)
        if not seconds:
            return
        if self._begins_with_rubbish(packet):
            frame = int(self._bytes * seconds / self._seconds) if self._seconds else packet.size
            self._lost_bytes += max(0, packet.size - frame)
            return
        self._bytes += packet.size
        self._seconds += seconds
        self._lately.append((packet.size, seconds))

    def time_s(self, frame: Any) -> float:
        """When a frame begins."""
        begin = self._clock_s + self.missing_s
        self._lost_bytes = 0
        self._clock_s = begin + frame.samples / frame.sample_rate
        return begin

    def _begins_with_rubbish(self, packet: Any) -> bool:
        if self._sync is None or packet.size < 2:
            return False
        return int.from_bytes(memoryview(packet)[:2], "big") & self._sync != self._sync

    def _skip_to(self, packet: Any) -> None:
        if packet.pos is None:
            return
        if self._next_byte is not None and packet.pos > self._next_byte:
            self._lost_bytes += packet.pos - self._next_byte
        self._next_byte = packet.pos + packet.size


def origin_s(container: Any) -> float:
    """The container's time at the recording's beginning."""
    begin_s = float((container.start_time or 0) / 1e6)
    if not container.format.flags & _FREE_START:
        return 0.0
    return 0.0 if container.format.name in _FROM_ZERO and begin_s < _LONG_S else begin_s


def declared_end_s(container: Any, stream: Any, data_bytes: int | None) -> float | None:
    """When a track ends by its container's word; None where that is a guess, or the length of
    another track.

    `data_bytes`: the size of its samples where a header tells.
    """
    if container.format.name not in _DECLARED:
        return None
    begin = max(0, stream.start_time or 0)
    codec = stream.codec_context
    bits = (codec.bit_rate or 0) if codec is not None else 0
    if data_bytes is not None and bits and codec.name.startswith("pcm_"):
        end_s = 8 * data_bytes / bits
    elif stream.duration and stream.time_base:
        end_s = float((begin + stream.duration) * stream.time_base)
    elif (tag := _TAG_DURATION.fullmatch(stream.metadata.get("DURATION", ""))) is not None:
        end_s = 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
    elif len(container.streams) == 1 and (container.duration or 0) > 0:
        end_s = float(container.duration / 1e6)
    else:
        return None
    return None if end_s * bits / 8 >= _ENDLESS_BYTES else end_s


def packet_s(packet: Any) -> float:
    """How long a packet lasts by its container's word; 0 where it gives none."""
    if not packet.duration or packet.time_base is None:
        return 0.0
    return float(packet.duration * packet.time_base)


def flac_time_s(packet: Any, codec: Any) -> float | None:
    """When a FLAC frame begins by its header, which a checksum guards; None where it has none.

    Source: RFC 9639, 9.1: the number of the frame or, where their sizes vary, of its first sample,
    coded as UTF-8 is.
    """
    head = bytes(memoryview(packet)[:11])
    streaminfo = codec.extradata or b""
    if len(head) < 11 or len(streaminfo) < 4 or int.from_bytes(head[:2], "big") & 0xFFFE != 0xFFF8:
        return None
    ones = 8 - (~head[4] & 0xFF).bit_length()  # how many bytes the number has; none: one
    number = head[4] & (0xFF >> min(8, ones + 1))
    for byte in head[5 : 4 + max(1, ones)]:
        number = number << 6 | byte & 0x3F
    size = 1 if head[1] & 1 else int.from_bytes(streaminfo[:2], "big")
    return float(number * size / codec.sample_rate)
