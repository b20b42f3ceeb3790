"""What stages need of executors. An executor takes and gives tensors and knows no meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Tensor = np.ndarray[Any, Any]


@runtime_checkable
class GraphExecutor(Protocol):
    """A stateless graph: named tensors in, named tensors out."""

    name: str

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def close(self) -> None: ...


@runtime_checkable
class DecoderExecutor(Protocol):
    """A decoder-only graph with key/value buffers that it owns: `slots` sequences of up to `capacity` positions."""

    name: str
    slots: int
    capacity: int
    vocabulary: int

    def run(self, slot: int, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        """Append `ids` after `past` positions of `slot`; logits `[vocabulary]` of the last. Valid until the next call."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot's buffers to another's."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Generated:
    """Tokens of a sequence-to-sequence model, their mean log-probability, and the chance that there was no speech."""

    ids: tuple[int, ...]
    score: float
    no_speech: float


@runtime_checkable
class SpeechToTextExecutor(Protocol):
    """An encoder-decoder over log-mel features float32 `[mels, frames]`."""

    name: str

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        """The encoder's output, opaque to the caller."""
        ...

    def generate(self, encoded: Any, prompt: Sequence[int], max_tokens: int) -> Generated:
        """Greedy tokens after `prompt`, at most `max_tokens`, without the end token."""
        ...

    def detect_language(self, encoded: Any) -> tuple[str, float]:
        """The most probable language code and its probability."""
        ...

    def close(self) -> None: ...
