"""Audio of any kind to mono float32 frames, in bounded memory, through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from voxturn.runtime.errors import (
    AudioNotFound,
    EmptyAudio,
    ExecutorUnavailable,
    InvalidSamples,
    UnreadableAudio,
    UsageError,
)
from voxturn.runtime.messages import Samples

Source = str | Path | IO[bytes]
_LOWEST_RATE, _HIGHEST_RATE = 1000, 768_000


def decode(source: Source, rate: int, frame_samples: int) -> Iterator[Samples]:
    """Frames of `frame_samples` samples (the last may be shorter) at `rate` Hz, mono, of any container FFmpeg reads.

    Raises `AudioNotFound`, `EmptyAudio`, `UnreadableAudio` or `InvalidSamples`, also after some frames were given.
    """
    count, name = 0, _name(source)
    for piece in _rechunk(_pieces(source, name, rate), frame_samples):
        finite = np.isfinite(piece)
        if not finite.all():
            at = (count + int(np.argmin(finite))) / rate
            raise InvalidSamples(
                f"{name}: has NaN or infinite samples near {at:.2f} s; write it again"
            )
        count += piece.size
        yield piece
    if count == 0:
        raise EmptyAudio(f"{name}: holds no samples")


def decode_raw(
    stream: IO[bytes], source_rate: int, rate: int, frame_samples: int
) -> Iterator[Samples]:
    """Frames from headerless signed 16-bit little-endian mono PCM. Half a sample at the end is dropped.

    Raises `EmptyAudio`, or `UsageError` for a rate that no audio has.
    """
    try:
        import soxr
    except ImportError as exc:
        raise ExecutorUnavailable(
            "reading raw PCM needs soxr; pip install 'voxturn[embedded]'"
        ) from exc
    if not _LOWEST_RATE <= source_rate <= _HIGHEST_RATE:
        raise UsageError(
            f"{source_rate} Hz is not a rate of raw PCM; give one between {_LOWEST_RATE} and {_HIGHEST_RATE}"
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

    count = 0
    for piece in _rechunk(pieces(), frame_samples):
        count += piece.size
        yield piece
    if count == 0:
        raise EmptyAudio(f"{_name(stream)}: holds no samples")


def length_s(path: str | Path) -> float:
    """How long a file says it is, in seconds; 0 where it does not say, or cannot be read: `decode` tells why."""
    if not Path(path).is_file():
        return 0.0  # what is read from a pipe is gone
    try:
        import av
    except ImportError:
        return 0.0
    try:
        with av.open(f"file:{path}", mode="r", metadata_errors="ignore") as container:
            return (container.duration or 0) / 1e6
    except av.error.FFmpegError:
        return 0.0


def decode_all(source: Source, rate: int) -> Samples:
    """The whole audio in memory, float32 `[n]`: for short clips."""
    return np.concatenate(list(decode(source, rate, rate)))


def _pieces(source: Source, name: str, rate: int) -> Iterator[Samples]:
    try:
        import av
    except ImportError as exc:
        raise ExecutorUnavailable(
            "reading audio needs PyAV; pip install 'voxturn[embedded]'"
        ) from exc
    if isinstance(source, str | Path):
        check_file(Path(source))
        given: str | _Reader = (
            f"file:{source}"  # or FFmpeg would take what is before a colon for a protocol
        )
    else:
        given = _Reader(source)
    try:
        with av.open(given, mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise UnreadableAudio(f"{name}: has no audio track")
            yield from _resampled(container, rate)
    except av.error.FFmpegError as exc:
        if isinstance(given, _Reader) and given.end == 0:
            raise EmptyAudio(f"{name}: is empty") from exc
        hint = (
            ""
            if isinstance(given, str) or given.seekable()
            else "; some kinds need a file instead of a pipe"
        )
        raise UnreadableAudio(
            f"{name}: not readable as audio, or cut short ({exc.strerror}){hint}"
        ) from exc


def check_file(path: Path) -> None:
    """Raise `AudioNotFound` or `EmptyAudio` unless there is something to read: a file, or a named pipe."""
    if path.is_dir():
        raise AudioNotFound(f"{path}: is a folder; give an audio file")
    if not path.exists():
        raise AudioNotFound(f"{path}: no such audio file")
    if path.is_file() and path.stat().st_size == 0:
        raise EmptyAudio(f"{path}: is empty")


class _Reader:
    """A binary stream for PyAV that knows how far it was read, so that an empty one can be told from a bad one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.end = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.end += len(data)
        return data

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _name(source: Source) -> str:
    name = source if isinstance(source, str | Path) else getattr(source, "name", "")
    return (
        str(name) if name and isinstance(name, str | Path) else "the stream"
    )  # a pipe's name is a number


def _resampled(container: Any, rate: int) -> Iterator[Samples]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    kind: tuple[str, str, int] | None = None
    gain = np.float32(1.0)
    for frame in container.decode(audio=0):
        frame.pts = None
        was, kind = kind, (frame.format.name, frame.layout.name, frame.sample_rate)
        if (
            was is not None and was != kind
        ):  # joined recordings may change in the middle; a resampler may not
            yield from (out.to_ndarray().reshape(-1) * gain for out in resampler.resample(None))
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        # FFmpeg mixes two channels at equal power: √2 louder than either where they are alike, and over full scale
        gain = np.float32(0.5**0.5 if frame.layout.nb_channels == 2 else 1.0)
        yield from (out.to_ndarray().reshape(-1) * gain for out in resampler.resample(frame))
    if kind:
        yield from (out.to_ndarray().reshape(-1) * gain for out in resampler.resample(None))


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
