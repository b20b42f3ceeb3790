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
    """A stateless graph: named tensors in, named tensors out.

    `compiles_shapes`: each new shape is slow the first time. `few_shapes`: so slow that a caller
    should use few of them.
    """

    name: str

    @property
    def compiles_shapes(self) -> bool: ...

    @property
    def few_shapes(self) -> bool: ...

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Outputs:
    """What a decoder gives for its last positions: `logits` `[B, vocabulary]`, `hidden` `[B,
    width]` that the head saw.

    Both are the executor's own memory: valid until its next call.
    """

    logits: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.float32]


@runtime_checkable
class DecoderExecutor(Protocol):
    """A decoder-only graph with key/value buffers that it owns: `slots` sequences of up to
    `capacity` positions."""

    name: str
    slots: int
    capacity: int
    vocabulary: int

    @property
    def lengths(self) -> Sequence[int]:
        """Numbers of new tokens that it computes faster than others, in order; empty where none is
        special."""
        ...

    def run(
        self,
        first: int,
        ids: npt.NDArray[np.int64],
        pasts: Sequence[int],
        rows: npt.NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Append `ids` `[B, S]` to the slots `first … first + B - 1`, which hold `pasts` positions.

        `rows` `[R, width]` are embeddings that ids beyond the graph's own table take (row 0 is
        zero).
        """
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot's buffers to another's."""
        ...

    def save(self, slot: int, length: int) -> list[Tensor]:
        """A copy of the first `length` positions of a slot's buffers, for `load`."""
        ...

    def load(self, slot: int, saved: Sequence[Tensor]) -> None:
        """Put what `save` gave at the beginning of a slot's buffers."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Generated:
    """Tokens of a sequence-to-sequence model, their mean log-probability, and the chance that there
    was no speech."""

    ids: tuple[int, ...]
    score: float
    no_speech: float


@runtime_checkable
class SpeechToTextExecutor(Protocol):
    """An encoder-decoder over log-mel features float32 `[mels, frames]`; two frames make one
    position of the encoder.

    One that is not `multilingual` knows English alone, and its prompt has neither language nor
    task.
    """

    name: str

    @property
    def multilingual(self) -> bool: ...

    @property
    def aligns(self) -> bool:
        """Whether `align` can tell when tokens were said: its model has heads that follow the
        audio."""
        ...

    @property
    def mels(self) -> int:
        """How many mel bands its features have."""
        ...

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        """The encoder's output, opaque to the caller."""
        ...

    def extend(self, encoded: Any, other: Any, positions: int) -> Any:
        """`encoded` up to `positions`: beyond its own, what `other`, a longer output, has there."""
        ...

    def generate(self, encoded: Any, prompt: Sequence[int], max_tokens: int) -> Generated:
        """The likeliest tokens after `prompt`, at most `max_tokens`, without the end token, which
        may come at once."""
        ...

    def detect_language(self, encoded: Any) -> dict[str, float]:
        """The probability of every language by its code."""
        ...

    def align(
        self, encoded: Any, prompt: Sequence[int], ids: Sequence[int], positions: int
    ) -> list[int]:
        """The position at which each of `ids` begins, then that of their end; `positions` hold
        audio, the rest none.

        `prompt` is the one of `generate`, less what asks for no timestamps.
        """
        ...

    def close(self) -> None: ...
