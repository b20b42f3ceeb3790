"""Audio of any kind to mono float32 frames, in bounded memory, through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from voxturn.runtime.errors import AudioNotFound, EmptyAudio, ExecutorUnavailable, InvalidSamples, UnreadableAudio
from voxturn.runtime.messages import Samples

Source = str | Path | IO[bytes]


def decode(source: Source, rate: int, frame_samples: int) -> Iterator[Samples]:
    """Frames of `frame_samples` samples (the last may be shorter) at `rate` Hz, mono, of any container FFmpeg reads.

    Raises `AudioNotFound`, `EmptyAudio`, `UnreadableAudio` or `InvalidSamples`, also after some frames were given.
    """
    name = str(source) if isinstance(source, str | Path) else getattr(source, "name", "the stream")
    count = 0
    for piece in _rechunk(_pieces(source, name, rate), frame_samples):
        if not np.isfinite(piece).all():
            raise InvalidSamples(f"{name}: has NaN or infinite samples near {count / rate:.2f} s; write it again")
        count += piece.size
        yield piece
    if count == 0:
        raise EmptyAudio(f"{name}: holds no samples")


def decode_raw(stream: IO[bytes], source_rate: int, rate: int, frame_samples: int) -> Iterator[Samples]:
    """Frames from headerless signed 16-bit little-endian mono PCM."""
    import soxr

    resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")

    def pieces() -> Iterator[Samples]:
        carry = b""
        while block := stream.read(1 << 15):
            block = carry + block
            whole = len(block) // 2 * 2
            carry = block[whole:]
            yield resampler.resample_chunk(np.frombuffer(block[:whole], "<i2").astype(np.float32) / 32768.0)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    count = 0
    for piece in _rechunk(pieces(), frame_samples):
        count += piece.size
        yield piece
    if count == 0:
        raise EmptyAudio("the stream: holds no samples")


def decode_all(source: Source, rate: int) -> Samples:
    """The whole audio in memory, float32 `[n]`: for short clips."""
    return np.concatenate(list(decode(source, rate, rate)))


def _pieces(source: Source, name: str, rate: int) -> Iterator[Samples]:
    try:
        import av
    except ImportError as exc:
        raise ExecutorUnavailable("reading audio needs PyAV; pip install 'voxturn[embedded]'") from exc
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise AudioNotFound(f"{name}: no such audio file")
        if path.stat().st_size == 0:
            raise EmptyAudio(f"{name}: is empty")
        source = str(path)
    try:
        with av.open(source, mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise UnreadableAudio(f"{name}: has no audio track")
            yield from _resampled(container, rate)
    except av.error.FFmpegError as exc:
        raise UnreadableAudio(f"{name}: not readable as audio, or cut short ({exc.strerror})") from exc


def _resampled(container: Any, rate: int) -> Iterator[Samples]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    for frame in container.decode(audio=0):
        frame.pts = None
        for out in resampler.resample(frame):
            yield out.to_ndarray().reshape(-1)
    for out in resampler.resample(None):
        yield out.to_ndarray().reshape(-1)


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
