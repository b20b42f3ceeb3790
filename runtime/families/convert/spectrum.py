"""Linear spectra in numpy, equal to VITS's: whole, and piece by piece while samples come.

Source: coqui-tts 0.28, `utils/audio/torch_transforms.py`, `wav_to_spec`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from voxturn.runtime.messages import Samples

Float = npt.NDArray[np.float32]
_FLOOR = 1e-6
"""What is added to a power before its root."""
_FRAMES_AT_ONCE = 2048


def spectrum(samples: Samples, fft: int, hop: int, win: int) -> Float:
    """The spectrum float32 `[fft // 2 + 1, frames]` of at least `least_samples`."""
    spectra = Spectra(fft, hop, win)
    return np.concatenate([spectra.push(samples), spectra.finish()]).T


def least_samples(fft: int, hop: int) -> int:
    """How many samples have a spectrum: the ends are reflected."""
    return max(hop, (fft - hop) // 2 + 1)


class Spectra:
    """The spectrum of a stream. `fft` is the transform's size in samples, `hop` a frame's, `win` the
    Hann window's.

    The signal is reflected at its ends, as if it were there as a whole.
    """

    def __init__(self, fft: int, hop: int, win: int) -> None:
        self._fft = fft
        self._hop = hop
        self._pad = (fft - hop) // 2
        before = (fft - win) // 2
        self._window = np.zeros(fft)
        self._window[before : before + win] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win) / win)
        self._samples = np.zeros(0, np.float32)
        self._begun = False

    def push(self, samples: Samples) -> Float:
        """The frames `[n, fft // 2 + 1]` that these samples complete."""
        self._samples = np.concatenate([self._samples, samples])
        if not self._begun:
            if self._samples.size <= self._pad:
                return self._frames()[:0]
            self._begun = True
            start = self._samples[1 : self._pad + 1][::-1]
            self._samples = np.concatenate([start, self._samples])
        return self._frames()

    def finish(self) -> Float:
        """The last frames. None of a stream with fewer samples than `least_samples`."""
        if self._begun:
            end = self._samples[-self._pad - 1 : -1][::-1]
            self._samples = np.concatenate([self._samples, end])
        return self._frames()

    def _frames(self) -> Float:
        """All whole frames of the samples that are here, which are dropped as far as no other frame
        has them."""
        count = max(0, (self._samples.size - self._fft) // self._hop + 1) if self._begun else 0
        found = [np.zeros((0, self._fft // 2 + 1), np.float32)]
        for first in range(0, count, _FRAMES_AT_ONCE):
            some = min(_FRAMES_AT_ONCE, count - first)
            begin = first * self._hop
            piece = self._samples[begin : begin + (some - 1) * self._hop + self._fft]
            frames = np.lib.stride_tricks.sliding_window_view(piece, self._fft)[:: self._hop]
            power = np.abs(np.fft.rfft(frames * self._window)) ** 2
            found.append(np.sqrt(power + _FLOOR).astype(np.float32))
        self._samples = self._samples[count * self._hop :]
        return np.concatenate(found)
