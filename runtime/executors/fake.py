"""Executors without models, shipped for our tests and for callers' own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.protocols import Generated, Tensor


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
    """A decoder whose next token is a function of all tokens so far, which it really keeps in its slots' buffers."""

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
        self.closed = False

    def run(self, slot: int, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        if past + len(ids) > self.capacity:
            raise InferenceFailed(f"fake decoder: {len(ids)} tokens after {past} do not fit buffers of {self.capacity}")
        time.sleep(self._seconds)
        self.positions += len(ids)
        self._buffers[slot, past : past + len(ids)] = ids
        logits = np.zeros(self.vocabulary, np.float32)
        logits[self._following(self._buffers[slot, : past + len(ids)].tolist())] = 10.0
        return logits

    def copy(self, source: int, target: int, length: int) -> None:
        self._buffers[target, :length] = self._buffers[source, :length]

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
