"""Several channels to one, without losing what is in them: their mean, or one channel where the
mean cancels. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from voxturn.runtime.messages import Samples

Channels = npt.NDArray[np.float32]
"""Float32 `[channels, n]`."""

_FAR_BELOW_DB = 7.0
"""How far the mean may lie below its loudest channel. A silent channel beside a full one costs the
mean 6.02 dB, two unrelated ones cost it 3 dB, equal ones nothing: beyond these, channels work
against each other (an inverted one costs everything), or one of many speaks alone."""
_CLOSE_DB = 4.0
"""The mean is taken again where it comes as close as this to its loudest channel: never with a
silent channel."""
_WINDOW_S = 0.25
"""Time constant of the levels: longer than a pitch period or a hum's, shorter than a word."""
_OTHER_DB = 6.0
"""Another channel is taken where it is so much louder than the chosen one."""
_SILENT = 1e-10
"""Mean power below which (-100 dBFS) nothing is decided."""
_FADE_S = 0.01


class Downmix:
    """Pieces of several channels to mono.

    The choice follows the levels of the last quarter of a second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._powers: npt.NDArray[np.float64] | None = None
        self._mean_power = 0.0
        self._channel: int | None = None
        """The channel that is taken, None for the mean."""

    def __call__(self, channels: Channels) -> Samples:
        """The next piece."""
        count, size = channels.shape
        if count == 1 or size == 0:
            first: Samples = channels[0]
            return first
        mean = channels.mean(axis=0, dtype=np.float32)
        before = self._channel
        self._choose(channels, mean)
        after = self._selected(self._channel, channels, mean)
        if self._channel == before:
            return after
        fade = np.ones(size, np.float32)
        steps = min(size, max(1, int(_FADE_S * self._rate)))
        fade[:steps] = np.linspace(0.0, 1.0, steps, endpoint=False, dtype=np.float32)
        return (1 - fade) * self._selected(before, channels, mean) + fade * after

    @staticmethod
    def _selected(channel: int | None, channels: Channels, mean: Samples) -> Samples:
        return mean if channel is None else channels[channel]

    def _choose(self, channels: Channels, mean: Samples) -> None:
        """Follow the levels (without a constant offset, which is no sound) and decide what is taken
        from here on."""
        powers = _powers(channels)
        mean_power = float(_powers(mean[None])[0])
        if self._powers is None:
            self._powers, self._mean_power = powers, mean_power
        decay = float(np.exp(-mean.size / (_WINDOW_S * self._rate)))
        self._powers = decay * self._powers + (1 - decay) * powers
        self._mean_power = decay * self._mean_power + (1 - decay) * mean_power
        loudest = int(np.argmax(self._powers))
        most = float(self._powers[loudest])
        if most < _SILENT:
            return
        below = most / max(self._mean_power, 1e-30)
        if below < _ratio(_CLOSE_DB):
            self._channel = None
        elif below > _ratio(_FAR_BELOW_DB) or self._channel is not None:
            chosen = self._channel
            if chosen is None or most > self._powers[chosen] * _ratio(_OTHER_DB):
                self._channel = loudest


def _powers(channels: Channels) -> npt.NDArray[np.float64]:
    """The power of each channel's sound in a piece."""
    squares = np.einsum("cn,cn->c", channels, channels) / channels.shape[1]
    return np.asarray(np.maximum(squares - channels.mean(axis=1) ** 2, 0.0), np.float64)


def _ratio(db: float) -> float:
    """A power ratio."""
    return float(10.0 ** (db / 10.0))
