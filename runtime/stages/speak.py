"""Speak: sentences in, acoustic latents out, by the first half of a VITS (text encoder, durations, flow).

Source: Kim et al. 2021; the graph is the one that Piper's voices carry, cut by `export.vits`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

import numpy as np
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.handoff import Lane, close_iterator
from voxturn.runtime.messages import Sentence, SpeechCodes
from voxturn.runtime.protocols import GraphExecutor


class Phonemizer(Protocol):
    """Text to the voice's phoneme ids; empty for text that has no sound."""

    def ids(self, text: str) -> list[int]: ...


class VitsSpeak:
    """The stage. `scales`: noise of the prior, length, noise of the durations. Same seed and text, same latents."""

    def __init__(
        self,
        executor: GraphExecutor,
        phonemizer: Phonemizer,
        lane: Lane,
        scales: tuple[float, float, float],
        noise_frames: int,
        seed: int,
    ) -> None:
        self._executor, self._phonemizer, self._lane = executor, phonemizer, lane
        self._scales = np.array(scales, np.float32)
        self._noise_frames, self._seed = noise_frames, seed

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[SpeechCodes, None]:
        try:
            async for sentence in sentences:
                for latents in await self._lane.run(self._speak, sentence):
                    yield SpeechCodes(latents, sentence)
        finally:
            await close_iterator(sentences)

    def _speak(self, sentence: Sentence) -> list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
        ids = self._phonemizer.ids(sentence.text)
        if not ids:
            return []
        random = np.random.default_rng([self._seed, sentence.index])
        try:
            out = self._executor.run(
                {
                    "input": np.array([ids], np.int64),
                    "input_lengths": np.array([len(ids)], np.int64),
                    "scales": self._scales,
                    "duration_noise": random.standard_normal((1, 2, len(ids)), np.float32),
                    "prior_noise": random.standard_normal((1, 192, self._noise_frames), np.float32),
                }
            )
        except InferenceFailed as exc:
            raise InferenceFailed(f"speak: {sentence.text[:40]!r}: {exc}") from exc
        return [np.ascontiguousarray(out["latents"][0].T)]
