"""A Tacotron's loop: states go from step to step, it ends where upstream's does; its frames come out
of the windows as they come out of one call."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.tacotron.loop import FineMels, Loop
from voxturn.runtime.protocols import Tensor

MARGIN = 3


def counting(stops: Mapping[int, float], given: list[dict[str, Tensor]]) -> FakeGraph:
    """A step that counts in a state of its own, and ends with these chances."""

    def graph(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given.append(dict(inputs))
        count = inputs["count"] + 1
        stop = np.full((1, 1), stops.get(int(count[0]), 0.1), np.float32)
        frames = np.full((1, 2, 3), count[0], np.float32)
        alignment = np.ones((1, 4), np.float32)
        return {"frames": frames, "stop": stop, "alignment": alignment, "next_count": count}

    return FakeGraph(graph)


ENCODED: dict[str, Tensor] = {"memory": np.ones((1, 4, 2), np.float32), "count": np.zeros(1)}


def run(loop: Loop) -> list[float]:
    frames = []
    while not loop.over:
        frames.append(float(loop.next()[0, 0]))
    return frames


def test_states_go_from_step_to_step_and_the_memory_stays() -> None:
    given: list[dict[str, Tensor]] = []
    loop = Loop(counting({4: 0.9}, given), ENCODED, 100)
    assert run(loop) == [1, 2, 3, 4]
    assert loop.cut == ""
    assert [int(each["count"][0]) for each in given] == [0, 1, 2, 3]
    assert all(each["memory"] is ENCODED["memory"] for each in given)
    assert "keep" not in given[0]


def test_the_first_step_is_never_the_last() -> None:
    assert run(Loop(counting({1: 0.9, 2: 0.6}, []), ENCODED, 100)) == [1, 2]


def test_half_a_chance_is_no_end() -> None:
    assert len(run(Loop(counting({2: 0.5, 3: 0.51}, []), ENCODED, 100))) == 3


def test_a_loop_without_an_end_ends_all_the_same() -> None:
    loop = Loop(counting({}, []), ENCODED, 7)
    assert len(run(loop)) == 7
    assert loop.cut == "length"


class After:
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def ends(self, alignment: npt.NDArray[np.float32]) -> bool:
        assert alignment.shape == (4,)
        self.steps -= 1
        return self.steps == 0


def test_its_guard_ends_it() -> None:
    loop = Loop(counting({}, []), ENCODED, 100, After(5))
    assert len(run(loop)) == 5
    assert loop.cut == "attention"


def test_what_a_prenet_keeps_is_drawn_for_each_step() -> None:
    given: list[dict[str, Tensor]] = []
    draws = iter(np.arange(3, dtype=np.float32)[:, None, None])
    run(Loop(counting({3: 1.0}, given), ENCODED, 100, keep=lambda: next(draws)))
    assert [float(each["keep"][0, 0]) for each in given] == [0, 1, 2]


def blurred(mels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sums over `MARGIN` frames to either side, zeros beyond the ends."""
    padded = np.pad(mels, ((0, 0), (MARGIN, MARGIN)))
    sums = [padded[:, i : i + mels.shape[1]] for i in range(2 * MARGIN + 1)]
    return np.asarray(np.sum(sums, axis=0), np.float32)


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("total", [1, 2, 9, 40, 53])
def test_windows_are_the_whole(step: int, total: int) -> None:
    whole = np.random.default_rng(total).integers(-9, 9, (total, 2)).astype(np.float32)
    fine = FineMels(
        FakeGraph(lambda inputs: {"latents": blurred(inputs["mels"][0])[None]}), 8, MARGIN, 4
    )
    pieces = []
    for begin in range(0, total, step):
        fine.add(whole[begin : begin + step])
        if (piece := fine.ready(final=begin + step >= total)) is not None:
            pieces.append(piece)
    wanted = np.pad(blurred(whole.T).T, ((4, 4), (0, 0)), mode="edge")
    np.testing.assert_array_equal(np.concatenate(pieces), wanted)


def test_mels_come_as_soon_as_their_context_has() -> None:
    fine = FineMels(FakeGraph(lambda inputs: {"latents": inputs["mels"]}), 8, MARGIN, 0)
    for frame in range(8 + MARGIN):
        assert fine.ready(final=False) is None
        fine.add(np.full((1, 2), frame, np.float32))
    ready = fine.ready(final=False)
    assert ready is not None
    assert ready[:, 0].tolist() == list(range(8))
