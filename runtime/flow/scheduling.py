"""Who may use which cores: one object hands every engine its threads, spinning and priority.

A second ONNX Runtime session whose threads spin was measured to double the other's step time on two
cores, so exactly one engine may spin: the one with the tightest loop. Speech comes before text: the
reply's threads are niced, which was measured to halve the time from the first clause to the first
audio (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import NEVER, Clock, WallClock

_NICE = {"reply": 10}


@dataclass(frozen=True)
class EngineBudget:
    """What one engine may use: `threads` of its own pool, whether they spin while idle, and its
    niceness."""

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
    """Lets one engine compute at a time, the most urgent first: two that share the cores slow each
    other down.

    Use as `with gate.turn(urgency): …`; lower numbers go first, equals in any order, 0 before all
    others. A call in progress is not interrupted, so calls should be short.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or WallClock()
        self._condition = threading.Condition()
        self._waiters: list[_Waiter] = []
        self._held = False
        self._last_urgency = 0
        self._free_since = float("-inf")
        self._calm_since = float("-inf")  # when the last turn of urgency 0 ended

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return len(self._waiters)

    @contextlib.contextmanager
    def turn(
        self,
        urgency: int,
        grace_s: float = 0.0,
        patience_s: Callable[[], float] = lambda: NEVER,
    ) -> Iterator[None]:
        """Wait until it is this caller's turn, and hold it.

        Whoever more urgent had the last turn may come back within `grace_s`, so that this caller
        does not cut into a loop of calls. After `patience_s()`, asked whenever a turn ends, without
        a turn of urgency 0 it goes before everything but those: a share of the cores for what must
        not starve.
        """
        with self._condition:
            me = _Waiter(urgency, grace_s, patience_s, self._clock.now())
            self._waiters.append(me)
            before = self._clock.now()
            while (begin := self._may_begin(me)) > self._clock.now():
                if begin == NEVER and before != NEVER and not self._held:
                    # whoever goes before may sleep: its patience has just ended. Told once, or
                    # two that wait would wake each other all the time
                    self._condition.notify_all()
                before = begin
                self._clock.wait(self._condition, begin)
            self._waiters.remove(me)
            self._held = True
            self._last_urgency = urgency
        try:
            yield
        finally:
            with self._condition:
                self._held = False
                self._free_since = self._clock.now()
                if not urgency:
                    self._calm_since = self._free_since
                self._condition.notify_all()

    def _may_begin(self, me: _Waiter) -> float:
        """When it is a waiter's turn if nothing changes; `NEVER` while somebody holds the gate or
        goes before."""
        if self._held:
            return NEVER
        now = self._clock.now()
        rank = self._rank(me, now)
        begin = now
        if any(self._rank(other, now) < rank for other in self._waiters):
            begin = NEVER
        elif rank >= 0 and self._last_urgency < me.urgency:
            begin = self._free_since + me.grace_s
        return min(begin, self._patient_until(me)) if rank >= 0 else begin

    def _rank(self, waiter: _Waiter, now: float) -> int:
        """The order of the waiters, lowest first: urgency 0, those whose patience is over, the
        others."""
        if not waiter.urgency:
            return -2
        return -1 if now >= self._patient_until(waiter) else waiter.urgency

    def _patient_until(self, waiter: _Waiter) -> float:
        return max(waiter.since, self._calm_since) + waiter.patience_s()


class Pace:
    """How far the voice is ahead of the loudspeakers.

    Each answer plays from its first samples on.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or WallClock()
        self._lock = threading.Lock()
        self._dry: dict[object, float] = {}  # by answer: when its samples have been played

    def made(self, answer: object, seconds: float) -> None:
        """So much more of an answer was made; 0 as soon as it is begun."""
        now = self._clock.now()
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
        """How long until an answer would have to stop for want of samples; infinite if none is
        under way."""
        with self._lock:
            return min(self._dry.values(), default=NEVER) - self._clock.now()


class Cores:
    """The machine's cores. `available` defaults to what this process may run on.

    `capped`: whoever asks for more threads than there are gets as many as there are.
    """

    def __init__(self, available: int | None = None, capped: bool = False) -> None:
        self.available = available or len(os.sched_getaffinity(0))
        self._capped = capped

    def share(self, processes: int) -> Cores:
        """What each of several processes may use, which load the same profile: its engines get no
        more threads than that."""
        return Cores(max(1, self.available // processes), capped=True)

    def budget(self, stage: str, threads: int, spin: bool = False) -> EngineBudget:
        """The budget of a stage's engine. `threads` 0 means all cores; more than there are is an
        error, unless they are capped.

        At most one engine of a process may have `spin`.
        """
        if threads > self.available and self._capped:
            threads = self.available
        if threads > self.available:
            raise UsageError(
                f"stage {stage!r}: {threads} threads asked for, but this process has {self.available} cores; lower `threads`"
            )
        return EngineBudget(threads or self.available, spin, _NICE.get(stage, 0))
