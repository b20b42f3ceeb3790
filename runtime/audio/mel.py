"""Mel spectrograms in numpy, equal to torchaudio's: a short-time Fourier transform, squared, times a filter bank."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from voxturn.runtime.messages import Samples

Float = npt.NDArray[np.float32]


def power_spectrogram(samples: Samples, size: int, hop: int, window: Float) -> Float:
    """`|STFT|²` float32 `[size // 2 + 1, frames]`, frames centred on multiples of `hop`, the signal reflected at its ends.

    `window` may be shorter than `size`; it is centred in it. Source: torchaudio's `Spectrogram` (power 2).
    """
    before = (size - window.size) // 2
    padded_window = np.zeros(size)
    padded_window[before : before + window.size] = window
    padded = np.pad(samples.astype(np.float64), size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.asarray(np.abs(np.fft.rfft(frames * padded_window)).T ** 2, np.float32)


def hann_window(size: int) -> Float:
    """The periodic Hann window, as torch's."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), np.float32)


def mel_filters(rate: int, size: int, bands: int, low: float, high: float) -> Float:
    """Triangles of equal area, even on the HTK mel scale: float32 `[size // 2 + 1, bands]`.

    Source: torchaudio's `melscale_fbanks` with `norm="slaney"`, `mel_scale="htk"`.
    """
    ends = 2595.0 * np.log10(1.0 + np.array([low, high]) / 700.0)
    points = 700.0 * (10.0 ** (np.linspace(ends[0], ends[1], bands + 2) / 2595.0) - 1.0)
    slopes = points[None] - np.linspace(0, rate // 2, size // 2 + 1)[:, None]
    widths = np.diff(points)
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (points[2:] - points[:-2]))
    return np.asarray(triangles, np.float32)
