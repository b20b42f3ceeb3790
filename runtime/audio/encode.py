"""Audio out: WAV files written whole or not at all, and WAV or raw PCM into a pipe while it is
made."""

from __future__ import annotations

import errno
import os
import struct
import uuid
import wave
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import DiskFull, OutputNotWritable, UsageError
from voxturn.runtime.messages import Samples

_UNKNOWN_LENGTH = 0x7FFFFFFF
_OTHER_FORMATS = frozenset(
    {
        ".mp3",
        ".ogg",
        ".oga",
        ".opus",
        ".flac",
        ".m4a",
        ".aac",
        ".wma",
        ".webm",
        ".mp4",
        ".aiff",
        ".raw",
        ".pcm",
    }
)


class AudioSink(Protocol):
    """Takes samples in order."""

    def write(self, samples: Samples) -> None: ...


def to_int16(samples: Samples) -> bytes:
    """Signed 16-bit little-endian; what is over full scale is clipped. Samples that came of 16 bits
    are the same again."""
    scaled: npt.NDArray[np.int16] = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    return scaled.tobytes()


def from_int16(data: bytes) -> Samples:
    """Samples of signed 16-bit little-endian."""
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def wav_header(rate: int, size: int | None = None) -> bytes:
    """The beginning of a 16-bit mono WAV of so many bytes of samples; None: that is not known yet."""
    size = _UNKNOWN_LENGTH - 36 if size is None else size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE")
        + form
        + struct.pack("<4sI", b"data", size)
    )


class WavFile:
    """A 16-bit WAV file, mono or with more channels. It appears under its name when the `with`
    block ends without an error.

    Raises `UsageError` for a name that promises another format, `OutputNotWritable`.
    """

    def __init__(self, path: str | Path, rate: int, channels: int = 1) -> None:
        check_suffix(Path(path), ".wav", _OTHER_FORMATS)
        self._name = path
        self._path = file_behind(path)
        self._temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}.tmp")
        try:
            self._file = self._temporary.open("wb")
        except OSError as exc:
            raise OutputNotWritable(f"{path}: cannot be written ({exc.strerror})") from exc
        self._wave = wave.open(self._file, "wb")
        self._wave.setparams((channels, 2, rate, 0, "NONE", "not compressed"))

    def write(self, samples: Samples) -> None:
        """Add samples; of several channels `[n, channels]`.

        Raises `DiskFull` or `OutputNotWritable`.
        """
        try:
            self._wave.writeframesraw(to_int16(samples))
        except OSError as exc:
            raise output_error(exc, str(self._name)) from exc

    def __enter__(self) -> WavFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            self._wave.close()  # completes the header; also after an error, or the object would complain when it goes
            self._file.close()
            if kind is None:
                self._temporary.replace(self._path)
        except OSError as exc:
            if kind is None:
                raise output_error(exc, str(self._name)) from exc
        finally:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


class PipeSink:
    """Samples into a pipe as they come: 16-bit mono, after a WAV header of open length unless
    `raw`."""

    def __init__(self, pipe: IO[bytes], rate: int, raw: bool) -> None:
        self._pipe = pipe
        if not raw:
            self._put(wav_header(rate))

    def write(self, samples: Samples) -> None:
        """Add samples; they leave at once."""
        self._put(to_int16(samples))

    def _put(self, data: bytes) -> None:
        try:
            self._pipe.write(data)
            self._pipe.flush()
        except BrokenPipeError:
            raise  # whoever listened has gone: no error, an end
        except OSError as exc:
            raise output_error(exc, "the output pipe") from exc


def file_behind(path: str | Path) -> Path:
    """Where a file of this name is written: behind its links. Raises `OutputNotWritable` where that
    cannot or must not be.

    A file is made under another name and renamed, so it would take the place of a device or a pipe.
    """
    target = Path(os.path.realpath(path))
    try:
        if not target.parent.is_dir():
            raise OutputNotWritable(f"{path}: its folder does not exist")
        if target.is_dir():
            raise OutputNotWritable(f"{path}: is a folder")
        if target.exists() and not target.is_file():
            raise OutputNotWritable(
                f"{path}: is no file but a device or a pipe, which a file would replace; use -o - and redirect"
            )
    except OSError as exc:
        raise output_error(exc, str(path)) from exc
    return target


def check_suffix(path: Path, suffix: str, others: Collection[str]) -> None:
    """Raise `UsageError` for a file that has `suffix`'s format and whose name has one of `others`."""
    if path.suffix.lower() in others:
        raise UsageError(
            f"{path}: is written as {suffix[1:].upper()}; name it {path.with_suffix(suffix).name}"
        )


def output_error(exc: OSError, where: str) -> DiskFull | OutputNotWritable:
    """The voxturn error for a failed write."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{where}: the disk is full; what was there before is untouched")
    return OutputNotWritable(f"{where}: cannot be written ({exc.strerror})")
