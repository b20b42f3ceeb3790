"""Smart Turn's input: the last eight seconds, the silence in front; and who runs it."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.smart_turn import CONTRACT, SmartTurn, normalised
from voxturn.runtime.families.whisper.hearing import log_mel
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Samples
from voxturn.runtime.protocols import Tensor


def sound() -> Samples:
    """Three seconds, the same on every machine."""
    t = np.arange(48_000) / 16_000
    return (0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t) * np.sin(2 * np.pi * t)).astype(
        np.float32
    )


def test_what_is_short_begins_with_silence_and_of_what_is_long_the_end_is_taken() -> None:
    short, long = normalised(sound()), normalised(np.tile(sound(), 4))
    assert short.shape == long.shape == (128_000,)
    assert np.ptp(short[:80_000]) == 0.0
    assert np.corrcoef(short[80_000:], sound())[0, 1] == pytest.approx(1.0)
    assert np.corrcoef(long, np.tile(sound(), 4)[-128_000:])[0, 1] == pytest.approx(1.0)
    for samples in (short, long):
        assert samples.mean() == pytest.approx(0.0, abs=1e-4)
        assert samples.var() == pytest.approx(1.0, abs=1e-3)
    assert np.all(normalised(np.zeros(16_000, np.float32)) == 0.0)


def test_the_features_are_those_that_the_model_was_trained_on() -> None:
    """Pinned: what pipecat-ai 1.14.0's `_whisper_features` gives for the same samples."""
    features = log_mel(80)(normalised(sound()))
    assert features.shape == (80, 800)
    assert features[2:22:5, 520:800:50] == pytest.approx(np.array(PINNED), abs=1e-4)


PINNED = [
    [0.0244, -0.1161, -0.1562, -0.1562, -0.1562, -0.1562],
    [1.7856, 0.2417, -0.1562, -0.1562, -0.1562, -0.1562],
    [0.3233, 0.8317, -0.1562, -0.1562, -0.1562, -0.1562],
    [-0.1562, 1.6518, -0.1562, -0.1108, -0.1562, -0.1562],
]


async def test_it_is_judged_in_its_lane_by_the_graph() -> None:
    seen: list[Tensor] = []

    def judge(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        CONTRACT.check(inputs)
        seen.append(inputs["input_features"])
        return {"logits": np.array([[0.75]], np.float32)}

    lane = Lane("end_of_turn")
    turn = SmartTurn(FakeGraph(judge), log_mel(80), lane)
    try:
        assert await turn(sound()) == 0.75
        await turn.warm()
    finally:
        lane.close()
    assert [features.shape for features in seen] == [(1, 80, 800)] * 2
