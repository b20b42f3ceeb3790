"""Listen: audio frames in; the beginning and the (suspected) end of speech out. Silero VAD and an end-pointer.

Source of the model's interface: snakers4/silero-vad v6, windows of 512 samples with 64 samples of context at 16 kHz.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass

import numpy as np
from voxturn.runtime.handoff import Lane, close_iterator
from voxturn.runtime.messages import AudioFrame, Heard, Samples, SpeechResumed, SpeechStarted, Utterance
from voxturn.runtime.protocols import GraphExecutor

RATE = 16000
WINDOW = 512
_CONTEXT = 64
_WINDOW_MS = 1000 * WINDOW / RATE


@dataclass(frozen=True)
class Endpointing:
    """When speech begins and ends. `suspect_ms` of silence start the answer on suspicion, `end_ms` make it certain.

    Speech longer than `cut_s` is cut at the next short pause, at `max_s` anywhere.
    """

    threshold: float = 0.5
    start_ms: int = 64
    suspect_ms: int = 96
    end_ms: int = 400
    before_ms: int = 192
    cut_s: float = 20.0
    max_s: float = 28.0


class Endpointer:
    """The state machine behind the stage. Pure: windows and their speech probabilities in, `Heard` out."""

    def __init__(self, options: Endpointing) -> None:
        self._o = options
        self._windows: list[Samples] = []
        self._first = 0  # number of the first window held
        self._next = 0
        self._run = 0  # consecutive speech windows before the beginning, silent ones after it
        self._speaking = False
        self._spoke = False  # since the utterance began: False where a long speech was cut and silence followed
        self._suspected: Utterance | None = None

    def push(self, window: Samples, probability: float) -> Iterator[Heard]:
        """One window of 512 samples."""
        self._windows.append(window)
        self._next += 1
        if self._speaking:
            yield from self._in_speech(probability)
        elif self._enough_speech(probability):
            self._speaking, self._spoke, self._run = True, True, 0
            yield SpeechStarted((self._next - self._count(self._o.start_ms)) * WINDOW)
        else:
            self._forget(self._count(self._o.before_ms) + self._run)

    def flush(self) -> Iterator[Heard]:
        """The input ended: an open utterance is final."""
        if self._speaking:
            yield self._finish(more=False)

    def _enough_speech(self, probability: float) -> bool:
        self._run = self._run + 1 if probability >= self._o.threshold else 0
        return self._run >= self._count(self._o.start_ms)

    def _in_speech(self, probability: float) -> Iterator[Heard]:
        if probability >= self._o.threshold:
            self._run, self._spoke = 0, True
            if self._suspected is not None:
                self._suspected = None
                yield SpeechResumed((self._next - 1) * WINDOW)
        elif self._run or probability < self._o.threshold - 0.15:
            self._run += 1
        seconds = len(self._windows) * WINDOW / RATE
        if self._suspected is None and ((self._run and seconds >= self._o.cut_s) or seconds >= self._o.max_s):
            yield self._finish(more=True)
        elif self._run >= self._count(self._o.end_ms):
            yield self._finish(more=False)
        elif self._run >= self._count(self._o.suspect_ms) and self._suspected is None:
            self._suspected = self._utterance(final=False, more=False)
            yield self._suspected

    def _finish(self, more: bool) -> Utterance:
        """The final utterance; with the very samples of the suspected one where nothing but silence came since."""
        suspected = self._suspected
        utterance = (
            Utterance(suspected.samples, RATE, suspected.start, True, more)
            if suspected is not None
            else self._utterance(True, more)
        )
        self._suspected, self._run, self._speaking, self._spoke = None, 0, more, False
        self._forget(0 if more else self._count(self._o.before_ms))
        return utterance

    def _utterance(self, final: bool, more: bool) -> Utterance:
        samples = np.concatenate(self._windows) if self._spoke else np.zeros(0, np.float32)
        return Utterance(samples, RATE, self._first * WINDOW, final, more)

    def _forget(self, keep: int) -> None:
        drop = len(self._windows) - keep
        if drop > 0:
            del self._windows[:drop]
            self._first += drop

    @staticmethod
    def _count(ms: float) -> int:
        return max(1, round(ms / _WINDOW_MS))


class Listen:
    """The stage. The frames must have a rate of 16 kHz."""

    def __init__(self, vad: GraphExecutor, lane: Lane, options: Endpointing) -> None:
        self._vad, self._lane, self._options = vad, lane, options

    async def __call__(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[Heard, None]:
        endpointer = Endpointer(self._options)
        state = np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)
        tail = np.zeros(_CONTEXT, np.float32)  # the context of the next window, then samples that fill none yet
        try:
            async for frame in frames:
                tail = np.concatenate([tail, frame.samples])
                count = (tail.size - _CONTEXT) // WINDOW
                if not count:
                    continue
                windows = np.stack([tail[i * WINDOW : i * WINDOW + WINDOW + _CONTEXT] for i in range(count)])
                tail = tail[count * WINDOW :]
                out = await self._lane.run(self._vad.run, {"input": windows, "h": state[0], "c": state[1]})
                state = out["hn"], out["cn"]
                for window, probability in zip(windows, out["speech_probs"].reshape(-1), strict=True):
                    for heard in endpointer.push(window[_CONTEXT:], float(probability)):
                        yield heard
            for heard in endpointer.flush():
                yield heard
        finally:
            await close_iterator(frames)
