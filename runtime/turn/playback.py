"""How far the playback of an answer is: as it was told, otherwise as the clock says since."""

from __future__ import annotations

import asyncio

from voxturn.runtime.flow.clock import NEVER, Clock, done_by
from voxturn.runtime.flow.event import Event
from voxturn.runtime.messages import PcmChunk
from voxturn.runtime.text.words import ends_with_question
from voxturn.runtime.turn.memory import words_heard

LONGEST_PAUSE_S = 10.0
_NEARLY_S = 0.5
_EARLIER_S, _LATER_S = 0.8, 0.4
"""The words of a sentence are not spread evenly, and they are heard later than they are played."""


class Playback:
    """Chunks that are played one after the other from when they are added. Positions are samples of
    the answer.

    `whole` is set by whoever adds them when there are no more.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chunks: list[PcmChunk] = []
        self._samples = 0
        self._position = 0  # at `_at_s`
        self._at_s = clock.now()
        self._changed = Event()
        self.paused = False
        self.whole = False

    @property
    def position(self) -> int:
        """How many samples have been played."""
        if self.paused:
            return self._position
        return min(self._samples, self._line(self._clock.now()))

    @property
    def position_s(self) -> float:
        """As `position`, in seconds."""
        return self.position / self._rate

    @property
    def begun(self) -> bool:
        """Whether there is anything to play."""
        return bool(self._chunks)

    @property
    def over(self) -> bool:
        """Whether the whole answer has been played."""
        return self.whole and not self.paused and self.position >= self._samples

    @property
    def ended_s(self) -> float:
        """When the whole answer has been, or will have been, played; `NEVER` where that is not
        known."""
        if not self.whole or self.paused:
            return NEVER
        return self._at_s + (self._samples - self._position) / self._rate

    @property
    def asks(self) -> bool:
        """Whether the answer is over, or nearly, and ends with a question."""
        if not self.whole or (self._samples - self.position) > _NEARLY_S * self._rate:
            return False
        return bool(self._chunks) and ends_with_question(self._chunks[-1].sentence.text)

    @property
    def sounding(self) -> bool:
        """Whether something is being played now."""
        return self.begun and not self.paused and self.position < self._samples

    def add(self, chunk: PcmChunk) -> None:
        """Play a chunk after those before it."""
        self._set(self.position)
        self._chunks.append(chunk)
        self._samples += chunk.samples.size

    def told(self, ms: float) -> None:
        """Whoever plays has played so many milliseconds of the answer."""
        self._set(min(self._samples, round(ms * self._rate / 1000)))

    def finish(self) -> None:
        """Whoever plays counts all of it as played."""
        self.paused = False
        self._set(self._samples)

    def pause(self) -> None:
        """Stand still."""
        self._set(self.position)
        self.paused = True

    def resume(self) -> None:
        """Go on from where it stood."""
        self.paused = False
        self._set(self._position)

    async def finished(self) -> bool:
        """Wait until the whole answer has been played.

        False where it is paused for too long: nobody decides any more.
        """
        while not self.over:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            left_s = (self._samples - self._position) / self._rate
            due_s = self._at_s + (LONGEST_PAUSE_S if self.paused else left_s)
            try:
                if not await done_by(self._clock, changed, due_s) and self.paused:
                    return False
            finally:
                changed.cancel()
        return True

    def text_since(self, when_s: float) -> str:
        """The words that have been played since `when_s`, with some before and after."""
        begin = self._position if self.paused and when_s > self._at_s else self._line(when_s)
        end = self.position + round(_LATER_S * self._rate)
        before = words_heard(self._chunks, begin - round(_EARLIER_S * self._rate))
        return " ".join(words_heard(self._chunks, end)[len(before) :])

    @property
    def _rate(self) -> int:
        return self._chunks[0].rate if self._chunks else 1

    def _line(self, when_s: float) -> int:
        """Where it is at a time, as if it had gone on evenly."""
        return self._position + round((when_s - self._at_s) * self._rate)

    def _set(self, position: int) -> None:
        self._position = position
        if not self.paused:  # a pause counts from when it began
            self._at_s = self._clock.now()
        self._changed.set()
