"""Stretched latents: torch's interpolation, however the latents come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from voxturn.runtime.families.xtts.stretch import Stretch

torch = pytest.importorskip("torch")


@given(
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    speed=st.sampled_from([0.5, 0.7, 0.9, 1.0, 1.1, 1.25, 1.9, 2.0]),
)
def test_any_pieces_give_the_interpolation_of_the_whole(cuts: list[int], speed: float) -> None:
    latents = np.random.default_rng(0).standard_normal((sum(cuts), 3), np.float32)
    assume(
        speed == 1.0 or int(sum(cuts) / speed) != sum(cuts)
    )  # torch then copies instead of interpolating
    stretch, pieces = Stretch(speed), []
    for piece in np.split(latents, np.cumsum(cuts)[:-1]):
        pieces.append(stretch.push(piece))
    pieces.append(stretch.flush())
    whole = torch.from_numpy(latents.T[None].copy())
    assume(int(whole.shape[-1] / speed) >= 1)  # torch refuses to give nothing
    wanted = (
        torch.nn.functional.interpolate(whole, scale_factor=1.0 / speed, mode="linear")[0].numpy().T
    )
    got = np.concatenate(pieces)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_latents_are_given_as_soon_as_they_are_certain() -> None:
    stretch = Stretch(0.5)
    first = stretch.push(np.zeros((3, 2), np.float32))
    assert len(first) >= 3
    assert Stretch(1.5).empty
