"""One GPU, and what makes executors on it: TensorRT's, or ONNX Runtime's CUDA provider's."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from voxturn.runtime.contract import ModelContract
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.executors.cuda import Cuda
from voxturn.runtime.executors.cuda_kernels import CudaKernels
from voxturn.runtime.executors.device_decoder import DecoderEngine, DeviceDecoder
from voxturn.runtime.executors.onnx_cuda import OnnxCudaEngine, OnnxCudaGraph
from voxturn.runtime.executors.tensorrt import TensorRtGraph
from voxturn.runtime.executors.tensorrt_build import EngineCache, load_library
from voxturn.runtime.executors.tensorrt_engine import Engine
from voxturn.runtime.fetch import Progress
from voxturn.runtime.protocols import GraphExecutor
from voxturn.runtime.streams import Streams


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

    def graph(self, path: Path, contract: ModelContract, role: str, stage: str, executor: str) -> GraphExecutor:
        """A stateless graph on the stage's stream, run by `tensorrt` or `onnx-cuda`."""
        stream = self.streams.of(stage)
        if executor == "onnx-cuda":
            return OnnxCudaGraph(path, contract, self._cuda, stream)
        made = self._engines.engine(self._trt, path, contract, role, self._progress)
        return TensorRtGraph(self._trt, self._cuda, stream, made, contract, role)

    @cached_property
    def _kernels(self) -> CudaKernels | None:
        """The sampler on the device, where the installation had nvcc; else tokens are chosen on the host."""
        try:
            return self._given_kernels or CudaKernels()
        except ExecutorUnavailable as exc:
            sys.stderr.write(f"warning: tokens are chosen on the host: {exc}\n")
            return None

    def decoder(
        self, path: Path, contract: ModelContract, role: str, stage: str, slots: int, executor: str
    ) -> DeviceDecoder:
        """A decoder on the stage's stream, run by `tensorrt` or `onnx-cuda`."""
        stream = self.streams.of(stage)
        engine: DecoderEngine
        if executor == "onnx-cuda":
            engine = OnnxCudaEngine(path, contract, self._cuda, stream)
        else:
            made = self._engines.engine(self._trt, path, contract, role, self._progress)
            engine = Engine(self._trt, self._cuda, stream, made)
        decoder = DeviceDecoder(engine, contract, slots, self._kernels)
        if decoder.chooser is not None:
            decoder.chooser.warm()
        return decoder

    def close(self) -> None:
        """Free the streams."""
        self.streams.close()
