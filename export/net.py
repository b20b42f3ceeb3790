"""Layers of networks as nodes of an ONNX graph, over the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper
from voxturn.export.graph import GraphBuilder
from voxturn.export.weights import Weights


class Net:
    """A graph, the weights that it is made of and the type that they are stored and computed in."""

    def __init__(
        self, path: Path, weights: Weights, dtype: type[np.floating[Any]] = np.float32
    ) -> None:
        self.g = GraphBuilder(path.stem, path)
        self.w = weights
        self.dtype = dtype
        self._kernels: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._params: dict[str, str] = {}

    def const(
        self, value: float | list[int] | npt.NDArray[np.float32], dtype: type = np.int64
    ) -> str:
        array: npt.NDArray[np.generic] = np.asarray(
            value, np.float32 if isinstance(value, float) else dtype
        )
        return self.g.constant(f"constant_{self.g.fresh()}", array)

    def integer(self, value: int) -> str:
        return self.const(np.array(value), np.int64)

    def weight(self, name: str, value: npt.NDArray[np.float32]) -> str:
        return self.g.constant(name, value.astype(self.dtype))

    def param(self, name: str) -> str:
        """A parameter; of a layer that is used again, the one that is there."""
        if name not in self._params:
            self._params[name] = self.weight(name, self.w.take(name))
        return self._params[name]

    def _kernel(self, prefix: str) -> tuple[str, tuple[int, ...]]:
        """A layer's weight and its shape, as `param`."""
        if prefix not in self._kernels:
            weight = self.w.weight(prefix)
            self._kernels[prefix] = self.weight(f"{prefix}.weight", weight), weight.shape
        return self._kernels[prefix]

    def cast(self, x: str, dtype: type[np.floating[Any]]) -> str:
        """`x`, which is of the other of the two types or of this one, in `dtype`."""
        return (
            x
            if self.dtype == np.float32
            else self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        )

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.g.node(kind, inputs, **attributes)

    def conv(self, x: str, prefix: str, pad: int = 0, bias: bool = True, **attributes: Any) -> str:
        weight, shape = self._kernel(prefix)
        inputs = [x, weight, *([self.param(f"{prefix}.bias")] if bias else [])]
        attributes = {"pads": [pad] * 2 * (len(shape) - 2), **attributes}
        return self.g.node("Conv", inputs, kernel_shape=list(shape[2:]), **attributes)

    def conv_transpose(self, x: str, prefix: str, rate: int) -> str:
        """`rate` samples for each of `x`; what the kernel makes beyond them is cut off on either side,
        of an odd number one more before."""
        weight = self.w.weight(prefix)
        kernel = weight.shape[2]
        inputs = [x, self.weight(f"{prefix}.weight", weight), self.param(f"{prefix}.bias")]
        pads = [(kernel - rate + 1) // 2, (kernel - rate) // 2]
        return self.g.node(
            "ConvTranspose", inputs, kernel_shape=[kernel], strides=[rate], pads=pads
        )

    def linear(self, x: str, prefix: str, bias: bool = True) -> str:
        y = self.op("MatMul", x, self.weight(f"{prefix}.weight", self.w.take(f"{prefix}.weight").T))
        return self.op("Add", y, self.param(f"{prefix}.bias")) if bias else y

    def batch_norm(self, x: str, prefix: str) -> str:
        names = ("weight", "bias", "running_mean", "running_var")
        return self.op(
            "BatchNormalization",
            x,
            *(self.param(f"{prefix}.{name}") for name in names),
            epsilon=1e-5,
        )

    def reshape(self, x: str, *shape: int | str) -> str:
        """`x` in a shape whose sizes are numbers, or values int64 [1]."""
        return self.op("Reshape", x, self.sizes(*shape))

    def sizes(self, *sizes: int | str) -> str:
        """A vector of numbers and of values int64 [1]."""
        if not any(isinstance(size, str) for size in sizes):
            return self.const([int(size) for size in sizes])
        parts = [size if isinstance(size, str) else self.const([size]) for size in sizes]
        return self.op("Concat", *parts, axis=0)

    def slice(self, x: str, begin: int | str, end: int | str, axis: int) -> str:
        """`x[begin:end]` of one axis; the ends are numbers, or values int64 [1]."""
        return self.op("Slice", x, self.sizes(begin), self.sizes(end), self.const([axis]))

    def pad(
        self, x: str, before: int | str, after: int | str, axis: int, value: float = 0.0
    ) -> str:
        """`x` with `value` before and after it; how many are numbers, or values int64 [1]."""
        return self.op("Pad", x, self.sizes(before, after), self.const(value), self.const([axis]))

    def split(self, x: str, sizes: list[int], axis: int) -> tuple[str, ...]:
        """`x` in pieces of these sizes."""
        return self.g.nodes("Split", [x, self.const(sizes)], len(sizes), axis=axis)
