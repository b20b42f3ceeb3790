from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.workers import Workers

LIVE_S = 20.0
READY = "import sys, signal; print('ready', flush=True); "
"""What a worker says once it serves."""
UNTIL_TOLD = [sys.executable, "-S", "-c", READY + "signal.sigwait([signal.SIGTERM])"]
UNTIL_STDIN_ENDS = [
    sys.executable, "-S", "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "sys.stdin.read()",
]  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    """Return once something is so that nobody tells."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_workers_run_until_they_are_told_to_stop() -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    workers = Workers(UNTIL_TOLD, 2, clock=ManualClock())
    async with asyncio.timeout(LIVE_S):
        task = asyncio.create_task(workers.run(stop, ready.set))
        await ready.wait()
        assert len(workers.pids) == 2
        pids = workers.pids
        stop.set()
        assert await task == 0
    assert workers.pids == []
    for pid in pids:
        assert not alive(pid)


async def test_another_takes_the_place_of_one_that_died() -> None:
    clock, stop, ready, told = ManualClock(), asyncio.Event(), asyncio.Event(), list[str]()
    workers = Workers(UNTIL_TOLD, 2, clock=clock, report=told.append)
    async with asyncio.timeout(LIVE_S):
        task = asyncio.create_task(workers.run(stop, ready.set))
        await ready.wait()
        for wait_s in (1, 2, 4):
            first, second = workers.pids
            os.kill(second, signal.SIGKILL)
            await until(lambda: clock.waiting == 1)
            assert workers.pids == [first]
            assert told.pop().endswith(f"ended (-9); another begins in {wait_s} s")
            clock.advance(wait_s)
            await until(lambda: len(workers.pids) == 2)
            assert second not in workers.pids
        clock.advance(60)  # it has settled
        os.kill(workers.pids[1], signal.SIGKILL)
        await until(lambda: clock.waiting == 1)
        assert told.pop().endswith("another begins in 1 s")
        stop.set()  # one runs, one waits to begin
        assert await task == 0
    assert workers.pids == []


async def test_workers_that_cannot_begin_are_not_begun_again() -> None:
    command = [sys.executable, "-S", "-c", "raise SystemExit(5)"]
    workers = Workers(command, 2, clock=ManualClock())
    async with asyncio.timeout(LIVE_S):
        assert await workers.run(asyncio.Event()) == 5
    assert workers.pids == []


async def test_one_that_does_not_stop_is_killed() -> None:
    clock, stop, ready = ManualClock(), asyncio.Event(), asyncio.Event()
    workers = Workers(UNTIL_STDIN_ENDS, 1, clock=clock, drain_s=10.0)
    async with asyncio.timeout(LIVE_S):
        task = asyncio.create_task(workers.run(stop, ready.set))
        await ready.wait()
        (pid,) = workers.pids
        stop.set()
        await until(lambda: clock.waiting == 1)
        clock.advance(24.9)
        await asyncio.sleep(0)
        assert alive(pid)
        clock.advance(0.1)
        assert await task == 0
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
