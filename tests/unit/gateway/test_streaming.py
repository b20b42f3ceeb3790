"""Streamed answers: whatever becomes of a client, what makes them is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from voxturn.runtime.errors import DeadlineExceeded, TooManyStreams
from voxturn.runtime.flow.clock import ManualClock, WallClock
from voxturn.runtime.gateway.streaming import (
    StreamedResponse,
    begun,
    begun_for,
    event,
    events,
    in_time,
    unless_gone,
    until,
)


class Chunks:
    """Three pieces; `fails` after the second. `closed` counts how often they were closed."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.closed = 0
        self._next = 0

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        self._next += 1
        if self.fails and self._next > 2:
            raise RuntimeError("broken")
        if self._next > 3:
            raise StopAsyncIteration
        return b"%d" % self._next

    async def aclose(self) -> None:
        self.closed += 1


class Client:
    """A server's two ends: what is sent, and when it leaves."""

    def __init__(self, takes: int = 100) -> None:
        self.sent: list[dict[str, Any]] = []
        self.full = asyncio.Event()
        self.gone = asyncio.Event()
        self._takes = takes

    async def send(self, message: Any) -> None:
        if len(self.sent) >= self._takes:
            self.full.set()
            await asyncio.Event().wait()
        self.sent.append(message)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


async def answered(chunks: Chunks, client: Client, clock: Any = None, **more: Any) -> None:
    response = StreamedResponse(chunks, "audio/wav", clock or WallClock(), 5.0, **more)
    async with asyncio.timeout(10):
        await response({"type": "http"}, client.receive, client.send)


async def test_all_of_it_is_sent_and_ended() -> None:
    chunks, client = Chunks(), Client()
    await answered(chunks, client, headers={"x-a": "b"})
    assert (client.body, client.ended, chunks.closed) == (b"123", True, 1)
    names = {name for name, _ in client.sent[0]["headers"]}
    assert names == {b"content-type", b"cache-control", b"x-a"}


async def test_one_that_fails_is_not_ended() -> None:
    chunks, client = Chunks(fails=True), Client()
    await answered(chunks, client)
    assert (client.body, client.ended, chunks.closed) == (b"12", False, 1)


@pytest.mark.parametrize("takes", [0, 1, 2])
async def test_a_client_that_leaves_closes_them(takes: int) -> None:
    chunks, source, client = Chunks(), Chunks(), Client(takes)
    sending = asyncio.create_task(answered(chunks, client, source=source))
    await client.full.wait()
    assert not chunks.closed
    client.gone.set()
    await sending
    assert (chunks.closed, source.closed, client.ended) == (1, 1, False)


async def test_one_that_has_left_already_closes_what_never_began() -> None:
    began = []

    async def never() -> AsyncGenerator[bytes, None]:
        began.append(True)
        yield b""

    source, client = Chunks(), Client(0)
    client.gone.set()
    response = StreamedResponse(never(), "audio/wav", WallClock(), 5.0, source=source)
    await response({"type": "http"}, client.receive, client.send)
    assert source.closed == 1
    assert not began


async def test_a_client_that_takes_nothing_is_dropped() -> None:
    clock, chunks, client = ManualClock(), Chunks(), Client(2)
    sending = asyncio.create_task(answered(chunks, client, clock))
    await client.full.wait()
    clock.advance(4.9)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sending.done()
    clock.advance(0.2)
    await sending
    assert (client.ended, chunks.closed) == (False, 1)


async def test_being_cancelled_closes_them() -> None:
    chunks, client = Chunks(), Client(1)
    sending = asyncio.create_task(answered(chunks, client))
    await client.full.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert chunks.closed == 1


def request(client: Client) -> Request:
    return Request({"type": "http", "headers": []}, client.receive)


async def test_work_is_stopped_where_the_client_leaves() -> None:
    client, stopped = Client(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    waiting = asyncio.create_task(unless_gone(request(client), work()))
    await asyncio.sleep(0)
    client.gone.set()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert stopped.is_set()


async def test_what_work_gives_or_raises_is_passed_on() -> None:
    async def gives() -> int:
        return 3

    async def fails() -> int:
        raise ValueError("no")

    assert await unless_gone(request(Client()), gives()) == 3
    with pytest.raises(ValueError, match="no"):
        await unless_gone(request(Client()), fails())


async def test_begun_gives_every_chunk_and_closes_unbegun() -> None:
    chunks = Chunks()
    assert b"".join([chunk async for chunk in await begun(chunks)]) == b"123"
    chunks = Chunks()
    await (await begun_for(request(Client()), chunks)).aclose()  # type: ignore[attr-defined]
    assert chunks.closed == 1


async def test_what_fails_at_first_is_closed() -> None:
    chunks = Chunks(fails=True)
    chunks._next = 2
    with pytest.raises(RuntimeError):
        await begun_for(request(Client()), chunks)
    assert chunks.closed


def test_an_event_is_one_line_of_data() -> None:
    assert event(b"x") == b"data: x\n\n"
    assert event(b"x", "error") == b"event: error\ndata: x\n\n"


async def test_what_comes_in_time_comes_in_order() -> None:
    closed = False

    async def numbers() -> AsyncGenerator[int, None]:
        nonlocal closed
        try:
            for number in range(3):
                yield number
        finally:
            closed = True

    assert [number async for number in until(numbers(), WallClock(), WallClock().now() + 10)] == [
        0,
        1,
        2,
    ]
    assert closed
    closed = False
    early = until(numbers(), WallClock(), WallClock().now() + 10)
    assert await anext(early) == 0
    await early.aclose()
    assert closed


async def test_what_comes_too_late_does_not() -> None:
    async def never() -> AsyncGenerator[int, None]:
        await asyncio.Event().wait()
        yield 1

    clock = ManualClock()
    asked = asyncio.create_task(anext(until(never(), clock, clock.now() + 5)))
    await asyncio.sleep(0)
    clock.advance(6)
    with pytest.raises(DeadlineExceeded):
        async with asyncio.timeout(10):
            await asked


async def test_the_end_of_a_stream_says_so() -> None:
    async def items() -> AsyncGenerator[dict[str, str], None]:
        yield {"type": "a"}

    assert [line async for line in events(items())] == [
        b'data: {"type":"a"}\n\n',
        b"data: [DONE]\n\n",
    ]


async def test_an_error_after_the_first_item_is_the_last_event() -> None:
    """Before it, it is raised: the answer still has a status."""
    closed = False

    async def items(first: bool) -> AsyncGenerator[str, None]:
        nonlocal closed
        try:
            if first:
                yield "a"
            raise TooManyStreams("no place is free")
        finally:
            closed = True

    one, error, done = [line async for line in events(items(True))]
    assert (one, done, closed) == (b'data: "a"\n\n', b"data: [DONE]\n\n", True)
    assert b"session_limit_reached" in error
    closed = False
    with pytest.raises(TooManyStreams):
        await anext(events(items(False)))
    assert closed


async def test_work_that_takes_too_long_is_stopped() -> None:
    clock, stopped = ManualClock(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    waiting = asyncio.create_task(in_time(work(), clock, clock.now() + 5))
    for _ in range(10):
        await asyncio.sleep(0)
    clock.advance(4.9)
    assert not waiting.done()
    clock.advance(0.2)
    with pytest.raises(DeadlineExceeded):
        async with asyncio.timeout(10):
            await waiting
    assert stopped.is_set()
