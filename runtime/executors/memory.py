"""Memory that a graph of strangers may take: a few bytes can ask for any amount.

A constant may have a shape of 25 billion numbers, or one that is computed of other constants.
OpenVINO makes such constants while it loads a graph, ONNX Runtime when the graph first runs. The
kernel keeps the bound, so that it does not matter which operator asks; what a library is refused
it raises as an error of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from voxturn.runtime.memory import at_most

_FREE_BYTES, _TIMES = 512 << 20, 4
"""For what a graph computes; for its weights, which are read, unpacked and packed again."""


class GraphMemory:
    """How much more memory this process gets while a graph is loaded, and while it first runs: in
    proportion to the files beside it."""

    def __init__(self, path: Path) -> None:
        files = [each for each in path.parent.iterdir() if each.is_file()]
        self._bytes = _FREE_BYTES + _TIMES * sum(each.stat().st_size for each in files)
        self._has_run = False

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """While the graph is loaded."""
        with at_most(self._bytes):
            yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the graph runs, until it has once."""
        if self._has_run:
            yield
            return
        with at_most(self._bytes):
            yield
        self._has_run = True
