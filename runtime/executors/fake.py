"""Executors without models, shipped for our tests and for callers' own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.protocols import Generated, Outputs, Tensor


class FakeGraph:
    """A graph that is a function; `seconds` each call takes."""

    name = "fake"

    def __init__(self, function: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], seconds: float = 0.0) -> None:
        self._function, self._seconds = function, seconds
        self.calls = 0
        self.closed = False

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.calls += 1
        time.sleep(self._seconds)
        return self._function(inputs)

    def close(self) -> None:
        self.closed = True


class FakeDecoder:
    """A decoder whose next token is a function of all tokens so far, which it really keeps in its slots' buffers.

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
    ) -> None:
        self._following, self._seconds = following, seconds
        self.vocabulary, self.slots, self.capacity = vocabulary, slots, capacity
        self._buffers = np.full((slots, capacity), -1, np.int64)
        self.positions = 0
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
        self.batches.append(count)
        logits, hidden = np.zeros((count, self.vocabulary), np.float32), np.zeros((count, 1), np.float32)
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


class FakeWhisper:
    """Gives scripted results, one a call to `generate`; the last one again and again."""

    name = "fake"

    def __init__(self, results: Sequence[Generated], language: str = "en", seconds: float = 0.0) -> None:
        self._results, self._language, self._seconds = list(results), language, seconds
        self.encoded_frames: list[int] = []
        self.closed = False

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        time.sleep(self._seconds)
        self.encoded_frames.append(features.shape[1])
        return features

    def generate(self, encoded: Any, prompt: Sequence[int], max_tokens: int) -> Generated:
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        return Generated(result.ids[:max_tokens], result.score, result.no_speech)

    def detect_language(self, encoded: Any) -> tuple[str, float]:
        return self._language, 1.0

    def close(self) -> None:
        self.closed = True
