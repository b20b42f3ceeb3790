"""Stateless graphs on TensorRT 10.16, 11 or RTX.

An engine is `tensorrt_engine`'s, a decoder `device_decoder`'s. Graphs are those of `export … --for
tensorrt`. Source: TensorRT's Python API, `IExecutionContext` and `ICudaEngine`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.streams import StageStream
from voxturn.runtime.executors.cuda.tensorrt_build import PROFILES, shapes
from voxturn.runtime.executors.cuda.tensorrt_engine import Engine
from voxturn.runtime.models.manifest import ModelContract, TensorSpec
from voxturn.runtime.protocols import Tensor


class TensorRtGraph:
    """A stateless graph. Inputs are checked against the contract."""

    name = "tensorrt"
    compiles_shapes = False
    few_shapes = False

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        stream: StageStream,
        serialized: bytes,
        contract: ModelContract,
        role: str,
    ) -> None:
        self._contract = contract
        self._engine = Engine(trt, cuda, stream, serialized)
        self._lock = (
            threading.Lock()
        )  # its buffers hold one call; callers may be in several threads
        try:
            most = shapes(contract, PROFILES[role][0])
            self._inputs = {
                spec.name: self._engine.buffer(
                    most[spec.name][2] if spec.name in most else _sizes(spec), spec.dtype
                )
                for spec in contract.inputs
            }
            location = self._engine.plan.get_tensor_location
            self._sizes_in = {
                s.name for s in contract.inputs if location(s.name) == trt.TensorLocation.HOST
            }
            profile = PROFILES[role][0]
            bound = {size: int(values[2]) for size, values in profile.sizes.items()} | dict(
                profile.outputs
            )
            self._outputs = {
                spec.name: self._engine.buffer(
                    tuple(bound[size] if isinstance(size, str) else size for size in spec.shape),
                    spec.dtype,
                )
                for spec in contract.outputs
            }
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._contract.check(inputs)
        for spec in self._contract.inputs:
            value = inputs[spec.name]
            if value.nbytes > self._inputs[spec.name].host.size:
                raise InferenceFailed(
                    f"{self._contract.file}: {spec.name} {list(value.shape)} is beyond the profile"
                )
        with self._lock, self._engine.stream.range(self._contract.file):
            try:
                shapes_out = self._enqueue(inputs)
            finally:  # nothing may be in flight when the pinned memory is written again
                self._engine.cuda.synchronize(self._engine.stream.handle)
            return {
                name: self._outputs[name]
                .host.array.reshape(-1)[: int(np.prod(shape))]
                .reshape(shape)
                .copy()
                for name, shape in shapes_out.items()
            }

    def _enqueue(self, inputs: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        """Copies in, the run, copies out, all in the stream; the outputs' shapes."""
        engine, cuda, stream = self._engine, self._engine.cuda, self._engine.stream.handle
        context = engine.context(0, 1)
        for name, buffer in self._inputs.items():
            value = inputs[name]
            buffer.host.array.reshape(-1)[: value.size] = np.asarray(value).reshape(-1)
            if (
                name in self._sizes_in
            ):  # its values decide shapes: TensorRT reads them on the host, at once
                engine.bind_input(context, name, buffer.host.address, tuple(value.shape))
                continue
            engine.bind_input(context, name, buffer.device, tuple(value.shape))
            cuda.copy(buffer.device, buffer.host.address, value.nbytes, stream)
        for name, buffer in self._outputs.items():
            engine.bind_output(context, name, buffer.device)
        shapes = {name: self._output_shape(context, name) for name in self._outputs}
        engine.execute(context)
        for name, buffer in self._outputs.items():
            size = int(np.prod(shapes[name])) * buffer.host.array.itemsize
            cuda.copy(buffer.host.address, buffer.device, size, stream)
        return shapes

    def _output_shape(self, context: Any, name: str) -> tuple[int, ...]:
        """What the inputs make of an output's shape, if there is room for it."""
        shape = tuple(int(size) for size in context.get_tensor_shape(name))
        host = self._outputs[name].host
        if min(shape) < 0 or int(np.prod(shape)) * host.array.itemsize > host.size:
            raise InferenceFailed(
                f"{self._contract.file}: output {name} has shape {list(shape)}, too large"
            )
        return shape

    def close(self) -> None:
        self._engine.close()


def _sizes(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(int(size) for size in spec.shape)
