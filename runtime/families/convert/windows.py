"""Which frames of a stream are computed together, with how much context. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.families.convert.spectrum import Float


@dataclass(frozen=True, eq=False)
class Window:
    """Frames `[n, channels]`, the first `before` of which and those behind `count` more are context;
    `final`: the stream ends with these."""

    frames: Float
    before: int
    count: int
    final: bool


class Windows:
    """The frames of a stream without end as windows that grow as `plan` says, each with `margin` frames
    of context on either side, so that they become what one window of all frames would."""

    def __init__(self, plan: Plan, margin: int) -> None:
        self._plan = plan
        self._margin = margin
        self._pieces: list[Float] = []
        self._count = 0
        """Frames that are here."""
        self._begin = 0
        """The first of them that was in no window."""
        self._number = 0

    def push(self, frames: Float) -> None:
        """The next frames of the stream."""
        self._pieces.append(frames)
        self._count += len(frames)

    def next(self, ended: bool) -> Window | None:
        """The next window; None while frames are missing that it needs, and after the last one.

        `ended`: no further frames come.
        """
        end = self._begin + self._plan.size(self._number)
        if ended:
            end = min(end, self._count)
        elif end + self._margin > self._count:
            return None
        if end <= self._begin:
            return None
        low, high = max(0, self._begin - self._margin), min(self._count, end + self._margin)
        frames = np.concatenate(self._pieces)
        final = ended and end == self._count
        window = Window(frames[low:high], self._begin - low, end - self._begin, final)
        keep = max(0, end - self._margin)
        self._pieces = [frames[keep:]]
        self._count -= keep
        self._begin = end - keep
        self._number += 1
        return window
