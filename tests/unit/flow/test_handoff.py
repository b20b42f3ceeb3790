"""Hand-offs, run-ahead and lanes: every stream ends in done, error or cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import InferenceFailed, StreamClosed
from voxturn.runtime.flow.handoff import Ahead, Handoff, cancel_and_wait, close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.observe import observing
from voxturn.runtime.flow.scheduling import Gate


async def numbers(
    count: int, closed: list[str] | None = None, fail_at: int = -1
) -> AsyncIterator[int]:
    try:
        for i in range(count):
            if i == fail_at:
                raise InferenceFailed("no more")
            await asyncio.sleep(0)
            yield i
    finally:
        if closed is not None:
            closed.append("closed")


@given(st.integers(0, 40), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_ahead_gives_every_item_in_order(count: int, capacity: int) -> None:
    async def collect() -> list[int]:
        return [item async for item in Ahead(numbers(count), capacity)]

    assert asyncio.run(collect()) == list(range(count))


async def test_ahead_runs_ahead_only_to_its_bound() -> None:
    made: list[int] = []

    async def source() -> AsyncIterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    ahead = Ahead(source(), 3)
    await asyncio.sleep(0.05)
    assert len(made) == 4  # three in the hand-off, one waiting for room
    await ahead.aclose()


async def test_an_error_comes_after_the_items_before_it_and_comes_again() -> None:
    ahead = Ahead(numbers(5, fail_at=3), 10)
    got = []
    with pytest.raises(InferenceFailed, match="no more"):
        async for item in ahead:
            got.append(item)
    assert got == [0, 1, 2]
    with pytest.raises(InferenceFailed):
        await ahead.__anext__()


async def test_closing_closes_the_whole_chain() -> None:
    closed: list[str] = []

    async def double(source: AsyncIterator[int]) -> AsyncIterator[int]:
        try:
            async for item in source:
                yield 2 * item
        finally:
            closed.append("double")
            await close_iterator(source)

    chain = Ahead(double(Ahead(numbers(1000, closed), 2)), 2)
    assert await chain.__anext__() == 0
    await chain.aclose()
    assert closed == ["double", "closed"]
    assert len(asyncio.all_tasks()) == 1


async def careful(cleaned: list[str], waits: bool) -> AsyncIterator[int]:
    """Numbers, with a clean-up that takes a while; it `waits` before the second one."""
    try:
        for number in range(10):
            yield number
            if waits:
                await asyncio.sleep(60)
    finally:
        for _ in range(3):
            await asyncio.sleep(0)
        cleaned.append("whole")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("pauses", range(5))
async def test_closing_never_interrupts_the_source_s_own_clean_up(pauses: int, waits: bool) -> None:
    """Neither where it has an item more than there is room for, so that leaving alone ends it, nor by a second closer."""
    cleaned: list[str] = []
    ahead = Ahead(careful(cleaned, waits), 1)
    assert await anext(ahead) == 0
    for _ in range(pauses):
        await asyncio.sleep(0)
    first = asyncio.create_task(ahead.aclose())
    for _ in range(pauses):
        await asyncio.sleep(0)
    await asyncio.gather(first, ahead.aclose())
    assert cleaned == ["whole"]
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("pauses", range(4))
async def test_a_closer_that_is_cancelled_has_closed(pauses: int) -> None:
    cleaned: list[str] = []
    ahead = Ahead(careful(cleaned, waits=True), 1)
    assert await anext(ahead) == 0
    closer = asyncio.create_task(ahead.aclose())
    await asyncio.sleep(0)
    for _ in range(pauses):
        await asyncio.sleep(0)
    closer.cancel()
    await asyncio.wait([closer])
    assert cleaned == ["whole"]


async def test_a_reader_that_waits_ends_when_another_task_closes() -> None:
    async def never() -> AsyncIterator[int]:
        await asyncio.sleep(60)
        yield 0

    ahead = Ahead(never(), 1)
    reader = asyncio.create_task(_collect(ahead))
    await asyncio.sleep(0.01)
    await ahead.aclose()
    assert await asyncio.wait_for(reader, 2) == []


async def test_put_after_the_reader_left_is_an_error() -> None:
    handoff: Handoff[int] = Handoff(1)
    await handoff.put(1)
    waiting = asyncio.create_task(handoff.put(2))
    await asyncio.sleep(0)
    handoff.abandon()
    with pytest.raises(StreamClosed):
        await waiting


class Spans(list[tuple[str, float, float]]):
    """An observer that keeps the calls."""

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        self.append((lane, begin_s, end_s))

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        raise AssertionError("a lane has no prompts")


async def test_lane_runs_one_call_at_a_time_and_tells_the_observer() -> None:
    spans = Spans()
    lane = Lane("work")

    async def two() -> list[int]:
        return list(await asyncio.gather(lane.run(_slow, 1), lane.run(_slow, 2)))

    task = asyncio.create_task(two(), context=observing(spans))
    assert await task == [1, 2]
    assert [name for name, _, _ in spans] == ["work", "work"]
    assert spans[0][2] <= spans[1][1]
    lane.close()


async def test_a_cancelled_caller_leaves_at_once_and_the_lane_goes_on() -> None:
    lane = Lane("work")
    release = threading.Event()
    task = asyncio.create_task(lane.run(release.wait, 5))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)
    release.set()
    assert await asyncio.wait_for(lane.run(_slow, 7), 2) == 7
    lane.close()


async def test_lane_stream_gives_all_items_then_ends() -> None:
    lane = Lane("work")
    assert await _collect(lane.stream(lambda: iter(range(50)), ahead=3)) == list(range(50))
    lane.close()


async def test_lane_stream_carries_the_error_of_its_thread() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise InferenceFailed("engine died")

    lane = Lane("work")
    stream = lane.stream(broken)
    assert await stream.__anext__() == 1
    with pytest.raises(InferenceFailed, match="engine died"):
        await stream.__anext__()
    lane.close()


async def test_closing_a_lane_stream_closes_the_iterator_in_the_thread() -> None:
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                time.sleep(0.001)
                yield 1
        finally:
            ended.set()

    lane = Lane("work")
    stream = lane.stream(endless, ahead=2)
    assert await stream.__anext__() == 1
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, 2)
    assert await asyncio.wait_for(lane.run(_slow, 3), 2) == 3
    lane.close()


async def _collect(source: AsyncIterator[int]) -> list[int]:
    return [item async for item in source]


def _slow(value: int) -> int:
    time.sleep(0.01)
    return value


async def test_a_call_that_is_cancelled_while_it_waits_is_no_longer_wanted() -> None:
    lane = Lane("worker")
    busy = asyncio.create_task(lane.run(time.sleep, 0.1))
    await asyncio.sleep(0.02)
    waiting = asyncio.create_task(lane.run(time.sleep, 0.0))
    await asyncio.sleep(0.01)
    assert lane.wanted
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not lane.wanted
    await busy
    lane.close()


async def test_closing_before_the_first_item_closes_the_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.set()

    class Outer:
        def __init__(self) -> None:
            self.inner = Ahead(source(), 1)

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            return await anext(self.inner)

        async def aclose(self) -> None:
            await self.inner.aclose()

    await Ahead(Outer(), 1).aclose()
    await asyncio.wait_for(closed.wait(), 2)
    assert len(asyncio.all_tasks()) == 1


async def test_a_lane_whose_call_does_not_return_is_left_behind() -> None:
    lane, release = Lane("reader"), threading.Event()
    reading = asyncio.create_task(lane.run(release.wait))
    await asyncio.sleep(0.02)
    begin = time.monotonic()
    lane.close(0.05)
    assert time.monotonic() - begin < 1.0  # it does not wait for the call
    release.set()
    assert await asyncio.wait_for(reading, 5)
    lane.close()


async def test_an_urgent_call_goes_before_those_that_wait_even_when_it_comes_late() -> None:
    """Which call is made is decided when the turn has come, not when it was asked for."""
    gate, order = Gate(), list[str]()
    lane = Lane("work", turn=lambda urgent: gate.turn(0 if urgent else 1))
    with gate.turn(0):
        calls = [asyncio.create_task(lane.run(order.append, name)) for name in ("first", "second")]
        await asyncio.sleep(0.02)  # the first now waits at the gate
        gone = asyncio.create_task(lane.run_first(order.append, "gone"))
        await asyncio.sleep(0)
        gone.cancel()
        calls.append(asyncio.create_task(lane.run_first(order.append, "urgent")))
        await asyncio.sleep(0.02)
    await asyncio.wait_for(asyncio.gather(*calls), 10)
    assert order == ["urgent", "first", "second"]
    lane.close()


async def test_closing_a_lane_ends_every_call_that_waits() -> None:
    lane, release = Lane("work"), threading.Event()
    running = asyncio.create_task(lane.run(release.wait, 10))
    waiting = [asyncio.create_task(lane.run(release.wait, 10)) for _ in range(3)]
    await asyncio.sleep(0.02)
    closing = asyncio.create_task(asyncio.to_thread(lane.close))
    await asyncio.sleep(0.02)
    release.set()
    assert await asyncio.wait_for(running, 10)
    for call in waiting:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 10)
    await closing
    with pytest.raises(StreamClosed):
        await lane.run(release.wait, 10)


async def test_who_is_cancelled_while_it_waits_for_a_task_to_end_does_not_leave_it_behind() -> None:
    ending, ended = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ending.wait()
            ended.set()

    task = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(cancel_and_wait(task))
    for _ in range(3):
        await asyncio.sleep(0.001)
        waiting.cancel()
    await asyncio.sleep(0.001)
    assert not waiting.done()
    ending.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)
    assert ended.is_set()
    assert len(asyncio.all_tasks()) == 1
