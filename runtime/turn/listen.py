"""Listen: audio frames in; the beginning and the (suspected) end of speech out, by an end-pointer
over voice activity."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import numpy as np
from voxturn.runtime.families.base import VoiceActivity
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import (
    AudioFrame,
    Heard,
    Samples,
    Speaking,
    SpeechResumed,
    SpeechStarted,
    Utterance,
)
from voxturn.runtime.turn.background import Background

RATE = 16000
WINDOW = 512
_SUSPICION = 0.1
_LONGEST_SUSPICION_MS = 1000


@dataclass(frozen=True)
class Endpointing:
    """When speech begins and ends. `suspect_ms` of silence start the answer on suspicion; then it
    is certain after

    `finished_ms` where the words so far sound finished, `unfinished_ms` where they do not, `end_ms`
    where nobody knows. `eager` from 0 to 1 halves or doubles the three: 1 answers soonest and
    interrupts most. What is heard begins `before_ms` before the first window that may be speech.
    Speech longer than `cut_s` is cut at the next pause of `cut_pause_ms`, at `max_s` anywhere.
    """

    threshold: float = 0.5
    start_ms: int = 64
    suspect_ms: int = 96
    finished_ms: int = 192
    end_ms: int = 400
    unfinished_ms: int = 1200
    eager: float = 0.5
    before_ms: int = 192
    cut_s: float = 20.0
    cut_pause_ms: int = 32
    max_s: float = 28.0

    def wait_ms(self, finished: float | None) -> float:
        """The silence that makes an end certain.

        `finished`: how likely the words are complete; None: not known.
        """
        likely = 0.5 if finished is None else finished
        ms = float(
            np.interp(likely, [0.0, 0.5, 1.0], [self.unfinished_ms, self.end_ms, self.finished_ms])
        )
        return max(float(self.suspect_ms), ms * 2 ** (1 - 2 * self.eager))


class Endpointer:
    """The state machine behind the stage. Pure: windows and their speech probabilities in, `Heard`
    out.

    How long a silence must be is asked with every window, so that whoever reads the words may
    change it meanwhile.
    """

    def __init__(self, options: Endpointing, window: int = WINDOW) -> None:
        self.options = options
        self._window = window
        self._windows: list[Samples] = []
        self._first = 0  # number of the first window held
        self._next = 0
        self._run = 0  # consecutive speech windows before the beginning, silent ones after it
        self._doubtful = 0  # consecutive windows before the beginning that may be speech
        self._speaking = False
        self._spoke = False  # since the utterance began: False where a long speech was cut and silence followed
        self._suspected: Utterance | None = None

    def push(
        self, window: Samples, probability: float, finished: float | None = None
    ) -> Iterator[Heard]:
        """One window of samples.

        `finished` as in `Endpointing.wait_ms`, of the utterance whose end is suspected.
        """
        self._windows.append(window)
        self._next += 1
        if self._speaking:
            yield from self._in_speech(probability, finished)
        elif self._enough_speech(probability):
            self._speaking, self._spoke, self._run = True, True, 0
            yield SpeechStarted((self._next - self._count(self.options.start_ms)) * self._window)
        else:
            self._forget(self._count(self.options.before_ms) + max(self._run, self._doubtful))

    def flush(self) -> Iterator[Heard]:
        """The input ended: an open utterance is final."""
        if self._speaking:
            yield self._finish(more=False)

    def _enough_speech(self, probability: float) -> bool:
        self._run = self._run + 1 if probability >= self.options.threshold else 0
        # after a long noise the detector needs a word to be sure; until then it doubts
        doubtful = self._doubtful + 1 if probability >= _SUSPICION else 0
        self._doubtful = min(doubtful, self._count(_LONGEST_SUSPICION_MS))
        return self._run >= self._count(self.options.start_ms)

    def _in_speech(self, probability: float, finished: float | None) -> Iterator[Heard]:
        if probability >= self.options.threshold:
            self._run, self._spoke = 0, True
            if self._suspected is not None:
                self._suspected = None
                yield SpeechResumed((self._next - 1) * self._window)
            yield Speaking(tuple(self._windows), RATE, self._first * self._window)
        elif self._run or probability < self.options.threshold - 0.15:
            self._run += 1
        seconds = len(self._windows) * self._window / RATE
        pause = self._run >= self._count(self.options.cut_pause_ms)
        if self._suspected is None and (
            (pause and seconds >= self.options.cut_s) or seconds >= self.options.max_s
        ):
            yield self._finish(more=True)
        elif self._run >= self._count(self.options.wait_ms(finished)):
            yield self._finish(more=False)
        elif self._run >= self._count(self.options.suspect_ms) and self._suspected is None:
            self._suspected = self._utterance(final=False, more=False)
            yield self._suspected

    def _finish(self, more: bool) -> Utterance:
        """The final utterance; with the very samples of the suspected one where nothing but silence
        came since."""
        suspected = self._suspected
        utterance = (
            Utterance(suspected.samples, RATE, suspected.start, True, more)
            if suspected is not None
            else self._utterance(True, more)
        )
        self._suspected, self._run, self._speaking, self._spoke = None, 0, more, False
        self._doubtful = 0
        self._forget(0 if more else self._count(self.options.before_ms))
        return utterance

    def _utterance(self, final: bool, more: bool) -> Utterance:
        samples = np.concatenate(self._windows) if self._spoke else np.zeros(0, np.float32)
        return Utterance(samples, RATE, self._first * self._window, final, more)

    def _forget(self, keep: int) -> None:
        drop = len(self._windows) - keep
        if drop > 0:
            del self._windows[:drop]
            self._first += drop

    def _count(self, ms: float) -> int:
        """How many windows a time is, at least one."""
        return max(1, round(ms * RATE / 1000 / self._window))


class Listen:
    """Audio frames to what is heard. The frames must have a rate of 16 kHz. `options` may change
    meanwhile: they hold from the next window on."""

    def __init__(self, activity: VoiceActivity, options: Endpointing) -> None:
        self._activity = activity
        self.options = options

    def using(self, options: Endpointing) -> Listen:
        """The same voice activity with another end-pointer."""
        return Listen(self._activity, options)

    async def __call__(
        self,
        frames: AsyncIterator[AudioFrame],
        finished: Callable[[], float | None] = lambda: None,
        background: Background | None = None,
    ) -> AsyncGenerator[Heard, None]:
        """What is heard.

        `finished` is asked how likely the words of the suspected utterance are complete.
        `background` learns what is behind the speaker; None: all speech is his.
        """
        endpointer = Endpointer(self.options, self._activity.window)
        activity = self._activity.stream()
        try:
            async for frame in frames:
                for window, probability in await activity.push(frame.samples):
                    if background is not None:
                        probability = background.foreground(window, probability, not frame.over)
                    endpointer.options = self.options
                    for heard in endpointer.push(window, probability, finished()):
                        yield heard
            for heard in endpointer.flush():
                yield heard
        finally:
            await close_iterator(frames)
