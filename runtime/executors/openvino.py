"""OpenVINO: stateless graphs on the CPU. Optional; a profile that names it on a machine without it is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxturn.runtime.contract import ModelContract
from voxturn.runtime.cores import EngineBudget
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.protocols import Tensor

_CACHED_KERNELS = 512
"""Kernels that are kept for shapes seen before; the plugin's own 5000 grow a process by a gigabyte."""


class OpenVinoGraph:
    """A stateless ONNX graph compiled by OpenVINO. Precision `bf16` is a hint that the CPU plugin follows."""

    name = "openvino"
    compiles_shapes = True

    def __init__(self, path: Path, contract: ModelContract, budget: EngineBudget, precision: str) -> None:
        try:
            import openvino
        except ImportError as exc:
            raise ExecutorUnavailable(
                "executor 'openvino' needs openvino; pip install openvino, or set executor = \"onnx\" in the profile"
            ) from exc
        properties: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": budget.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_KERNELS,
        }
        try:
            self._compiled: Any = openvino.Core().compile_model(str(path), "CPU", properties)
        except RuntimeError as exc:
            raise CorruptModel(f"{path}: OpenVINO cannot load it ({_reason(exc)}); pull the model again") from exc
        self._request = self._compiled.create_infer_request()
        self._contract = contract

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for spec in self._contract.inputs:
            spec.check(inputs[spec.name], self._contract.file)
        try:
            self._request.infer(dict(inputs), share_inputs=True)
        except RuntimeError as exc:
            raise InferenceFailed(f"{self._contract.file}: {_reason(exc)}") from exc
        return {spec.name: self._request.get_tensor(spec.name).data.copy() for spec in self._contract.outputs}

    def close(self) -> None:
        self._request = self._compiled = None


def _reason(exc: Exception) -> str:
    """What OpenVINO says behind the source lines that it threw from."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception from")]
    return (said or lines or [type(exc).__name__])[0][:300]
