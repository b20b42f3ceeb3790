"""Both sides of a conversation in one recording: left what was heard, right what was played
meanwhile."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import numpy as np
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import AudioFrame, Samples

_LATE = RATE // 10
"""What was played comes in pieces of other sizes: both sides are written 100 ms later, so that none
is missing."""


class Recorder:
    """Gives `write` 16 kHz samples `[n, 2]`, as many as were heard. `rate` is the loudspeaker's.

    Raises `ExecutorUnavailable` without soxr.
    """

    def __init__(self, write: Callable[[Samples], None], rate: int) -> None:
        try:
            import soxr
        except ImportError as exc:
            raise ExecutorUnavailable(
                "recording needs soxr; pip install 'voxturn[embedded]'"
            ) from exc
        self._write = write
        self._resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        self._lock = threading.Lock()
        self._heard = np.zeros(_LATE, np.float32)
        self._played = np.zeros(_LATE, np.float32)
        self._begun = False

    def played(self, samples: Samples) -> None:
        """The loudspeaker has played this; from any thread."""
        with self._lock:
            resampled = self._resampler.resample_chunk(samples)
            self._played = np.concatenate([self._played, resampled])

    async def heard(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[AudioFrame, None]:
        """The frames, each written beside what was played. Closes them."""
        try:
            async for frame in frames:
                size = frame.samples.size
                heard = np.concatenate([self._heard, frame.samples])
                self._heard = heard[size:]
                self._write(np.stack([heard[:size], self._taken(size)], axis=1))
                yield frame
        finally:
            await close_iterator(frames)

    def _taken(self, size: int) -> Samples:
        """The next samples that were played, silence where there are too few."""
        with self._lock:
            if not self._begun:  # the loudspeaker may be open long before the microphone
                self._begun = True
                self._played = self._played[-_LATE - size :]
            taken, self._played = self._played[:size], self._played[size:]
        return np.pad(taken, (0, size - taken.size))
