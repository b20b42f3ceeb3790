"""Where a recording has speech, how clean it is, and whether it is clipped: relative to the
recording itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.level import amplitude
from voxturn.runtime.messages import Samples

Levels = npt.NDArray[np.float64]
"""dBFS (root mean square) of windows of 20 ms."""

_WINDOWS_PER_S = 50
_NOTHING_DBFS = -90.0
"""Below this there is no sound: 16 bits end here."""
_LOUDEST_S = 1.0
_RANGE_DB = 30.0
"""Speech is what lies no further below the recording's loudest second: quiet consonants do not."""
_SHARE_OF_CONTRAST = 0.6
"""Where the quiet parts are nearer than that, the line is drawn at this share of the way down to
them."""
_QUIETEST = 10
"""The percentile of the levels that tells how loud the quiet parts are."""
_LEAST_CONTRAST_DB = 5.0
"""Of a recording that is more even than that, quiet parts cannot be told from speech."""
_PAUSE_S = 0.5
"""A pause up to this belongs to the speech."""
_CLICK_S = 0.06
"""A sound that is shorter and has no other near it is no speech."""
_NOISY_DB = 22.0
"""Speech in white noise 15 dB below it keeps that contrast.

Clean speech has 35 dB and more, its stops are silent.
"""
_BAND = 0.04
"""Width of the bands of amplitude in which samples are counted, as a share of the peak."""
_CLIPPED_SHARE = 0.001
_CLIPPED_RISE = 2.0
"""Samples of speech get rarer towards its peak. Where it is clipped, they heap up in a band: so
many, and so many times as many as in the one below. Resampling moves the heap below the peak, so
that every band of the upper half is looked at."""


@dataclass(frozen=True)
class SpeechPart:
    """The speech of a recording without the silence around and inside it, and what is wrong with
    it."""

    samples: Samples
    noisy: bool
    clipped: bool


def speech_part(samples: Samples, rate: int) -> SpeechPart:
    """What of a recording is speech, going by its own levels. All silence gives none."""
    window = max(1, rate // _WINDOWS_PER_S)
    levels = window_levels(samples, window)
    sounding = levels[levels > _NOTHING_DBFS]
    if not sounding.size:
        return SpeechPart(samples[:0], noisy=False, clipped=False)
    speech_db = _loudest(sounding)
    quiet_db = max(float(np.percentile(levels, _QUIETEST)), _NOTHING_DBFS)
    runs = _runs(levels > _threshold(speech_db, quiet_db))
    speech = np.concatenate(
        [samples[:0], *(samples[first * window : last * window] for first, last in runs)]
    )
    noisy = _LEAST_CONTRAST_DB < speech_db - quiet_db < _NOISY_DB
    return SpeechPart(speech, noisy, _is_clipped(speech))


def window_levels(samples: Samples, window: int) -> Levels:
    """The levels of whole windows of so many samples."""
    count = samples.size // window
    frames = samples[: count * window].reshape(count, window)
    powers = np.einsum("cn,cn->c", frames, frames, dtype=np.float64) / window
    return np.asarray(10 * np.log10(powers + 1e-20))


def _loudest(sounding: Levels) -> float:
    """The level of the loudest second, or of the loudest quarter of what sounds; clicks do not move
    it."""
    count = max(1, min(int(_LOUDEST_S * _WINDOWS_PER_S), sounding.size // 4))
    return float(np.median(np.sort(sounding)[-count:]))


def _threshold(speech_db: float, quiet_db: float) -> float:
    contrast = speech_db - quiet_db
    if contrast < _LEAST_CONTRAST_DB:
        return max(_NOTHING_DBFS, speech_db - _RANGE_DB)
    return max(_NOTHING_DBFS, speech_db - min(_RANGE_DB, _SHARE_OF_CONTRAST * contrast))


def _runs(loud: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last (exclusive) windows of the stretches of speech, short pauses filled, lone
    clicks left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and first - runs[-1][1] <= _PAUSE_S * _WINDOWS_PER_S:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return [run for run in runs if run[1] - run[0] >= _CLICK_S * _WINDOWS_PER_S]


def _is_clipped(speech: Samples) -> bool:
    if not speech.size:
        return False
    sizes = np.abs(speech)
    peak = max(float(np.percentile(sizes, 99.99)), 1e-9)
    edges = [*(peak * np.arange(0.5, 1.0, _BAND)), np.inf]
    counts, _ = np.histogram(sizes, edges)
    pairs = (counts[1:] + counts[:-1]) / sizes.size
    above, below = pairs[2:], pairs[:-2]
    return bool(((above > _CLIPPED_SHARE) & (above > _CLIPPED_RISE * below)).any())


def at_level(samples: Samples, dbfs: float) -> Samples:
    """The same sound with its peak at a level."""
    return np.asarray(samples * (amplitude(dbfs) / np.abs(samples).max()), np.float32)
