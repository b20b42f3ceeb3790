"""Sentences through a Tacotron's graphs: mels come while steps are still made, and stop with their
reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.tacotron.encoder import (
    TacotronEncoder,
    TacotronGraphs,
    TacotronManner,
    TacotronShape,
    kept,
)
from voxturn.runtime.families.windowed import Latents
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence
from voxturn.runtime.protocols import Tensor
from voxturn.runtime.text.reading import ReadText

STEPS, FRAMES, SIZE, MARGIN = 30, 2, 8, 2


class Letters:
    def read(self, text: str, language: str) -> ReadText:
        return ReadText([ord(char) for char in text if char.isalnum()])


class Voice:
    """Fake graphs, whose step says its number and ends after `STEPS`."""

    def __init__(self, keeps: int = 0) -> None:
        self.told: list[Mapping[str, Tensor]] = []
        self.kept: list[Tensor] = []
        self.text = FakeGraph(self._text)
        self.step = FakeGraph(self._step)
        self.lane = Lane("speak")
        post = FakeGraph(lambda inputs: {"latents": inputs["mels"]})
        shape = TacotronShape(0.01, 100, keeps, SIZE, MARGIN, 0)
        graphs = TacotronGraphs(self.text, self.step, post)
        self.encoder = TacotronEncoder(
            graphs, Letters(), self.lane, TacotronManner("en"), shape, ("en",)
        )

    def _text(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.told.append(inputs)
        return {"memory": np.zeros((1, inputs["input"].shape[1], 2)), "count": np.zeros(1)}

    def _step(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        count = inputs["count"] + 1
        if "keep" in inputs:
            self.kept.append(inputs["keep"])
        if count[0] > STEPS:
            raise InferenceFailed("step.onnx: no memory")
        return {
            "frames": np.full((1, FRAMES, 3), count[0], np.float32),
            "stop": np.array([[float(count[0] == STEPS)]]),
            "alignment": np.ones((1, inputs["memory"].shape[1])),
            "next_count": count,
        }


async def sentences(*texts: str) -> AsyncIterator[Sentence]:
    for index, text in enumerate(texts):
        yield Sentence(text, index)


async def said(voice: Voice, encoder: TacotronEncoder, *texts: str) -> list[Latents]:
    try:
        return [piece async for piece in encoder(sentences(*texts))]
    finally:
        voice.lane.close()


async def test_the_first_mels_come_after_a_few_steps_and_closing_makes_no_more() -> None:
    voice = Voice()
    stream = voice.encoder(sentences("one", "two"))
    piece = await anext(stream)
    assert not piece.final
    assert len(piece.values) == SIZE
    assert voice.step.calls == (SIZE + MARGIN) // FRAMES
    await stream.aclose()
    voice.lane.close()
    assert voice.step.calls == (SIZE + MARGIN) // FRAMES


async def test_all_frames_of_each_sentence_come_in_order() -> None:
    voice = Voice()
    pieces = await said(voice, voice.encoder, "one", "… !", "two")
    assert [piece.sentence.index for piece in pieces if piece.final] == [0, 2]
    frames = np.concatenate([piece.values for piece in pieces])[:, 0]
    once = np.repeat(np.arange(1, STEPS + 1), FRAMES)
    np.testing.assert_array_equal(frames, [*once, *once])
    assert {piece.cut for piece in pieces} == {""}


async def test_graphs_are_told_who_speaks() -> None:
    voice, row = Voice(), np.ones((1, 5, 1), np.float32)
    encoder = voice.encoder.using(TacotronManner("en", speaker=row))
    pieces = await said(voice, encoder, "one")
    assert all(piece.inputs["speaker"] is row for piece in pieces)
    assert voice.told[0]["speaker"] is row
    assert voice.told[0]["input"].tolist() == [[ord(char) for char in "one"]]


async def test_what_a_prenet_drops_is_the_seeds() -> None:
    drawn = []
    for seed in (1, 1, 2):
        voice = Voice(keeps=64)
        await said(voice, voice.encoder.using(TacotronManner("en", seed=seed)), "one")
        assert len(voice.kept) == STEPS
        drawn.append(np.concatenate(voice.kept))
    assert set(np.unique(drawn[0])) == {0.0, 2.0}
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_half_of_the_values_are_kept_twice_as_large() -> None:
    values = kept(np.random.default_rng(0), 10_000)()
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(1.0, abs=0.05)


async def test_a_graph_that_fails_names_the_sentence() -> None:
    voice = Voice()
    failing = FakeGraph(lambda inputs: voice._step({**inputs, "count": np.array([STEPS])}))
    graphs = TacotronGraphs(voice.text, failing, failing)
    shape = TacotronShape(0.01, 100, 0, SIZE, MARGIN, 0)
    encoder = TacotronEncoder(graphs, Letters(), voice.lane, TacotronManner("en"), shape, ("en",))
    with pytest.raises(InferenceFailed, match=r"speak: 'one': step.onnx: no memory"):
        await said(voice, encoder, "one")
