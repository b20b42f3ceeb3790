"""OpenVINO: stateless graphs on the CPU.

Optional; a profile that names it on a machine without it is an error.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.backend import Backend, LoadedArtifact
from voxturn.runtime.executors.loading import first_line, unloadable
from voxturn.runtime.executors.memory import GraphMemory
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.manifest import WHOLE_POSITIONS, ModelContract
from voxturn.runtime.protocols import GraphExecutor, Tensor

_CACHED_KERNELS = 512
"""Kernels that are kept for shapes seen before; the plugin's own 5000 grow a process by a gigabyte."""


_WORTH_IT = 1.25
"""bf16 keeps 8 bits of a number: it has to be faster by this much."""


class OpenVinoGraph:
    """A stateless ONNX graph compiled by OpenVINO.

    `compute`: fp32 or bf16; `ExecutorUnavailable` where this processor has none.
    """

    name = "openvino"
    compiles_shapes = True
    few_shapes = False

    def __init__(
        self, path: Path, contract: ModelContract, budget: EngineBudget, compute: str
    ) -> None:
        properties = _properties(budget.threads, compute)
        whole = (
            path.resolve()
        )  # it reads weights beside the file that it is given, and not through links
        library = _openvino()
        try:
            self._memory = GraphMemory(path)
            self._compiled: Any = compile_in_thread(
                library, str(whole), properties, self._memory.loading()
            )
        except (OSError, RuntimeError, ValueError, MemoryError) as exc:
            raise unloadable(path, "OpenVINO", exc) from exc
        if compute == "bf16" and not _in_bf16(self._compiled):
            raise ExecutorUnavailable(
                f"{path}: OpenVINO has no bf16 on this processor; set compute to fp32 or auto"
            )
        self._request = self._compiled.create_infer_request()
        self._contract = contract

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._contract.check(inputs)
        try:
            with self._memory.running():
                self._request.infer(dict(inputs), share_inputs=True)
        except (RuntimeError, MemoryError) as exc:
            raise InferenceFailed(f"{self._contract.file}: {first_line(exc)}") from exc
        return {
            spec.name: self._request.get_tensor(spec.name).data.copy()
            for spec in self._contract.outputs
        }

    def close(self) -> None:
        self._request = self._compiled = None


class OpenVinoBackend(Backend):
    """OpenVINO on the CPU.

    `compute` of the profile: fp32, bf16 or auto, the faster one on this processor.
    """

    def arithmetic(self, artifact: LoadedArtifact) -> str:
        if artifact.compute != "auto":
            return artifact.compute or "fp32"
        exact = bool(artifact.manifest.properties.get(WHOLE_POSITIONS, False))
        return faster_compute(artifact.budget.threads) if exact else "fp32"

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        return OpenVinoGraph(
            artifact.path(role),
            artifact.contract(role),
            artifact.budget,
            self.arithmetic(artifact),
        )


@functools.cache
def faster_compute(threads: int) -> str:
    """`bf16` where this processor convolves clearly faster in it than in float32, else `fp32`.

    Measured once, in 0.2 s.
    """
    took = convolution_s(threads)
    return "bf16" if took.get("bf16", math.inf) * _WORTH_IT < took["fp32"] else "fp32"


def convolution_s(threads: int) -> dict[str, float]:
    """Seconds that four convolutions of the vocoder's kind take in `fp32` and, if OpenVINO has it
    here, in `bf16`.

    The least of six runs each. What OpenVINO lists as a processor's capabilities does not tell:
    without AMX some Intel ones are slower in bf16.
    """
    openvino = _openvino()
    ops, channels, frames = openvino.opset13, 128, 256
    x = node = ops.parameter([1, channels, frames], np.float32)
    kernel = np.full((channels, channels, 7), 1e-3, np.float32)
    for _ in range(4):
        node = ops.convolution(node, ops.constant(kernel), [1], [3], [3], [1])
    model = openvino.Model([node], [x])
    took: dict[str, list[float]] = {}
    compiled = {
        compute: compile_in_thread(openvino, model, _properties(threads, compute), nullcontext())
        for compute in ("fp32", "bf16")
    }
    if not _in_bf16(compiled["bf16"]):
        del compiled["bf16"]
    requests = {compute: made.create_infer_request() for compute, made in compiled.items()}
    for _ in range(6):
        for compute, request in requests.items():
            begin = time.perf_counter()
            request.infer([np.ones((1, channels, frames), np.float32)])
            took.setdefault(compute, []).append(time.perf_counter() - begin)
    return {compute: min(seconds) for compute, seconds in took.items()}


def compile_in_thread(
    library: Any, model: Any, properties: Mapping[str, Any], bound: AbstractContextManager[Any]
) -> Any:
    """A model compiled for the CPU within `bound`, in a thread that ends then.

    The plugin gives the thread that loads it a stack of its own for signals, and frees that when it
    is unloaded by whichever thread: the next signal (Ctrl-C) would then kill the process.
    """

    def load() -> Any:
        with bound:
            return library.Core().compile_model(model, "CPU", properties)

    with ThreadPoolExecutor(1, "openvino-load") as thread:
        return thread.submit(load).result()


def _in_bf16(compiled: Any) -> bool:
    """Whether the plugin took the hint: on a processor without any bf16 it computes in float32 and
    says nothing."""
    return bool(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "bf16")


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as exc:
        raise ExecutorUnavailable(
            "executor 'openvino' needs openvino; pip install openvino, or set executor = \"onnx\" in the profile"
        ) from exc
    return openvino


def _properties(threads: int, compute: str) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if compute == "bf16" else "f32",
        "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_KERNELS,
    }
