"""The pipe from texts to a voice: what a voice is given to read, whoever brings the text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed, UnsupportedLanguage
from voxturn.runtime.families.base import WORDS, WRITTEN, NoPreparation, VoiceOptions, styles_of
from voxturn.runtime.families.fake import FakeVoice
from voxturn.runtime.families.pipe import clauses, spoken
from voxturn.runtime.messages import PcmChunk, Sentence, Word
from voxturn.runtime.text.spoken import SpokenText

from tests.conftest import FakeTurn


class Reader:
    """A voice that writes down what it is given to read."""

    rate, language, languages, speakers = 16000, "en", ("en",), ()

    def __init__(self, texts: str = WORDS) -> None:
        self.texts = texts
        self.read: list[str] = []

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async for sentence in sentences:
            self.read.append(sentence.text)
            yield PcmChunk(np.zeros(1, np.float32), 16000, 0, sentence, final=True)

    def preparation(self) -> NoPreparation:
        return NoPreparation()

    async def warm(self, later: bool = False) -> None: ...

    def using(self, options: object) -> Reader:
        return self


async def once(*sentences: Sentence) -> AsyncIterator[Sentence]:
    for sentence in sentences:
        yield sentence


async def speak(reader: Reader, sentences: AsyncIterator[Sentence]) -> list[PcmChunk]:
    return [chunk async for chunk in spoken(reader, sentences)]


class Timed(Reader):
    """A voice that knows where the words lie that it reads."""

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async for sentence in sentences:
            words = tuple(Word(each, 0.0, 1.0) for each in sentence.text.split())
            yield PcmChunk(np.zeros(1, np.float32), 16000, 0, sentence, words=words)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Dr. Silva has 3 cats.", ["Dr.", "Silva", "has", "3", "cats."]),
        ("**Bold** words.", ["**Bold**", "words."]),
        ("It was in 1999.", []),  # two words are said
    ],
)
async def test_words_are_those_that_were_written_or_none(text: str, wanted: list[str]) -> None:
    (chunk,) = await speak(Timed(), once(Sentence(text, 0)))
    assert chunk.sentence.text == text
    assert [word.text for word in chunk.words] == wanted


MARKED = [
    ("**Bold** and `code` here.", "Bold and code here."),
    ("I ❤️ pizza 🍕 a lot.", "I pizza a lot."),
    ("See https://www.example.com/page?x=1 today.", "See example dot com today."),
    ("<think>Hm.</think>Dr. Silva met Mr. Jones Jr. on St. James St.",
     "doctor Silva met mister Jones junior on saint James street."),
    ("Plain words stay.", "Plain words stay."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "read"), MARKED)
async def test_a_voice_gets_no_markup_whether_a_sentence_a_text_or_pieces_are_given(
    text: str, read: str
) -> None:
    ways = Reader(), Reader(), Reader()
    await speak(ways[0], once(Sentence(text, 0)))
    await speak(ways[1], clauses(ways[1], text))
    await speak(ways[2], clauses(ways[2], iter(text)))
    assert [way.read for way in ways] == [[read]] * 3


async def test_a_voice_that_writes_out_numbers_itself_gets_no_markup_either() -> None:
    reader = Reader(WRITTEN)
    await speak(reader, once(Sentence("**Dr.** Silva has *3*.", 0)))
    assert reader.read == ["Dr. Silva has 3."]


async def test_what_was_cleaned_is_not_cleaned_again() -> None:
    reader = Reader()
    await speak(reader, clauses(reader, r"Write \*this\* and &lt;b&gt; here."))
    await speak(reader, once(Sentence(SpokenText("Write *this* here."), 0)))
    assert reader.read == ["Write *this* and <b> here.", "Write *this* here."]


async def test_a_sentence_of_which_nothing_is_said_is_left_out_and_chunks_name_what_was_given() -> (
    None
):
    reader = Reader()
    given = Sentence("🍕 ***", 0), Sentence("*Go* on.", 1)
    chunks = await speak(reader, once(*given))
    assert reader.read == ["Go on."]
    assert [chunk.sentence for chunk in chunks] == [given[1]]


async def test_a_text_of_markup_alone_is_silence() -> None:
    reader = Reader()
    assert await speak(reader, clauses(reader, "```\nx = 1\n```")) == []
    assert reader.read == []


def test_a_voice_takes_any_tag_of_its_language(fake_turn: FakeTurn) -> None:
    voice = fake_turn.stages.voice
    for tag in ("en", "EN", "en-US", "en_gb", "eng"):
        assert voice.using(VoiceOptions(language=tag)).language == "en"
    assert voice.using(VoiceOptions(language="auto")).language == "en"
    for tag in ("de-DE", "english"):
        with pytest.raises(UnsupportedLanguage, match=repr(tag)) as caught:
            voice.using(VoiceOptions(language=tag))
        assert "\n" not in str(caught.value)


class Careless(FakeVoice):
    """A voice that forgets where its audio stands, or its type."""

    def __init__(self, dtype: str, ahead: int) -> None:
        super().__init__()
        self._dtype = dtype
        self._ahead = ahead

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async for sentence in sentences:
            for number in range(2):
                samples = np.zeros(10, self._dtype)
                yield PcmChunk(samples, self.rate, number * (10 + self._ahead), sentence)


async def said(voice: FakeVoice) -> list[PcmChunk]:
    chunks = spoken(voice, clauses(voice, "One word."))
    try:
        return [chunk async for chunk in chunks]
    finally:
        await chunks.aclose()


@pytest.mark.parametrize(("dtype", "ahead"), [("float64", 0), ("float32", -10), ("float32", 5)])
async def test_a_voice_that_miscounts_its_samples_ends_in_an_error(dtype: str, ahead: int) -> None:
    """Captions, playback and what was heard are reckoned from these numbers."""
    with pytest.raises(InferenceFailed, match="was due"):
        await said(Careless(dtype, ahead))


async def test_a_voice_that_counts_is_heard() -> None:
    assert sum(chunk.samples.size for chunk in await said(Careless("float32", 0))) == 20


class StyledReader(Reader):
    """A voice of two styles that writes down in which it is to read."""

    styles = ("happy", "sad")

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async def noted() -> AsyncGenerator[Sentence, None]:
            async for sentence in sentences:
                self.read.append(sentence.style)
                yield sentence

        async for chunk in super().__call__(noted()):
            yield replace(chunk, start=(len(self.read) // 2) - 1)


async def test_a_style_that_a_voice_has_not_is_its_own_which_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = StyledReader()
    styles = "happy", "furious", "", "merry", "sad"
    asked = [Sentence("Yes.", index, style=style) for index, style in enumerate(styles)]
    chunks = await speak(reader, once(*asked))
    assert reader.read[::2] == ["happy", "", "", "", "sad"]
    assert [chunk.sentence for chunk in chunks] == asked
    assert [record.getMessage() for record in caplog.records] == [
        "a style was asked for that the voice has not; it has happy, sad"
    ]


async def test_a_voice_without_styles_never_reads_a_tag(caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader()
    await speak(reader, once(Sentence("[happy] That is great.", 0)))
    assert reader.read == ["That is great."]
    assert "it has none" in caplog.text


TAGGED = "[happy] One. [sad] Two. Three."


async def test_tags_change_the_style_whoever_brings_the_text() -> None:
    ways = StyledReader(), StyledReader(), StyledReader()
    await speak(ways[0], clauses(ways[0], TAGGED))
    await speak(ways[1], clauses(ways[1], iter(TAGGED)))
    await speak(ways[2], once(Sentence(TAGGED, 0)))
    assert ways[0].read == ["happy", "One.", "sad", "Two. Three."]
    assert ways[1].read == ["happy", "One.", "sad", "Two.", "sad", "Three."]
    assert ways[2].read == ["happy", "One. Two. Three."]


async def test_what_is_prepared_has_the_style_of_its_clause() -> None:
    prepared: list[tuple[str, str]] = []

    class Noting(NoPreparation):
        def update(self, text: str, style: str = "") -> None:
            prepared.append((text, style))

    reader = StyledReader()
    reader.preparation = Noting  # type: ignore[method-assign]
    await speak(reader, clauses(reader, iter(["[happy] One two", " three. ", "[sad] Four"])))
    assert prepared[0] == ("One two", "happy")
    assert prepared[-1][1] == "sad"


def test_the_styles_of_a_voice_that_does_not_say_so_are_none() -> None:
    assert styles_of(Reader()) == styles_of(FakeVoice()) == ()
    assert styles_of(StyledReader()) == ("happy", "sad")
