"""The simulated room: what is played is what the microphone hears again, later and softer."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from voxturn.bench.room import TICK, Acoustics, Room, SimulatedLoudspeaker, cough
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import PcmChunk, Samples, Sentence

RATE = 16000
SILENCE = np.zeros(RATE, np.float32)


def chunk(samples: Samples, rate: int = RATE, start: int = 0) -> PcmChunk:
    return PcmChunk(samples, rate, start, Sentence("one", 0))


def noise(size: int) -> Samples:
    return np.random.default_rng(1).standard_normal(size).astype(np.float32) * np.float32(0.1)


@pytest.mark.parametrize("rate", [16000, 22050, 24000])
def test_a_paused_loudspeaker_goes_on_with_the_next_sample(rate: int) -> None:
    speaker = SimulatedLoudspeaker(rate)
    speaker.play(chunk(noise(rate // 2), rate))
    speaker.play(chunk(noise(rate // 4), rate, rate // 2))
    played = []
    for tick in range(100):
        if tick == 13:
            speaker.pause()
        if tick == 20:
            before = speaker.played
            speaker.resume()
        played.append(speaker.tick())
    assert before == round(0.13 * rate)
    assert speaker.played == speaker.end == pytest.approx(0.75 * rate, abs=0.02 * rate)
    assert all(piece.shape == (TICK,) for piece in played)
    assert not np.concatenate(played[13:20]).any()
    assert np.concatenate(played[20:22]).any()


def test_an_echo_is_as_late_and_as_soft_as_the_room_says() -> None:
    speaker = SimulatedLoudspeaker(RATE)
    room = Room(Acoustics(echo_db=-12.0, babble_db=None), ManualClock(), speaker, SILENCE)
    loud = noise(RATE)
    speaker.play(chunk(loud))
    heard = np.concatenate([room.tick() for _ in range(130)])
    assert np.flatnonzero(np.abs(heard) > 1e-4)[0] == pytest.approx(0.12 * RATE, abs=0.01 * RATE)
    ratio = (heard**2).sum() / (loud**2).sum()
    assert 10 * np.log10(ratio) == pytest.approx(-12.0, abs=1.0)


async def test_who_speaks_is_heard_from_the_next_tick_on_over_babble() -> None:
    clock = ManualClock()
    acoustics = Acoustics(echo_db=None, babble_db=10.0)
    babble = noise(2 * RATE) * 10
    room = Room(acoustics, clock, SimulatedLoudspeaker(RATE), babble)
    speech = noise(RATE // 2)
    room.level(speech)
    heard: list[Samples] = []
    running = asyncio.create_task(room.run(heard.append))
    saying: asyncio.Task[float] | None = None
    for tick in range(100):
        if tick == 20:
            saying = asyncio.create_task(room.say(speech))
        await asyncio.sleep(0)
        clock.advance(TICK / RATE)
        for _ in range(3):
            await asyncio.sleep(0)
    running.cancel()
    assert saying is not None
    begin = round(await saying * RATE)
    samples = np.concatenate(heard)
    assert begin == 20 * TICK
    behind = np.concatenate([samples[:begin], samples[begin + speech.size :]])
    spoken = samples[begin : begin + speech.size]
    assert 10 * np.log10((spoken**2).mean() / (behind**2).mean()) == pytest.approx(10.4, abs=1)


def test_a_cough_has_bursts_and_is_the_same_for_a_seed() -> None:
    first, again = (cough(np.random.default_rng([5, 2])) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert 0.1 * RATE < first.size < 1.2 * RATE
