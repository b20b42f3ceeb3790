"""Ends speech whose stop token was missed: what sampling models of speech say after that is babble.

The stop token's own probabilities are watched. The chance that the utterance has ended by now is `1
- prod(1 - p)`: when the model itself is nearly sure of it and sampling went on all the same, the
guard ends it. Slower signs are taken once an end was at all likely: codes that run in a circle, and
silence; and whatever was likely, long silence and sheer length. Silence is seen in the audio, so it
is `SilenceGuard`'s: where it cuts depends on the samples alone, not on how far ahead the codes are.
Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from voxturn.runtime.audio.level import last_audible
from voxturn.runtime.messages import Samples


@dataclass(frozen=True)
class GuardOptions:
    """`sure`: the chance of having ended that is enough by itself; `likely`: the one that makes
    circling enough.

    `circle` codes that repeat with a period of at most `period` are a circle. `silence_s` of
    silence are an end where one was likely, `dead_s` anywhere; `tail_s` of it is kept. A text of n
    tokens takes at most `codes_spare + codes_per_token * n` codes: several times what any language
    was seen to take.
    """

    sure: float = 0.97
    likely: float = 0.3
    period: int = 8
    circle: int = 32
    silence_s: float = 0.7
    dead_s: float = 4.0
    silent_dbfs: float = -50.0
    tail_s: float = 0.2
    codes_per_token: int = 10
    codes_spare: int = 60


class StopGuard:
    """For one utterance of `tokens` text tokens.

    Feed it every code; it says why to end before giving that code.
    """

    def __init__(self, tokens: int, options: GuardOptions | None = None) -> None:
        self._o = options or GuardOptions()
        self._most = self._o.codes_spare + self._o.codes_per_token * tokens
        self._goes_on = 1.0
        self._codes: deque[int] = deque(maxlen=self._o.circle)
        self._count = 0

    @property
    def ended(self) -> float:
        """The chance that the utterance has ended by now."""
        return 1.0 - self._goes_on

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
        return ""

    def _circles(self) -> bool:
        codes = list(self._codes)
        if len(codes) < self._o.circle:
            return False
        return any(codes[:-period] == codes[period:] for period in range(1, self._o.period + 1))


class SilenceGuard:
    """For the audio of one utterance.

    Feed it every window, with the chance that the utterance had ended.
    """

    def __init__(self, rate: int, options: GuardOptions | None = None) -> None:
        self._rate = rate
        self._o = options or GuardOptions()
        self._silent = 0

    def keeps(self, samples: Samples, end_probability: float) -> int | None:
        """How many of the window's samples are to be heard if the utterance ends with them; None:
        it goes on."""
        last = last_audible(samples, self._o.silent_dbfs)
        self._silent = self._silent + samples.size if last is None else samples.size - 1 - last
        longest_s = self._o.silence_s if end_probability >= self._o.likely else self._o.dead_s
        if self._silent < longest_s * self._rate:
            return None
        return max(0, samples.size - self._silent + int(self._o.tail_s * self._rate))
