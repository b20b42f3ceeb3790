"""What came in of a client's audio, and is no message yet."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.messages import AudioFrame, Samples
from voxturn.runtime.turn.listen import RATE

_LEAST_MS = 100
LONGEST_S = 900
"""Of a message."""


class Buffer:
    """Samples at 16 kHz, counted; kept where the client says when they become a message."""

    def __init__(self) -> None:
        self.samples = 0
        self._aside = 0
        self._pieces: list[Samples] = []
        self._kept = 0

    @property
    def ms(self) -> float:
        """How much has come in."""
        return self.samples * 1000 / RATE

    def ms_of(self, sample: int) -> float:
        """When a sample came of those that a session heard."""
        return min(sample + self._aside, self.samples) * 1000 / RATE

    def heard(self, samples: Samples, keep: bool) -> None:
        """The next samples. Raises `ApiError` where more are kept than may be."""
        self.samples += samples.size
        if not keep:
            return
        self._aside += samples.size
        if self._kept + samples.size > LONGEST_S * RATE:
            raise ApiError(
                413,
                f"the buffer has {LONGEST_S} s; commit or clear it",
                "input_audio_buffer_full",
            )
        self._pieces.append(samples)
        self._kept += samples.size

    def take(self) -> Samples:
        """All that is kept, which is kept no more. Raises `ApiError` for less than 100 ms."""
        if self._kept < _LEAST_MS * RATE // 1000:
            raise self.too_little()
        samples = np.concatenate(self._pieces)
        self.clear()
        return samples

    def too_little(self) -> ApiError:
        """What a commit is told where there is not enough."""
        ms = self._kept * 1000 / RATE
        return ApiError(
            400,
            f"Error committing input audio buffer: buffer too small. Expected at least "
            f"{_LEAST_MS}ms of audio, but buffer only has {ms:.2f}ms of audio.",
            "input_audio_buffer_commit_empty",
        )

    def clear(self) -> None:
        """Keep nothing."""
        self._pieces.clear()
        self._kept = 0


async def fed(samples: Samples, now_s: float) -> AsyncIterator[AudioFrame]:
    """Samples as a session is fed."""
    yield AudioFrame(samples, RATE, 0, now_s)
