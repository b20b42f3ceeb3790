"""Several channels become one without losing what is in them."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.mix import Downmix
from voxturn.runtime.messages import Samples

from tests.recordings import RATE, encoded, sine
from tests.voiced import voiced

SPEECH = voiced(2.0)


def mixed(channels: np.ndarray, size: int = 512) -> Samples:
    downmix = Downmix(RATE)
    pieces = [channels[:, i : i + size] for i in range(0, channels.shape[1], size)]
    return np.concatenate([downmix(piece.astype(np.float32)) for piece in pieces])


def level(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20))


@settings(max_examples=25)
@given(
    gains=st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    size=st.sampled_from([160, 512, 1024, 4096]),
)
def test_the_mix_is_never_far_below_its_loudest_channel(gains: list[float], size: int) -> None:
    channels = np.stack([gain * SPEECH for gain in gains])
    loudest = level(max(channels, key=level))
    if loudest > -60:
        assert level(mixed(channels, size)) > loudest - 8.0
    assert np.abs(mixed(channels, size)).max() <= np.abs(channels).max() + 1e-6


def test_channels_that_agree_or_are_silent_or_unrelated_are_averaged() -> None:
    noise = np.random.default_rng(0).standard_normal((2, SPEECH.size)) * 0.1
    for other in (SPEECH, 0.5 * SPEECH, np.zeros_like(SPEECH)):
        assert np.allclose(mixed(np.stack([SPEECH, other])), (SPEECH + other) / 2, atol=1e-6)
    assert np.allclose(mixed(noise), noise.mean(0), atol=1e-6)


def test_an_inverted_channel_in_the_middle_of_a_recording_costs_no_word() -> None:
    half = SPEECH.size // 2
    other = np.concatenate([SPEECH[:half], -SPEECH[half:]])
    result = mixed(np.stack([SPEECH, other]))
    windows = [result[i : i + 1600] for i in range(0, SPEECH.size, 1600)]
    quietest = min(range(len(windows)), key=lambda i: level(windows[i]))
    assert sum(level(window) < -35 for window in windows) <= 3, quietest
    assert np.allclose(result[half + 8000 :], SPEECH[half + 8000 :], atol=1e-6)


def test_the_change_from_the_mean_to_a_channel_has_no_step() -> None:
    tone = sine(RATE, 1.0)
    other = np.concatenate([tone[:8000], -tone[8000:]])
    result = mixed(np.stack([tone, other]))
    assert np.abs(np.diff(result)).max() < 1.2 * np.abs(np.diff(tone)).max()


@pytest.mark.parametrize("kind", ["wav-s16", "flac", "mp3", "opus", "m4a"])
def test_speech_with_an_inverted_channel_is_decoded(kind: str) -> None:
    tone = sine(48000)
    samples = decode_all(io.BytesIO(encoded(kind, 48000, np.stack([tone, -tone]))), RATE)
    assert level(samples) == pytest.approx(level(tone), abs=1.0)


@pytest.mark.parametrize("count", [3, 4, 6, 7, 8, 9, 10, 16])
def test_one_of_many_channels_is_heard_at_its_level(count: int) -> None:
    tone = sine(RATE)
    samples = np.zeros((tone.size, count), np.float32)
    samples[:, -1] = tone
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((count, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    heard = decode_all(io.BytesIO(buffer.getvalue()), RATE)
    assert np.allclose(heard[1000:], tone[1000:], atol=1e-3)
