"""Whether somebody speaks to the microphone, or people talk behind him: a voice detector calls both
speech."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np
from voxturn.runtime.messages import Samples

_REMEMBERED_S, _LEAST_S = 6.0, 2.0
_SMOOTH_S, _RISE_S = 0.096, 0.064
"""Over how much the level is taken; one that rises is believed sooner."""

_QUIETEST = 0.1
_ABOVE_DB, _OVER_AN_ANSWER_DB = 6.0, 3.0
"""How much louder he is who speaks to us; less over an answer, where a canceller takes some of the
first word."""

_LASTS_S = 0.128
"""So long is a speaker at least as quiet as what is behind him before he has ended: longer than the
soft end of a word."""

_DOUBTFUL = 0.35
_SILENT = 1e-12


class Background:
    """Learns from windows as they come how loud it is behind the speaker, and whether that is talk.

    It is talk where even the quietest tenth of the last six seconds was called speech: then nobody
    speaks to us before it is 6 dB louder than that tenth, nor after it has not been for a while.
    After silence, music or steady noise, which a detector tells from speech, nothing changes.
    """

    def __init__(self, rate: int = 16000) -> None:
        self._rate = rate
        self._powers: deque[float] = deque()  # of windows
        self._heard: deque[tuple[float, float]] = deque()  # level in dB, probability
        self._quiet_s = 0.0

    def foreground(self, window: Samples, probability: float, learn: bool = True) -> float:
        """The probability that a window `[n]` is speech to us, of the one that it is any.

        Without `learn` it says nothing of the room: an answer is played into it.
        """
        window_s = window.size / self._rate
        self._powers.append(float(np.mean(np.square(window))))
        if len(self._powers) > max(1, round(_SMOOTH_S / window_s)):
            self._powers.popleft()
        level = _db(self._powers)
        risen = _db(list(self._powers)[-max(1, round(_RISE_S / window_s)) :])
        if learn:
            self._heard.append((level, probability))
            if len(self._heard) > _REMEMBERED_S / window_s:
                self._heard.popleft()
        talk, quiet_db = self._behind(window_s)
        above_db = _ABOVE_DB if learn else _OVER_AN_ANSWER_DB
        quiet = talk and max(level, risen) < quiet_db + above_db
        self._quiet_s = self._quiet_s + window_s if quiet else 0.0
        return probability if self._quiet_s <= _LASTS_S else 0.0

    def _behind(self, window_s: float) -> tuple[bool, float]:
        """Whether there is talk behind the speaker, and its level in dB."""
        if len(self._heard) < _LEAST_S / window_s:
            return False, 0.0
        levels, probabilities = np.array(self._heard).T
        quiet_db = float(np.quantile(levels, _QUIETEST))
        quietest = probabilities[levels <= quiet_db]
        return bool(np.mean(quietest >= _DOUBTFUL) > 0.5), quiet_db


def _db(powers: Collection[float]) -> float:
    """The level of a mean power."""
    return float(10 * np.log10(sum(powers) / len(powers) + _SILENT))
