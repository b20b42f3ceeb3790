"""Executors without models, shipped for our tests and for callers' own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.backend import Backend
from voxturn.runtime.protocols import Generated, Outputs, Tensor


class FakeBackend(Backend):
    """For stages without models, which ask it for nothing."""


class FakeGraph:
    """A graph that is a function; `seconds` each call takes."""

    name = "fake"
    compiles_shapes = True
    few_shapes = False

    def __init__(
        self, function: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], seconds: float = 0.0
    ) -> None:
        self._function = function
        self._seconds = seconds
        self.calls = 0
        self.closed = False

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.calls += 1
        time.sleep(self._seconds)
        return self._function(inputs)

    def close(self) -> None:
        self.closed = True


class FakeDecoder:
    """A decoder whose next token is a function of all tokens so far, which it really keeps in its
    slots' buffers.

    Its hidden state `[1]` is the number of positions that the slot holds.
    """

    name = "fake"

    def __init__(
        self,
        following: Callable[[Sequence[int]], int],
        vocabulary: int,
        slots: int = 2,
        capacity: int = 256,
        seconds: float = 0.0,
        lengths: Sequence[int] = (),
    ) -> None:
        self._following = following
        self._seconds = seconds
        self.vocabulary = vocabulary
        self.slots = slots
        self.capacity = capacity
        self._buffers = np.full((slots, capacity), -1, np.int64)
        self.lengths = lengths
        self.positions = 0
        self.pieces: list[int] = []
        self.batches: list[int] = []
        self.closed = False

    def run(
        self,
        first: int,
        ids: npt.NDArray[np.int64],
        pasts: Sequence[int],
        rows: npt.NDArray[np.float32] | None = None,
    ) -> Outputs:
        count, length = ids.shape
        if max(pasts) + length > self.capacity:
            raise InferenceFailed(
                f"fake decoder: {length} tokens after {max(pasts)} do not fit buffers of {self.capacity}"
            )
        time.sleep(self._seconds)
        self.positions += ids.size
        self.pieces.append(length)
        self.batches.append(count)
        logits, hidden = (
            np.zeros((count, self.vocabulary), np.float32),
            np.zeros((count, 1), np.float32),
        )
        for row, past in enumerate(pasts):
            buffer = self._buffers[first + row]
            buffer[past : past + length] = ids[row]
            logits[row] = self.logits(buffer[: past + length].tolist())
            hidden[row] = past + length
        return Outputs(logits, hidden)

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """The logits after `ids`: one choice, certain."""
        logits = np.zeros(self.vocabulary, np.float32)
        logits[self._following(ids)] = 10.0
        return logits

    def copy(self, source: int, target: int, length: int) -> None:
        self._buffers[target, :length] = self._buffers[source, :length]

    def save(self, slot: int, length: int) -> list[Tensor]:
        return [self._buffers[slot, :length].copy()]

    def load(self, slot: int, saved: Sequence[Tensor]) -> None:
        self._buffers[slot, : saved[0].size] = saved[0]

    def close(self) -> None:
        self.closed = True


def evenly(ids: Sequence[int], positions: int) -> list[int]:
    """An alignment in which every token is as long as the others."""
    return [positions * i // len(ids) for i in range(len(ids) + 1)]


class FakeWhisper:
    """Gives scripted results, one a call to `generate`; the last one again and again.

    What a prompt ends with is taken from the beginning of a result, as a model that goes on from it
    would. `aligned` gives the position at which each token begins, and the end of the last.
    """

    name = "fake"

    def __init__(
        self,
        results: Sequence[Generated],
        languages: Mapping[str, float] | None = None,
        seconds: float = 0.0,
        aligned: Callable[[Sequence[int], int], list[int]] = evenly,
    ) -> None:
        self._results = list(results)
        self._aligned = aligned
        self._seconds = seconds
        self.languages = dict(languages or {"en": 1.0})
        self.multilingual = True
        self.aligns = True
        self.mels = 80
        self.encoded_frames: list[int] = []
        self.positions: list[int] = []
        self.prompts: list[list[int]] = []
        self.detections = 0
        self.alignments = 0
        self.closed = False

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        time.sleep(self._seconds)
        self.encoded_frames.append(features.shape[1])
        return features.shape[1] // 2

    def extend(self, encoded: Any, other: Any, positions: int) -> Any:
        return min(max(encoded, other), max(encoded, positions))

    def generate(self, encoded: Any, prompt: Sequence[int], max_tokens: int) -> Generated:
        self.positions.append(encoded)
        self.prompts.append(list(prompt))
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        given = max(
            n
            for n in range(len(result.ids) + 1)
            if list(prompt[len(prompt) - n :]) == list(result.ids[:n])
        )
        return Generated(result.ids[given : given + max_tokens], result.score, result.no_speech)

    def detect_language(self, encoded: Any) -> dict[str, float]:
        self.detections += 1
        return self.languages

    def align(
        self, encoded: Any, prompt: Sequence[int], ids: Sequence[int], positions: int
    ) -> list[int]:
        self.alignments += 1
        return self._aligned(ids, positions)

    def close(self) -> None:
        self.closed = True
