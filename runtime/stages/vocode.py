"""Vocode: acoustic latents in, PCM out, window by window; the samples are those of one full decode."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import numpy as np
from voxturn.runtime.audio.level import first_audible
from voxturn.runtime.audio.window import schedule, with_margin
from voxturn.runtime.handoff import Lane, close_iterator
from voxturn.runtime.messages import PcmChunk, Samples, SpeechCodes
from voxturn.runtime.protocols import GraphExecutor

_LEAD_IN_MS = 5


class Vocode:
    """The stage. `hop` samples a frame, `margin` frames of context on each side.

    Silence before the first audible sample of the whole answer is dropped, but for a few milliseconds.
    """

    def __init__(self, executor: GraphExecutor, lane: Lane, rate: int, hop: int, margin: int) -> None:
        self._executor, self._lane = executor, lane
        self.rate, self._hop, self._margin = rate, hop, margin

    async def __call__(self, codes: AsyncIterator[SpeechCodes]) -> AsyncGenerator[PcmChunk, None]:
        start, audible = 0, False
        try:
            async for code in codes:
                for begin, end in schedule(len(code.latents)):
                    samples = await self._lane.run(self.window, code.latents, begin, end)
                    if not audible:
                        samples, audible = self._trim(samples)
                    if samples.size:
                        yield PcmChunk(samples, self.rate, start, code.sentence)
                        start += samples.size
        finally:
            await close_iterator(codes)

    def window(self, latents: np.ndarray[tuple[int, int], np.dtype[np.float32]], begin: int, end: int) -> Samples:
        """The samples of frames `[begin, end)`."""
        low, high, before = with_margin(begin, end, len(latents), self._margin)
        out = self._executor.run({"latents": np.ascontiguousarray(latents[low:high].T[None])})["audio"].reshape(-1)
        return np.ascontiguousarray(out[before * self._hop : (before + end - begin) * self._hop])

    def _trim(self, samples: Samples) -> tuple[Samples, bool]:
        at = first_audible(samples)
        if at is None:
            return samples[:0], False
        return samples[max(0, at - self.rate * _LEAD_IN_MS // 1000) :], True
