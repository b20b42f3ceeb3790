"""What is said goes as fast as it is played, and stops when it is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.realtime.formats import FORMATS
from voxturn.runtime.gateway.realtime.pace import Pacer

FRAME = 960


class Paced:
    """A pacer on a clock that stands still, and what it let go of."""

    def __init__(self) -> None:
        self.clock = ManualClock(5.0)
        self.frames: list[tuple[bytes, float]] = []
        self.words: list[tuple[str, float]] = []
        self.pacer = Pacer(
            self.clock,
            FORMATS["audio/pcm"],
            lambda raw, at: self.frames.append((raw, at)),
            lambda text, at: self.words.append((text, at)),
            self.room,
        )

    async def room(self) -> None:
        """There always is."""

    async def turn(self, seconds: float = 0.0) -> int:
        """How many frames have gone in all, so much later."""
        self.clock.advance(seconds)
        for _ in range(100):
            await asyncio.sleep(0)
        return len(self.frames)


@pytest.fixture
async def paced() -> AsyncIterator[Paced]:
    paced = Paced()
    task = asyncio.create_task(paced.pacer.run())
    yield paced
    await cancel_and_wait(task)


async def test_audio_goes_a_little_before_it_is_played(paced: Paced) -> None:
    paced.pacer.audio(bytes(50 * FRAME))
    first = await paced.turn()
    assert 10 <= first <= 11  # 200 ms
    assert await paced.turn(0.1) == first + 5
    assert await paced.turn(0.1) == first + 10
    for _ in range(50):
        await paced.turn(0.02)
    assert b"".join(raw for raw, _ in paced.frames) == bytes(50 * FRAME)
    assert [at for _, at in paced.frames] == pytest.approx([5 + 0.02 * i for i in range(50)])
    async with asyncio.timeout(10):
        await paced.pacer.empty()


async def test_what_is_cut_does_not_go(paced: Paced) -> None:
    paced.pacer.audio(bytes(50 * FRAME))
    paced.pacer.word("late", 0.9)
    first = await paced.turn()
    paced.pacer.cut()
    assert await paced.turn(5.0) == first
    assert paced.words == []
    assert paced.pacer.added_s == pytest.approx(first * 0.02)
    paced.pacer.audio(bytes(FRAME))
    assert await paced.turn() == first + 1


async def test_a_pause_holds_it(paced: Paced) -> None:
    paced.pacer.audio(bytes(50 * FRAME))
    first = await paced.turn()
    paced.pacer.pause()
    assert await paced.turn(3.0) == first
    paced.pacer.resume()
    assert await paced.turn() == 2 * first
    assert paced.frames[first][1] == pytest.approx(8.0)


async def test_words_go_with_the_audio_that_they_lie_in(paced: Paced) -> None:
    paced.pacer.word("One", 0.0)
    paced.pacer.word(" two", 0.5)
    paced.pacer.audio(bytes(50 * FRAME))
    await paced.turn()
    assert paced.words == [("One", pytest.approx(5.0))]
    for _ in range(20):
        await paced.turn(0.02)
    assert paced.words[1:] == [(" two", pytest.approx(5.5))]
