"""How much memory this process gets for something that anyone may have made.

The kernel keeps the bound, so that it does not matter which library asks, and for what; what it is
refused it raises as an error of its own. On other systems than Linux nothing is bounded.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_STATUS = Path("/proc/self/statm")
_DATA = 5
"""Which of its numbers is that of the pages that this process alone writes."""


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let this process have `size` bytes more than it has now: all its threads together."""
    with _LIMIT.more(size):
        yield


class _Limit:
    """The kernel's limit of what this process writes (RLIMIT_DATA): one for all its threads.

    While several load, the highest of their limits holds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[int] = []
        self._before = (0, 0)

    @contextlib.contextmanager
    def more(self, size: int) -> Iterator[None]:
        """Let the process have `size` bytes more than it has now, and never more than it might have
        had before."""
        if resource is None or not _STATUS.exists():
            yield
            return
        limit = _written_bytes() + size
        with self._lock:
            if not self._limits:
                self._before = resource.getrlimit(resource.RLIMIT_DATA)
            self._limits.append(limit)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._limits.remove(limit)
                self._set()

    def _set(self) -> None:
        soft, hard = self._before
        if self._limits:
            most = max(self._limits)
            soft = most if soft == resource.RLIM_INFINITY else min(most, soft)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_LIMIT = _Limit()


def _written_bytes() -> int:
    pages = int(_STATUS.read_text(encoding="ascii").split()[_DATA])
    return pages * resource.getpagesize()
