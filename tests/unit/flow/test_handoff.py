"""Hand-offs and run-ahead: every stream ends in done, error or cancelled, and no bound is passed
unnoticed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import InferenceFailed, StreamClosed
from voxturn.runtime.flow.handoff import Ahead, Handoff, Overflow, cancel_and_wait, close_iterator


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
@settings(max_examples=50)
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
    for _ in range(20):
        await asyncio.sleep(0)
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
                await asyncio.Event().wait()
    finally:
        for _ in range(3):
            await asyncio.sleep(0)
        cleaned.append("whole")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("pauses", range(5))
async def test_closing_never_interrupts_the_source_s_own_clean_up(pauses: int, waits: bool) -> None:
    """Neither where it has an item more than there is room for, so that leaving alone ends it, nor
    by a second closer."""
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
        await asyncio.Event().wait()
        yield 0

    ahead = Ahead(never(), 1)
    reader = asyncio.create_task(_collect(ahead))
    await asyncio.sleep(0)
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


async def _collect(source: AsyncIterator[int]) -> list[int]:
    return [item async for item in source]


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
        await asyncio.sleep(0)
        waiting.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    ending.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)
    assert ended.is_set()
    assert len(asyncio.all_tasks()) == 1


async def unread(handoff: Handoff[int]) -> list[int]:
    """What a reader still gets from a hand-off that has ended without an error."""
    return [item async for item in handoff]


async def test_a_full_hand_off_ends_where_its_bound_is_kept_by_other_means() -> None:
    handoff: Handoff[int] = Handoff(2)
    handoff.put_now(1)
    handoff.put_now(2)
    with pytest.raises(StreamClosed, match="more than 2 items behind"):
        handoff.put_now(3)
    assert [await anext(handoff), await anext(handoff)] == [1, 2]
    with pytest.raises(StreamClosed, match="more than 2 items behind"):
        await anext(handoff)


async def test_a_full_hand_off_drops_its_oldest_items_and_counts_them() -> None:
    handoff: Handoff[int] = Handoff(2, Overflow.DROP_OLDEST)
    for item in range(7):
        handoff.put_now(item)
    handoff.close()
    assert await unread(handoff) == [5, 6]
    assert handoff.dropped == 5


async def test_a_hand_off_that_grows_keeps_everything_and_still_lets_others_wait() -> None:
    handoff: Handoff[int] = Handoff(2, Overflow.GROW)
    for item in range(7):
        handoff.put_now(item)
    waiting = asyncio.create_task(handoff.put(7))
    assert [await anext(handoff) for _ in range(5)] == [0, 1, 2, 3, 4]
    await asyncio.sleep(0)
    assert not waiting.done()
    assert [await anext(handoff) for _ in range(3)] == [5, 6, 7]
    await waiting
    assert handoff.dropped == 0


ACTIONS = st.lists(st.sampled_from(["put", "put", "get", "close", "fail", "abandon"]), max_size=60)


@pytest.mark.slow
@given(ACTIONS, st.integers(1, 4), st.sampled_from(Overflow))
@settings(max_examples=300)
def test_every_item_is_read_in_order_or_its_loss_is_told_and_the_end_is_told(
    actions: list[str], capacity: int, overflow: Overflow
) -> None:
    asyncio.run(_follow(actions, capacity, overflow))


async def _follow(actions: list[str], capacity: int, overflow: Overflow) -> None:
    """Do to a hand-off what the actions say, beside a plain queue that says what has to come of it."""
    handoff: Handoff[int] = Handoff(capacity, overflow)
    waiting: deque[int] = deque()
    dropped, end = 0, ""
    for number, action in enumerate(actions):
        if action == "put":
            full = len(waiting) == capacity and overflow is not Overflow.GROW
            if end or (full and overflow is Overflow.FAIL):
                with pytest.raises(StreamClosed):
                    handoff.put_now(number)
                end = end or "behind"
                continue
            handoff.put_now(number)
            waiting.append(number)
            if full:
                waiting.popleft()
                dropped += 1
        elif action == "get" and waiting:
            assert await anext(handoff) == waiting.popleft()
        elif action == "close":
            handoff.close()
            end = end or "done"
        elif action == "fail":
            handoff.fail(InferenceFailed("broken"))
            end = end or "broken"
        elif action == "abandon":
            handoff.abandon()
            waiting.clear()
            end = "abandoned"
        assert handoff.dropped == dropped
        assert overflow is Overflow.GROW or len(waiting) <= capacity
    handoff.close()
    for item in waiting:
        assert await anext(handoff) == item
    expected = {"broken": InferenceFailed, "behind": StreamClosed}.get(end, StopAsyncIteration)
    for _ in range(2):  # however often it is asked
        with pytest.raises(expected):
            await anext(handoff)


@given(st.integers(0, 30), st.integers(1, 4), st.lists(st.integers(0, 2), max_size=40))
@settings(max_examples=100)
def test_who_waits_for_room_loses_nothing_and_passes_no_bound(
    count: int, capacity: int, pauses: list[int]
) -> None:
    async def both() -> None:
        handoff: Handoff[int] = Handoff(capacity)
        written: list[int] = []

        async def write() -> None:
            for item in range(count):
                await handoff.put(item)
                written.append(item)
            handoff.close()

        writing = asyncio.create_task(write())
        got: list[int] = []
        async for item in handoff:
            got.append(item)
            for _ in range(pauses[item % len(pauses)] if pauses else 0):
                await asyncio.sleep(0)
            assert len(written) - len(got) <= capacity
        await writing
        assert got == list(range(count))

    asyncio.run(both())


async def test_what_is_not_wanted_any_more_is_dropped_and_makes_room() -> None:
    handoff: Handoff[int] = Handoff(3)
    for number in range(3):
        await handoff.put(number)
    waiting = asyncio.create_task(handoff.put(3))
    await asyncio.sleep(0)
    handoff.discard(lambda number: number != 1)
    await asyncio.wait_for(waiting, 5)
    handoff.close()
    assert [number async for number in handoff] == [1, 3]
