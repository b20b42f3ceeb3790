"""Levels of float32 audio: where it is audible. Full scale is ±1; dBFS of single samples."""

from __future__ import annotations

import numpy as np
from voxturn.runtime.messages import Samples

AUDIBLE_DBFS = -40.0


def amplitude(dbfs: float) -> float:
    """The amplitude of a level."""
    return float(10.0 ** (dbfs / 20.0))


def first_audible(samples: Samples, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Index of the first sample above the level, or None."""
    loud = np.abs(samples) > amplitude(dbfs)
    return int(np.argmax(loud)) if loud.any() else None


def last_audible(samples: Samples, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Index of the last sample above the level, or None."""
    loud = np.abs(samples) > amplitude(dbfs)
    return int(samples.size - 1 - np.argmax(loud[::-1])) if loud.any() else None
