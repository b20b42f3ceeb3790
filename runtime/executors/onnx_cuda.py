"""ONNX Runtime's CUDA provider: the second GPU executor, for stateless graphs on a machine without TensorRT.

It works in the stage's own stream and keeps inputs and outputs on the device while it runs. ONNX Runtime would go to the
CPU without a word where a library is missing or an operator has no kernel; here both are errors.
Source: ONNX Runtime, CUDA execution provider (`user_compute_stream`, `session.disable_cpu_ep_fallback`), I/O binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxturn.runtime.contract import ModelContract
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.onnx import first_line
from voxturn.runtime.protocols import Tensor
from voxturn.runtime.streams import StageStream

PROVIDER = "CUDAExecutionProvider"


def cuda_session(path: Path, stream: StageStream) -> Any:
    """A session that runs on the GPU, in the stage's stream, or not at all.

    Raises `ExecutorUnavailable` where it would run elsewhere, `CorruptModel`.
    """
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise ExecutorUnavailable("executor 'onnx-cuda' needs onnxruntime-gpu; pip install 'voxturn[gpu]'") from exc
    if PROVIDER not in ort.get_available_providers():
        raise ExecutorUnavailable("this onnxruntime knows no CUDA; pip install onnxruntime-gpu in its place")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    about = {"device_id": "0", "user_compute_stream": str(stream.handle)}
    try:
        session = ort.InferenceSession(str(path), options, providers=[(PROVIDER, about)])
    except Exception as exc:  # ONNX Runtime's classes derive from Exception alone and are not public
        raise CorruptModel(f"{path}: ONNX Runtime's CUDA provider cannot run it ({first_line(exc)})") from exc
    if session.get_providers()[0] != PROVIDER:
        raise ExecutorUnavailable(
            f"{path}: ONNX Runtime went to {session.get_providers()[0]} instead of CUDA; see `voxturn doctor --gpu`"
        )
    return session


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
