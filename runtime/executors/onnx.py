"""ONNX Runtime: stateless graphs, and decoder-only graphs over buffers that are bound once and reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.contract import ModelContract
from voxturn.runtime.cores import EngineBudget
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.protocols import Tensor


def _session(path: Path, budget: EngineBudget) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise ExecutorUnavailable("executor 'onnx' needs onnxruntime; pip install 'voxturn[embedded]'") from exc
    options = ort.SessionOptions()
    options.intra_op_num_threads = budget.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if budget.spin else "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's classes derive from Exception alone and are not public
        raise CorruptModel(f"{path}: ONNX Runtime cannot load it ({_first_line(exc)}); pull the model again") from exc


class OnnxGraph:
    """A stateless graph. Inputs are checked against the contract."""

    name = "onnx"

    def __init__(self, path: Path, contract: ModelContract, budget: EngineBudget) -> None:
        self._session = _session(path, budget)
        self._contract = contract
        self._outputs = [spec.name for spec in contract.outputs]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for spec in self._contract.inputs:
            spec.check(inputs[spec.name], self._contract.file)
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as exc:
            raise InferenceFailed(f"{self._contract.file}: {_first_line(exc)}") from exc
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        self._session = None


class OnnxDecoder:
    """A graph of `export.decoder`: one pair of key/value buffers a layer and slot, past and present the same memory.

    The step's inputs, outputs and buffers are bound once for each slot; a step changes three numbers in place.
    """

    name = "onnx"

    def __init__(self, path: Path, contract: ModelContract, budget: EngineBudget, slots: int, capacity: int) -> None:
        self._session = _session(path, budget)
        self._file = contract.file
        self.slots, self.capacity = slots, capacity
        self.vocabulary = next(int(spec.shape[-1]) for spec in contract.outputs if spec.name == "logits")
        caches = [spec for spec in contract.inputs if spec.name.startswith("past_")]
        shapes = [tuple(capacity if isinstance(d, str) else d for d in spec.shape) for spec in caches]
        self._names = [spec.name for spec in caches]
        self._buffers = [[np.zeros(shape, np.float32) for shape in shapes] for _ in range(slots)]
        self._ids = np.zeros((1, 1), np.int64)
        self._last = np.zeros(1, np.int32)
        self._total = np.zeros((), np.int32)
        self._logits: npt.NDArray[np.float32] = np.zeros((1, 1, self.vocabulary), np.float32)
        self._steps = [self._bind(slot, self._ids) for slot in range(slots)]

    def run(self, slot: int, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        total = past + len(ids)
        if not ids or total > self.capacity:
            raise InferenceFailed(f"{self._file}: {len(ids)} tokens after {past} do not fit buffers of {self.capacity}")
        self._last[0], self._total[...] = total - 1, total
        if len(ids) == 1:
            self._ids[0, 0] = ids[0]
            binding = self._steps[slot]
        else:
            many = np.array([ids], np.int64)
            binding = self._bind(slot, many)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as exc:
            raise InferenceFailed(f"{self._file}: {_first_line(exc)}") from exc
        return self._logits.reshape(-1)

    def copy(self, source: int, target: int, length: int) -> None:
        for a, b in zip(self._buffers[source], self._buffers[target], strict=True):
            b[:, :, :length] = a[:, :, :length]

    def close(self) -> None:
        self._steps, self._buffers, self._session = [], [], None

    def _bind(self, slot: int, ids: npt.NDArray[np.int64]) -> Any:
        binding = self._session.io_binding()
        inputs: list[tuple[str, Tensor]] = [("input_ids", ids), ("seqlens_k", self._last)]
        inputs += [("total_sequence_length", self._total), *zip(self._names, self._buffers[slot], strict=True)]
        for name, array in inputs:
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            if name.startswith("past_"):
                present = name.replace("past_", "present_")
                binding.bind_output(present, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        binding.bind_output("logits", "cpu", 0, np.float32, self._logits.shape, self._logits.ctypes.data)
        return binding


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__
