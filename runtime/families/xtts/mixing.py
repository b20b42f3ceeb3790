"""Voices put together: the means of what XTTS is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.xtts.voices import Float, Voice

_LEAST_LENGTH = 1e-6


def mixed(name: str, voices: Sequence[Voice], weights: Sequence[float]) -> Voice:
    """The weighted mean of voices; `weights` have the sum 1.

    The mean of the speakers' embeddings is brought to the mean of their lengths: upstream's are
    L2-normalised, and the mean of two directions is shorter. Raises `UsageError` for embeddings
    that cancel each other out, and for latents of different lengths, as XTTS v1.1 has them.
    """
    if len(voices) == 1:
        return voices[0]
    if len({len(voice.latents) for voice in voices}) > 1:
        raise UsageError(
            f"speaker {name!r}: its voices have latents of different lengths, which do not mix"
        )
    latents = _mean([voice.latents for voice in voices], weights)
    speaker = _mean([voice.speaker for voice in voices], weights)
    length = float(np.linalg.norm(speaker))
    wanted = float(np.dot([np.linalg.norm(voice.speaker) for voice in voices], weights))
    if wanted > 0 and length < _LEAST_LENGTH * wanted:
        raise UsageError(
            f"speaker {name!r}: its voices cancel each other out; choose other weights"
        )
    scale = wanted / length if length > 0 else 1.0
    return Voice(name, latents, np.ascontiguousarray(speaker * scale, np.float32))


def _mean(values: Sequence[Float], weights: Sequence[float]) -> Float:
    mean = np.tensordot(np.asarray(weights, np.float64), np.stack(values).astype(np.float64), 1)
    return np.ascontiguousarray(mean, np.float32)
