"""Voices put together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.xtts.mixing import mixed
from voxturn.runtime.families.xtts.voices import Voice


def voice(seed: int, length: float = 1.0) -> Voice:
    random = np.random.default_rng(seed)
    speaker = random.standard_normal(512)
    return Voice(
        f"v{seed}",
        random.standard_normal((32, 8), np.float32),
        (length * speaker / np.linalg.norm(speaker)).astype(np.float32),
    )


def test_latents_are_the_weighted_mean_and_a_speaker_is_as_long_as_upstream_s() -> None:
    ana, ben = voice(1), voice(2)
    both = mixed("ana:0.7+ben:0.3", [ana, ben], [0.7, 0.3])
    np.testing.assert_allclose(both.latents, 0.7 * ana.latents + 0.3 * ben.latents, atol=1e-6)
    mean = 0.7 * ana.speaker + 0.3 * ben.speaker
    assert np.linalg.norm(mean) < 0.9
    assert np.linalg.norm(both.speaker) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(both.speaker, mean / np.linalg.norm(mean), atol=1e-6)
    assert both.latents.dtype == both.speaker.dtype == np.float32
    assert len({each.key for each in (ana, ben, both)}) == 3


def test_a_voice_alone_is_itself() -> None:
    ana = voice(1)
    assert mixed("ana", [ana], [1.0]) is ana


@given(st.floats(0.0, 1.0), st.floats(0.1, 2.0), st.floats(0.1, 2.0))
def test_a_mixture_goes_from_one_voice_to_the_other_without_a_step(
    share: float, one: float, other: float
) -> None:
    ana, ben = voice(1, one), voice(2, other)
    both = mixed("m", [ana, ben], [share, 1 - share])
    length = share * one + (1 - share) * other
    assert np.linalg.norm(both.speaker) == pytest.approx(length, rel=1e-4)
    if share == 1.0:
        np.testing.assert_allclose(both.speaker, ana.speaker, atol=1e-6)
    same = mixed("m", [ana, ana], [share, 1 - share])
    np.testing.assert_allclose(same.speaker, ana.speaker, atol=1e-6)
    np.testing.assert_allclose(same.latents, ana.latents, atol=1e-6)


def test_voices_that_cancel_each_other_out_are_refused() -> None:
    ana = voice(1)
    opposite = Voice("o", ana.latents, -ana.speaker)
    with pytest.raises(UsageError, match=r"speaker 'a\+o': its voices cancel each other out"):
        mixed("a+o", [ana, opposite], [0.5, 0.5])
    silent = Voice("s", ana.latents, np.zeros(512, np.float32))
    assert not mixed("s+s", [silent, silent], [0.5, 0.5]).speaker.any()
