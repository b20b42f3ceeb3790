"""Sentences in turns of style, on a fake decoder: each with its own voice, each voice computed once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.families.windowed import Latents
from voxturn.runtime.families.xtts.prompt import LATENTS, XttsIds
from voxturn.runtime.families.xtts.speak import Manner, XttsSpeech
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.families.xtts.voice import XttsPreparation
from voxturn.runtime.families.xtts.voices import Voice
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence

from tests.artifacts import XTTS, vocabulary

IDS = XttsIds.from_properties(XTTS)


def voice(name: str, value: float) -> Voice:
    return Voice(name, np.full((LATENTS, 8), value, np.float32), np.full(512, value, np.float32))


OWN, STYLES = voice("ana", 1.0), {"happy": voice("ana", 2.0), "sad": voice("ana", 3.0)}


class Fake:
    """XTTS's GPT on a decoder that ends each sentence at once."""

    def __init__(self, folder: Path, slots: int) -> None:
        vocabulary(folder / "vocab.json", "[en]", "[START]", "[STOP]")
        stop = IDS.stop_audio
        self.decoder = FakeDecoder(lambda ids: stop, IDS.audio_tokens, slots, IDS.positions)
        self.engine = DecodeEngine(self.decoder)
        self.lane = Lane("speak")
        self.asked: list[Request] = []
        add = self.engine.add

        def noted(request: Request, limit: float = float("inf")) -> Any:
            self.asked.append(request)
            return add(request, limit)

        self.engine.add = noted  # type: ignore[method-assign]
        tokenizer = XttsTokenizer(folder / "vocab.json", max_tokens=30)
        manner = Manner(OWN, "en", styles=STYLES)
        self.speech = XttsSpeech(DecodeService(self.engine, self.lane), IDS, tokenizer, manner)

    async def said(self, *styles: str) -> list[Latents]:
        """The last latents of a sentence in each style."""
        return [piece async for piece in self.speech(sentences(*styles)) if piece.final]


@pytest.fixture(params=[1, 2])
def fake(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fake]:
    fake = Fake(tmp_path, request.param)
    yield fake
    fake.lane.close()


async def sentences(*styles: str) -> AsyncIterator[Sentence]:
    for index, style in enumerate(styles):
        yield Sentence("Yes.", index, style=style)


def values(pieces: Sequence[Latents]) -> list[float]:
    return [float(piece.inputs["speaker"][0, 0, 0]) for piece in pieces]


async def test_each_sentence_has_the_latents_and_the_speaker_of_its_style(fake: Fake) -> None:
    pieces = await fake.said("", "happy", "sad", "happy", "unknown", "")
    assert values(pieces) == [1.0, 2.0, 3.0, 2.0, 1.0, 1.0]
    rows = [request.rows for request in fake.asked]
    assert [float(row[1, 0]) for row in rows if row is not None] == values(pieces)
    by_value = {1.0: OWN.key, 2.0: STYLES["happy"].key, 3.0: STYLES["sad"].key}
    assert [request.namespace for request in fake.asked] == [by_value[v] for v in values(pieces)]


async def test_sentences_in_turns_compute_each_voice_once(fake: Fake) -> None:
    await fake.speech.warm()
    await fake.said("", "happy", "sad")
    before = fake.engine.counts.computed
    await fake.said("", "happy", "", "sad", "happy", "sad", "")
    computed = fake.engine.counts.computed - before
    texts = sum(len(request.prompt) - LATENTS for request in fake.asked[3:])
    assert computed <= texts


async def test_styles_are_computed_while_nobody_is_answered(fake: Fake) -> None:
    await fake.speech.warm()
    await fake.speech.warm_styles()
    assert fake.engine.counts.computed == 3 * LATENTS
    await fake.said("happy", "sad", "")
    texts = sum(len(request.prompt) - LATENTS for request in fake.asked)
    assert fake.engine.counts.computed == 3 * LATENTS + texts


async def test_a_clause_that_is_being_written_is_begun_in_its_style(fake: Fake) -> None:
    ahead = XttsPreparation(fake.speech)
    for text, style in (("one two three four five.", ""), ("one two three four five.", "sad")):
        ahead.update(text, style)
        assert ahead._task is not None
        await ahead._task
    await ahead.aclose()
    assert [request.namespace for request in fake.asked] == [OWN.key, STYLES["sad"].key]
