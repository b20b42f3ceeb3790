"""The inputs of a decoder's graph that change from call to call, in memory that stays: see `export.decoder_graph`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.protocols import Tensor

MASKED = -30000.0
"""Added to a score that must not count; finite in half precision."""


class FusedInputs:
    """For a graph of ONNX Runtime's `GroupQueryAttention`: `count` sequences with `length` new tokens each."""

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
    """For a graph of standard operators over buffers of `capacity` positions; `dtype` is the graph's type."""

    def __init__(self, count: int, length: int, capacity: int, dtype: np.dtype[Any]) -> None:
        self._ids = np.zeros((count, length), np.int64)
        self._write = np.zeros(count, np.int64)
        self._positions = np.zeros((count, length), np.int64)
        self._mask = np.zeros((count, 1, length, capacity), dtype)
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
        seen = np.arange(self._mask.shape[3]) <= self._positions[:, None, :, None]
        self._mask[:] = np.where(seen, 0.0, MASKED).astype(self._mask.dtype)
