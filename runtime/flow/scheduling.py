"""Who may use which cores: one object hands every engine its threads, spinning and priority.

A second ONNX Runtime session whose threads spin was measured to double the other's step time on two cores, so exactly
one engine may spin: the one with the tightest loop. Speech comes before text: the reply's threads are niced, which was
measured to halve the time from the first clause to the first audio (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voxturn.runtime.errors import UsageError

_NICE = {"reply": 10}


@dataclass(frozen=True)
class EngineBudget:
    """What one engine may use: `threads` of its own pool, whether they spin while idle, and its niceness."""

    threads: int
    spin: bool
    nice: int


@dataclass(eq=False)
class _Waiter:
    urgency: int
    grace_s: float
    patience_s: Callable[[], float]
    since: float


class Gate:
    """Lets one engine compute at a time, the most urgent first: two that share the cores slow each other down.

    Use as `with gate.turn(urgency): …`; lower numbers go first, equals in any order, 0 before all others. A call in
    progress is not interrupted, so calls should be short.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiters: list[_Waiter] = []
        self._held = False
        self._last = 0
        self._free_since = self._calm_since = float("-inf")

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return len(self._waiters)

    @contextlib.contextmanager
    def turn(
        self,
        urgency: int,
        grace_s: float = 0.0,
        patience_s: Callable[[], float] = lambda: float("inf"),
    ) -> Iterator[None]:
        """Wait until it is this caller's turn, and hold it.

        Whoever more urgent had the last turn may come back within `grace_s`, so that this caller does not cut into a
        loop of calls. After `patience_s()`, asked whenever a turn ends, without a turn of urgency 0 it goes before
        everything but those: a share of the cores for what must not starve.
        """
        with self._condition:
            me = _Waiter(urgency, grace_s, patience_s, time.monotonic())
            self._waiters.append(me)
            while (wait := self._wait(me)) != 0:
                if wait is None and not self._held:
                    self._condition.notify_all()  # whoever goes before may sleep: its patience has just ended
                self._condition.wait(wait)
            self._waiters.remove(me)
            self._held, self._last = True, urgency
        try:
            yield
        finally:
            with self._condition:
                self._held, self._free_since = False, time.monotonic()
                if not urgency:
                    self._calm_since = self._free_since
                self._condition.notify_all()

    def _wait(self, me: _Waiter) -> float | None:
        """How long to wait before looking again: 0 if it is one's turn, None until something changes."""
        if self._held:
            return None
        now = time.monotonic()
        rank, grace = self._rank(me, now), now
        if any(self._rank(other, now) < rank for other in self._waiters):
            grace = float("inf")
        elif rank >= 0 and self._last < me.urgency:
            grace = self._free_since + me.grace_s
        until = min(grace, self._patient_until(me)) if rank >= 0 else grace
        return None if until == float("inf") else max(0.0, until - now)

    def _rank(self, waiter: _Waiter, now: float) -> int:
        """The order of the waiters, lowest first: urgency 0, those whose patience is over, the others."""
        if not waiter.urgency:
            return -2
        return -1 if now >= self._patient_until(waiter) else waiter.urgency

    def _patient_until(self, waiter: _Waiter) -> float:
        return max(waiter.since, self._calm_since) + waiter.patience_s()


class Pace:
    """How far the voice is ahead of the loudspeakers. Each answer plays from its first samples on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dry: dict[object, float] = {}

    def made(self, answer: object, seconds: float) -> None:
        """So much more of an answer was made; 0 as soon as it is begun."""
        now = time.monotonic()
        with self._lock:
            self._dry[answer] = max(now, self._dry.get(answer, now)) + seconds

    def ended(self, answer: object) -> None:
        """All of an answer was made, or nobody hears it any more."""
        with self._lock:
            self._dry.pop(answer, None)

    @property
    def idle(self) -> bool:
        """Whether no answer is under way."""
        with self._lock:
            return not self._dry

    @property
    def lead_s(self) -> float:
        """How long until an answer would have to stop for want of samples; infinite if none is under way."""
        with self._lock:
            return min(self._dry.values(), default=float("inf")) - time.monotonic()


class Cores:
    """The machine's cores. `available` defaults to what this process may run on."""

    def __init__(self, available: int | None = None) -> None:
        self.available = available or len(os.sched_getaffinity(0))

    def budget(self, stage: str, threads: int, spin: bool = False) -> EngineBudget:
        """The budget of a stage's engine. `threads` 0 means all cores; more than there are is an error.

        At most one engine of a process may have `spin`.
        """
        if threads > self.available:
            raise UsageError(
                f"stage {stage!r}: {threads} threads asked for, but this process has {self.available} cores; lower `threads`"
            )
        return EngineBudget(threads or self.available, spin, _NICE.get(stage, 0))
