"""Speech made faster or slower by stretching its latents, piece by piece as they come. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


class Stretch:
    """Linear interpolation of latents `[n, channels]` to `n / speed`, in the coordinates of the
    whole utterance.

    However the latents are cut into pieces, the concatenated output is the same. Source: coqui-tts
    0.28, `Xtts.inference` (`length_scale`), which is torch's `interpolate(mode="linear")`.
    """

    def __init__(self, speed: float) -> None:
        self._scale = 1.0 / speed
        self._held: Float | None = None
        self._first = 0  # which latent the first held one is
        self._given = 0

    @property
    def empty(self) -> bool:
        """Whether no latent has come yet."""
        return self._held is None

    def push(self, latents: Float) -> Float:
        """The stretched latents that further ones cannot change."""
        self._held = latents if self._held is None else np.concatenate([self._held, latents])
        count = self._first + len(self._held)
        certain = max(self._given, int(np.ceil((count - 0.5) * self._scale - 0.5)) - 1)
        return self._give(certain)

    def flush(self) -> Float:
        """The rest, after the last latent."""
        if self._held is None:
            raise ValueError("no latents were given")
        return self._give(
            max(self._given, int(np.floor((self._first + len(self._held)) * self._scale)))
        )

    def _give(self, until: int) -> Float:
        assert self._held is not None
        last = self._first + len(self._held) - 1
        at = np.maximum((np.arange(self._given, until) + 0.5) / self._scale - 0.5, 0.0)
        low = np.minimum(np.floor(at).astype(np.int64), last)
        high, share = np.minimum(low + 1, last), (at - low)[:, None].astype(np.float32)
        out = self._held[low - self._first] * (1 - share) + self._held[high - self._first] * share
        self._given = until
        keep = int(max(0.0, np.floor((until + 0.5) / self._scale - 0.5))) - self._first
        if keep > 0:
            self._held, self._first = self._held[keep:], self._first + keep
        return np.ascontiguousarray(out, np.float32)
