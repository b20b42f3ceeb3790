"""Memory that a graph of strangers may take: a few bytes can ask for any amount.

A constant may have a shape of 25 billion numbers, or one that is computed of other constants.
OpenVINO makes such constants while it loads a graph, ONNX Runtime when the graph first runs. The
kernel keeps the bound, so that it does not matter which operator asks; what a library is refused
it raises as an error of its own.
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

_FREE_BYTES, _TIMES = 512 << 20, 4
"""For what a graph computes; for its weights, which are read, unpacked and packed again."""
_STATUS = Path("/proc/self/statm")
_DATA = 5
"""Which of its numbers is that of the pages that this process alone writes."""


class GraphMemory:
    """How much more memory this process gets while a graph is loaded, and while it first runs: in
    proportion to the files beside it.

    On other systems than Linux nothing bounds it.
    """

    def __init__(self, path: Path) -> None:
        files = [each for each in path.parent.iterdir() if each.is_file()]
        self._bytes = _FREE_BYTES + _TIMES * sum(each.stat().st_size for each in files)
        self._has_run = False

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """While the graph is loaded."""
        with _LIMIT.raised_by(self._bytes):
            yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the graph runs, until it has once."""
        if self._has_run:
            yield
            return
        with _LIMIT.raised_by(self._bytes):
            yield
        self._has_run = True


class _Limit:
    """The kernel's limit of what this process writes (RLIMIT_DATA): one for all its threads.

    While several load, the highest of their limits holds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[int] = []
        self._before = (0, 0)

    @contextlib.contextmanager
    def raised_by(self, size: int) -> Iterator[None]:
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
