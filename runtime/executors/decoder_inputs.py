"""The inputs of a decoder's graph that change from call to call, in memory that stays: see
`export.decoder.graph`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from voxturn.runtime.protocols import Tensor

MASKED = -30000.0
"""Added to a score that must not count; finite in half precision."""


class FusedInputs:
    """For a graph of ONNX Runtime's `GroupQueryAttention`: `count` sequences with `length` new
    tokens each."""

    def __init__(self, count: int, length: int) -> None:
        self._ids = np.zeros((count, length), np.int64)
        self._last = np.zeros(count, np.int32)
        self._total = np.zeros((), np.int32)
        self.arrays: dict[str, Tensor] = {
            "input_ids": self._ids,
            "seqlens_k": self._last,
            "total_sequence_length": self._total,
        }

    def set(self, ids: npt.NDArray[np.int64], pasts: Sequence[int]) -> None:
        """New tokens `[count, length]` after `pasts` positions of each sequence."""
        self._ids[:] = ids
        self._last[:] = np.asarray(pasts, np.int32) + (ids.shape[1] - 1)
        self._total[...] = max(pasts) + ids.shape[1]


class PortableInputs:
    """For a graph of standard operators over buffers of `capacity` positions; `dtype` is the
    graph's type.

    They lie where `memory` has room for them, by their names: at the beginning of those arrays.
    """

    def __init__(
        self,
        count: int,
        length: int,
        capacity: int,
        dtype: np.dtype[Any],
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:
        def array(name: str, shape: tuple[int, ...], kind: Any) -> Tensor:
            if memory is None or name not in memory:
                return np.zeros(shape, kind)
            return memory[name].reshape(-1)[: math.prod(shape)].reshape(shape)

        self._ids = array("input_ids", (count, length), np.int64)
        self._write = array("write_index", (count,), np.int64)
        self._positions = array("positions", (count, length), np.int64)
        self._mask = array("mask", (count, 1, length, capacity), dtype)
        self._rows = sliding_window_view(
            np.repeat(np.array([0.0, MASKED], dtype), capacity), capacity
        )
        self.arrays: dict[str, Tensor] = {
            "input_ids": self._ids,
            "write_index": self._write,
            "positions": self._positions,
            "mask": self._mask,
        }

    def set(self, ids: npt.NDArray[np.int64], pasts: Sequence[int]) -> None:
        """New tokens `[count, length]` after `pasts` positions of each sequence."""
        self._ids[:] = ids
        self._write[:] = pasts
        self._positions[:] = self._write[:, None] + np.arange(ids.shape[1])
        capacity, length = self._mask.shape[3], ids.shape[1]
        for mask, past in zip(self._mask[:, 0], pasts, strict=True):
            # a position's row is its forerunner's, one to the left
            mask[:] = self._rows[capacity - past - length : capacity - past][::-1]
