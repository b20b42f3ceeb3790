"""Several voices as one: each sentence goes to the voice of its language."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.families.base import WRITTEN, Preparation, Voice, VoiceOptions, styles_of
from voxturn.runtime.families.pipe import as_read
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import PcmChunk, Samples, Sentence
from voxturn.runtime.text.language import Languages


class VoiceByLanguage:
    """A `Voice`. `own`: by tag, the voices of languages that have one for themselves; all other
    sentences go to `usual`. `language`: that of sentences that name none; empty: the usual voice's.

    Its audio has the usual voice's rate: what another one says is resampled. Voices take turns; the
    next one begins when the last sample of the one before was given. Raises `ExecutorUnavailable`
    where that needs soxr, which is not here.
    """

    texts = WRITTEN  # each voice gets its text as it wants to read it

    def __init__(self, usual: Voice, own: Mapping[str, Voice], language: str = "") -> None:
        self.usual = usual
        self.own = dict(own)
        self.language = language or usual.language
        self._tags = Languages(tuple(own))
        for voice in own.values():
            Resampler(voice.rate, usual.rate)

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        return self.usual.rate

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages that one of the voices speaks."""
        return (*self.own, *(code for code in self.usual.languages if not self._tags.tag_of(code)))

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers of the usual voice."""
        return self.usual.speakers

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that one of the voices has; the others say such a sentence in their own."""
        voices = (self.usual, *self.own.values())
        return tuple(dict.fromkeys(style for voice in voices for style in styles_of(voice)))

    def voice_of(self, language: str) -> Voice:
        """The voice that speaks a language."""
        return self.own.get(self._tags.tag_of(language or self.language), self.usual)

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, one voice after the other."""
        samples = 0
        try:
            sentence = await anext(sentences, None)
            while sentence is not None:
                voice = self.voice_of(sentence.language)
                run = _Run(self, voice, sentence, sentences)
                async with aclosing(self._said(voice, run)) as chunks:
                    async for chunk in chunks:
                        yield replace(chunk, start=samples)
                        samples += chunk.samples.size
                sentence = run.next
        finally:
            await close_iterator(sentences)

    async def _said(self, voice: Voice, run: _Run) -> AsyncGenerator[PcmChunk, None]:
        """What one voice says, at the common rate."""
        resampler = Resampler(voice.rate, self.rate)
        async with aclosing(voice(run)) as chunks:
            async for chunk in chunks:
                samples = resampler.push(chunk.samples, last=chunk.final)
                if samples.size or chunk.final or chunk.words:
                    yield replace(chunk, samples=samples, rate=self.rate)

    def using(self, options: VoiceOptions) -> Voice:
        """The same, set to a `language`; the other options are for the voice that speaks it.

        Blocks and raises as that voice does.
        """
        tag = self._tags.tag_of(options.language or self.language)
        if tag:
            return VoiceByLanguage(self.usual, self.own | {tag: self.own[tag].using(options)}, tag)
        return VoiceByLanguage(self.usual.using(options), self.own)

    def preparation(self) -> Preparation:
        """What makes use of a sentence before it is whole, of the usual voice."""
        return self.usual.preparation()

    async def warm(self, later: bool = False) -> None:
        """Warm every voice."""
        for voice in (self.usual, *self.own.values()):
            await voice.warm(later)


class _Run:
    """Sentences in a row that one voice says, as it wants to read them. `next` is the first one that
    it does not; None at the end."""

    def __init__(
        self, of: VoiceByLanguage, voice: Voice, first: Sentence, rest: AsyncIterator[Sentence]
    ) -> None:
        self._of = of
        self._voice = voice
        self._rest = rest
        self._over = False
        self.next: Sentence | None = first

    def __aiter__(self) -> AsyncIterator[Sentence]:
        return self

    async def __anext__(self) -> Sentence:
        if self._over:
            raise StopAsyncIteration
        sentence = self.next or await anext(self._rest, None)
        self.next = None
        if sentence is None:
            self._over = True
            raise StopAsyncIteration
        if self._of.voice_of(sentence.language) is not self._voice:
            self.next = sentence
            self._over = True
            raise StopAsyncIteration
        language = sentence.language or self._voice.language
        style = sentence.style if sentence.style in styles_of(self._voice) else ""
        return replace(sentence, text=as_read(self._voice, sentence.text, language), style=style)


class Resampler:
    """Samples at one rate in Hz to another, piece by piece, sentence by sentence."""

    def __init__(self, source: int, rate: int) -> None:
        self._source = source
        self._rate = rate
        self._stream: Any = self._begin()

    def _begin(self) -> Any:
        if self._source == self._rate:
            return None
        try:
            import soxr
        except ImportError as exc:
            raise ExecutorUnavailable(
                f"voices of {self._source} and {self._rate} Hz in one profile need soxr; "
                "pip install 'voxturn[embedded]'"
            ) from exc
        return soxr.ResampleStream(self._source, self._rate, 1, dtype="float32")

    def push(self, samples: Samples, last: bool) -> Samples:
        """What is certain by now; all of it with the `last` piece of a sentence."""
        if self._stream is None:
            return samples
        out: Samples = np.asarray(self._stream.resample_chunk(samples, last=last), np.float32)
        if last:
            self._stream = self._begin()
        return out
