"""ONNX Runtime's CUDA provider: the second GPU executor, for a machine without TensorRT.

It works in the stage's own stream and keeps inputs and outputs on the device while it runs. ONNX Runtime would go to the
CPU without a word where a library is missing or an operator has no kernel; here both are errors. What may run there is
arithmetic of sizes, which it puts there by itself (`session.disable_cpu_ep_fallback` would refuse that, too).

A decoder's step is captured from outside, as TensorRT's: `enable_cuda_graph` keeps what a capture must not hold out of
the stream, and `gpu_graph_id = -1` leaves the capture itself to the caller.
Source: ONNX Runtime, CUDA execution provider (`user_compute_stream`, `enable_cuda_graph`), I/O binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.contract import ModelContract
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.cuda import Cuda
from voxturn.runtime.executors.device_decoder import DecoderEngine
from voxturn.runtime.executors.onnx import first_line
from voxturn.runtime.protocols import Tensor
from voxturn.runtime.streams import StageStream

PROVIDER = "CUDAExecutionProvider"
_SIZES = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Gather",
        "Max",
        "Min",
        "Mul",
        "Range",
        "Shape",
        "Slice",
        "Squeeze",
        "Sub",
        "Unsqueeze",
    }
)
"""Operators that ONNX Runtime may compute on the CPU: of these it puts those there whose values become shapes."""


def cuda_session(path: Path, stream: StageStream, captured: bool = False) -> Any:
    """A session that runs on the GPU, in the stage's stream, or not at all. `captured`: its runs will be.

    Raises `ExecutorUnavailable` where it would run elsewhere, `CorruptModel`.
    """
    ort = _library()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    about = {"device_id": "0", "user_compute_stream": str(stream.handle), "use_tf32": "0"}
    if captured:
        about["enable_cuda_graph"] = "1"
    try:
        session = ort.InferenceSession(str(path), options, providers=[(PROVIDER, about)])
    except Exception as exc:  # ONNX Runtime's classes derive from Exception alone and are not public
        raise CorruptModel(f"{path}: ONNX Runtime's CUDA provider cannot run it ({first_line(exc)})") from exc
    if session.get_providers()[0] != PROVIDER:
        raise ExecutorUnavailable(
            f"{path}: ONNX Runtime went to {session.get_providers()[0]} instead of CUDA; see `voxturn doctor --gpu`"
        )
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != PROVIDER
        for node in part.get_nodes()
    }
    if fallen := sorted(elsewhere - _SIZES):
        raise ExecutorUnavailable(f"{path}: ONNX Runtime would compute {', '.join(fallen)} on the CPU instead of CUDA")
    return session


def _library() -> Any:
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise ExecutorUnavailable("executor 'onnx-cuda' needs onnxruntime-gpu; pip install 'voxturn[gpu]'") from exc
    if PROVIDER not in ort.get_available_providers():
        raise ExecutorUnavailable("this onnxruntime knows no CUDA; pip install onnxruntime-gpu in its place")
    return ort


class OnnxCudaGraph:
    """A stateless graph. Inputs are checked against the contract."""

    name = "onnx-cuda"
    compiles_shapes = False

    def __init__(self, path: Path, contract: ModelContract, stream: StageStream) -> None:
        self._session, self._contract, self._stream = cuda_session(path, stream), contract, stream

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        binding = self._session.io_binding()
        for spec in self._contract.inputs:
            spec.check(inputs[spec.name], self._contract.file)
            binding.bind_cpu_input(spec.name, inputs[spec.name])
        for spec in self._contract.outputs:
            binding.bind_output(spec.name, "cuda")
        try:
            with self._stream.range(self._contract.file):
                self._session.run_with_iobinding(binding)
                values = binding.copy_outputs_to_cpu()
        except Exception as exc:
            raise InferenceFailed(f"{self._contract.file}: {first_line(exc)}") from exc
        return {spec.name: value for spec, value in zip(self._contract.outputs, values, strict=True)}

    def close(self) -> None:
        self._session = None


class OnnxCudaEngine(DecoderEngine):
    """A decoder's graph (`export.decoder_portable`) in a session of its own. Close it when done."""

    name = "onnx-cuda"

    def __init__(self, path: Path, contract: ModelContract, cuda: Cuda, stream: StageStream) -> None:
        super().__init__(cuda, stream)
        self._file, self._session = contract.file, cuda_session(path, stream, captured=True)
        self._types = {spec.name: np.dtype(spec.dtype) for spec in (*contract.inputs, *contract.outputs)}
        self._options = _library().RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", "-1")
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._contexts: dict[tuple[int, int], Any] = {}

    def in_place(self, past: str, present: str) -> bool:
        """Always: `TensorScatter` leaves what is there where both are bound to one address."""
        return True

    def context(self, profile: int, batch: int) -> Any:
        if (profile, batch) not in self._contexts:
            self._contexts[profile, batch] = self._session.io_binding()
        return self._contexts[profile, batch]

    def bind_input(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        context.bind_input(name, "cuda", 0, self._types[name], shape, address)

    def bind_output(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        context.bind_output(name, "cuda", 0, self._types[name], shape, address)

    def execute(self, context: Any) -> None:
        try:
            self._session.run_with_iobinding(context, self._options)
        except Exception as exc:
            raise InferenceFailed(f"{self._file}: {first_line(exc)}") from exc

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._contexts, self._session = {}, None
