"""Audio of any kind to mono float32 frames at the file's own times, in bounded memory.

What cannot be decoded is passed over; silence stands for it, and for samples that are no numbers,
so that what comes after keeps its time. Silence stands too for the time before a track begins in
its container.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from voxturn.runtime.audio.container import (
    ReadReport,
    Recording,
    TimedFrame,
    open_recording,
)
from voxturn.runtime.audio.limits import LEAST_RATE, LONGEST_IN_MEMORY_S, LONGEST_S, MOST_RATE
from voxturn.runtime.audio.mix import Channels, Downmix
from voxturn.runtime.audio.opening import Source
from voxturn.runtime.errors import (
    AudioError,
    AudioTooLong,
    EmptyAudio,
    ExecutorUnavailable,
    InvalidSamples,
    UsageError,
)
from voxturn.runtime.messages import Samples

_LOG = logging.getLogger(__name__)
_GAP_S = 0.015
"""Silence is put where frames lie so far apart: less is a container's rounding."""
_DRIFT_S = 0.5
"""How far the container's times may drift from the samples before silence makes it good."""
_MISSING_END_S = 0.1
"""What is missing at the end counts from here on: less is an encoder's delay and padding."""
_LOUDEST = 1e12
"""Full scale is 1.

Some write integers as floats, up to 2e9; the power of what is far beyond overflows.
"""
_LONGEST_GAP_S = 600.0
"""Of a recording that does not say how long it is: a longer gap is a damaged time."""


def decode(
    source: Source,
    rate: int,
    frame_samples: int,
    track: int = 0,
    report: ReadReport | None = None,
    longest_s: float = LONGEST_S,
    growing: str = "",
) -> Generator[Samples, None, None]:
    """Frames of `frame_samples` samples (the last may be shorter) at `rate` Hz, mono, of any
    container in `limits`.

    `track` counts from 1; 0 is the default one. `growing`: the source is a stream of that format
    (FFmpeg's name) which is still being made, and whose `read` waits for more. `report` is filled while the recording is read;
    without it, a warning is logged where something could not be decoded, is missing at the end, or
    is no number. Raises `AudioNotFound`, `EmptyAudio` or `UnreadableAudio`, also after some frames
    were given, `AudioTooLong` after `longest_s` seconds of them, `InvalidSamples` where no sample
    is a number, `UsageError` for a track that is not there.
    """
    name = _name(source)
    outcome = report or ReadReport()
    with open_recording(source, name, track, outcome, growing) as recording:
        timeline = _Timeline(recording, rate)
        pieces = _rechunk(timeline.pieces(), frame_samples)
        yield from _limited(pieces, name, rate, longest_s)
        if timeline.only_invalid:
            raise InvalidSamples(f"{name}: has NaN or infinite samples alone; write it again")
    if report is None and outcome.damaged:
        _LOG.warning("%s: %s", name, outcome)


def decode_raw(
    stream: IO[bytes],
    source_rate: int,
    rate: int,
    frame_samples: int,
    longest_s: float = LONGEST_S,
) -> Iterator[Samples]:
    """Frames from headerless signed 16-bit little-endian mono PCM. Half a sample at the end is
    dropped.

    Raises `EmptyAudio`, `AudioTooLong` after `longest_s` seconds, or `UsageError` for a rate that
    no audio has.
    """
    try:
        import soxr
    except ImportError as exc:
        raise ExecutorUnavailable(
            "reading raw PCM needs soxr; pip install 'voxturn[embedded]'"
        ) from exc
    if not LEAST_RATE <= source_rate <= MOST_RATE:
        raise UsageError(
            f"{source_rate} Hz is not a rate of raw PCM; give one between {LEAST_RATE} and {MOST_RATE}"
        )
    resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")

    def pieces() -> Iterator[Samples]:
        carry = b""
        while block := stream.read(1 << 15):
            block = carry + block
            whole = len(block) // 2 * 2
            carry = block[whole:]
            yield resampler.resample_chunk(
                np.frombuffer(block[:whole], "<i2").astype(np.float32) / 32768.0
            )
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    yield from _limited(_rechunk(pieces(), frame_samples), _name(stream), rate, longest_s)


def length_s(path: str | Path) -> float:
    """How long a file says it is, in seconds; 0 where it does not say, or cannot be read: `decode`
    tells why."""
    if not Path(path).is_file():
        return 0.0  # what is read from a pipe is gone
    try:
        with open_recording(path, str(path), 0, ReadReport()) as recording:
            return recording.declared_s
    except (AudioError, ExecutorUnavailable):
        return 0.0


def decode_all(
    source: Source,
    rate: int,
    track: int = 0,
    report: ReadReport | None = None,
    longest_s: float = LONGEST_IN_MEMORY_S,
) -> Samples:
    """The whole audio in memory, float32 `[n]`: for short clips. As `decode`."""
    return np.concatenate(list(decode(source, rate, rate, track, report, longest_s)))


def _name(source: Source) -> str:
    name = source if isinstance(source, str | Path) else getattr(source, "name", "")
    return (
        str(name) if name and isinstance(name, str | Path) else "the stream"
    )  # a pipe's name is a number


