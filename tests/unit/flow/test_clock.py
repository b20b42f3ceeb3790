"""The clocks: the machine's, and the one that a test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from voxturn.runtime.flow.clock import NEVER, Clock, ManualClock, WallClock, done_by


def until(true: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(30_000):
        if true():
            return
        done.wait(0.001)
    raise AssertionError("never came true")


async def waited_on(clock: ManualClock, count: int) -> None:
    """Return once so many wait, and everybody else has gone on."""
    while clock.waiting < count:  # noqa: ASYNC110  a clock tells nobody
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)


async def test_a_manual_clock_wakes_tasks_in_the_order_of_their_times() -> None:
    clock, order = ManualClock(10.0), list[float]()

    async def sleep(when: float) -> None:
        await clock.sleep_until(when)
        order.append(when)

    tasks = [asyncio.create_task(sleep(when)) for when in (12.0, 9.0, 11.0, NEVER)]
    await waited_on(clock, 3)
    assert order == [9.0]
    for _ in range(2):
        clock.advance(1.0)
        await asyncio.sleep(0.001)
    assert order == [9.0, 11.0, 12.0]
    assert clock.now() == 12.0
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert clock.waiting == 0


def test_a_manual_clock_wakes_a_thread_when_time_passes_or_it_is_notified() -> None:
    clock, condition, woken = ManualClock(), threading.Condition(), list[float]()

    def wait(when: float) -> None:
        with condition:
            clock.wait(condition, when)
            woken.append(when)

    thread = threading.Thread(target=wait, args=(5.0,))
    thread.start()
    until(lambda: clock.waiting == 1)
    clock.advance(5.0)
    thread.join(10)
    thread = threading.Thread(target=wait, args=(NEVER,))
    thread.start()
    until(lambda: clock.waiting == 1)
    with condition:
        condition.notify_all()
    thread.join(10)
    wait(5.0)  # which it is already
    assert woken == [5.0, NEVER, 5.0]
    assert clock.waiting == 0


@pytest.mark.parametrize("clock", [WallClock(), ManualClock()])
def test_a_time_that_has_passed_is_not_waited_for(clock: Clock) -> None:
    condition = threading.Condition()
    with condition:
        clock.wait(condition, clock.now() - 1.0)
    asyncio.run(clock.sleep_until(clock.now() - 1.0))


def test_the_wall_clock_wakes_a_thread_that_is_notified() -> None:
    clock, condition, woken = WallClock(), threading.Condition(), threading.Event()

    def wait() -> None:
        with condition:
            clock.wait(condition, NEVER)
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not woken.is_set():
        with condition:
            condition.notify_all()
    thread.join(10)


async def test_done_by_tells_whether_a_call_ended_in_time_and_leaves_it_alone() -> None:
    clock = ManualClock()
    call: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(done_by(clock, call, 3.0))
    await waited_on(clock, 1)
    clock.advance(3.0)
    assert not await waiting
    assert not call.done()
    waiting = asyncio.create_task(done_by(clock, call, 6.0))
    await asyncio.sleep(0)
    call.set_result(1)
    assert await waiting
    assert await done_by(clock, call, 0.0)
    await asyncio.sleep(0)
    assert clock.waiting == 0
