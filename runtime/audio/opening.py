"""Opening a recording by PyAV (FFmpeg's libraries): a file, a named pipe or a stream; its
container, track and decoder.

FFmpeg is given bytes, never a name, so that it opens nothing else: not what a playlist or a
reference in a container names.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import shlex
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

from voxturn.runtime.audio.limits import (
    LEAST_RATE,
    MOST_CHANNELS,
    MOST_FRAME_SAMPLES,
    MOST_HEADER_BYTES,
    MOST_RATE,
    believable_s,
    is_sound,
    limit_allocations,
    open_options,
    opening_bytes,
)
from voxturn.runtime.errors import (
    AudioNotFound,
    AudioTooLong,
    EmptyAudio,
    UnreadableAudio,
    UsageError,
)
from voxturn.runtime.memory import at_most

Source = str | Path | IO[bytes]

_FRAME_BY_FRAME = {"fflags": "+noparse+nofillin"}
"""FFmpeg's reader of ADTS finds whole frames itself; without a parser behind it, it says at which
byte each lies."""
_HEAD_BYTES = 1 << 15
_BLOCK_BYTES = 1 << 16
_BIG_ENDIAN_RIFF = b"RIFX"
_ONE_BYTE = frozenset({"pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"})
"""Codecs whose samples have no byte order."""
_NEVER_IN_TEXT = frozenset(range(8))
_HEADERLESS = {
    ".al": "alaw",
    ".alaw": "alaw",
    ".ul": "mulaw",
    ".ulaw": "mulaw",
    ".mulaw": "mulaw",
}
"""FFmpeg's formats by the names of files of telephony, which have no header: none says their rate."""


class Opening:
    """How a recording is opened, and what is said where it cannot be read."""

    def __init__(self, name: str, errors: tuple[type[Exception], ...], growing: str = "") -> None:
        """`growing`: FFmpeg's name of the format of a stream that is still being made. It is not
        guessed, which takes more bytes than may have come, nor is the process's memory bounded for
        as long as its maker takes: who feeds it limits it."""
        self.errors = errors
        """What PyAV raises of damaged data."""
        self._growing = growing
        self._name = name
        self._reader: _Reader | None = None

    @property
    def _head(self) -> bytes:
        return self._reader.head if self._reader is not None else b""

    @property
    def _magic(self) -> bytes:
        return self._head[:4]

    @property
    def believable_s(self) -> float:
        """How long sound in its bytes may be: those of a file, or those that have come of a pipe."""
        return believable_s(self._reader.size if self._reader is not None else 0)

    def container(self, av: Any, source: Source, files: contextlib.ExitStack) -> Any:
        """PyAV's container of a file, a named pipe or a stream; `files` closes it."""
        limit_allocations()
        stream, file_name = source, ""
        if isinstance(stream, str | Path):
            file_name = Path(stream).name
            stream = files.enter_context(open_file(Path(stream)))
        reader = self._reader = _Reader(stream, self._name, file_name)
        bounded = at_most(opening_bytes(reader.whole_size))
        with contextlib.nullcontext() if self._growing else bounded:
            container = files.enter_context(self._open(av, reader, {}))
            if container.format.name == "aac":
                container.close()
                reader.rewind()
                container = files.enter_context(self._open(av, reader, _FRAME_BY_FRAME))
        reader.opened()
        return container

    def _open(self, av: Any, reader: _Reader, options: dict[str, str]) -> Any:
        return av.open(
            reader,
            mode="r",
            format=self._growing or None,
            metadata_errors="ignore",
            options=open_options() | options,
            buffer_size=_BLOCK_BYTES,
            io_open=self._refuse_reference,
        )

    def _refuse_reference(self, url: str, flags: int, options: dict[str, str]) -> NoReturn:
        """What FFmpeg calls where a container wants another file or an address opened."""
        raise UnreadableAudio(
            f"{self._name}: refers to another file or address, which is not opened; give the recording itself"
        )

    def decoder(self, av: Any, stream: Any) -> Any:
        """What decodes a track. Raises `UnreadableAudio`."""
        codec = stream.codec_context
        if codec is None:
            raise UnreadableAudio(f"{self._name}: its audio is of a codec that cannot be decoded")
        self._check_form(codec)
        if self._magic == _BIG_ENDIAN_RIFF and codec.name not in _ONE_BYTE:
            codec = self._big_endian(av, codec)
        codec.options = {"max_samples": str(MOST_FRAME_SAMPLES)}
        return codec

    def _big_endian(self, av: Any, codec: Any) -> Any:
        """FFmpeg reads the samples of a big-endian RIFF as if they were little-endian."""
        if not codec.name.startswith("pcm_") or not codec.name.endswith("le"):
            raise UnreadableAudio(
                f"{self._name}: is a big-endian RIFF of {codec.name}; only its PCM is read, convert it"
            )
        other = av.CodecContext.create(f"{codec.name[:-2]}be", "r")
        other.sample_rate = codec.sample_rate
        other.layout = codec.layout
        return other

    def _check_form(self, codec: Any) -> None:
        """Raise `UnreadableAudio` for a rate or channels that no audio has.

        Of some kinds only frames have the rate.
        """
        rate, channels = codec.sample_rate, codec.layout.nb_channels
        if not is_sound(rate or LEAST_RATE, channels or 1):
            raise UnreadableAudio(
                f"{self._name}: says that it has {channels} channels at {rate} Hz; "
                f"up to {MOST_CHANNELS} at {LEAST_RATE} to {MOST_RATE} Hz are read"
            )

    def check_length(self, sound_s: float) -> None:
        """Raise `AudioTooLong` for more seconds of sound than its bytes can hold."""
        if sound_s > self.believable_s:
            raise AudioTooLong(
                f"{self._name}: makes more than {self.believable_s:.0f} s of sound out of few bytes, as no recording does"
            )

    def data_bytes(self) -> int | None:
        """The size that a RIFF's header gives its samples; FFmpeg takes that of the file where it
        is smaller."""
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
        head = self._head
        if not head:
            return EmptyAudio(f"{self._name}: is empty")
        if self._magic == _BIG_ENDIAN_RIFF:
            return UnreadableAudio(
                f"{self._name}: is a big-endian RIFF of a kind that is not read; convert it to RIFF"
            )
        if _is_text(head):
            return UnreadableAudio(
                f"{self._name}: not readable as audio: it is text, as a playlist is; give the recording itself"
            )
        if (form := _HEADERLESS.get(Path(self._name).suffix.lower())) is not None:
            return UnreadableAudio(
                f"{self._name}: has no header that says its rate; give it one: "
                f"ffmpeg -f {form} -ar 8000 -i {shlex.quote(self._name)} with-header.wav"
            )
        hint = ""
        if self._reader is not None and not self._reader.seekable():
            hint = "; some kinds need a file instead of a pipe"
        reason = getattr(exc, "strerror", None) or exc
        return UnreadableAudio(
            f"{self._name}: not readable as audio, or cut short ({reason}){hint}"
        )


