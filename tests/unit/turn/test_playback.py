"""How far an answer has been played: by the clock, by what is told, and through pauses."""

from __future__ import annotations

import asyncio

import numpy as np
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.turn.playback import LONGEST_PAUSE_S, Playback

RATE = 1000
ONE, TWO = Sentence("one two three four five", 0), Sentence("six seven eight nine ten", 1)


def chunk(start_s: float, seconds: float, sentence: Sentence = ONE) -> PcmChunk:
    samples = np.zeros(round(seconds * RATE), np.float32)
    return PcmChunk(samples, RATE, round(start_s * RATE), sentence, final=True)


def playing(clock: ManualClock, *seconds: float) -> Playback:
    playback, start = Playback(clock), 0.0
    for each in seconds:
        playback.add(chunk(start, each))
        start += each
    return playback


async def test_it_goes_on_with_the_clock_and_stands_at_its_end() -> None:
    clock = ManualClock()
    playback = playing(clock, 1.0, 1.0)
    clock.advance(1.5)
    assert playback.position == 1500
    clock.advance(1.0)
    assert playback.position == 2000
    assert not playback.over  # more may come
    playback.add(chunk(2.0, 1.0))
    clock.advance(0.25)
    assert playback.position == 2250  # it had stalled


async def test_a_pause_takes_no_samples() -> None:
    clock = ManualClock()
    playback = playing(clock, 2.0)
    clock.advance(0.5)
    playback.pause()
    clock.advance(3.0)
    assert playback.position == 500
    playback.resume()
    assert playback.position == 500
    clock.advance(0.25)
    assert playback.position == 750


async def test_what_is_told_counts() -> None:
    clock = ManualClock()
    playback = playing(clock, 2.0)
    clock.advance(1.0)
    playback.told(400.0)
    clock.advance(0.25)
    assert playback.position == 650
    playback.pause()
    playback.told(600.0)
    clock.advance(1.0)
    playback.resume()
    assert playback.position == 600
    playback.told(99_000.0)
    assert playback.position == 2000
    Playback(clock).told(10.0)


async def test_its_end_can_be_waited_for() -> None:
    clock = ManualClock()
    playback = playing(clock, 2.0)
    playback.whole = True
    end = asyncio.ensure_future(playback.finished())

    async def after(seconds: float) -> bool:
        clock.advance(seconds)
        for _ in range(10):
            await asyncio.sleep(0)
        return end.done()

    assert not await after(1.5)
    playback.pause()
    assert not await after(5.0)
    playback.resume()
    assert not await after(0.4)
    assert await after(0.1)
    assert end.result()
    assert playback.over


async def test_a_pause_is_not_waited_for_without_end() -> None:
    clock = ManualClock()
    playback = playing(clock, 2.0)
    playback.whole = True
    playback.pause()
    end = asyncio.ensure_future(playback.finished())
    await asyncio.sleep(0)
    clock.advance(LONGEST_PAUSE_S)
    for _ in range(10):
        await asyncio.sleep(0)
    assert end.result() is False
    playback.resume()
    assert playback.position == 0


async def test_an_answer_without_audio_is_over_at_once() -> None:
    playback = Playback(ManualClock())
    playback.whole = True
    assert await playback.finished()


async def test_the_words_around_a_time() -> None:
    clock = ManualClock()
    playback = playing(clock, 5.0)
    playback.add(chunk(5.0, 5.0, TWO))
    clock.advance(6.0)
    assert playback.text_since(5.0) == "five six"
    assert playback.text_since(3.0) == "three four five six"
    clock.advance(4.0)
    assert playback.text_since(9.0) == "nine ten"
    clock.advance(30.0)
    assert playback.text_since(clock.now()) == ""


async def test_while_it_is_paused_the_words_stay() -> None:
    clock = ManualClock()
    playback = playing(clock, 5.0)
    clock.advance(2.0)
    playback.pause()
    clock.advance(60.0)
    assert playback.text_since(clock.now()) == "two"


async def test_a_pause_has_its_end_also_where_the_place_is_told_meanwhile() -> None:
    clock = ManualClock()
    playback = playing(clock, 2.0)
    playback.whole = True
    clock.advance(0.5)
    playback.pause()
    end = asyncio.ensure_future(playback.finished())
    await asyncio.sleep(0)
    for _ in range(round(10 * LONGEST_PAUSE_S) + 1):
        clock.advance(0.1)
        playback.told(500.0)
        for _ in range(20):
            await asyncio.sleep(0)
    assert end.done()
    assert end.result() is False


async def test_when_an_answer_ends_is_known_once_it_is_whole() -> None:
    clock = ManualClock()
    playback = playing(clock, 2.0)
    assert playback.ended_s == float("inf")
    playback.whole = True
    assert playback.ended_s == clock.now() + 2.0
    clock.advance(5.0)
    assert playback.ended_s == clock.now() - 3.0
