"""Several voices as one: each sentence in the voice of its language, at one rate."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import numpy as np
import pytest
from voxturn.runtime.errors import ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.by_language import Resampler, VoiceByLanguage
from voxturn.runtime.families.fake import FakeVoice
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.messages import PcmChunk, Sentence


async def given(*sentences: Sentence) -> AsyncIterator[Sentence]:
    for sentence in sentences:
        yield sentence


async def said(voice: VoiceByLanguage, *sentences: Sentence) -> list[PcmChunk]:
    chunks = spoken(voice, given(*sentences))
    try:
        return [chunk async for chunk in chunks]
    finally:
        await chunks.aclose()


def texts(voice: FakeVoice) -> list[str]:
    return [sentence.text for sentence in voice.said]


SENTENCES = (
    Sentence("It costs 3 euros.", 0, language="en"),
    Sentence("ثمنه 3 دنانير.", 1, language="ar"),
    Sentence("نعم.", 2, language="ar"),
    Sentence("Yes, 2.", 3, language="en"),
    Sentence("Good.", 4),
)


async def test_each_sentence_is_read_by_the_voice_of_its_language_in_its_words() -> None:
    english, arabic = FakeVoice("en"), FakeVoice("ar")
    chunks = await said(VoiceByLanguage(english, {"ar": arabic}), *SENTENCES)
    assert texts(english) == ["It costs three euros.", "Yes, two.", "Good."]
    assert texts(arabic) == ["ثمنه ثلاثة دنانير.", "نعم."]
    assert [c.sentence for c in chunks if c.final] == list(SENTENCES)
    assert chunks[-1].start + chunks[-1].samples.size == sum(c.samples.size for c in chunks)


async def test_what_another_voice_says_comes_at_the_usual_rate() -> None:
    voice = VoiceByLanguage(FakeVoice("en", 24_000), {"ar": FakeVoice("ar", 22_050)})
    chunks = await said(voice, *SENTENCES)
    assert {chunk.rate for chunk in chunks} == {voice.rate} == {24_000}
    for index, seconds in ((1, 0.05 * len("ثمنه ثلاثة دنانير.")), (2, 0.05 * len("نعم."))):
        size = sum(c.samples.size for c in chunks if c.sentence.index == index)
        assert size == pytest.approx(24_000 * seconds, abs=2)
    arabic = np.concatenate([c.samples for c in chunks if c.sentence.index == 1])
    spectrum = np.abs(np.fft.rfft(arabic))
    assert np.argmax(spectrum) * 24_000 / arabic.size == pytest.approx(220, abs=2)


def test_without_the_resampler_voices_of_two_rates_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert Resampler(24_000, 24_000).push(np.ones(3, np.float32), last=True).size == 3
    with pytest.raises(ExecutorUnavailable, match="22050 and 24000 Hz"):
        VoiceByLanguage(FakeVoice("en", 24_000), {"ar": FakeVoice("ar", 22_050)})


async def test_a_voice_that_is_left_early_leaves_nothing_open() -> None:
    closed = []

    async def endless() -> AsyncIterator[Sentence]:
        try:
            for index in range(1000):
                yield Sentence("Word.", index, language="ar" if index % 2 else "en")
        finally:
            closed.append(True)

    voice = VoiceByLanguage(FakeVoice("en"), {"ar": FakeVoice("ar")})
    chunks = spoken(voice, endless())
    assert [await anext(chunks) for _ in range(9)]
    await chunks.aclose()
    assert closed == [True]


async def test_options_are_for_the_voice_of_the_language_they_name() -> None:
    english = FakeVoice("en", languages=("en", "fr"), speakers=("ana", "bob"))
    arabic = FakeVoice("ar", speakers=("badr",))
    both = VoiceByLanguage(english, {"ar": arabic})
    assert (both.language, both.languages, both.speakers) == (
        "en",
        ("ar", "en", "fr"),
        ("ana", "bob"),
    )
    set_to_arabic = both.using(VoiceOptions(language="ar-EG", speaker="badr"))
    assert isinstance(set_to_arabic, VoiceByLanguage)
    assert set_to_arabic.language == "ar"
    assert set_to_arabic.voice_of("") is set_to_arabic.own["ar"]
    french = both.using(VoiceOptions(language="fr", speaker="bob"))
    assert isinstance(french, VoiceByLanguage)
    assert (french.language, french.voice_of("ar")) == ("fr", arabic)
    with pytest.raises(UnsupportedLanguage):
        both.using(VoiceOptions(language="de"))


class Styled(FakeVoice):
    """A voice with styles."""

    def __init__(self, language: str, *styles: str) -> None:
        super().__init__(language)
        self.styles = styles


async def test_a_style_is_said_by_the_voice_that_has_it_and_no_other() -> None:
    english, arabic = Styled("en", "happy"), Styled("ar", "sad")
    both = VoiceByLanguage(english, {"ar": arabic})
    assert both.styles == ("happy", "sad")
    await said(
        both,
        Sentence("Yes.", 0, style="happy", language="en"),
        Sentence("نعم.", 1, style="happy", language="ar"),
        Sentence("لا.", 2, style="sad", language="ar"),
    )
    assert [sentence.style for sentence in english.said] == ["happy"]
    assert [sentence.style for sentence in arabic.said] == ["", "sad"]


class Warmed(FakeVoice):
    """Counts how often it was warmed."""

    times = 0

    async def warm(self, later: bool = False) -> None:
        self.times += 1


async def test_every_voice_is_warmed() -> None:
    voices = Warmed("en"), Warmed("ar")
    await VoiceByLanguage(voices[0], {"ar": voices[1]}).warm()
    assert [voice.times for voice in voices] == [1, 1]
