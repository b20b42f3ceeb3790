"""Input audio as the listen stage wants it: 16 kHz frames, as fast as they can be read or at the
pace of real time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import numpy as np
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import decode, decode_raw
from voxturn.runtime.audio.limits import LONGEST_S
from voxturn.runtime.audio.opening import Source, open_file
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import AudioFrame, Samples

RATE = 16000
FRAME_MS = 20
_FAST_FRAME_MS = 480
_PIECES_AHEAD = 64
_TRAIL_S = 2.0
_PATIENCE_S = 0.05  # a reader that waits for a quiet pipe is left behind


def frames_from(
    source: Source | Samples,
    live: bool = False,
    raw_rate: int = 0,
    clock: Clock | None = None,
    track: int = 0,
    report: ReadReport | None = None,
    longest_s: float = LONGEST_S,
) -> AsyncGenerator[AudioFrame, None]:
    """Frames of a file, a binary stream, or 16 kHz samples.

    `live` feeds 20 ms frames at the pace of real time, as a microphone would, then silence, so that
    the end of the speech can be noticed. `raw_rate` is the rate of headerless 16-bit mono PCM in a
    stream. `track`, `report` and `longest_s` are those of `audio.decode.decode`.
    """
    size = RATE * (FRAME_MS if live else _FAST_FRAME_MS) // 1000
    pieces = _pieces(source, raw_rate, size, track, report, longest_s)
    return _paced(pieces, clock or WallClock()) if live else _fast(pieces, clock or WallClock())


async def samples_from(
    source: Source,
    rate: int,
    raw_rate: int = 0,
    track: int = 0,
    report: ReadReport | None = None,
    longest_s: float = LONGEST_S,
) -> AsyncGenerator[Samples, None]:
    """Samples at `rate` Hz of a file or a binary stream, as fast as they can be read; the rest as
    `frames_from`."""
    size = rate * FRAME_MS // 1000
    if not raw_rate:
        pieces: Iterator[Samples] = decode(source, rate, size, track, report, longest_s)
    elif isinstance(source, str | Path):
        pieces = _raw_file(Path(source), raw_rate, rate, size, longest_s)
    else:
        pieces = decode_raw(source, raw_rate, rate, size, longest_s)
    lane = Lane("read")
    stream = lane.stream(lambda: pieces, _PIECES_AHEAD)
    try:
        async for samples in stream:
            yield samples
    finally:
        await stream.aclose()
        lane.close(_PATIENCE_S)


def _pieces(
    source: Source | Samples,
    raw_rate: int,
    size: int,
    track: int,
    report: ReadReport | None,
    longest_s: float,
) -> Iterator[Samples]:
    if isinstance(source, np.ndarray):
        return iter([source[i : i + size] for i in range(0, source.size, size)])
    if raw_rate:
        if isinstance(source, str | Path):
            return _raw_file(Path(source), raw_rate, RATE, size, longest_s)
        return decode_raw(source, raw_rate, RATE, size, longest_s)
    return decode(source, RATE, size, track, report, longest_s)


def _raw_file(
    path: Path, raw_rate: int, rate: int, size: int, longest_s: float
) -> Iterator[Samples]:
    with open_file(path) as file:
        yield from decode_raw(file, raw_rate, rate, size, longest_s)


async def _fast(pieces: Iterator[Samples], clock: Clock) -> AsyncGenerator[AudioFrame, None]:
    lane = Lane("read")
    stream = lane.stream(lambda: pieces)
    start = 0
    try:
        async for samples in stream:
            yield AudioFrame(samples, RATE, start, clock.now())
            start += samples.size
    finally:
        await stream.aclose()
        lane.close(_PATIENCE_S)


async def _paced(pieces: Iterator[Samples], clock: Clock) -> AsyncGenerator[AudioFrame, None]:
    lane = Lane("read")
    stream = lane.stream(lambda: _with_trail(pieces), ahead=64)
    start, began = 0, clock.now()
    try:
        async for samples in stream:
            due = began + (start + samples.size) / RATE
            await clock.sleep_until(due)
            yield AudioFrame(samples, RATE, start, due)
            start += samples.size
    finally:
        await stream.aclose()
        lane.close(_PATIENCE_S)


def _with_trail(pieces: Iterator[Samples]) -> Iterator[Samples]:
    yield from pieces
    for _ in range(int(_TRAIL_S * 1000 / FRAME_MS)):
        yield np.zeros(RATE * FRAME_MS // 1000, np.float32)
