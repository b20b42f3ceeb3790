"""A client's audio on its way into a session: raw PCM, or a container that is still being recorded,
which is decoded in a thread while it comes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import IO, Any, Protocol, cast

import numpy as np
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import decode
from voxturn.runtime.audio.limits import is_sound
from voxturn.runtime.errors import InvalidSamples, UnreadableAudio, VoxturnError
from voxturn.runtime.flow.event import Event
from voxturn.runtime.gateway.voice.messages import InputAudio
from voxturn.runtime.messages import Samples
from voxturn.runtime.turn.listen import RATE

_LOG = logging.getLogger(__name__)
_FRAME = RATE // 50
_AHEAD_BYTES = 1 << 18
"""That wait to be decoded; who sends more waits."""
_HEADER_BYTES = 1 << 20
"""In which the first sound of a container must begin."""

_WAV_HEADER_BYTES = 1 << 16
_EXTENSIBLE = 0xFFFE
"""The form of a WAV whose real one stands further behind (WAVE_FORMAT_EXTENSIBLE)."""

Sink = Callable[[Samples], Awaitable[None]]


class Incoming(Protocol):
    """One stream of audio. Its samples go to a sink at 16 kHz."""

    async def write(self, data: bytes) -> None:
        """Wait until there is room, then take bytes: all, or none where this is cancelled.

        Raises `AudioError`.
        """
        ...

    async def drained(self) -> None:
        """Wait until all that can be decoded of what was written has reached the sink."""
        ...

    async def aclose(self, flush: bool = False) -> None:
        """No more comes; with `flush` what was held back reaches the sink first."""
        ...


def incoming(
    audio: InputAudio, sink: Sink, failed: Callable[[Exception], None], longest_s: float
) -> Incoming:
    """What takes audio as a client declares it. `failed` is called with what a container's decoder
    raises, after which nothing more of it is heard."""
    if audio.format == "pcm":
        return RawPcm(audio.rate, audio.encoding, sink)
    if audio.format == "wav":
        return Wav(sink)
    return Container(audio.format, sink, failed, longest_s)


class RawPcm:
    """Samples without a header; several channels are mixed."""

    def __init__(self, rate: int, encoding: str, sink: Sink, channels: int = 1) -> None:
        self._type = np.dtype("<f4" if encoding == "f32le" else "<i2")
        self._channels = channels
        self._carry = b""
        self._sink = sink
        self._resampler: Any = None
        if rate != RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")

    async def write(self, data: bytes) -> None:
        """Take bytes, cut anywhere. Raises `InvalidSamples`."""
        data = self._carry + data
        size = self._type.itemsize * self._channels
        whole = len(data) // size * size
        self._carry = data[whole:]
        samples = np.frombuffer(data[:whole], self._type).astype(np.float32)
        if self._type.kind == "i":
            samples /= 32768.0
        elif not np.isfinite(samples).all():
            raise InvalidSamples("the audio has NaN or infinite samples")
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels).mean(axis=1)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        if samples.size:
            await self._sink(samples)

    async def drained(self) -> None:
        """Nothing is held back but what the resampler needs."""

    async def aclose(self, flush: bool = False) -> None:
        """Give what the resampler holds."""
        if flush and self._resampler is not None:
            rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            if rest.size:
                await self._sink(rest)


class Wav:
    """A WAV that is still being written: 16 bits or float32. FFmpeg would read to its end before
    the first sample; and the sizes in its header say nothing yet."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""
        self._pcm: RawPcm | None = None

    async def write(self, data: bytes) -> None:
        """Take bytes, cut anywhere. Raises `UnreadableAudio`, `InvalidSamples`."""
        if self._pcm is None:
            self._head += data
            if (begin := self._begin()) is None:
                return
            data, self._head = self._head[begin:], b""
        assert self._pcm is not None
        await self._pcm.write(data)

    async def drained(self) -> None:
        """Nothing is held back."""

    async def aclose(self, flush: bool = False) -> None:
        """As of raw PCM."""
        if self._pcm is not None:
            await self._pcm.aclose(flush)

    def _begin(self) -> int | None:
        """Where the samples begin; None while the header is not whole."""
        head = self._head
        if not b"RIFF".startswith(head[:4]) or not b"WAVE".startswith(head[8:12]):
            raise UnreadableAudio("the audio is no WAV")
        at, form = 12, b""
        while at + 8 <= len(head):
            name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if name == b"data":
                self._pcm = self._of(form)
                return at + 8
            if name == b"fmt ":
                form = head[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
        if at > _WAV_HEADER_BYTES:
            raise UnreadableAudio("the header of the WAV is too long")
        return None

    def _of(self, form: bytes) -> RawPcm:
        """What takes samples of a form (the chunk `fmt ` of RIFF)."""
        if len(form) < 16:
            raise UnreadableAudio("the WAV does not say what its samples are")
        tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
        if tag == _EXTENSIBLE and len(form) >= 26:
            tag = int.from_bytes(form[24:26], "little")
        encoding = {(1, 16): "s16le", (3, 32): "f32le"}.get((tag, bits))
        if encoding is None or not is_sound(rate, channels):
            raise UnreadableAudio(
                f"the WAV has {channels} channels of {bits} bits at {rate} Hz, of form {tag}; "
                "16 bits and float32 are read"
            )
        return RawPcm(rate, encoding, self._sink, channels)


class Container:
    """WebM or Ogg, cut anywhere. It is decoded in a thread of its own, which begins with the
    first byte."""

    def __init__(
        self, form: str, sink: Sink, failed: Callable[[Exception], None], longest_s: float
    ) -> None:
        self._form = form
        self._sink = sink
        self._failed = failed
        self._longest_s = longest_s
        self._loop = asyncio.get_running_loop()
        self._pipe = _Pipe(self._loop)
        self._thread: threading.Thread | None = None
        self._ended = Event()
        self._abandoned = False
        self._call: concurrent.futures.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Wait while too many are not decoded yet, then take bytes."""
        await self._pipe.room()
        if self._thread is None and data:
            self._thread = threading.Thread(target=self._run, name="voxturn-decode", daemon=True)
            self._thread.start()
        self._pipe.write(data)

    async def drained(self) -> None:
        """Wait until the decoder wants more."""
        if self._thread is not None:
            await self._pipe.starved()

    async def aclose(self, flush: bool = False) -> None:
        """End the stream, and its thread."""
        if not flush:
            self._abandoned = True
            if self._call is not None:
                self._call.cancel()
        self._pipe.close()
        if self._thread is not None:
            try:
                await self._ended.wait()
            except asyncio.CancelledError:
                self._abandoned = True
                if self._call is not None:
                    self._call.cancel()
                raise
            self._thread.join()

    def _run(self) -> None:
        """What the thread does."""
        try:
            pieces = decode(
                cast(IO[bytes], self._pipe),  # it has what is used of a file
                RATE,
                _FRAME,
                report=ReadReport(),
                longest_s=self._longest_s,
                growing=self._form,
            )
            for samples in pieces:
                self._pipe.sound_begun = True
                if self._abandoned:
                    return
                self._give(samples)
        except concurrent.futures.CancelledError:
            return
        except VoxturnError as exc:
            self._tell(exc)
        except Exception as exc:  # noqa: BLE001  of hostile bytes; told as what they are
            _LOG.warning("decoding failed: %s", type(exc).__name__, exc_info=exc)
            self._tell(UnreadableAudio("the audio cannot be decoded"))
        finally:
            self._pipe.end()
            self._loop.call_soon_threadsafe(self._ended.set)

    def _give(self, samples: Samples) -> None:
        """Wait until the sink has them."""
        self._call = asyncio.run_coroutine_threadsafe(self._sunk(samples), self._loop)
        self._call.result()
        self._call = None

    async def _sunk(self, samples: Samples) -> None:
        if not self._abandoned:
            await self._sink(samples)

    def _tell(self, error: Exception) -> None:
        if not self._abandoned and self._pipe.taken:
            self._loop.call_soon_threadsafe(self._failed, error)


class _Pipe:
    """Bytes from the event loop to the thread that decodes them, as a file that cannot be
    sought."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Condition()
        self._bytes = bytearray()
        self._closed = False
        self._starved = False
        self._ended = False
        self._changed = Event()
        self.taken = 0
        """Bytes that were read."""
        self.sound_begun = False

    # what the thread calls

    def read(self, size: int) -> bytes:
        """Some bytes, at least one; none at the end. Waits for them."""
        with self._lock:
            while not self._bytes and not self._closed:
                self._starved = True
                self._tell()
                self._lock.wait()
            self._starved = False
            data = bytes(self._bytes[:size])
            del self._bytes[:size]
            self._tell()
            self.taken += len(data)
            if self.sound_begun or self.taken <= _HEADER_BYTES:
                return data
            self._closed = True  # FFmpeg reads on before PyAV raises this
            self._bytes.clear()
            raise UnreadableAudio(
                f"no sound begins within the first {_HEADER_BYTES >> 20} MB of the audio"
            )

    def seekable(self) -> bool:
        return False

    def end(self) -> None:
        """Nobody reads any more."""
        with self._lock:
            self._ended = True
            self._bytes.clear()
            self._tell()

    # what the event loop calls

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with self._lock:
            if not self._ended and not self._closed:
                self._bytes += data
                self._starved = self._starved and not data
                self._lock.notify_all()

    def close(self) -> None:
        """No more comes."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._until(lambda: len(self._bytes) < _AHEAD_BYTES)

    async def starved(self) -> None:
        """Wait until all was read and more is waited for."""
        await self._until(lambda: self._starved and not self._bytes)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while True:
            with self._lock:
                if reached() or self._ended:
                    return
                self._changed.clear()
            await self._changed.wait()

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)
