"""Whether somebody speaks to the microphone, or people talk behind him: a voice detector calls both
speech."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np
from voxturn.runtime.messages import Samples

_REMEMBERED_S, _LEAST_S = 6.0, 1.0
_SMOOTH_S, _RISE_S = 0.16, 0.064
"""Over how much the level is taken, longer than the closure of a consonant; a level that rises is
believed sooner."""

_QUIETEST = 0.1
_ABOVE_DB = 5.0
_DOUBTFUL = 0.35
_SILENT = 1e-12


class Background:
    """Learns from windows as they come how loud it is behind the speaker, and whether that is talk.

    It is talk where even the quietest tenth of the last six seconds was called speech: then what is
    not 5 dB louder than that tenth is no speech of him who speaks to us. After silence, music or
    steady noise, which a detector tells from speech, nothing changes.
    """

    def __init__(self, rate: int = 16000) -> None:
        self._rate = rate
        self._powers: deque[float] = deque()  # of windows
        self._heard: deque[tuple[float, float]] = deque()  # level in dB, probability

    def foreground(self, window: Samples, probability: float) -> float:
        """The probability that a window `[n]` is speech to us, of the one that it is any."""
        per_s = self._rate / window.size
        self._powers.append(float(np.mean(np.square(window))))
        if len(self._powers) > max(1, round(_SMOOTH_S * per_s)):
            self._powers.popleft()
        rise = max(1, round(_RISE_S * per_s))
        level, risen = _db(self._powers), _db(list(self._powers)[-rise:])
        self._heard.append((level, probability))
        if len(self._heard) > _REMEMBERED_S * per_s:
            self._heard.popleft()
        if probability < _DOUBTFUL or len(self._heard) < _LEAST_S * per_s:
            return probability
        levels, probabilities = np.array(self._heard).T
        quiet = np.quantile(levels, _QUIETEST)
        talk = np.mean(probabilities[levels <= quiet] >= _DOUBTFUL) > 0.5
        return 0.0 if talk and max(level, risen) < quiet + _ABOVE_DB else probability


def _db(powers: Collection[float]) -> float:
    """The level of a mean power."""
    return float(10 * np.log10(sum(powers) / len(powers) + _SILENT))
