"""What a turn does with a recogniser: its words pass the content filter, its partial transcripts
keep to their share."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import takewhile

from voxturn.runtime.families.base import ClosableHearing, Hearing, Recogniser
from voxturn.runtime.families.options import HearingOptions, hearing_as
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.messages import Partial, Samples, Speaking, Transcript
from voxturn.runtime.text.filter import ContentFilter

RATE = 16000
_FIRST_PARTIAL_S = 1.0


class FilteredRecogniser:
    """A recogniser whose words have passed the content filter."""

    def __init__(self, recogniser: Recogniser, content_filter: ContentFilter) -> None:
        self.recogniser = recogniser
        self._filter = content_filter

    def hear(self, prior: str = "") -> FilteredHearing:
        """Begin an utterance. `prior` is the code of the language that the dialogue was in."""
        return FilteredHearing(self.recogniser.hear(prior), self._filter)

    def using(self, options: HearingOptions) -> FilteredRecogniser:
        """The same with the options of a request. Raises as `families.options.hearing_as`."""
        return FilteredRecogniser(hearing_as(self.recogniser, options), self._filter)

    def passed(self, transcript: Transcript) -> Transcript:
        """What is left of words that were heard, or typed.

        Where the filter changed the text, it comes without the words' times.
        """
        return _passed(self._filter, transcript)

    async def warm(self) -> None:
        """Compute what the first utterance would wait for."""
        await self.recogniser.warm()

    async def transcribe(
        self, samples: Samples, prior: str = "", words: bool = False
    ) -> Transcript:
        """The words in 16 kHz audio of any length, with their times if `words`; empty text where
        there are none."""
        return await self.hear(prior).final(samples, words)


class FilteredHearing:
    """One utterance, filtered.

    What was shown as stable stays as it was. A word of which only the beginning was stable is shown
    no further once it is seen to be one that is taken out.
    """

    def __init__(self, hearing: Hearing, content_filter: ContentFilter) -> None:
        self._hearing = hearing
        self._filter = content_filter
        self._passed = ""
        self._shown = ""

    async def partial(self, speaking: Speaking) -> Partial | None:
        """What was said so far; None where nothing of it is certain enough to show."""
        partial = await self._hearing.partial(speaking)
        if partial is None:
            return None
        stable, before = self._check(partial.stable, partial.language), self._passed
        self._shown = (self._shown + _new_in(stable, before)).lstrip()
        self._passed = stable
        whole = self._check(partial.stable + partial.unstable, partial.language)
        unstable = _new_in(whole, stable)
        unstable = unstable if self._shown else unstable.lstrip()
        return replace(partial, stable=self._shown, unstable=unstable)

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The whole utterance, as `FilteredRecogniser.passed` leaves it."""
        return _passed(self._filter, await self._hearing.final(samples, words))

    def close(self) -> None:
        """No more partials are asked for; `final` may be, all the same."""
        _close(self._hearing)

    def _check(self, text: str, language: str) -> str:
        return self._filter.check(text, "in", language).text


def _passed(content_filter: ContentFilter, transcript: Transcript) -> Transcript:
    passed = content_filter.check(transcript.text, "in", transcript.language)
    return replace(
        transcript,
        text=passed.text,
        filtered=passed.actions,
        words=transcript.words if passed.text == transcript.text else (),
        refusal=passed.refusal or transcript.refusal,
    )


def _new_in(text: str, before: str) -> str:
    """What `text` has after the part that it shares with `before`."""
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(before, text, strict=False))
    return text[sum(1 for _ in shared) :]


class Partials:
    """Makes partial transcripts of an utterance one at a time, in a task of its own, as often as
    `share` allows.

    `share`: the most of the time that they may take; 0: there are none. `first_s`: how much speech
    the first one needs.
    """

    def __init__(
        self, hearing: Hearing, share: float, clock: Clock, first_s: float = _FIRST_PARTIAL_S
    ) -> None:
        self.hearing = hearing
        self._share = share
        self._clock = clock
        self._first_s = first_s
        self._task: asyncio.Task[None] | None = None
        self._partial: Partial | None = None
        self._due = 0.0

    def offer(self, speaking: Speaking) -> Partial | None:
        """The speech so far; the partial that was completed since the last call, if one was."""
        if self._task is not None and not self._task.done():
            return None
        if self._task is not None:
            self._task.result()  # its error is the caller's
        partial = self._partial
        self._partial = None
        self._task = None
        seconds = sum(piece.size for piece in speaking.pieces) / RATE
        if self._share > 0 and seconds >= self._first_s and self._clock.now() >= self._due:
            self._task = asyncio.create_task(self._make(speaking))
        return partial

    async def stop(self) -> None:
        """Stop the partial that is being made: something more urgent needs the engine."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None

    async def aclose(self) -> None:
        """As `stop`, for ever: what is kept for partials may go. `hearing.final` may still be asked
        for."""
        try:
            await self.stop()
        finally:
            _close(self.hearing)

    async def _make(self, speaking: Speaking) -> None:
        begin = self._clock.now()
        self._partial = await self.hearing.partial(speaking)
        self._due = begin + (self._clock.now() - begin) / self._share


def _close(hearing: Hearing) -> None:
    if isinstance(hearing, ClosableHearing):
        hearing.close()
