"""VITS voices: a sentence with too much to say for one call is said in pieces, others as they
always were."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.vits.encoder import Manner, VitsEncoder
from voxturn.runtime.families.vits.words import word_times
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence, Word
from voxturn.runtime.protocols import Tensor
from voxturn.runtime.text.reading import ReadText

MOST = 500


class Letters:
    """`count` phonemes a letter, of its own number."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.texts: list[str] = []
        self.languages: list[str] = []

    def read(self, text: str, language: str) -> ReadText:
        self.texts.append(text)
        self.languages.append(language)
        return ReadText([ord(char) for char in text if char.isalnum() for _ in range(self.count)])


MANNER = Manner(0.6, 1.0, 0.8, "en", seed=5)


async def encoded(
    text: str,
    count: int = 1,
    manner: Manner = MANNER,
    languages: tuple[str, ...] = ("en",),
    language: str = "",
) -> list[Mapping[str, Tensor]]:
    """What the graph was given for a sentence."""
    given: list[Mapping[str, Tensor]] = []

    def graph(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        given.append(inputs)
        return {"latents": np.zeros((1, 4, 2), np.float32)}

    said = Sentence(text, 3, language=language)

    async def sentences() -> AsyncIterator[Sentence]:
        yield said

    lane = Lane("speak")
    several = len(languages) > 1
    letters = Letters(count)
    encoder = VitsEncoder(FakeGraph(graph), letters, lane, manner, 8, 4, languages, several)
    pieces = [latents async for latents in encoder(sentences())]
    lane.close()
    assert len(pieces) == len(given)
    assert all(piece.final and piece.sentence == said for piece in pieces)
    told = {} if manner.speaker is None else {"speaker": manner.speaker}
    assert all(piece.inputs == told for piece in pieces)
    assert all(known in languages for known in letters.languages)
    return given


def letters_of(given: list[Mapping[str, Tensor]]) -> str:
    return "".join(chr(i) for each in given for i in each["input"][0])


async def test_a_usual_sentence_is_one_call_with_the_noise_of_its_index() -> None:
    (given,) = await encoded("Dr. Who? No. A usual sentence, of whatever it may hold.")
    noise = np.random.default_rng([5, 3]).standard_normal(given["duration_noise"].shape, np.float32)
    np.testing.assert_array_equal(given["duration_noise"], noise)


async def test_the_prior_has_the_channels_of_the_model_and_scales_are_the_manners() -> None:
    manner = Manner(0.3, 1.5, 0.1, "en", speed=2.0)
    (given,) = await encoded("one", manner=manner)
    assert given["prior_noise"].shape == (1, 4, 8)
    np.testing.assert_allclose(given["scales"], [0.3, 0.75, 0.1])
    assert "language" not in given
    assert "speaker" not in given


async def test_both_graphs_are_told_who_speaks() -> None:
    row = np.ones((1, 5, 1), np.float32)
    (given,) = await encoded("one", manner=Manner(0.6, 1.0, 0.8, "en", speaker=row))
    np.testing.assert_array_equal(given["speaker"], row)


@pytest.mark.parametrize(
    ("language", "number"), [("", 0), ("fr", 1), ("fr-FR", 1), ("pt_BR", 2), ("ja", 0)]
)
async def test_a_sentence_is_said_in_its_language_or_else_in_the_voices(
    language: str, number: int
) -> None:
    languages = ("en", "fr-fr", "pt-br")
    (given,) = await encoded("one", languages=languages, language=language)
    assert given["language"].tolist() == [number]


async def test_what_has_no_sound_is_no_call() -> None:
    assert await encoded("… !") == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("one, " * 2000, 1),
        ("Ab. " * 2500, 1),
        ("a" * 10_000, 1),
        ("b" * 220, 20),  # each of them is spelled out
        ("c", 5000),
        ("... " * 3000 + "end", 1),
    ],
)
async def test_no_call_is_longer_than_a_long_sentence_and_none_of_it_is_lost(
    text: str, count: int
) -> None:
    given = await encoded(text, count)
    longest = max(each["input"].shape[1] for each in given)
    assert longest <= max(MOST, count)
    said = "".join(char * count for char in text if char.isalnum())
    assert letters_of(given) == said
    assert len(given) <= 4 + 4 * len(said) / min(longest, MOST)


async def test_pieces_of_a_sentence_have_noise_of_their_own() -> None:
    first, second, *_ = await encoded("one " * 1000)
    size = min(first["input"].shape[1], second["input"].shape[1])
    assert not np.array_equal(
        first["duration_noise"][:, :, :size], second["duration_noise"][:, :, :size]
    )


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_times_of_words_are_the_durations_of_their_letters(
    words: list[str], data: st.DataObject
) -> None:
    letters = "".join(words)
    places = np.cumsum([0, *map(len, words)])
    read = ReadText([*map(ord, letters)], tuple(pairwise(map(int, places))))
    frames = data.draw(st.lists(st.integers(0, 9), min_size=len(letters), max_size=len(letters)))
    times = word_times(" ".join(words), read, np.array(frames, np.float32), 0.5)
    assert [each.text for each in times] == words
    assert [each.end_s for each in times[:-1]] == [each.begin_s for each in times[1:]]
    assert times[0].begin_s == 0
    assert times[-1].end_s == sum(frames) * 0.5
    assert word_times(" ".join(words), read, np.zeros(len(letters) + 1, np.float32), 0.5) == ()
    assert word_times("a", ReadText([97]), np.ones(1, np.float32), 0.5) == ()


class Spaced(Letters):
    """As `Letters`, and knows which of them are which word."""

    def read(self, text: str, language: str) -> ReadText:
        ids = super().read(text, language).ids
        ends = np.cumsum([0, *(sum(map(str.isalnum, word)) for word in text.split())])
        return ReadText(ids, tuple(pairwise(map(int, ends))))


async def words_said(text: str) -> list[tuple[Word, ...]]:
    """The words of each piece of a sentence whose letters take a frame of 0.1 s each."""

    def graph(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        count = inputs["input"].shape[1]
        values = np.zeros((1, 4, count), np.float32)
        return {"latents": values, "durations": np.ones((1, count), np.float32)}

    async def sentences() -> AsyncIterator[Sentence]:
        yield Sentence(text, 0)

    lane = Lane("speak")
    encoder = VitsEncoder(FakeGraph(graph), Spaced(), lane, MANNER, 8, 4, ("en",), duration_s=0.1)
    found = [latents.words async for latents in encoder(sentences())]
    lane.close()
    return found


async def test_a_sentence_in_one_piece_tells_its_words_and_one_in_several_none() -> None:
    (words,) = await words_said("One, two three.")
    assert [(each.text, round(each.begin_s, 6)) for each in words] == [
        ("One,", 0.0),
        ("two", 0.3),
        ("three.", 0.6),
    ]
    pieces = await words_said("word " * 300)
    assert len(pieces) > 1
    assert not any(pieces)
