"""A recording as its container has it: the frames of one track, when each begins, and what of it
cannot be decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from voxturn.runtime.audio.limits import is_sound
from voxturn.runtime.audio.opening import Opening, Source, track_of
from voxturn.runtime.audio.times import (
    ByteTimes,
    declared_end_s,
    flac_time_s,
    origin_s,
    packet_s,
)
from voxturn.runtime.errors import ExecutorUnavailable

_BY_BYTES = frozenset({"aac", "ac3", "dts", "eac3", "loas", "mlp", "mp3", "truehd"})
"""Containers (FFmpeg's names) that are frames one after the other, without times: where some were
lost is known by the bytes between the others."""
_FLAC = "flac"
"""A container whose frames have numbers.

FFmpeg counts frames instead, and lost ones are not counted.
"""
_MOST_TIMES_AS_LONG = 4.0
"""A packet that lasts so many times as long as its samples comes of a damaged clock; its time says
nothing."""
_MOST_ERRORS = 10_000
"""Errors of a container one after the other, after which nothing more is expected of it."""
_CLOSE_S = 0.03
"""Times of frames that follow each other differ by no more: containers round to milliseconds."""


@dataclass
class ReadReport:
    """What became of reading a recording.

    `begin_s`: when its sound begins, where that is later than the recording. `lost_packets` of its
    codec could not be decoded or were not there, for which `lost_s` seconds are missing.
    `left_out_s` of silence, which its times ask for, are left out: they are out of proportion to
    its bytes.
    """

    begin_s: float = 0.0
    lost_packets: int = 0
    lost_s: float = 0.0
    left_out_s: float = 0.0

    @property
    def damaged(self) -> bool:
        """Whether anything was lost."""
        return self.lost_packets > 0 or self.lost_s > 0 or self.left_out_s > 0

    def __str__(self) -> str:
        missing = f"{self.lost_s:.2f} s are missing"
        if self.left_out_s:
            missing += f", {self.left_out_s:.0f} s of silence are left out"
        if not self.lost_packets:
            return f"damaged: {missing}"
        packets = "1 packet" if self.lost_packets == 1 else f"{self.lost_packets} packets"
        return f"damaged: {packets} could not be decoded, {missing}"


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame. `time_s`: when it begins in the recording, None where nothing says;
    `lost_s`: how long the packets before it were that could not be decoded; `jumps`: it does not go
    on where the one before ended."""

    frame: Any
    time_s: float | None
    lost_s: float = 0.0
    jumps: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return float(self.frame.samples / self.frame.sample_rate)

    @property
    def form(self) -> tuple[str, str, int]:
        """Format, channels and rate of its samples."""
        return self.frame.format.name, self.frame.layout.name, self.frame.sample_rate

    def follows(self, other: TimedFrame) -> bool:
        """Whether it goes on where another ends, but for what was lost in between."""
        if self.form != other.form:
            return False
        if self.time_s is None or other.time_s is None:
            return True
        return abs(self.time_s - other.time_s - other.seconds - self.lost_s) <= _CLOSE_S


class Recording:
    """An opened container, of which one track is heard. `report` is kept up while it is read."""

    def __init__(
        self, opening: Opening, container: Any, stream: Any, codec: Any, report: ReadReport
    ) -> None:
        self.report = report
        self._opening = opening
        self._container = container
        self._stream = stream
        self._codec = codec
        self._by_bytes = container.format.name in _BY_BYTES
        self._numbered = container.format.name == _FLAC
        self._origin_s = origin_s(container)
        self._failure: Exception | None = None
        self.declared_s = float(max(0, container.duration or 0) / 1e6)
        """How long it is by its container's word or FFmpeg's guess; 0 where neither is there."""
        self.end_s: float | None = None
        """When the recording ends by its container's word; None where it gives none."""
        if not self._by_bytes and (container.duration or 0) > 0:
            begin = max(0, container.start_time or 0)
            self.end_s = float((begin + container.duration) / 1e6 - self._origin_s)
        self.track_end_s = declared_end_s(container, stream, opening.data_bytes())
        """When the track ends by its container's word, counted as its frames are; None where it
        gives none."""
        self.last_lost_s = 0.0
        """How long the packets at the end were that could not be decoded, which the report has."""

    @property
    def believable_s(self) -> float:
        """How long it may be by its bytes."""
        return self._opening.believable_s

    def frames(self) -> Iterator[TimedFrame]:
        """What can be decoded.

        A frame of another form or time than those before is believed if the next one agrees with
        it, or if packets that were lost explain it. Raises `UnreadableAudio` where nothing can be
        decoded, `AudioTooLong` where it is more than the bytes can hold.
        """
        previous: TimedFrame | None = None
        suspect: TimedFrame | None = None
        for frame in self._decoded():
            if suspect is not None and previous is not None:
                verdict = self._verdict(suspect, previous, frame.follows(suspect))
                if verdict is not None:
                    yield verdict
                    previous = verdict
                suspect = None
            if previous is None or frame.follows(previous):
                yield replace(frame, jumps=previous is None or frame.lost_s > 0)
                previous = frame
            else:
                suspect = frame
        if suspect is not None and previous is not None:
            verdict = self._verdict(suspect, previous, False)
            if verdict is not None:
                yield verdict

    def _verdict(
        self, suspect: TimedFrame, previous: TimedFrame, agrees: bool
    ) -> TimedFrame | None:
        """A frame as it is used; None for one that a damaged header has made."""
        if agrees:
            return replace(suspect, jumps=True)
        if suspect.form != previous.form:
            self.report.lost_packets += 1
            return None
        assert previous.time_s is not None  # or it would follow
        return replace(suspect, time_s=previous.time_s + previous.seconds + suspect.lost_s)

    def _decoded(self) -> Iterator[TimedFrame]:
        """Frames of the packets that can be decoded; the others are counted."""
        times = ByteTimes(self._stream.codec.canonical_name) if self._by_bytes else None
        lost_s, sound_s, any_frame = 0.0, 0.0, False
        for packet in self._packets():
            container_s = packet_s(packet)
            try:
                frames = self._frames_of(packet)
            except self._opening.errors as exc:
                self._failure = exc
                self.report.lost_packets += 1
                lost_s += container_s
                if times is not None:
                    times.lose(packet)
                continue
            seconds = sum(frame.samples / frame.sample_rate for frame in frames)
            sound_s += seconds
            self._opening.check_length(sound_s)
            if times is not None:
                whole = 2 * seconds >= container_s  # of others the decoder's delay is cut off
                times.take(packet, seconds if whole else 0.0)
                lost_s = times.missing_s
            plausible = container_s <= _MOST_TIMES_AS_LONG * seconds
            for frame in frames:
                any_frame = True
                if times is not None:
                    time_s: float | None = times.time_s(frame)
                elif self._numbered:
                    time_s = flac_time_s(packet, self._stream.codec_context)
                else:
                    time_s = self._time_s(frame, plausible)
                frame.pts = None  # or the resampler would see to them
                yield TimedFrame(frame, time_s, lost_s)
                lost_s = 0.0
        self.last_lost_s = lost_s if times is None else times.missing_s
        self.report.lost_s += self.last_lost_s
        if not any_frame and self._failure is not None:
            raise self._opening.unreadable(self._failure) from self._failure

    def _frames_of(self, packet: Any) -> list[Any]:
        """The sound of a packet. Raises one of the opening's errors."""
        frames = [frame for frame in self._codec.decode(packet) if frame.samples > 0]
        for frame in frames:
            if not is_sound(frame.sample_rate, frame.layout.nb_channels):
                raise ValueError(f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz")
        return frames

    def _packets(self) -> Iterator[Any]:
        """The track's packets, past what the container cannot read."""
        errors = 0
        while errors < _MOST_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    yield packet
                return
            except self._opening.errors as exc:
                self._failure = exc
                self.report.lost_packets += errors == 0
                errors += 1

    def _time_s(self, frame: Any, plausible: bool) -> float | None:
        if frame.pts is None or frame.time_base is None or not plausible:
            return None
        return float(frame.pts * frame.time_base) - self._origin_s


@contextlib.contextmanager
def open_recording(
    source: Source, name: str, track: int, report: ReadReport, growing: str = ""
) -> Iterator[Recording]:
    """Open a recording, which errors call `name`.

    `track` counts from 1 among the audio tracks; 0: the one that is flagged as the default, else
    the first. `growing` as in `Opening`. Raises `AudioNotFound`, `EmptyAudio`, `UnreadableAudio`, `UsageError` for a track
    that it has not, `ExecutorUnavailable`.
    """
    try:
        import av
    except ImportError as exc:
        raise ExecutorUnavailable(
            "reading audio needs PyAV; pip install 'voxturn[embedded]'"
        ) from exc
    with contextlib.ExitStack() as files:
        opening = Opening(name, (av.error.FFmpegError, ValueError, MemoryError), growing)
        try:
            container = opening.container(av, source, files)
            stream = track_of(container, name, track)
            codec = opening.decoder(av, stream)
        except opening.errors as exc:
            raise opening.unreadable(exc) from exc
        yield Recording(opening, container, stream, codec, report)
