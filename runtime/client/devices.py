"""A microphone and a loudspeaker for turns, by sounddevice (PortAudio): `pip install
'voxturn[audio]'`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import numpy as np
from voxturn.runtime.audio.echo import EchoCanceller
from voxturn.runtime.closing import Closing
from voxturn.runtime.errors import ExecutorUnavailable, StreamClosed
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.handoff import Handoff, Overflow, close_iterator
from voxturn.runtime.frames import FRAME_MS, RATE
from voxturn.runtime.messages import AudioFrame, PcmChunk, Samples

_LOG = logging.getLogger(__name__)
_FRAMES_AHEAD = 512  # ten seconds


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as exc:  # OSError: the package is there, PortAudio is not
        raise ExecutorUnavailable(
            f"a microphone or loudspeaker needs sounddevice and PortAudio ({exc}); pip install 'voxturn[audio]'"
        ) from exc
    return sounddevice


def check_devices(*kinds: str) -> None:
    """Raise `ExecutorUnavailable` without sounddevice, or without a device of these kinds: input,
    output."""
    library = _sounddevice()
    for kind in kinds:
        try:
            library.query_devices(kind=kind)
        except Exception as exc:  # PortAudioError, or ValueError where there is none
            raise ExecutorUnavailable(f"there is no sound device for {kind}; connect one") from exc


async def microphone(
    device: int | str | None = None, clock: Clock | None = None
) -> AsyncGenerator[AudioFrame, None]:
    """16 kHz frames of 20 ms for `VoiceClient.turn` or `Conversation.turn`, until this is closed.

    Whoever reads them more than ten seconds late loses the oldest; a warning says so once. The
    frames that are left follow each other: `start` counts the samples that were given, `arrived_s`
    is when a frame's last sample was there, in seconds of `clock`. Raises `ExecutorUnavailable`
    without sounddevice or a device.
    """
    library, loop = _sounddevice(), asyncio.get_running_loop()
    clock = clock or WallClock()
    handoff: Handoff[tuple[Samples, float]] = Handoff(_FRAMES_AHEAD, Overflow.DROP_OLDEST)

    def record(data: Any, *_: Any) -> None:
        """Called by the device's own thread."""
        loop.call_soon_threadsafe(put, np.array(data[:, 0], np.float32), clock.now())

    def put(samples: Samples, arrived_s: float) -> None:
        with contextlib.suppress(StreamClosed):  # the device's thread was a frame behind
            handoff.put_now((samples, arrived_s))

    try:
        stream = library.InputStream(
            samplerate=RATE,
            blocksize=RATE * FRAME_MS // 1000,
            channels=1,
            dtype="float32",
            device=device,
            callback=record,
        )
    except Exception as exc:  # PortAudioError, which is not importable without PortAudio
        raise ExecutorUnavailable(
            f"the microphone cannot be opened ({exc}); choose another device"
        ) from exc
    start, warned = 0, False
    with stream:
        try:
            async for samples, arrived_s in handoff:
                if handoff.dropped and not warned:
                    warned = True
                    lost_s = handoff.dropped * FRAME_MS / 1000
                    _LOG.warning(
                        "the microphone is read too late: its oldest %.1f s were dropped", lost_s
                    )
                yield AudioFrame(samples, RATE, start, arrived_s)
                start += samples.size
        finally:
            handoff.abandon()


async def without_echo(
    frames: AsyncIterator[AudioFrame], canceller: EchoCanceller
) -> AsyncGenerator[AudioFrame, None]:
    """A microphone's frames without what the loudspeaker plays. Closes them."""
    try:
        async for frame in frames:
            yield canceller.clean(frame)
    finally:
        await close_iterator(frames)


class Loudspeaker(Closing):
    """Plays chunks as they come; `played` says how many samples have sounded, which a turn wants to
    know at barge-in.

    `end` is what `played` will be when everything has sounded. `on_played` is called with all that
    is played, silence as well, in the device's own thread.
    """

    def __init__(
        self,
        rate: int,
        device: int | str | None = None,
        on_played: Callable[[Samples], None] | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Samples] = deque()
        self._on_played = on_played
        self._paused = False
        self.played = 0
        library = _sounddevice()
        self._stream: Any = None
        try:
            self._stream = library.OutputStream(
                samplerate=rate, channels=1, dtype="float32", device=device, callback=self._fill
            )
            self._stream.start()
        except Exception as exc:
            if self._stream is not None:
                self._stream.close()
            raise ExecutorUnavailable(
                f"the loudspeaker cannot be opened ({exc}); choose another device"
            ) from exc

    def play(self, chunk: PcmChunk) -> None:
        """Play a chunk after those before it."""
        with self._lock:
            self._waiting.append(chunk.samples)

    @property
    def end(self) -> int:
        with self._lock:
            return self.played + sum(samples.size for samples in self._waiting)

    def pause(self) -> None:
        """Be silent at once, and keep what was not played."""
        self._paused = True

    def resume(self) -> None:
        """Go on with the sample at which it was paused."""
        self._paused = False

    async def drain(self) -> None:
        """Wait until everything has sounded."""
        while self._pending() and self._stream.active:  # noqa: ASYNC110  the device tells nobody
            await asyncio.sleep(FRAME_MS / 1000)
        await asyncio.sleep(self._stream.latency)

    def stop(self) -> None:
        """Be silent at once: what was not played is dropped, and what comes is played."""
        with self._lock:
            self._waiting.clear()
        self._paused = False

    def close(self) -> None:
        """Be silent and free the device."""
        self.stop()
        self._stream.close()

    def _pending(self) -> int:
        with self._lock:
            return len(self._waiting)

    def _fill(self, out: Any, frames: int, *_: Any) -> None:
        """Called by the device's own thread."""
        done = 0
        with self._lock:
            while done < frames and self._waiting and not self._paused:
                samples = self._waiting.popleft()
                take = min(frames - done, samples.size)
                out[done : done + take, 0] = samples[:take]
                if take < samples.size:
                    self._waiting.appendleft(samples[take:])
                done += take
            self.played += done
        out[done:] = 0
        if self._on_played is not None:
            self._on_played(np.array(out[:, 0], np.float32))
