"""What a session hears: bounded, for one reader at a time, who may give back what the next one is
to hear as well."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import replace

import numpy as np
from voxturn.runtime.errors import InvalidSamples, UsageError
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import Handoff, Overflow, close_iterator
from voxturn.runtime.messages import AudioFrame, Samples
from voxturn.runtime.turn.listen import RATE

_FRAME = RATE // 50
_LOOKBACK = 65
"""Frames, 1.3 s: how long before speech is noticed it may have begun."""


class Inbox:
    """Frames of 20 ms on their way in, at most `ahead_s` seconds that nobody has read; then the
    oldest are dropped.

    `start` of a frame counts the samples that came in. Among the frames may be the wish that what
    was said be answered.
    """

    def __init__(self, clock: Clock, ahead_s: float) -> None:
        self._clock = clock
        self._came: Handoff[AudioFrame | None] = Handoff(
            max(1, round(ahead_s * RATE / _FRAME)), Overflow.DROP_OLDEST
        )
        self._again: deque[AudioFrame] = deque()
        self._samples = 0
        self._asked_at: int | None = None

    @property
    def dropped_s(self) -> float:
        """How many seconds were dropped because they were read too late."""
        return self._came.dropped * _FRAME / RATE

    def push(self, sound: Samples | AudioFrame) -> None:
        """Add what was heard, without waiting.

        Raises `UsageError` or `InvalidSamples` for what is no 16 kHz audio, `StreamClosed` after
        `close`.
        """
        for frame in self._frames(sound):
            self._came.put_now(frame)

    async def feed(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Add frames as they are read: none is dropped. Closes them. Raises as `push`."""
        try:
            async for sound in frames:
                for frame in self._frames(sound):
                    await self._came.put(frame)
        finally:
            await close_iterator(frames)

    @property
    def unread(self) -> int:
        """How many frames and wishes wait."""
        return len(self._again) + self._came.unread

    def ask_answer(self) -> None:
        """Whoever listens is to take what came before this for the whole question."""
        self._asked_at = self._samples
        self._came.put_now(None)

    def give_back(self, frames: Iterable[AudioFrame]) -> None:
        """These are read again, before all others."""
        self._again.extendleft(reversed(list(frames)))

    def forget(self) -> None:
        """What nobody has read is not read any more; a wish for an answer is kept."""
        self._again.clear()
        self._came.discard(lambda frame: frame is not None)

    async def next(self) -> AudioFrame | None:
        """The next frame; None where an answer was asked for."""
        frame = self._again.popleft() if self._again else await anext(self._came)
        asked_at = self._asked_at
        if frame is not None and asked_at is not None and frame.start >= asked_at:
            self._again.appendleft(frame)  # the wish was dropped among what nobody read
            frame = None
        if frame is None:
            self._asked_at = None
        return frame

    async def piece(self, most: int) -> tuple[Samples, bool]:
        """What waits to be sent on, at most so many frames of it, and whether an answer was asked
        for after it.

        Waits for the first frame, or for the wish: then there may be no samples.
        """
        frames: list[Samples] = []
        frame = await self.next()
        while frame is not None:
            frames.append(frame.samples)
            if not self.unread or len(frames) == most:
                break
            frame = await self.next()
        samples = np.concatenate(frames) if frames else np.zeros(0, np.float32)
        return samples, frame is None

    async def frames(self) -> AsyncGenerator[AudioFrame, None]:
        """All frames; whether an answer was asked for does not matter."""
        while True:
            frame = await self.next()
            if frame is not None:
                yield frame

    def close(self) -> None:
        """Nobody reads any more."""
        self._came.abandon()
        self._again.clear()

    def _frames(self, sound: Samples | AudioFrame) -> Iterator[AudioFrame]:
        rate, arrived_s = RATE, self._clock.now()
        if isinstance(sound, AudioFrame):
            rate, arrived_s, sound = sound.rate, sound.arrived_s, sound.samples
        samples = _checked(sound, rate)
        for begin in range(0, samples.size, _FRAME):
            piece = samples[begin : begin + _FRAME]
            after = samples.size - begin - piece.size
            yield AudioFrame(piece, RATE, self._samples, arrived_s - after / RATE)
            self._samples += piece.size


class TurnFrames:
    """The frames of one turn, counted from its first one. They end where an answer is asked for.

    `first` is the first one's place among all that came in; `closed` is set when the turn reads no
    more. `last` are the last second's, and while somebody speaks all since just before he began.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._count = 0
        self.first: int | None = None
        self.answer_asked = False
        self.last: deque[AudioFrame] = deque()
        self.speaking = False
        self.closed = Event()

    def __aiter__(self) -> AsyncIterator[AudioFrame]:
        return self

    async def __anext__(self) -> AudioFrame:
        frame = None if self.answer_asked else await self._inbox.next()
        if frame is None:
            self.answer_asked = True
            raise StopAsyncIteration
        if self.first is None:
            self.first = frame.start
        self.last.append(frame)
        if not self.speaking and len(self.last) > _LOOKBACK:
            self.last.popleft()
        frame = replace(frame, start=self._count)
        self._count += frame.samples.size
        return frame

    async def aclose(self) -> None:
        """No more is read."""
        self.closed.set()


def _checked(samples: Samples, rate: int) -> Samples:
    """Samples that are 16 kHz mono audio as float32. Raises `UsageError`, `InvalidSamples`."""
    array = np.asarray(samples)
    if rate != RATE or array.ndim != 1 or array.dtype.kind != "f":
        raise UsageError(
            f"a session hears 16 kHz mono float32 [n], full scale ±1; "
            f"not {array.dtype} of shape {list(array.shape)} at {rate} Hz"
        )
    if not np.isfinite(array).all():
        raise InvalidSamples("the audio has NaN or infinite samples; check what records it")
    return array.astype(np.float32, copy=True)
