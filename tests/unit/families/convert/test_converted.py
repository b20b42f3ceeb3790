"""A voice in another timbre, on fakes: sentence by sentence, each whole, who speaks heard once."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.families.base import (
    WORDS,
    ConversionOptions,
    Converter,
    NoPreparation,
    Voice,
    VoiceOptions,
)
from voxturn.runtime.families.convert.converted import Converted
from voxturn.runtime.messages import PcmChunk, Samples, Sentence

RATE = 100


@dataclass
class Says:
    """A voice that gives each sentence as its length in chunks of a second; the last chunk of a
    sentence that ends in `?` is not marked as its last."""

    options: VoiceOptions = field(default_factory=VoiceOptions)
    texts: str = WORDS
    rate: int = RATE
    language: str = "en"
    languages: tuple[str, ...] = ("en",)
    speakers: tuple[str, ...] = ("ana", "ben")
    warmed: list[bool] = field(default_factory=list)

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        start = 0
        async for sentence in sentences:
            count = len(sentence.text)
            for number in range(count):
                last = number == count - 1
                samples = np.full(RATE, sentence.index + 1, np.float32)
                final = last and not sentence.text.endswith("?")
                yield PcmChunk(samples, RATE, start, sentence, "silence" if last else "", final)
                start += RATE

    def using(self, options: VoiceOptions) -> Says:
        return dataclasses.replace(self, options=options)

    def preparation(self) -> NoPreparation:
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        self.warmed.append(later)


@dataclass
class Doubles:
    """A converter that gives twice as much of everything, a piece for each, and one at the end."""

    log: list[Any]
    options: ConversionOptions = field(default_factory=ConversionOptions)
    rate: int = RATE
    delay_s: float = 0.0

    async def __call__(
        self, audio: AsyncIterator[Samples], rate: int
    ) -> AsyncGenerator[PcmChunk, None]:
        assert rate == RATE
        held, start = np.zeros(0, np.float32), 0
        async for samples in audio:
            if held.size:
                yield PcmChunk(held, RATE, start, Sentence("", 0))
                start += held.size
            held = 2 * samples
        yield PcmChunk(held, RATE, start, Sentence("", 0), final=True)

    def using(self, options: ConversionOptions) -> Doubles:
        self.log.append(options)
        return dataclasses.replace(self, options=options)

    async def warm(self) -> None:
        self.log.append("warm")


def made(log: list[Any]) -> tuple[Converted, Says, Doubles]:
    voice, converter = Says(), Doubles(log)
    return Converted(voice, converter), voice, converter


async def said(voice: Voice, *texts: str) -> list[PcmChunk]:
    async def sentences() -> AsyncIterator[Sentence]:
        for index, text in enumerate(texts):
            yield Sentence(text, index)

    async with aclosing(voice(sentences())) as chunks:
        return [chunk async for chunk in chunks]


def test_they_are_what_they_should_be() -> None:
    converted, _, converter = made([])
    assert isinstance(converted, Voice)
    assert isinstance(converter, Converter)


async def test_every_sentence_is_converted_by_itself_and_keeps_its_marks() -> None:
    converted, *_ = made([])
    chunks = await said(converted, "a", "bc?", "def")
    samples = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_array_equal(samples, np.repeat([2, 4, 4, 4, 6, 6, 6], RATE))
    starts = np.cumsum([0, *(chunk.samples.size for chunk in chunks)])
    assert [chunk.start for chunk in chunks] == starts[:-1].tolist()
    ends = [(chunk.sentence.text, chunk.cut) for chunk in chunks if chunk.final]
    assert ends == [("a", "silence"), ("bc?", "silence"), ("def", "silence")]


async def test_who_speaks_is_heard_once_in_a_sentence_that_is_long_enough() -> None:
    log: list[Any] = []
    converted, *_ = made(log)
    await said(converted, "a", "bcd", "ef")
    (heard,) = log
    np.testing.assert_array_equal(heard.source[0], np.full(3 * RATE, 2, np.float32))
    await said(converted, "gh")
    assert len(log) == 1


async def test_another_speaker_is_heard_anew_and_the_first_one_is_remembered() -> None:
    log: list[Any] = []
    converted, *_ = made(log)
    await said(converted, "ab")
    ben = converted.using(VoiceOptions(speaker="ben"))
    chunks = await said(ben, "abc")
    assert chunks[0].sentence.text == "abc"
    assert [options.source[0].size for options in log] == [2 * RATE, 3 * RATE]
    again = converted.using(VoiceOptions(speed=2.0))
    await said(again, "abcdef")
    assert log[-1].source[0].size == 2 * RATE


async def test_recordings_are_the_timbre_and_not_the_voices() -> None:
    log: list[Any] = []
    converted, *_ = made(log)
    other = converted.using(VoiceOptions(recordings=(Path("ana.wav"),), speed=2.0))
    assert [options.to for options in log] == [(Path("ana.wav"),)]
    assert other._voice.options == VoiceOptions(speed=2.0)


async def test_what_is_the_voices_is_asked_of_it() -> None:
    log: list[Any] = []
    converted, voice, _ = made(log)
    assert (converted.texts, converted.language, converted.languages) == (WORDS, "en", ("en",))
    assert (converted.speakers, converted.styles) == (("ana", "ben"), ())
    assert isinstance(converted.preparation(), NoPreparation)
    await converted.warm()
    await converted.warm(later=True)
    assert (voice.warmed, log) == ([False, True], ["warm"])
