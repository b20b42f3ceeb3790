"""Linear spectra: in pieces as the whole."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.families.convert.spectrum import Spectra, least_samples, spectrum


@pytest.mark.parametrize("piece", [1, 100, 333, 5000])
@pytest.mark.parametrize("win", [48, 64])
def test_pieces_give_the_frames_of_the_whole(piece: int, win: int) -> None:
    samples = np.random.default_rng(0).standard_normal(1003).astype(np.float32)
    spectra, found = Spectra(64, 16, win), []
    for begin in range(0, samples.size, piece):
        found.append(spectra.push(samples[begin : begin + piece]))
    found.append(spectra.finish())
    whole = spectrum(samples, 64, 16, win)
    assert whole.shape == (33, 1003 // 16)
    np.testing.assert_array_equal(np.concatenate(found).T, whole)


def test_a_tone_is_in_its_bin() -> None:
    tone = np.sin(2 * np.pi * 8 / 64 * np.arange(640)).astype(np.float32)
    assert set(spectrum(tone, 64, 16, 64)[:, 3:-3].argmax(axis=0)) == {8}


def test_the_least_number_of_samples_has_a_spectrum() -> None:
    least = least_samples(64, 16)
    assert spectrum(np.ones(least, np.float32), 64, 16, 64).shape[1] == 1
    too_few = Spectra(64, 16, 64)
    too_few.push(np.ones(least - 1, np.float32))
    assert len(too_few.finish()) == 0
