from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message
from voxturn.runtime.errors import OutputNotWritable
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.work import Calls, KeyRevoked, Work, arriving

LIVE_S = 10.0


class SomeKeys:
    """Keys of which `gone` are none any more; None: they cannot be looked up."""

    def __init__(self) -> None:
        self.gone: set[str] | None = set()

    async def caller(self, secret: str) -> Caller | None:
        return Caller(secret)

    async def valid(self, key: str) -> bool:
        if self.gone is None:
            raise OutputNotWritable("the database: disk I/O error")
        return key not in self.gone


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_work_is_waited_for_until_a_time() -> None:
    clock, work = ManualClock(), Work()
    async with asyncio.timeout(LIVE_S):
        assert await work.ended_by(clock, 1.0)
        with work.running(), work.running():
            waiting = asyncio.create_task(work.ended_by(clock, 1.0))
            await settled()
            clock.advance(1.0)
            assert not await waiting
            assert work.count == 2
            waiting = asyncio.create_task(work.ended_by(clock, 2.0))
            await settled()
        assert await waiting
    assert clock.waiting == 0


async def test_connections_end_with_their_key() -> None:
    clock, keys = ManualClock(), SomeKeys()
    calls = Calls(keys, clock)
    watch = asyncio.create_task(calls.watch())

    async def connected(key: str) -> str:
        try:
            async with calls.call(Caller(key)):
                await asyncio.Event().wait()
        except KeyRevoked:
            return "revoked"
        raise AssertionError

    async with asyncio.timeout(LIVE_S):
        tasks = [asyncio.create_task(connected(key)) for key in ("ana", "ana", "bo")]
        await settled()
        assert calls.counts == {"ana": 2, "bo": 1}
        keys.gone = None  # what is unknown ends nothing
        clock.advance(1.0)
        await settled()
        assert calls.counts == {"ana": 2, "bo": 1}
        keys.gone = {"ana"}
        clock.advance(1.0)
        assert [await task for task in tasks[:2]] == ["revoked"] * 2
        assert calls.counts == {"bo": 1}
        for task in (tasks[2], watch):
            await cancel_and_wait(task)
    assert calls.counts == {}
    assert tasks[2].cancelled()


async def test_a_handler_s_own_time_limit_is_not_taken_for_a_revoked_key() -> None:
    calls = Calls(SomeKeys(), ManualClock())
    with pytest.raises(TimeoutError):
        async with calls.call(Caller("ana")):
            raise TimeoutError
    assert calls.counts == {}


async def test_a_body_has_to_arrive_by_a_time() -> None:
    clock = ManualClock()
    queue: asyncio.Queue[Message] = asyncio.Queue()
    receive = arriving(queue.get, clock, 5.0)
    async with asyncio.timeout(LIVE_S):
        queue.put_nowait({"type": "http.request", "body": b"a", "more_body": True})
        assert (await receive())["body"] == b"a"
        slow = asyncio.ensure_future(receive())
        await settled()
        clock.advance(5.0)
        with pytest.raises(ApiError) as caught:
            await slow
        assert caught.value.status == 408
        assert caught.value.headers["connection"] == "close"


async def test_a_client_may_stay_connected_once_its_body_has_come() -> None:
    clock = ManualClock()
    queue: asyncio.Queue[Message] = asyncio.Queue()
    receive = arriving(queue.get, clock, 5.0)
    async with asyncio.timeout(LIVE_S):
        queue.put_nowait({"type": "http.request", "body": b"a"})
        await receive()
        later = asyncio.ensure_future(receive())
        clock.advance(100.0)
        await settled()
        queue.put_nowait({"type": "http.disconnect"})
        assert (await later)["type"] == "http.disconnect"
