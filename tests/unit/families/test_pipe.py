"""The one pipe: what a voice owes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.fake import FakeVoice
from voxturn.runtime.families.pipe import clauses, spoken
from voxturn.runtime.messages import PcmChunk, Sentence


class Careless(FakeVoice):
    """A voice that forgets where its audio stands, or its type."""

    def __init__(self, dtype: str, ahead: int) -> None:
        super().__init__()
        self._dtype = dtype
        self._ahead = ahead

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async for sentence in sentences:
            for number in range(2):
                samples = np.zeros(10, self._dtype)
                yield PcmChunk(samples, self.rate, number * (10 + self._ahead), sentence)


async def said(voice: FakeVoice) -> list[PcmChunk]:
    chunks = spoken(voice, clauses(voice, "One word."))
    try:
        return [chunk async for chunk in chunks]
    finally:
        await chunks.aclose()


@pytest.mark.parametrize(("dtype", "ahead"), [("float64", 0), ("float32", -10), ("float32", 5)])
async def test_a_voice_that_miscounts_its_samples_ends_in_an_error(dtype: str, ahead: int) -> None:
    """Captions, playback and what was heard are reckoned from these numbers."""
    with pytest.raises(InferenceFailed, match="was due"):
        await said(Careless(dtype, ahead))


async def test_a_voice_that_counts_is_heard() -> None:
    assert sum(chunk.samples.size for chunk in await said(Careless("float32", 0))) == 20
