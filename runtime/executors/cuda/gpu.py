"""One GPU, and what makes executors on it: TensorRT's, or ONNX Runtime's CUDA provider's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.executors.backend import Backend, Host, LoadedArtifact
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
from voxturn.runtime.protocols import DecoderExecutor, GraphExecutor

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


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
    """Its streams and what runs in them. TensorRT's engines are built when they are first asked
    for, and kept in `root`.

    Raises `ExecutorUnavailable` without a driver or a device, and without TensorRT once an engine
    is asked for. Close it after what it made.
    """

    def __init__(
        self,
        root: Path,
        progress: Progress,
        trt: Any = None,
        cuda: Cuda | None = None,
        kernels: CudaKernels | None = None,
    ) -> None:
        self._library = trt
        self._progress = progress
        self.cuda = cuda or Cuda()
        self._engines = EngineCache(root, self.cuda.name)
        self.streams = Streams(self.cuda)
        self._given_kernels = kernels

    def onnx_graph(
        self, path: Path, contract: ModelContract, role: str, stage: str
    ) -> GraphExecutor:
        """A stateless graph on the stage's stream, run by ONNX Runtime's CUDA provider."""
        return OnnxCudaGraph(path, contract, self.cuda, self.streams.of(stage))

    def tensorrt_graph(
        self, path: Path, contract: ModelContract, role: str, stage: str
    ) -> GraphExecutor:
        """A stateless graph on the stage's stream, run by TensorRT."""
        stream = self.streams.of(stage)

        def graph(plan: bytes) -> TensorRtGraph:
            return TensorRtGraph(self._trt, self.cuda, stream, plan, contract, role)

        return self._of_plan(path, contract, role, graph)

    def onnx_decoder(
        self, path: Path, contract: ModelContract, role: str, stage: str, slots: int
    ) -> DeviceDecoder:
        """A decoder on the stage's stream, run by ONNX Runtime's CUDA provider."""
        stream = self.streams.of(stage)
        return self._warm(OnnxCudaEngine(path, contract, self.cuda, stream), contract, slots)

    def tensorrt_decoder(
        self, path: Path, contract: ModelContract, role: str, stage: str, slots: int
    ) -> DeviceDecoder:
        """A decoder on the stage's stream, run by TensorRT."""
        stream = self.streams.of(stage)

        def engine(plan: bytes) -> Engine:
            return Engine(self._trt, self.cuda, stream, plan)

        return self._warm(self._of_plan(path, contract, role, engine), contract, slots)

    def close(self) -> None:
        """Free the streams."""
        self.streams.close()

    @property
    def _trt(self) -> Any:
        self._library = self._library or load_library()
        return self._library

    @cached_property
    def _kernels(self) -> CudaKernels | None:
        """The sampler on the device, where the installation had nvcc; else tokens are chosen on the
        host."""
        try:
            return self._given_kernels or CudaKernels()
        except ExecutorUnavailable as exc:
            _LOG.warning("tokens are chosen on the host: %s", exc)
            return None

    def _of_plan(
        self, path: Path, contract: ModelContract, role: str, make: Callable[[bytes], T]
    ) -> T:
        """What is made of a graph's plan; one that was kept and is not whole is built again, once."""
        try:
            return make(self._engines.engine(self._trt, path, contract, role, self._progress))
        except CorruptEngine:
            return make(
                self._engines.engine(self._trt, path, contract, role, self._progress, again=True)
            )

    def _warm(self, engine: DecoderEngine, contract: ModelContract, slots: int) -> DeviceDecoder:
        decoder = DeviceDecoder(engine, contract, slots, self._kernels)
        try:
            decoder.warm()
        except BaseException:
            decoder.close()
            raise
        return decoder


class OnnxCudaBackend(Backend):
    """ONNX Runtime's CUDA provider."""

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        gpu, contract = gpu_of(self._host), artifact.contract(role)
        return gpu.onnx_graph(artifact.path(role), contract, role, artifact.stage)

    def decoder(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int
    ) -> DecoderExecutor:
        gpu, contract = gpu_of(self._host), artifact.contract(role)
        return gpu.onnx_decoder(artifact.path(role), contract, role, artifact.stage, slots)


class TensorRtBackend(Backend):
    """TensorRT 10, 11 or RTX."""

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        gpu, contract = gpu_of(self._host), artifact.contract(role)
        return gpu.tensorrt_graph(artifact.path(role), contract, role, artifact.stage)

    def decoder(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int
    ) -> DecoderExecutor:
        gpu, contract = gpu_of(self._host), artifact.contract(role)
        return gpu.tensorrt_decoder(artifact.path(role), contract, role, artifact.stage, slots)


def gpu_of(host: Host) -> Gpu:
    """The one GPU of a host's backends, found when the first engine asks for it."""
    return host.shared(Gpu, lambda: Gpu(host.engines, host.progress))
