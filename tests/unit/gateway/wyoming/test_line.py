from __future__ import annotations

import asyncio

import pytest
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.wyoming.line import Line
from wyoming.ping import Pong


class Slow:
    """A writer whose client takes nothing until `free` is set, and the transport of it."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.transport = self
        self.aborted = False
        self.written = b""

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        await self.free.wait()

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
async def slow() -> Slow:
    return Slow()


async def sending(slow: Slow, clock: ManualClock) -> tuple[Line, asyncio.Task[None]]:
    """A line, and an event that waits for the client."""
    line = Line(asyncio.StreamReader(), slow, clock)  # type: ignore[arg-type]
    task = asyncio.create_task(line.send(Pong("x")))
    async with asyncio.timeout(10):
        while not clock.waiting:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
    return line, task


async def test_a_client_that_is_slow_is_waited_for(slow: Slow) -> None:
    clock = ManualClock()
    _, task = await sending(slow, clock)
    clock.advance(29.0)
    slow.free.set()
    await task
    assert not slow.aborted


async def test_a_client_that_takes_nothing_is_left(slow: Slow) -> None:
    clock = ManualClock()
    line, task = await sending(slow, clock)
    clock.advance(30.0)
    with pytest.raises(ConnectionAbortedError):
        await task
    assert slow.aborted
    with pytest.raises(ConnectionResetError):
        await line.send(Pong("y"))
