"""Mel spectrograms in numpy, equal to torchaudio's: a short-time Fourier transform, squared, times
a filter bank."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from voxturn.runtime.messages import Samples

Float = npt.NDArray[np.float32]


def power_spectrogram(samples: Samples, size: int, hop: int, window: Float) -> Float:
    """`|STFT|²` float32 `[size // 2 + 1, frames]`, frames centred on multiples of `hop`, the signal reflected at its ends.

    `window` may be shorter than `size`; it is centred in it. Source: torchaudio's `Spectrogram`
    (power 2).
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


def spectral_change(samples: Samples, rate: int) -> float:
    """How far the shape of the spectrum moves in 0.1 s, in dB: the median over what is loud, 0
    where nothing is.

    Eight bands of 150 to 4000 Hz, smoothed over 50 ms, their common level taken out: what only
    swells is even.
    """
    hop, size = rate // 100, 1 << (rate // 40).bit_length()
    power = power_spectrogram(samples, size, hop, hann_window(rate // 40))
    bands = mel_filters(rate, size, 8, 150.0, 4000.0).T @ power
    bands = np.stack([np.convolve(band, np.full(5, 0.2), "same") for band in bands])
    level = bands.sum(0)
    top = max(float(np.percentile(level, 95)), 1e-12)
    shape = 10 * np.log10(bands + top * 1e-5)
    shape -= shape.mean(0)
    lag = 10
    loud = (level[lag:] > top * 1e-3) & (level[:-lag] > top * 1e-3)
    moved = np.sqrt(((shape[:, lag:] - shape[:, :-lag]) ** 2).mean(0))
    return float(np.median(moved[loud])) if loud.any() else 0.0
