"""Ends speech whose stop was missed: what a Tacotron says after its text is babble, or the text again.

The attention's place is watched: the symbol that a step reads most of, the median of the last few
steps, so that a step that looks elsewhere does not count. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median_low

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GuardOptions:
    """Of the text's symbols the last `tail` are its end, which nobody reaches sooner than
    `symbol_s` a symbol after the beginning. `after_s` later a sentence is over, wherever the place
    is; and where it has come no further for `still_s`."""

    tail: int = 3
    symbol_s: float = 0.02
    after_s: float = 1.5
    still_s: float = 5.0
    steps: int = 5


class AttentionGuard:
    """For one text of `symbols`; a step is `step_s` seconds of speech.

    Feed it every step's alignment; it says when nothing more is wanted.
    """

    def __init__(self, symbols: int, step_s: float, options: GuardOptions | None = None) -> None:
        self._o = options or GuardOptions()
        self._end = max(0, symbols - self._o.tail)
        self._soonest_s = symbols * self._o.symbol_s
        self._step_s = step_s
        self._recent: deque[int] = deque(maxlen=self._o.steps)
        self._steps = 0
        self._furthest = -1
        self._furthest_s = 0.0
        self._ended_s: float | None = None

    def ends(self, alignment: npt.NDArray[np.float32]) -> bool:
        """Whether the sentence ends with this step; `alignment` says how much of each symbol it
        reads."""
        self._steps += 1
        now = self._steps * self._step_s
        self._recent.append(int(alignment.argmax()))
        place = median_low(self._recent)
        if place > self._furthest:
            self._furthest, self._furthest_s = place, now
        if self._ended_s is None and place >= self._end and now >= self._soonest_s:
            self._ended_s = now
        late = self._ended_s is not None and now - self._ended_s > self._o.after_s
        return late or now - self._furthest_s > self._o.still_s
