"""What the comparisons of originals with artifacts have in common: distributions, and limits that
were missed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Over the last axis, in double."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def missed(reached: Mapping[str, float], most: Mapping[str, float]) -> list[str]:
    """Every number that is above its limit, or none at all (NaN), with the limit."""
    return [
        f"{name} {reached[name]:.3g} (at most {limit:g})"
        for name, limit in most.items()
        if not reached[name] <= limit
    ]
