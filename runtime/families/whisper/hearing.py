"""Transcribe: utterances in, their words out; partial transcripts while an utterance is still being spoken.

What successive partial hypotheses agree in is stable, and the next one goes on from there, so that a partial never takes
back what it gave as stable. The final transcript is decoded anew from the whole utterance: going on from what is stable
was measured to cost 1 to 1.5 points of word errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from voxturn.runtime.families.whisper.agreement import Agreement
from voxturn.runtime.families.whisper.recognise import (
    LONGEST_S,
    RATE,
    Features,
    Guard,
    Hypothesis,
    Whisper,
)
from voxturn.runtime.families.whisper.words import words_of
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import cancel_and_wait, close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Partial, Samples, Speaking, Transcript, Utterance
from voxturn.runtime.protocols import SpeechToTextExecutor
from voxturn.runtime.text.filter import ContentFilter
from voxturn.runtime.text.tokenizer import Tokenizer

_FIRST_PARTIAL_S = 1.0


class Transcribe:
    """The stage. `language`, `names` and `guard` as in `Whisper`.

    Partials take at most `partial_share` of the time of the lane's engine; 0: there are none.
    """

    def __init__(
        self,
        executor: SpeechToTextExecutor,
        tokenizer: Tokenizer,
        features: Features,
        lane: Lane,
        language: str,
        content_filter: ContentFilter,
        names: Sequence[str] = (),
        partial_share: float = 0.25,
        guard: Guard | None = None,
    ) -> None:
        self.whisper = Whisper(executor, tokenizer, features, language, names, guard)
        self.lane, self.filter, self.partial_share = lane, content_filter, partial_share

    async def __call__(
        self, utterances: AsyncIterator[Utterance]
    ) -> AsyncGenerator[Transcript, None]:
        language = ""
        try:
            async for utterance in utterances:
                transcript = await self.transcribe(utterance.samples, prior=language)
                language = transcript.language if transcript.text else language
                yield transcript
        finally:
            await close_iterator(utterances)

    def hear(self, prior: str = "") -> Hearing:
        """Begin an utterance. `prior` is the language that the conversation was in."""
        return Hearing(self, prior)

    async def transcribe(
        self, samples: Samples, prior: str = "", words: bool = False
    ) -> Transcript:
        """The words in 16 kHz audio of any length, with their times if `words`; empty text where there are none."""
        return await self.hear(prior).final(samples, words)


class Hearing:
    """One utterance: its language, asked of the model once, and the words of it that are stable."""

    def __init__(self, stage: Transcribe, prior: str) -> None:
        self._stage, self._prior = stage, prior
        self._language = stage.whisper.language
        self._agreement: Agreement[tuple[int, ...]] = Agreement()
        self._stable = ""
        self._shown = 0

    async def partial(self, speaking: Speaking) -> Partial | None:
        """What was said so far, in one attempt; None where it is not believed."""
        whisper, lane = self._stage.whisper, self._stage.lane
        samples = speaking.samples
        if samples.size > LONGEST_S * RATE:
            return None
        encoded = await lane.run(
            whisper.encode, samples
        )  # two calls: whoever is more urgent waits for one at most
        if not self._language:
            self._language = await lane.run(whisper.language_of, encoded, self._prior)
        known = [token for word in self._agreement.stable for token in word]
        found = await lane.run(whisper.decode, encoded, samples.size / RATE, self._language, known)
        if not found.believed or not found.text:
            return None
        unstable = self._passed(
            self._agreement.push(words_of(found.ids, whisper.tokenizer, found.language))
        )
        stable = self._show_stable()
        return Partial(
            stable, unstable if stable else unstable.lstrip(), self._language, speaking.start
        )

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The whole utterance, of any length; with the times of its words if `words`."""
        recognise, lane, size = (
            self._stage.whisper.recognise,
            self._stage.lane,
            int(LONGEST_S * RATE),
        )
        done: list[Hypothesis] = []
        for begin in range(0, samples.size, size):
            found = await lane.run(
                recognise, samples[begin : begin + size], self._language, self._prior, words
            )
            self._language = found.language
            done.append(found.later(begin / RATE))
        raw = " ".join(found.text for found in done if found.text)
        passed = self._stage.filter.check(raw, "in")
        return Transcript(
            passed.text,
            self._language,
            min((found.score for found in done), default=0.0),
            sum(found.fallbacks for found in done),
            passed.actions,
            tuple(word for found in done for word in found.words) if passed.text == raw else (),
        )

    def _show_stable(self) -> str:
        """The stable words as they may be shown; each is filtered once, so that what was shown stays."""
        self._stable = (self._stable + self._passed(self._agreement.stable[self._shown :])).lstrip()
        self._shown = len(self._agreement.stable)
        return self._stable

    def _passed(self, words: tuple[tuple[int, ...], ...]) -> str:
        text = self._stage.whisper.tokenizer.decode([token for word in words for token in word])
        return self._stage.filter.check(text, "in").text


class Partials:
    """Makes partial transcripts of an utterance one at a time, in a task of its own, as often as their share allows."""

    def __init__(self, hearing: Hearing, share: float, clock: Clock) -> None:
        self.hearing, self._share, self._clock = hearing, share, clock
        self._task: asyncio.Task[None] | None = None
        self._made: Partial | None = None
        self._due = 0.0

    def offer(self, speaking: Speaking) -> Partial | None:
        """The speech so far; the partial that was completed since the last call, if one was."""
        if self._task is not None and not self._task.done():
            return None
        if self._task is not None:
            self._task.result()  # its error is the caller's
        made, self._made, self._task = self._made, None, None
        seconds = sum(piece.size for piece in speaking.pieces) / RATE
        if self._share > 0 and seconds >= _FIRST_PARTIAL_S and self._clock.now() >= self._due:
            self._task = asyncio.create_task(self._make(speaking))
        return made

    async def aclose(self) -> None:
        """Stop the partial that is being made: something more urgent needs the engine."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None

    async def _make(self, speaking: Speaking) -> None:
        begin = self._clock.now()
        self._made = await self.hearing.partial(speaking)
        self._due = begin + (self._clock.now() - begin) / self._share