def check_file(path: Path) -> None:
    """Raise `AudioError` unless there is something to read: a file that is not empty, or a named
    pipe."""
    if path.is_dir():
        raise AudioNotFound(f"{path}: is a folder; give an audio file")
    if not path.exists():
        raise AudioNotFound(f"{path}: no such audio file")
    if path.is_fifo():
        return
    if not path.is_file():
        raise UnreadableAudio(f"{path}: is a device or a socket; give an audio file")
    if path.stat().st_size == 0:
        raise EmptyAudio(f"{path}: is empty")


def open_file(path: Path) -> IO[bytes]:
    """A recording's bytes. Raises `AudioError`."""
    check_file(path)
    try:
        return path.open("rb")
    except OSError as exc:
        raise UnreadableAudio(f"{path}: cannot be read ({exc.strerror})") from exc


def track_of(container: Any, name: str, track: int) -> Any:
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


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return _NEVER_IN_TEXT.isdisjoint(head)


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


class _Reader:
    """A binary stream for PyAV. While it is being opened it can begin again, and too long a header
    is refused.

    `recording` is what errors call it. By the file's name FFmpeg knows those kinds that have no
    header.
    """

    def __init__(self, stream: IO[bytes], recording: str, file_name: str) -> None:
        self.name = file_name
        self._stream = stream
        self._recording = recording
        self._start = stream.tell() if stream.seekable() else None
        self._opening = True
        self._failed = False
        self._taken = 0
        """Bytes that were read, since it began again."""
        self._again = memoryview(b"")
        self._kept = bytearray()
        """What was read of a stream that cannot be sought."""
        self.head = self._read(_HEAD_BYTES)
        """How it begins."""
        self._size = stream.seek(0, 2) if self._start is not None else 0
        self.rewind()

    @property
    def size(self) -> int:
        """Bytes of the file; of a pipe, those that have come."""
        return self._size or self._taken

    @property
    def whole_size(self) -> int:
        """Bytes of the file; of a pipe, those that its header may have."""
        return self._size if self._start is not None else MOST_HEADER_BYTES

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises `UnreadableAudio` where it cannot be read, or its header does not end.
        """
        if self._again:
            data, self._again = bytes(self._again[:size]), self._again[size:]
        else:
            data = self._read(size)
        self._taken += len(data)
        if self._opening and not self._failed and self._taken > MOST_HEADER_BYTES:
            raise self._failure(
                f"no sound begins within its first {MOST_HEADER_BYTES >> 20} MB; remove its pictures"
            )
        return data

    def _failure(self, reason: str) -> UnreadableAudio:
        """An error, which PyAV raises when FFmpeg is done.

        That may read on until then, and finds the end.
        """
        self._failed = True
        return UnreadableAudio(f"{self._recording}: {reason}")

    def _read(self, size: int) -> bytes:
        try:
            data = b"" if self._failed else self._stream.read(size)
        except OSError as exc:
            raise self._failure(f"cannot be read ({exc.strerror})") from exc
        if self._opening and self._start is None:
            self._kept += data
        return data

    def rewind(self) -> None:
        """Begin again; not after `opened`."""
        self._taken = 0
        if self._start is not None:
            self._stream.seek(self._start)
        else:
            self._again = memoryview(bytes(self._kept))

    def opened(self) -> None:
        """Nothing begins again from here on."""
        self._opening = False
        self._kept.clear()

    def seekable(self) -> bool:
        return self._start is not None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Where it is now; as FFmpeg has it, a negative number where that is no place: a header may
        name any."""
        try:
            return self._stream.seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL

    def tell(self) -> int:
        return self._stream.tell()
