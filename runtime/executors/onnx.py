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
from voxturn.runtime.protocols import Outputs, Tensor


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
    options.add_session_config_entry("session.force_spinning_stop", "1")  # between calls the cores are another engine's
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
    """A graph of `export.decoder`: a pair of key/value buffers a layer for all slots, past and present the same memory.

    A step's inputs, outputs and buffers are bound once for each range of slots; a step changes a few numbers in place.
    """

    name = "onnx"

    def __init__(self, path: Path, contract: ModelContract, budget: EngineBudget, slots: int, capacity: int) -> None:
        self._session = _session(path, budget)
        self._file = contract.file
        self.slots, self.capacity = slots, capacity
        self.vocabulary, width = (
            next(int(spec.shape[-1]) for spec in contract.outputs if spec.name == name) for name in ("logits", "hidden")
        )
        caches = [spec for spec in contract.inputs if spec.name.startswith("past_")]
        self._caches = {
            spec.name: np.zeros((slots, int(spec.shape[1]), capacity, int(spec.shape[3])), np.float32)
            for spec in caches
        }
        self._no_rows = np.zeros((1, width), np.float32) if "rows" in {s.name for s in contract.inputs} else None
        self._last = np.zeros(slots, np.int32)
        self._total = np.zeros((), np.int32)
        self._logits = np.zeros((slots, 1, self.vocabulary), np.float32)
        self._hidden = np.zeros((slots, 1, width), np.float32)
        self._steps: dict[tuple[int, int], tuple[npt.NDArray[np.int64], Any]] = {}

    def run(
        self,
        first: int,
        ids: npt.NDArray[np.int64],
        pasts: Sequence[int],
        rows: npt.NDArray[np.float32] | None = None,
    ) -> Outputs:
        count, length = ids.shape
        total = max(pasts) + length
        if not length or total > self.capacity:
            raise InferenceFailed(
                f"{self._file}: {length} tokens after {max(pasts)} do not fit buffers of {self.capacity}"
            )
        self._last[:count] = np.asarray(pasts, np.int32) + (length - 1)
        self._total[...] = total
        if length == 1 and rows is None:
            if (first, count) not in self._steps:
                own = np.zeros((count, 1), np.int64)
                self._steps[first, count] = own, self._bind(first, own, self._no_rows)
            own, binding = self._steps[first, count]
            own[:] = ids
        else:
            binding = self._bind(first, ids, self._no_rows if rows is None else rows)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as exc:
            raise InferenceFailed(f"{self._file}: {_first_line(exc)}") from exc
        return Outputs(self._logits[:count, 0], self._hidden[:count, 0])

    def copy(self, source: int, target: int, length: int) -> None:
        for cache in self._caches.values():
            cache[target, :, :length] = cache[source, :, :length]

    def save(self, slot: int, length: int) -> list[Tensor]:
        return [cache[slot, :, :length].copy() for cache in self._caches.values()]

    def load(self, slot: int, saved: Sequence[Tensor]) -> None:
        for cache, kept in zip(self._caches.values(), saved, strict=True):
            cache[slot, :, : kept.shape[1]] = kept

    def close(self) -> None:
        self._steps, self._caches, self._session = {}, {}, None

    def _bind(self, first: int, ids: npt.NDArray[np.int64], rows: npt.NDArray[np.float32] | None) -> Any:
        binding = self._session.io_binding()
        count = len(ids)
        inputs: dict[str, Tensor] = {
            "input_ids": ids,
            "seqlens_k": self._last[:count],
            "total_sequence_length": self._total,
        }
        if rows is not None:
            inputs["rows"] = rows
        outputs: dict[str, Tensor] = {"logits": self._logits[:count], "hidden": self._hidden[:count]}
        for name, cache in self._caches.items():
            inputs[name] = outputs[name.replace("past_", "present_")] = cache[first : first + count]
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__
