"""Speech is found relative to the recording; what is wrong with a recording is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.speech import at_level, speech_part
from voxturn.runtime.messages import Samples

from tests.voiced import voiced

RATE = 22050
QUESTION = Path(__file__).parents[3] / "runtime" / "demo" / "question.wav"


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples = decode_all(QUESTION, RATE)
    return np.concatenate([samples, samples])


def seconds(samples: Samples) -> float:
    return speech_part(samples, RATE).samples.size / RATE


def silence(length_s: float) -> Samples:
    return np.zeros(int(length_s * RATE), np.float32)


@settings(max_examples=20)
@given(gain_db=st.floats(-60, 0), before=st.floats(0, 3), inside=st.floats(0.6, 8))
def test_silence_around_and_inside_and_the_level_do_not_matter(
    gain_db: float, before: float, inside: float
) -> None:
    word = voiced(1.0, rate=RATE)
    recording = np.concatenate([silence(before), word, silence(inside), word, silence(before)])
    assert seconds(recording * np.float32(10 ** (gain_db / 20))) == pytest.approx(2.0, abs=0.09)


@pytest.mark.parametrize("snr_db", [40, 30, 20, 10, 5])
def test_noise_is_not_counted_as_speech(speech: Samples, snr_db: float) -> None:
    clean = seconds(speech)
    padded = np.concatenate([silence(3.0), speech, silence(3.0)])
    power = np.mean(speech_part(speech, RATE).samples ** 2)
    noise = np.random.default_rng(0).standard_normal(padded.size)
    noisy = (padded + noise * np.sqrt(power * 10 ** (-snr_db / 10))).astype(np.float32)
    found = speech_part(noisy, RATE)
    assert found.samples.size / RATE == pytest.approx(clean, rel=0.25)
    assert found.noisy is (snr_db <= 10)


def test_a_pause_between_words_belongs_to_the_speech_and_a_click_does_not() -> None:
    word = voiced(1.0, rate=RATE)
    assert seconds(np.concatenate([word, silence(0.4), word])) == pytest.approx(2.4, abs=0.05)
    click = np.zeros(RATE, np.float32)
    click[100:300] = 0.9
    assert seconds(np.concatenate([click, silence(1.0), word])) == pytest.approx(1.0, abs=0.05)


def test_all_silence_has_no_speech() -> None:
    for samples in (silence(1.0), silence(0.001), silence(0.0), silence(1.0) + 1e-6):
        found = speech_part(samples.astype(np.float32), RATE)
        assert found.samples.size == 0
        assert not found.noisy
        assert not found.clipped


@pytest.mark.parametrize("gain_db", [10, 20])
@pytest.mark.parametrize("after_db", [0, -12])
def test_clipped_speech_is_seen_whatever_its_level_is_now(
    speech: Samples, gain_db: float, after_db: float
) -> None:
    loud = speech / np.abs(speech).max() * 10 ** (gain_db / 20)
    clipped = np.clip(loud, -1, 1) * 10 ** (after_db / 20)
    assert speech_part(clipped.astype(np.float32), RATE).clipped
    assert not speech_part(speech, RATE).clipped
    assert not speech_part(at_level(speech, 0.0), RATE).clipped


def test_a_level_is_that_of_the_peak() -> None:
    assert np.abs(at_level(voiced(1.0), -6.0)).max() == pytest.approx(0.501, abs=1e-3)
