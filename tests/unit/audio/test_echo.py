"""The echo canceller in a simulated room, and on clocks that start apart."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import soxr
from voxturn.bench.echo import PLAYED_RATE, Room, gone_db, likeness, through
from voxturn.runtime.audio.echo import PACKAGE, EchoCanceller
from voxturn.runtime.client.devices import without_echo
from voxturn.runtime.errors import ExecutorUnavailable, InvalidSamples
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import AudioFrame, Samples
from voxturn.runtime.models.plugins import importable

from tests.conftest import fed, tone

needs_package = pytest.mark.skipif(not importable(PACKAGE), reason="needs voxturn[echo]")
SECONDS = 7


def voice(seed: int) -> Samples:
    """Noise with the spectrum of speech in syllables, at 16 kHz; −26 dB."""
    random = np.random.default_rng(seed)
    size = SECONDS * RATE
    spectrum = np.fft.rfft(random.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    noise = np.fft.irfft(spectrum / (1 + (hertz / 500) ** 2), size)
    syllables = np.repeat(random.uniform(0, 1, SECONDS * 5) ** 2, RATE // 5)
    sound = noise * syllables
    return np.asarray(0.05 * sound / sound.std(), np.float32)


def played(sound: Samples) -> Samples:
    return np.asarray(soxr.resample(sound, RATE, PLAYED_RATE), np.float32)


@needs_package
def test_the_echo_goes_and_who_speaks_over_it_stays() -> None:
    far, over = voice(0), np.zeros(SECONDS * RATE, np.float32)
    over[4 * RATE :] = voice(1)[4 * RATE :]
    echo = Room(delay_ms=120, level_db=-12, noise_db=-75).echo(far)
    cleaned = through(played(far), echo)
    assert cleaned.size == echo.size
    assert gone_db(echo[2 * RATE :], cleaned[2 * RATE :]) >= 20
    both = through(played(far), echo + over)
    last = slice(5 * RATE, SECONDS * RATE)
    assert abs(gone_db(over[last], both[last])) < 4
    assert likeness(over[last], both[last]) > 0.8


@needs_package
def test_a_loudspeaker_that_began_long_before_the_microphone_is_laid_beside_it() -> None:
    """And neither calls back in time."""
    far, random = voice(2), np.random.default_rng(3)
    echo = Room(noise_db=-75).echo(far)
    canceller, sound, late_s = EchoCanceller(PLAYED_RATE), played(far), 1.5
    cleaned, at = [], 0
    for start in range(round(late_s * RATE), echo.size, 320):
        end_s = (start + 320) / RATE
        while at / PLAYED_RATE < end_s:
            jitter_s = random.uniform(-0.004, 0.004)
            canceller.played(sound[at : at + 512], 100 + at / PLAYED_RATE + jitter_s)
            at += 512
        arrived_s = 100 + end_s + random.uniform(0, 0.008)
        frame = AudioFrame(echo[start : start + 320], RATE, start, arrived_s)
        cleaned.append(canceller.clean(frame).samples)
    left = np.concatenate(cleaned)
    assert gone_db(echo[-3 * RATE :], left[-3 * RATE :]) >= 20


@needs_package
async def test_without_anything_played_the_voice_goes_through_as_it_came() -> None:
    canceller = EchoCanceller(22_050)
    frames = [frame async for frame in without_echo(fed(tone(1.0)), canceller)]
    cleaned = np.concatenate([frame.samples for frame in frames])
    assert [frame.start for frame in frames] == list(range(0, RATE, 320))
    assert abs(gone_db(tone(1.0)[RATE // 2 :], cleaned[RATE // 2 :])) < 0.5


@needs_package
def test_half_a_step_is_refused() -> None:
    frame = AudioFrame(np.zeros(100, np.float32), RATE, 0, 0.0)
    with pytest.raises(InvalidSamples, match="in steps of 160"):
        EchoCanceller(24_000).clean(frame)


@pytest.mark.parametrize("missing", ["pywebrtc_audio", "soxr"])
def test_without_its_package_it_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ExecutorUnavailable, match=r"voxturn\[echo\]"):
        EchoCanceller(24_000)
