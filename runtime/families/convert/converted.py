"""A voice in another's timbre: what it says is converted, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
from voxturn.runtime.families.base import (
    ConversionOptions,
    Converter,
    Preparation,
    Voice,
    VoiceOptions,
    styles_of,
)
from voxturn.runtime.families.by_language import Resampler
from voxturn.runtime.messages import PcmChunk, Samples, Sentence

_REMEMBERED_S = 2.0
"""A sentence that long says enough of who speaks for the next ones."""
_MOST_REMEMBERED = 64
_Sound = tuple[Hashable, ...]
_SOUNDS = ("language", "speaker", "style")
"""Options of a voice that change whose sound it has."""


class Converted:
    """A `Voice`: `voice` in the timbre that `converter` is set to.

    The voice itself is heard in the first sentence of two seconds, which is converted once it is
    there; those before it are heard by themselves, and those behind it converted while they are
    made. Raises `ExecutorUnavailable` where their rates differ and soxr is not here. Recordings that are asked for (`VoiceOptions.recordings`) are the timbre's, not the voice's.
    """

    def __init__(self, voice: Voice, converter: Converter) -> None:
        self.texts = voice.texts
        self._voice = voice
        self._converter = converter
        self._sound: _Sound = ()
        self._heard: dict[_Sound, Samples] = {}
        """What was said with a sound, at the converter's rate."""
        self._converters: dict[_Sound, Converter] = {}
        """Those that know who speaks with a sound."""
        Resampler(voice.rate, converter.rate)

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        return self._converter.rate

    @property
    def language(self) -> str:
        """The code of the language that it is set to."""
        return self._voice.language

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of all languages that it speaks."""
        return self._voice.languages

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers of the voice, whose manner of speaking is kept."""
        return self._voice.speakers

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles of its speaker."""
        return styles_of(self._voice)

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, chunk by chunk. Closing this stops the models."""
        start = 0
        async with aclosing(self._voice(sentences)) as chunks:
            chunk = await anext(chunks, None)
            while chunk is not None:
                said = _Said(chunk, chunks)
                async with aclosing(self._converted(said)) as pieces:
                    async for piece in pieces:
                        last = said.last
                        cut = last.cut if piece.final else ""
                        yield replace(piece, start=start, sentence=last.sentence, cut=cut)
                        start += piece.samples.size
                chunk = said.next
                if chunk is None:
                    chunk = await anext(chunks, None)

    def using(self, options: VoiceOptions) -> Converted:
        """The same engines with other options. Blocks where recordings are heard, and raises, as the
        voice and the converter do."""
        recordings, options = options.recordings, replace(options, recordings=None)
        voice = self._voice.using(options) if options.given() else self._voice
        converter = self._converter
        if recordings is not None:
            converter = converter.using(ConversionOptions(to=recordings))
        same = Converted(voice, converter)
        changed = tuple((name, getattr(options, name)) for name in _SOUNDS)
        same._sound = (*self._sound, changed) if any(value for _, value in changed) else self._sound
        same._heard = self._heard
        return same

    def preparation(self) -> Preparation:
        """What makes use of a sentence before it is whole."""
        return self._voice.preparation()

    async def warm(self, later: bool = False) -> None:
        """Warm the voice, and the converter."""
        await self._voice.warm(later)
        if not later:
            await self._converter.warm()

    async def _converted(self, said: _Said) -> AsyncGenerator[PcmChunk, None]:
        """A sentence in the other timbre."""
        sentence, rate = said.last.sentence, self._voice.rate
        key = (*self._sound, sentence.language, sentence.style)
        audio: AsyncIterator[Samples] = said
        if key not in self._heard:
            whole = np.concatenate([piece async for piece in said])
            if whole.size >= _REMEMBERED_S * rate:
                self._heard[key] = Resampler(rate, self.rate).push(whole, last=True)
                _forget_oldest(self._heard, _MOST_REMEMBERED)
            audio = _once(whole)
        converter = self._converter
        if key in self._heard and key not in self._converters:
            options = ConversionOptions(source=(self._heard[key],))
            self._converters[key] = await asyncio.to_thread(converter.using, options)
            _forget_oldest(self._converters, _MOST_REMEMBERED)
        async with aclosing(self._converters.get(key, converter)(audio, rate)) as pieces:
            async for piece in pieces:
                yield piece


class _Said:
    """The samples of one sentence, from its first chunk on. `last`: the latest chunk; `next`: the
    first one of the next sentence, where it came without an end of this one."""

    def __init__(self, first: PcmChunk, rest: AsyncIterator[PcmChunk]) -> None:
        self.last = first
        self.next: PcmChunk | None = None
        self._rest = rest
        self._begun = False
        self._over = False

    def __aiter__(self) -> AsyncIterator[Samples]:
        return self

    async def __anext__(self) -> Samples:
        if not self._begun:
            self._begun = True
            self._over = self.last.final
            return self.last.samples
        if self._over:
            raise StopAsyncIteration
        chunk = await anext(self._rest, None)
        if chunk is None or chunk.sentence.index != self.last.sentence.index:
            self.next = chunk
            self._over = True
            raise StopAsyncIteration
        self.last = chunk
        self._over = chunk.final
        return chunk.samples


async def _once(samples: Samples) -> AsyncIterator[Samples]:
    yield samples


def _forget_oldest(kept: dict[Any, Any], most: int) -> None:
    if len(kept) > most:
        del kept[next(iter(kept))]
