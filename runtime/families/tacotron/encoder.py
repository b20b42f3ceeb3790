"""Sentences to a vocoder's mels, some frames at a time, while a Tacotron goes on making them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.tacotron.guard import AttentionGuard
from voxturn.runtime.families.tacotron.loop import FineMels, Float, Loop
from voxturn.runtime.families.vits.texts import TextReader, language_of, next_text, pieces_of
from voxturn.runtime.families.windowed import Latents
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence
from voxturn.runtime.protocols import GraphExecutor, Tensor


@dataclass(frozen=True)
class TacotronManner:
    """How sentences are said: `language` is one of the voice's own codes, `seed` what its prenet drops
    by, where it drops any; `speaker` `[1, channels, 1]` the row of the one who speaks, None where the
    voice has but one."""

    language: str
    seed: int = 0
    speaker: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class TacotronGraphs:
    """`text`: symbols to the memory and the first states; `step`; `post`: frames to mels."""

    text: GraphExecutor
    step: GraphExecutor
    post: GraphExecutor


@dataclass(frozen=True)
class TacotronShape:
    """A step is `step_s` seconds, and `most_steps` are made of one text; a prenet drops some of `keeps`
    values, or none of 0. `size` frames are made finer at once, which see `margin` more on either
    side; the first and the last are `repeated`."""

    step_s: float
    most_steps: int
    keeps: int
    size: int
    margin: int
    repeated: int


class TacotronEncoder:
    """Sentences to mels. The same seed and text give the same mels. A sentence with too much to say
    for one text is said in several."""

    def __init__(
        self,
        graphs: TacotronGraphs,
        reader: TextReader,
        lane: Lane,
        manner: TacotronManner,
        shape: TacotronShape,
        languages: tuple[str, ...],
    ) -> None:
        self._graphs = graphs
        self._reader = reader
        self._lane = lane
        self.manner = manner
        self._shape = shape
        self.languages = languages

    def using(self, manner: TacotronManner) -> TacotronEncoder:
        """The same engine in another manner."""
        return TacotronEncoder(
            self._graphs, self._reader, self._lane, manner, self._shape, self.languages
        )

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[Latents, None]:
        """Mels `[frames, mels]` of each sentence that has a sound, as soon as they are made. Others
        take turns at the lane between two pieces."""
        told = {} if self.manner.speaker is None else {"speaker": self.manner.speaker}
        try:
            async for sentence in sentences:
                texts, number = pieces_of(sentence.text), 0
                while texts:
                    utterance = await self._lane.run(self._begin, texts, sentence, number, told)
                    number += 1
                    while utterance is not None and not utterance.loop.over:
                        values = await self._lane.run(utterance.mels)
                        loop = utterance.loop
                        yield Latents(values, sentence, loop.over, told, loop.cut)
        finally:
            await close_iterator(sentences)

    def _begin(
        self, texts: deque[str], sentence: Sentence, number: int, told: Mapping[str, Tensor]
    ) -> _Utterance | None:
        """The next text of a sentence, which is taken from `texts`; None where it has no sound."""
        language = language_of(sentence, self.languages, self.manner.language)
        ids = next_text(self._reader, texts, language).ids
        if not ids:
            return None
        shape = self._shape
        random = np.random.default_rng([self.manner.seed, sentence.index, number])
        try:
            encoded = self._graphs.text.run({"input": np.array([ids], np.int64), **told})
        except InferenceFailed as exc:
            raise _of(sentence, exc) from exc
        guard = AttentionGuard(len(ids), shape.step_s)
        keep = kept(random, shape.keeps) if shape.keeps else None
        return _Utterance(
            sentence,
            Loop(self._graphs.step, encoded, shape.most_steps, guard, keep),
            FineMels(self._graphs.post, shape.size, shape.margin, shape.repeated),
        )


@dataclass(frozen=True)
class _Utterance:
    """A text while it is said."""

    sentence: Sentence
    loop: Loop
    fine: FineMels

    def mels(self) -> Float:
        """The next mels: steps are made until there are some."""
        try:
            while True:
                self.fine.add(self.loop.next())
                mels = self.fine.ready(self.loop.over)
                if mels is not None:
                    return mels
        except InferenceFailed as exc:
            raise _of(self.sentence, exc) from exc


def kept(random: np.random.Generator, values: int) -> Callable[[], Float]:
    """Draws which half of so many values a prenet keeps, twice as large."""
    return lambda: np.asarray(2.0 * random.integers(0, 2, (1, values)), np.float32)


def _of(sentence: Sentence, exc: InferenceFailed) -> InferenceFailed:
    return InferenceFailed(f"speak: {sentence.text[:40]!r}: {exc}")
