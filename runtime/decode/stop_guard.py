"""Ends speech whose stop token was missed: what sampling models of speech say after that is babble.

The stop token's own probabilities are watched. The chance that the utterance has ended by now is `1 - prod(1 - p)`: when
the model itself is nearly sure of it and sampling went on all the same, the guard ends it. Slower signs are taken once an
end was at all likely: codes that run in a circle, and silence; and whatever was likely, long silence and sheer length.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class GuardOptions:
    """`sure`: the chance of having ended that is enough by itself; `likely`: the one that makes circling enough.

    `circle` codes that repeat with a period of at most `period` are a circle. `silence_s` of silence are an end where one
    was likely, `dead_s` anywhere. A text of n tokens takes at most
    `codes_spare + codes_per_token * n` codes: several times what any language was seen to take.
    """

    sure: float = 0.97
    likely: float = 0.3
    period: int = 8
    circle: int = 32
    silence_s: float = 0.7
    dead_s: float = 4.0
    codes_per_token: int = 10
    codes_spare: int = 60


class StopGuard:
    """For one utterance of `tokens` text tokens. Feed it every code; it says why to end before giving that code."""

    def __init__(self, tokens: int, options: GuardOptions | None = None) -> None:
        self._o = options or GuardOptions()
        self._most = self._o.codes_spare + self._o.codes_per_token * tokens
        self._goes_on = 1.0
        self._codes: deque[int] = deque(maxlen=self._o.circle)
        self._count = 0
        self._silent_s = 0.0

    def quiet(self, seconds: float) -> None:
        """The audio so far ends in so many seconds of silence."""
        self._silent_s = seconds

    def reason(self, code: int, stop_probability: float) -> str:
        """Why to end here, or empty. `stop_probability` is that of the step that chose `code`."""
        ended = 1.0 - self._goes_on  # before this step: its own stop may still be drawn at the next
        self._goes_on *= 1.0 - stop_probability
        self._codes.append(code)
        self._count += 1
        if ended >= self._o.sure:
            return f"the stop was missed {self._count} codes in"
        if self._count > self._most:
            return f"no stop within {self._most} codes"
        if ended >= self._o.likely and self._circles():
            return f"codes ran in a circle {self._count} codes in"
        if self._silent_s >= (self._o.silence_s if ended >= self._o.likely else self._o.dead_s):
            return f"{self._silent_s:.1f} s of silence {self._count} codes in"
        return ""

    def _circles(self) -> bool:
        codes = list(self._codes)
        if len(codes) < self._o.circle:
            return False
        return any(codes[:-period] == codes[period:] for period in range(1, self._o.period + 1))
