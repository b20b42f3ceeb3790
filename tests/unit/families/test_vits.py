"""VITS voices: a sentence with too much to say for one call is said in pieces, others as they
always were."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.vits import VitsEncoder
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence
from voxturn.runtime.protocols import Tensor

MOST = 500


class Letters:
    """`count` phonemes a letter, of its own number."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.texts: list[str] = []

    def ids(self, text: str) -> list[int]:
        self.texts.append(text)
        return [ord(char) for char in text if char.isalnum() for _ in range(self.count)]


async def encoded(text: str, count: int = 1) -> list[Mapping[str, Tensor]]:
    """What the graph was given for a sentence."""
    given: list[Mapping[str, Tensor]] = []

    def graph(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        given.append(inputs)
        return {"latents": np.zeros((1, 4, 2), np.float32)}

    async def sentences() -> AsyncIterator[Sentence]:
        yield Sentence(text, 3)

    lane = Lane("speak")
    encoder = VitsEncoder(FakeGraph(graph), Letters(count), lane, (0.6, 1.0, 0.8), 8, seed=5)
    pieces = [latents async for latents in encoder(sentences())]
    lane.close()
    assert len(pieces) == len(given)
    assert all(piece.final and piece.sentence == Sentence(text, 3) for piece in pieces)
    return given


def letters_of(given: list[Mapping[str, Tensor]]) -> str:
    return "".join(chr(i) for each in given for i in each["input"][0])


async def test_a_usual_sentence_is_one_call_with_the_noise_of_its_index() -> None:
    (given,) = await encoded("Dr. Who? No. A usual sentence, of whatever it may hold.")
    noise = np.random.default_rng([5, 3]).standard_normal(given["duration_noise"].shape, np.float32)
    np.testing.assert_array_equal(given["duration_noise"], noise)


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
