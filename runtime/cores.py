"""Who may use which cores: one object hands every engine its threads, spinning and priority.

A second ONNX Runtime session whose threads spin was measured to double the other's step time on two cores, so exactly
one engine may spin: the one with the tightest loop. Speech comes before text: the reply's threads are niced, which was
measured to halve the time from the first clause to the first audio (docs/performance.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from voxturn.runtime.errors import UsageError

_NICE = {"reply": 10}
_SPINNER = "reply"


@dataclass(frozen=True)
class EngineBudget:
    """What one engine may use: `threads` of its own pool, whether they spin while idle, and its niceness."""

    threads: int
    spin: bool
    nice: int


class Cores:
    """The machine's cores. `available` defaults to what this process may run on."""

    def __init__(self, available: int | None = None) -> None:
        self.available = available or len(os.sched_getaffinity(0))

    def budget(self, stage: str, threads: int) -> EngineBudget:
        """The budget of a stage's engine. `threads` 0 means all cores; more than there are is an error."""
        if threads > self.available:
            raise UsageError(
                f"stage {stage!r}: {threads} threads asked for, but this process has {self.available} cores; lower `threads`"
            )
        return EngineBudget(threads or self.available, stage == _SPINNER, _NICE.get(stage, 0))
