"""Time, injectable. Inside a turn everything is seconds of one monotonic clock, or samples of the
input.

Whatever waits or measures takes a `Clock`: the machine's by default, a `ManualClock` in a test.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Protocol

NEVER = float("inf")
"""A time that does not come."""


class Clock(Protocol):
    """A monotonic clock in seconds, and ways to wait on it."""

    def now(self) -> float:
        """The time, in seconds."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return once it is `when`."""
        ...

    def wait(self, condition: threading.Condition, until: float) -> None:
        """Wait on a condition that the caller holds: until it is notified, or it is `until`
        (`NEVER`: no limit).

        It may return early; a caller looks again.
        """
        ...


class WallClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(max(0.0, when - self.now()))

    def wait(self, condition: threading.Condition, until: float) -> None:
        left_s = max(0.0, until - self.now())
        condition.wait(None if until == NEVER else min(left_s, threading.TIMEOUT_MAX))


class ManualClock:
    """A clock for tests, which stands still until `advance`.

    May be used from any thread and any event loop.
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._sleepers: list[tuple[float, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._conditions: list[threading.Condition] = []

    @property
    def waiting(self) -> int:
        """How many tasks and threads wait on this clock now."""
        with self._lock:
            return len(self._sleepers) + len(self._conditions)

    def now(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake whoever waited for it."""
        with self._lock:
            self._now_s += seconds
            due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._now_s]
            conditions = list(self._conditions)
        for _, loop, future in due:
            loop.call_soon_threadsafe(_wake, future)
        for condition in conditions:
            with condition:
                condition.notify_all()

    async def sleep_until(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        sleeper = when, loop, loop.create_future()
        with self._lock:
            asleep = when > self._now_s
            if asleep:
                self._sleepers.append(sleeper)
        if not asleep:
            await asyncio.sleep(0)
            return
        try:
            await sleeper[2]
        finally:
            with self._lock:
                self._sleepers.remove(sleeper)

    def wait(self, condition: threading.Condition, until: float) -> None:
        with (
            self._lock
        ):  # `advance` sets the time first: it is seen here, or the condition is there
            if until <= self._now_s:
                return
            self._conditions.append(condition)
        try:
            condition.wait()
        finally:
            with self._lock:
                self._conditions.remove(condition)


async def done_by(clock: Clock, call: asyncio.Future[Any], when: float) -> bool:
    """Wait for `call` until `when`; whether it is done.

    It goes on if not, and if this is cancelled.
    """
    if call.done():
        return True
    sleep = asyncio.ensure_future(clock.sleep_until(when))
    try:
        await asyncio.wait([call, sleep], return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleep.cancel()
    return call.done()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
