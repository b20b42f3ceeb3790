"""Sentences to latents and how long each symbol is said: the first of a VITS's two graphs.

Source: Kim et al. 2021; the graphs are described in `export.vits` and `export.coqui.vits.graphs`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.vits.texts import TextReader, language_of, next_text, pieces_of
from voxturn.runtime.families.vits.words import word_times
from voxturn.runtime.families.windowed import Latents
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence, Word
from voxturn.runtime.protocols import GraphExecutor, Tensor


@dataclass(frozen=True)
class Manner:
    """How sentences are said. `noise` of the prior, `noise_w` of the durations, `length`: 2 is twice
    as slow, as the voice was trained; `speed`: 2 is twice as fast.

    `language` is one of the voice's own codes. `speaker` `[1, channels, 1]` is the row of the one
    who speaks; None where the voice has but one.
    """

    noise: float
    length: float
    noise_w: float
    language: str
    seed: int = 0
    speed: float = 1.0
    speaker: npt.NDArray[np.float32] | None = None

    @property
    def scales(self) -> npt.NDArray[np.float32]:
        """The graph's input of that name."""
        return np.array([self.noise, self.length / self.speed, self.noise_w], np.float32)


class VitsEncoder:
    """Sentences to latents, a frame each.

    `languages` are in the order of their ids; those of a voice whose graph is not told the language
    have none: `tells_language`. `channels` and `noise_frames` are those of the prior's noise. The
    same seed and text give the same latents. A sentence with too much to say for one call is said
    in pieces; of one that is not, the times of its words are known where the graph gives `durations`,
    in frames of `duration_s` seconds.
    """

    def __init__(
        self,
        graph: GraphExecutor,
        reader: TextReader,
        lane: Lane,
        manner: Manner,
        noise_frames: int,
        channels: int,
        languages: tuple[str, ...],
        tells_language: bool = False,
        duration_s: float = 0.0,
    ) -> None:
        self._graph = graph
        self._reader = reader
        self._lane = lane
        self.manner = manner
        self._noise_frames = noise_frames
        self._channels = channels
        self.languages = languages
        self._tells_language = tells_language
        self._duration_s = duration_s

    def using(self, manner: Manner) -> VitsEncoder:
        """The same engine in another manner."""
        return VitsEncoder(
            self._graph,
            self._reader,
            self._lane,
            manner,
            self._noise_frames,
            self._channels,
            self.languages,
            self._tells_language,
            self._duration_s,
        )

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[Latents, None]:
        """Latents `[frames, channels]` of each sentence, or piece of one, that has a sound."""
        told = {} if self.manner.speaker is None else {"speaker": self.manner.speaker}
        try:
            async for sentence in sentences:
                texts, number = pieces_of(sentence.text), 0
                while texts:
                    piece = await self._lane.run(self._encode, texts, sentence, number, told)
                    number += 1
                    if piece is not None:
                        yield piece
        finally:
            await close_iterator(sentences)

    def _encode(
        self, texts: deque[str], sentence: Sentence, number: int, told: Mapping[str, Tensor]
    ) -> Latents | None:
        """The latents of the sentence's next piece, which is taken from `texts`."""
        language = language_of(sentence, self.languages, self.manner.language)
        read = next_text(self._reader, texts, language)
        ids = read.ids
        if not ids:
            return None
        seed = [self.manner.seed, sentence.index, *([number] if number else [])]
        random = np.random.default_rng(seed)
        inputs: dict[str, Tensor] = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": self.manner.scales,
            "duration_noise": random.standard_normal((1, 2, len(ids)), np.float32),
            "prior_noise": random.standard_normal(
                (1, self._channels, self._noise_frames), np.float32
            ),
            **told,
        }
        if self._tells_language:
            inputs["language"] = np.array([self.languages.index(language)], np.int64)
        try:
            outputs = self._graph.run(inputs)
        except InferenceFailed as exc:
            raise InferenceFailed(f"speak: {sentence.text[:40]!r}: {exc}") from exc
        values, words = np.ascontiguousarray(outputs["latents"][0].T), tuple[Word, ...]()
        if "durations" in outputs and not number and not texts:
            durations = outputs["durations"].reshape(-1)
            words = word_times(sentence.text, read, durations, self._duration_s)
        return Latents(values, sentence, inputs=told, words=words)
