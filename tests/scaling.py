"""Whether work grows with its size alone: told from a square by ratios, on a machine of any pace."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

_TIMES = 16  # a square takes 256 times as long
_MOST = 64
_TRIES = 5
_SHORTEST_S = 0.005  # less is the clock's noise


def in_proportion(work: Callable[[int], object], size: int) -> bool:
    """Whether sixteen times ``size`` takes about sixteen times as long, and not its square.

    The least of up to five tries counts: what else the machine does makes some of them slow, a square
    makes all of them. The time is this thread's own, without the garbage collector's.
    """
    work(size)
    few = many = float("inf")
    for _ in range(_TRIES):
        few = min(few, _seconds(work, size))
        many = min(many, _seconds(work, _TIMES * size))
        if many < _MOST * max(few, _SHORTEST_S):
            return True
    return False


def _seconds(work: Callable[[int], object], size: int) -> float:
    gc.disable()
    try:
        start = time.thread_time()
        work(size)
        return time.thread_time() - start
    finally:
        gc.enable()
