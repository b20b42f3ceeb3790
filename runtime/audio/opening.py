"""Opening a recording by PyAV (FFmpeg's libraries): a file, a named pipe or a stream; its container, track and decoder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO, Any, Literal

from voxturn.runtime.errors import EmptyAudio, UnreadableAudio, UsageError

Source = str | Path | IO[bytes]

_FRAME_BY_FRAME = {"fflags": "+noparse+nofillin"}
"""FFmpeg's reader of ADTS finds whole frames itself; without a parser behind it, it says at which byte each lies."""
_HEAD_BYTES = 1 << 15
_BIG_ENDIAN_RIFF = b"RIFX"
_ONE_BYTE = frozenset({"pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"})
"""Codecs whose samples have no byte order."""


class Opening:
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


def _open(av: Any, target: Any, options: dict[str, str] | None = None) -> Any:
    return av.open(target, mode="r", metadata_errors="ignore", options=options or {})


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
