"""A recording's container, by PyAV (FFmpeg's libraries): which track is heard, its frames, when each begins, and what of
it cannot be decoded."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from voxturn.runtime.errors import (
    EmptyAudio,
    ExecutorUnavailable,
    UnreadableAudio,
    UsageError,
)

Source = str | Path | IO[bytes]

_BY_BYTES = frozenset({"aac", "ac3", "dts", "eac3", "loas", "mlp", "mp3", "truehd"})
"""Containers (FFmpeg's names) that are frames one after the other, without times: where some were lost is known by the
bytes between the others."""
_FLAC = "flac"
"""A container whose frames have numbers. FFmpeg counts frames instead, and lost ones are not counted."""
_FRAME_BY_FRAME = {"fflags": "+noparse+nofillin"}
"""FFmpeg's reader of ADTS finds whole frames itself; without a parser behind it, it says at which byte each lies."""
_FREE_START = 0x200
"""FFmpeg's AVFMT_TS_DISCONT: a container whose times begin anywhere, as a broadcast's do."""
_FROM_ZERO = frozenset({"ogg"})
"""Of these, those whose times begin at zero but where a broadcast was joined, which then runs for long already."""
_LONG_S = 60.0
_DECLARED = frozenset(
    {"aiff", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "w64", "wav"}
)
"""Containers that say how long a track is, though its end may be missing. Of others FFmpeg guesses by the bytes there are."""
_HEAD_BYTES = 1 << 15
_ENDLESS_BYTES = 2**31 - 2**16
"""A size that only headers have which were written before it was known: those of pipes."""
_BIG_ENDIAN_RIFF = b"RIFX"
_SYNC = {"mp1": 0xFFE0, "mp2": 0xFFE0, "mp3": 0xFFE0}
"""How frames of a codec begin. The decoder passes over what lies before, without a word."""
_ONE_BYTE = frozenset({"pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"})
"""Codecs whose samples have no byte order."""
_MOST_TIMES_AS_LONG = 4.0
"""A packet that lasts so many times as long as its samples comes of a damaged clock; its time says nothing."""
_TAG_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
"""How Matroska's tags write the length of a track."""
_LATELY = 40
"""Packets: about a second."""
_MOST_ERRORS = 10_000
"""Errors of a container one after the other, after which nothing more is expected of it."""
_CLOSE_S = 0.03
"""Times of frames that follow each other differ by no more: containers round to milliseconds."""


@dataclass
class ReadReport:
    """What became of reading a recording.

    `begin_s`: when its sound begins, where that is later than the recording. `lost_packets` of its codec could not be
    decoded or were not there, for which `lost_s` seconds are missing.
    """

    begin_s: float = 0.0
    lost_packets: int = 0
    lost_s: float = 0.0

    @property
    def damaged(self) -> bool:
        """Whether anything was lost."""
        return self.lost_packets > 0 or self.lost_s > 0

    def __str__(self) -> str:
        missing = f"{self.lost_s:.2f} s are missing"
        if not self.lost_packets:
            return f"damaged: {missing}"
        packets = "1 packet" if self.lost_packets == 1 else f"{self.lost_packets} packets"
        return f"damaged: {packets} could not be decoded, {missing}"


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame. `time_s`: when it begins in the recording, None where nothing says; `lost_s`: how long the packets
    before it were that could not be decoded; `jumps`: it does not go on where the one before ended."""

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
        self, opening: _Opening, container: Any, stream: Any, codec: Any, report: ReadReport
    ) -> None:
        self.report = report
        self._opening = opening
        self._container = container
        self._stream = stream
        self._codec = codec
        self._by_bytes = container.format.name in _BY_BYTES
        self._numbered = container.format.name == _FLAC
        self._origin_s = _origin_s(container)
        self._failure: Exception | None = None
        self.end_s: float | None = None
        """When the recording ends by its container's word; None where it gives none."""
        if not self._by_bytes and (container.duration or 0) > 0:
            begin = max(0, container.start_time or 0)
            self.end_s = float((begin + container.duration) / 1e6 - self._origin_s)
        self.track_end_s = _declared_end_s(container, stream, opening.data_bytes())
        """When the track ends by its container's word, counted as its frames are; None where it gives none."""
        self.last_lost_s = 0.0
        """How long the packets at the end were that could not be decoded, which the report has."""

    def frames(self) -> Iterator[TimedFrame]:
        """What can be decoded.

        A frame of another form or time than those before is believed if the next one agrees with it, or if packets that
        were lost explain it. Raises `UnreadableAudio` where nothing can be decoded.
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
        times = _ByteTimes(self._stream.codec.canonical_name) if self._by_bytes else None
        lost_s, any_frame = 0.0, False
        for packet in self._packets():
            container_s = _packet_s(packet)
            try:
                frames = [frame for frame in self._codec.decode(packet) if frame.samples > 0]
            except self._opening.errors as exc:
                self._failure = exc
                self.report.lost_packets += 1
                lost_s += container_s
                if times is not None:
                    times.lose(packet)
                continue
            seconds = sum(frame.samples / frame.sample_rate for frame in frames)
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
                    time_s = _flac_time_s(packet, self._stream.codec_context)
                else:
                    time_s = self._time_s(frame, plausible)
                frame.pts = None  # or the resampler would see to them
                yield TimedFrame(frame, time_s, lost_s)
                lost_s = 0.0
        self.last_lost_s = lost_s if times is None else times.missing_s
        self.report.lost_s += self.last_lost_s
        if not any_frame and self._failure is not None:
            raise self._opening.unreadable(self._failure) from self._failure

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
    source: Source, name: str, track: int, report: ReadReport
) -> Iterator[Recording]:
    """Open a recording, which errors call `name`.

    `track` counts from 1 among the audio tracks; 0: the one that is flagged as the default, else the first. Raises
    `EmptyAudio`, `UnreadableAudio`, `UsageError` for a track that it has not, `ExecutorUnavailable`.
    """
    try:
        import av
    except ImportError as exc:
        raise ExecutorUnavailable(
            "reading audio needs PyAV; pip install 'voxturn[embedded]'"
        ) from exc
    with contextlib.ExitStack() as files:
        opening = _Opening(name, (av.error.FFmpegError, ValueError))
        try:
            container = opening.container(av, source, files)
            stream = _track(container, name, track)
            codec = opening.decoder(av, stream)
        except opening.errors as exc:
            raise opening.unreadable(exc) from exc
        yield Recording(opening, container, stream, codec, report)


class _Opening:
    """How a recording is opened, and what is said where it cannot be read."""

    def __init__(self, name: str, errors: tuple[type[Exception], ...]) -> None:
        self.errors = errors
        """What PyAV raises of damaged data."""
        self._name = name
        self._reader: _Reader | None = None
        self._head = b""

    @property
    def _magic(self) -> bytes:
        return self._head[:4]

    def container(self, av: Any, source: Source, files: contextlib.ExitStack) -> Any:
        """PyAV's container of a file, a named pipe or a stream; `files` closes it."""
        target: Any
        if isinstance(source, str | Path) and Path(source).is_file():
            # or FFmpeg would take what is before a colon for a protocol
            target = f"file:{source}"
            with Path(source).open("rb") as file:
                self._head = file.read(_HEAD_BYTES)
        else:
            stream = source
            if isinstance(stream, str | Path):
                stream = files.enter_context(Path(stream).open("rb"))
            target = self._reader = _Reader(stream)
        try:
            container = files.enter_context(_open(av, target))
        finally:
            if self._reader is not None:
                self._head = self._reader.head
        if container.format.name == "aac":
            container.close()
            if self._reader is not None:
                self._reader.rewind()
            container = files.enter_context(_open(av, target, _FRAME_BY_FRAME))
        if self._reader is not None:
            self._reader.forget()
        return container

    def decoder(self, av: Any, stream: Any) -> Any:
        """What decodes a track. FFmpeg reads the samples of a big-endian RIFF as if they were little-endian."""
        codec = stream.codec_context
        if codec is None:
            raise UnreadableAudio(f"{self._name}: its audio is of a codec that cannot be decoded")
        if self._magic != _BIG_ENDIAN_RIFF or codec.name in _ONE_BYTE:
            return codec
        if not codec.name.startswith("pcm_") or not codec.name.endswith("le"):
            raise UnreadableAudio(
                f"{self._name}: is a big-endian RIFF of {codec.name}; only its PCM is read, convert it"
            )
        other = av.CodecContext.create(f"{codec.name[:-2]}be", "r")
        other.sample_rate = codec.sample_rate
        other.layout = codec.layout
        return other

    def data_bytes(self) -> int | None:
        """The size that a RIFF's header gives its samples; FFmpeg takes that of the file where it is smaller."""
        order: Literal["little", "big"] = "big" if self._magic == _BIG_ENDIAN_RIFF else "little"
        if self._magic not in (b"RIFF", _BIG_ENDIAN_RIFF):
            return None
        at = 12
        while at + 8 <= len(self._head):
            size = int.from_bytes(self._head[at + 4 : at + 8], order)
            if self._head[at : at + 4] == b"data":
                return size
            at += 8 + size + size % 2
        return None

    def unreadable(self, exc: Exception) -> EmptyAudio | UnreadableAudio:
        """What is raised where nothing can be read."""
        if self._reader is not None and self._reader.end == 0:
            return EmptyAudio(f"{self._name}: is empty")
        if self._magic == _BIG_ENDIAN_RIFF:
            return UnreadableAudio(
                f"{self._name}: is a big-endian RIFF of a kind that is not read; convert it to RIFF"
            )
        hint = ""
        if self._reader is not None and not self._reader.seekable():
            hint = "; some kinds need a file instead of a pipe"
        reason = getattr(exc, "strerror", None) or exc
        return UnreadableAudio(
            f"{self._name}: not readable as audio, or cut short ({reason}){hint}"
        )


def _track(container: Any, name: str, track: int) -> Any:
    """The track of that number, or the default one."""
    tracks = container.streams.audio
    if not tracks:
        raise UnreadableAudio(f"{name}: has no audio track")
    if not 0 <= track <= len(tracks):
        choices = "; ".join(_about(number, each) for number, each in enumerate(tracks, 1))
        raise UsageError(f"{name}: has no audio track {track}; it has {choices}")
    if track:
        return tracks[track - 1]
    return next((each for each in tracks if _is_default(each)), tracks[0])


class _ByteTimes:
    """Times of a stream that has none: by the samples decoded, and by the bytes that were lost between them.

    How many bytes a second has, varies: the most that it had, over the whole and lately, so that silence is rather too
    short than too long.
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
        """A packet that was decoded; `seconds` is 0 where that says nothing of how many bytes a second has."""
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


def _open(av: Any, target: Any, options: dict[str, str] | None = None) -> Any:
    return av.open(target, mode="r", metadata_errors="ignore", options=options or {})


def _origin_s(container: Any) -> float:
    """The container's time at the recording's beginning."""
    begin_s = float((container.start_time or 0) / 1e6)
    if not container.format.flags & _FREE_START:
        return 0.0
    return 0.0 if container.format.name in _FROM_ZERO and begin_s < _LONG_S else begin_s


def _declared_end_s(container: Any, stream: Any, data_bytes: int | None) -> float | None:
    """When a track ends by its container's word; None where that is a guess, or the length of another track.

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


def _is_default(track: Any) -> bool:
    return "default" in str(track.disposition.name or "").split("|")


def _about(number: int, track: Any) -> str:
    """A track in a few words."""
    codec = track.codec_context
    words = [track.language, track.metadata.get("title")]
    if codec is not None:
        count = codec.layout.nb_channels
        channels = {1: "mono", 2: "stereo"}.get(count, f"{count} channels")
        words += [track.codec.canonical_name, channels, f"{codec.sample_rate} Hz"]
    if _is_default(track):
        words.append("default")
    return f"{number} ({', '.join(word for word in words if word)})"


def _packet_s(packet: Any) -> float:
    """How long a packet lasts by its container's word; 0 where it gives none."""
    if not packet.duration or packet.time_base is None:
        return 0.0
    return float(packet.duration * packet.time_base)


def _flac_time_s(packet: Any, codec: Any) -> float | None:
    """When a FLAC frame begins by its header, which a checksum guards; None where it has none.

    Source: RFC 9639, 9.1: the number of the frame or, where their sizes vary, of its first sample, coded as UTF-8 is.
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


class _Reader:
    """A binary stream for PyAV. It knows how far it was read, so that an empty one can be told from a bad one, and can
    begin again while it is being opened."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._start = stream.tell() if stream.seekable() else None
        self._head: bytearray | None = bytearray() if self._start is None else None
        self._again = b""
        self.head = b""
        """How it begins."""
        self.end = 0

    def read(self, size: int) -> bytes:
        if self._again:
            data, self._again = self._again[:size], self._again[size:]
            return data
        data = self._stream.read(size)
        if self.end < _HEAD_BYTES:
            self.head = (self.head + data)[:_HEAD_BYTES]
        if self._head is not None:
            self._head += data
        self.end += len(data)
        return data

    def rewind(self) -> None:
        """Begin again; not after `forget`."""
        if self._start is not None:
            self._stream.seek(self._start)
        else:
            assert self._head is not None
            self._again = bytes(self._head)

    def forget(self) -> None:
        """Nothing begins again from here on."""
        self._head = None

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
