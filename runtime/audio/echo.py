"""An echo canceller: what the loudspeaker plays is taken out of what the microphone hears.

WebRTC's AEC3, by `pywebrtc-audio` (Apache-2.0): `pip install 'voxturn[echo]'`. It finds the echo's
delay by itself, up to some 300 ms, if the echo never comes before what it is the echo of; so what
was played is laid beside what was heard by the clock, not by how much of each has come.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from voxturn.runtime.errors import ExecutorUnavailable, InvalidSamples
from voxturn.runtime.messages import AudioFrame, Samples

PACKAGE = "pywebrtc_audio"
RATE = 16_000
_STEP = RATE // 100
"""Samples that the canceller takes at once."""

_SLIP_S = 0.06
"""How far the two sides may come apart before they are laid beside each other anew: more than the
jitter of callbacks; each time the canceller has to find the delay again."""

_LATE_S = 0.03
"""How much later the played side is laid than it is known to have been played, so that it is there:
the resampler keeps up to 20 ms, and callbacks jitter. A loudspeaker and a microphone take more
themselves."""

_SMOOTHING = 0.05
_LONGEST_S = 2.0
"""Of what was played and not yet heard."""


class EchoCanceller:
    """Takes what is played at `rate` out of 16 kHz frames. `played` may be called from any thread.

    Raises `ExecutorUnavailable` without pywebrtc-audio or soxr.
    """

    def __init__(self, rate: int) -> None:
        try:
            import pywebrtc_audio
            import soxr
        except ImportError as exc:
            raise ExecutorUnavailable(
                "cancelling echo needs pywebrtc-audio; pip install 'voxturn[echo]'"
            ) from exc
        self._processor = pywebrtc_audio.AudioProcessor(sample_rate=RATE, echo_cancellation=True)
        self._resampler = soxr.ResampleStream(rate, RATE, 1, "float32", "LQ")
        self._rate = rate
        self._lock = threading.Lock()
        self._far = np.zeros(0, np.float32)  # what was played and is not used yet
        self._far_s = 0.0  # when its first sample was played
        self._held_s = 0.0  # what the resampler has not given yet
        self._slip_s = 0.0  # smoothed: how much earlier the frame is than what lies beside it
        self._aligned = False

    def played(self, samples: Samples, at: float) -> None:
        """The loudspeaker was given this at `at`, in the seconds of the frames' clock; silence as
        well."""
        with self._lock:
            resampled = self._resampler.resample_chunk(np.asarray(samples, np.float32))
            self._held_s += samples.size / self._rate - resampled.size / RATE
            if not self._far.size:
                end_s = at + samples.size / self._rate - self._held_s
                self._far_s = end_s - resampled.size / RATE
                self._aligned = False
            self._far = np.concatenate([self._far, resampled])
            self._forget(self._far.size - int(_LONGEST_S * RATE))

    def clean(self, frame: AudioFrame) -> AudioFrame:
        """The frame, of whole steps of 10 ms, without the echo. Raises `InvalidSamples`."""
        near = frame.samples
        if near.size % _STEP:
            raise InvalidSamples(
                f"{near.size} samples: an echo is cancelled in steps of {_STEP}; give whole ones"
            )
        far = self._beside(near.size, frame.arrived_s - near.size / RATE - _LATE_S)
        cleaned = [
            self._processor.process(near[at : at + _STEP], far[at : at + _STEP])
            for at in range(0, near.size, _STEP)
        ]
        return replace(frame, samples=np.concatenate(cleaned)) if cleaned else frame

    def _beside(self, size: int, heard_s: float) -> Samples:
        """What was played while `size` samples were heard, since `heard_s`; silence where nothing
        was."""
        with self._lock:
            if self._far.size:
                self._align(heard_s)
            before = round((self._far_s - heard_s) * RATE) if not self._aligned else 0
            far = np.zeros(size, np.float32)
            begin = min(size, max(0, before))
            taken = self._far[: size - begin]
            far[begin : begin + taken.size] = taken
            self._forget(taken.size)
            self._aligned = self._aligned or bool(taken.size)
            return far

    def _align(self, heard_s: float) -> None:
        """Forget what was played before the frame, once at first and where the sides came apart."""
        slip_s = heard_s - self._far_s
        if self._aligned:
            self._slip_s += _SMOOTHING * (slip_s - self._slip_s)
            if abs(self._slip_s) < _SLIP_S:
                return
            self._aligned = False
        self._slip_s = 0.0
        self._forget(round(slip_s * RATE))

    def _forget(self, count: int) -> None:
        if count > 0:
            count = min(count, self._far.size)
            self._far = self._far[count:]
            self._far_s += count / RATE
