"""Progress bars on standard error for long work; nothing where it is not a terminal."""

from __future__ import annotations

import sys
from typing import Any

from voxturn.runtime.closing import Closing


class Bar(Closing):
    """A `Progress` callback: one tqdm bar for each thing that is done."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if what != self._what:
            self.close()
            from tqdm import tqdm

            big = total > 10_000
            self._bar = tqdm(
                total=total or None,
                desc=what,
                unit="B" if big else "step",
                unit_scale=big,
                leave=True,
            )
            self._what = what
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Finish the bar that is open."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._what = None, ""