class _Timeline:
    """A recording's samples at `rate` Hz, each at its time since the recording's beginning."""

    def __init__(self, recording: Recording, rate: int) -> None:
        self._recording = recording
        self._rate = rate
        self._downmix = Downmix(rate)
        self._resampler: Any = None
        self._form: tuple[str, str, int] | None = None
        self._channels: list[int] = []
        """The channels that are mixed: all, but the one for low effects beside others."""
        self._written = 0
        """Samples given, at `rate` Hz."""
        self._clock_s = 0.0
        """When the next frame begins if it follows the last."""
        self._shift_s = 0.0
        """What is added to the container's times since they last jumped."""
        self._decoded = self._invalid = 0
        """Samples that were decoded, and those of them that are no numbers."""

    @property
    def only_invalid(self) -> bool:
        """Whether there are samples and none is a number."""
        return 0 < self._decoded == self._invalid

    def pieces(self) -> Iterator[Samples]:
        """Pieces of any size."""
        for timed in self._recording.frames():
            silence_s = self._silence_before(timed)
            if silence_s or timed.form != self._form:
                yield from self._flushed()
                yield from self._silence(self._clock_s + silence_s)
                self._begin(timed)
            self._clock_s += silence_s + timed.seconds
            yield from self._mixed(self._resampler.resample(timed.frame))
        yield from self._flushed()
        self._recording.report.lost_s += self._missing_at_the_end() + self._invalid / self._rate

    def _missing_at_the_end(self) -> float:
        """Seconds that the container promises after the last frame; none of joined recordings,
        whose times begin again."""
        end_s = self._recording.track_end_s
        if end_s is None or self._form is None or self._shift_s:
            return 0.0
        missing_s = end_s - self._clock_s - self._recording.last_lost_s
        return missing_s if missing_s > _MISSING_END_S else 0.0

    def _silence_before(self, timed: TimedFrame) -> float:
        """Seconds of silence that belong before a frame."""
        if timed.time_s is None:
            return 0.0
        gap = timed.time_s + self._shift_s - self._clock_s
        end_s = self._recording.end_s
        believable = self._clock_s + gap <= self._recording.believable_s
        known = timed.time_s <= end_s if end_s is not None else gap <= _LONGEST_GAP_S
        if gap < -_DRIFT_S or (gap > _GAP_S and not known):
            self._shift_s -= gap  # joined recordings begin again; a time beyond the end is damaged
            return 0.0
        if gap > _GAP_S and not believable:
            self._shift_s -= gap
            self._recording.report.left_out_s += gap
            return 0.0
        if gap <= (_GAP_S if timed.jumps else _DRIFT_S):
            return 0.0
        if self._form is None:
            self._recording.report.begin_s = gap
        else:
            self._recording.report.lost_s += gap
        return gap

    def _begin(self, timed: TimedFrame) -> None:
        """A resampler for frames of this form: one may not change, and joined recordings do."""
        import av

        layout = timed.frame.layout
        self._form = timed.form
        self._resampler = av.AudioResampler(format="flt", layout=layout, rate=self._rate)
        names = [channel.name for channel in layout.channels]
        self._channels = [number for number, name in enumerate(names) if name != "LFE"]

    def _flushed(self) -> Iterator[Samples]:
        if self._resampler is not None:
            yield from self._mixed(self._resampler.resample(None))

    def _mixed(self, frames: list[Any]) -> Iterator[Samples]:
        for frame in frames:
            if frame is None or not frame.samples:
                continue  # what a resampler with nothing to do gives at the end
            # packed: PyAV reads beyond the planes of eight channels and more
            samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
            channels: Channels = np.ascontiguousarray(samples.T)
            if 0 < len(self._channels) < len(channels):
                channels = channels[self._channels]
            finite = (np.abs(channels) < _LOUDEST).all(axis=0)  # not so of NaN
            self._decoded += finite.size
            if not finite.all():
                self._invalid += finite.size - int(finite.sum())
                channels = np.where(finite, channels, np.float32(0))
            piece = self._downmix(channels)
            self._written += piece.size
            yield piece

    def _silence(self, until_s: float) -> Iterator[Samples]:
        """Silence up to a time, a second at once."""
        missing = round(until_s * self._rate) - self._written
        self._written += max(0, missing)
        while missing > 0:
            yield np.zeros(min(missing, self._rate), np.float32)
            missing -= self._rate


def _limited(
    pieces: Iterator[Samples], name: str, rate: int, longest_s: float
) -> Iterator[Samples]:
    """The pieces.

    Raises `EmptyAudio` where there are none, `AudioTooLong` after `longest_s` seconds.
    """
    count = 0
    for piece in pieces:
        count += piece.size
        if count > longest_s * rate:
            raise AudioTooLong(
                f"{name}: is longer than {longest_s:g} s, the longest_s that is allowed here; give a part of it, or allow more"
            )
        yield piece
    if count == 0:
        raise EmptyAudio(f"{name}: holds no samples")


def _rechunk(pieces: Iterator[Samples], size: int) -> Iterator[Samples]:
    held: list[Samples] = []
    have = 0
    for piece in pieces:
        held.append(piece)
        have += piece.size
        if have >= size:
            joined = np.concatenate(held)
            whole = have // size * size
            yield from np.split(joined[:whole], whole // size)
            held, have = [joined[whole:]], have - whole
    if have:
        yield np.concatenate(held)
