"""A sound that moves as speech does, for tests that clone."""

from __future__ import annotations

import numpy as np
from voxturn.runtime.messages import Samples


def voiced(seconds: float, silence: float = 0.0, rate: int = 16000) -> Samples:
    """Four syllables a second, each from a low sound to a high one and back; then silence."""
    t = np.arange(int(rate * seconds)) / rate
    share = 0.5 + 0.45 * np.sin(2 * np.pi * 4 * t)
    low, high = (
        sum(np.sin(2 * np.pi * hertz * t) for hertz in pitches)
        for pitches in ((200, 400, 600), (2200, 3000))
    )
    said = 0.15 * (share * low + (1 - share) * high)
    return np.concatenate([said, np.zeros(int(rate * silence))]).astype(np.float32)
