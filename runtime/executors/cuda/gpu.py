"""One GPU, and what makes executors on it: TensorRT's, or ONNX Runtime's CUDA provider's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.executors.cuda.device_decoder import DecoderEngine, DeviceDecoder
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.onnx_cuda import OnnxCudaEngine, OnnxCudaGraph, cuda_library
from voxturn.runtime.executors.cuda.streams import Streams
from voxturn.runtime.executors.cuda.tensorrt import TensorRtGraph
from voxturn.runtime.executors.cuda.tensorrt_build import EngineCache, load_library
from voxturn.runtime.executors.cuda.tensorrt_engine import CorruptEngine, Engine
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import ModelContract
from voxturn.runtime.protocols import GraphExecutor

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


def has_cuda_kernels() -> bool:
    """Whether the installation built our kernels."""
    try:
        CudaKernels()
    except ExecutorUnavailable:
        return False
    return True


def has_cuda_provider() -> bool:
    """Whether the onnxruntime that is imported here knows CUDA."""
    try:
        cuda_library()
    except ExecutorUnavailable:
        return False
    return True


class Gpu:
    """Its streams and what runs in them. TensorRT's engines are built when they are first asked for, and kept in `root`.

    Raises `ExecutorUnavailable` without a driver or a device, and without TensorRT once an engine is asked for. Close it
    after what it made.
    """

    def __init__(
        self,
        root: Path,
        progress: Progress,
        trt: Any = None,
        cuda: Cuda | None = None,
        kernels: CudaKernels | None = None,
    ) -> None:
        self._library, self._progress = trt, progress
        self._cuda = cuda or Cuda()
        self._engines = EngineCache(root, self._cuda.name)
        self.streams = Streams(self._cuda)
        self._given_kernels = kernels

    @property
    def _trt(self) -> Any:
        self._library = self._library or load_library()
        return self._library

    def graph(
        self, path: Path, contract: ModelContract, role: str, stage: str, executor: str
    ) -> GraphExecutor:
        """A stateless graph on the stage's stream, run by `tensorrt` or `onnx-cuda`."""
        stream = self.streams.of(stage)
        if executor == "onnx-cuda":
            return OnnxCudaGraph(path, contract, self._cuda, stream)
        return self._of_engine(
            path,
            contract,
            role,
            lambda made: TensorRtGraph(self._trt, self._cuda, stream, made, contract, role),
        )

    def _of_engine(
        self, path: Path, contract: ModelContract, role: str, make: Callable[[bytes], T]
    ) -> T:
        """What is made of a graph's engine; one that was kept and is not whole is built again, once."""
        try:
            return make(self._engines.engine(self._trt, path, contract, role, self._progress))
        except CorruptEngine:
            return make(
                self._engines.engine(self._trt, path, contract, role, self._progress, again=True)
            )

    @cached_property
    def _kernels(self) -> CudaKernels | None:
        """The sampler on the device, where the installation had nvcc; else tokens are chosen on the host."""
        try:
            return self._given_kernels or CudaKernels()
        except ExecutorUnavailable as exc:
            _LOG.warning("tokens are chosen on the host: %s", exc)
            return None

    def decoder(
        self, path: Path, contract: ModelContract, role: str, stage: str, slots: int, executor: str
    ) -> DeviceDecoder:
        """A decoder on the stage's stream, run by `tensorrt` or `onnx-cuda`."""
        stream, kernels = self.streams.of(stage), self._kernels
        engine: DecoderEngine
        if executor == "onnx-cuda":
            engine = OnnxCudaEngine(path, contract, self._cuda, stream)
        else:
            engine = self._of_engine(
                path, contract, role, lambda made: Engine(self._trt, self._cuda, stream, made)
            )
        decoder = DeviceDecoder(engine, contract, slots, kernels)
        try:
            decoder.warm()
        except BaseException:
            decoder.close()
            raise
        return decoder

    def close(self) -> None:
        """Free the streams."""
        self.streams.close()
