"""Blockwise weight quantisation in the layout of ONNX Runtime's `MatMulNBits`.

A weight `[N, K]` (output rows, input columns) is cut along K into blocks; each block has one scale
and one zero point: `w = (q - zero) * scale`. Source of the layout: the contrib operator's
documentation in ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BlockWeight:
    """A quantised weight `[N, K]`, unpacked.

    `codes` uint8 `[N, blocks, block]`, `scales` float32 `[N, blocks]`, `zeros` uint8 or float32
    `[N, blocks]`, or None for the middle of the range (8 for 4 bits, 128 for 8 bits).
    """

    codes: npt.NDArray[np.uint8]
    scales: Float
    zeros: npt.NDArray[np.uint8] | Float | None
    bits: int
    columns: int

    @property
    def rows(self) -> int:
        return int(self.codes.shape[0])

    @property
    def block(self) -> int:
        return int(self.codes.shape[2])

    def dequantize(self) -> Float:
        """The float32 weight `[N, K]` that the codes stand for."""
        zeros = (
            float(1 << (self.bits - 1))
            if self.zeros is None
            else self.zeros.astype(np.float32)[..., None]
        )
        values = (self.codes.astype(np.float32) - zeros) * self.scales[..., None]
        return np.ascontiguousarray(
            values.reshape(self.rows, -1)[:, : self.columns], dtype=np.float32
        )

    def packed_codes(self) -> npt.NDArray[np.uint8]:
        """Codes as the operator wants them: two 4-bit codes a byte, the first in the low half."""
        if self.bits == 8:
            return self.codes
        return (self.codes[..., 0::2] | (self.codes[..., 1::2] << 4)).astype(np.uint8)

    def packed_zeros(self) -> npt.NDArray[np.uint8] | Float | None:
        """Zero points as the operator wants them (4-bit integer ones are packed as the codes are)."""
        if self.zeros is None or self.zeros.dtype == np.float32:
            return self.zeros
        if self.bits == 8:
            return self.zeros
        odd = self.zeros.shape[1] % 2
        whole = self.zeros.astype(np.uint8)
        zeros: npt.NDArray[np.uint8] = np.pad(whole, ((0, 0), (0, odd)), constant_values=8)
        return (zeros[:, 0::2] | (zeros[:, 1::2] << 4)).astype(np.uint8)


def quantize(weight: Float, bits: int, block: int, symmetric: bool = True) -> BlockWeight:
    """Round `weight` `[N, K]` to `bits` (4 or 8) in blocks of `block` columns; a short last block
    is zero-padded.

    Symmetric: zero point in the middle. Asymmetric: the block's range, with an integer zero point.
    """
    rows, columns = weight.shape
    blocks = -(-columns // block)
    padded = np.zeros((rows, blocks * block), np.float32)
    padded[:, :columns] = weight
    tiles = padded.reshape(rows, blocks, block)
    top = (1 << bits) - 1
    if symmetric:
        middle = 1 << (bits - 1)
        scales = np.abs(tiles).max(-1) / (middle - 1)
        safe = np.where(scales > 0, scales, 1.0)[..., None]
        codes = np.clip(np.rint(tiles / safe) + middle, 0, top).astype(np.uint8)
        return BlockWeight(codes, scales.astype(np.float32), None, bits, columns)
    low, high = np.minimum(tiles.min(-1), 0.0), np.maximum(tiles.max(-1), 0.0)
    scales = (high - low) / top
    safe = np.where(scales > 0, scales, 1.0)
    zeros = np.clip(np.rint(-low / safe), 0, top)
    codes = np.clip(np.rint(tiles / safe[..., None]) + zeros[..., None], 0, top).astype(np.uint8)
    return BlockWeight(codes, scales.astype(np.float32), zeros.astype(np.uint8), bits, columns)
