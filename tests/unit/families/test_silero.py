"""The voice detector's stream: windows whatever the frames, and a state that a long noise does not
fill."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.silero import WINDOW, Silero
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Samples
from voxturn.runtime.protocols import Tensor

FORGET = 96


class Counting:
    """Its state is how many windows it has seen; what it says of a window is the window's first
    sample."""

    def __init__(self) -> None:
        self.states: list[float] = []

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        count = inputs["input"].shape[0]
        seen = float(inputs["h"][0, 0, 0])
        self.states += [seen + n for n in range(count)]
        state = np.full(inputs["h"].shape, seen + count, np.float32)
        return {"speech_probs": inputs["input"][:, -WINDOW], "hn": state, "cn": state}


async def states(probabilities: list[float], frame: int) -> list[float]:
    """The state that the model judges each window in; a window of samples says how likely it is
    speech."""
    counting, lane = Counting(), Lane("listen")
    stream = Silero(FakeGraph(counting), lane).stream()  # type: ignore[arg-type]
    samples: Samples = np.repeat(np.float32(probabilities), WINDOW)
    judged = []
    for start in range(0, samples.size, frame):
        judged += await stream.push(samples[start : start + frame])
    lane.close()
    assert [probability for _, probability in judged] == pytest.approx(probabilities)
    assert np.array_equal(np.concatenate([window for window, _ in judged]), samples)
    return counting.states


@pytest.mark.parametrize("frame", [320, 512, 4001, 200_000])
async def test_the_state_is_forgotten_where_nobody_has_spoken(frame: int) -> None:
    assert await states([0.1] * 250, frame) == [n % FORGET for n in range(250)]


@pytest.mark.parametrize("at", [0, 95, 50])
async def test_it_is_kept_while_somebody_may_be_speaking(at: int) -> None:
    probabilities = [0.1] * 250
    probabilities[at] = 0.3
    assert await states(probabilities, 4001) == [
        *range(2 * FORGET),
        *range(250 - 2 * FORGET),
    ]


async def test_samples_that_fill_no_window_give_none() -> None:
    lane = Lane("listen")
    stream = Silero(FakeGraph(Counting()), lane).stream()  # type: ignore[arg-type]
    assert await stream.push(np.zeros(0, np.float32)) == []
    assert await stream.push(np.zeros(WINDOW - 1, np.float32)) == []
    assert len(await stream.push(np.zeros(1, np.float32))) == 1
    lane.close()
