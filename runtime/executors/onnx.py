"""ONNX Runtime: stateless graphs, and decoder-only graphs over buffers that are bound once and
reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.backend import Backend, LoadedArtifact
from voxturn.runtime.executors.decoder_inputs import FusedInputs, PortableInputs
from voxturn.runtime.executors.loading import first_line, unloadable
from voxturn.runtime.executors.memory import GraphMemory
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.manifest import ModelContract, reading
from voxturn.runtime.protocols import (
    DecoderExecutor,
    GraphExecutor,
    Outputs,
    SpeechToTextExecutor,
    Tensor,
)

_FATAL = 4
"""What fails raises, with what would be logged as an error besides."""


class Session:
    """ONNX Runtime's session of a graph, which first runs in bounded memory."""

    def __init__(self, session: Any, memory: GraphMemory) -> None:
        self.get_inputs = session.get_inputs
        self.get_outputs = session.get_outputs
        self.io_binding = session.io_binding
        self._session = session
        self._memory = memory

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        with self._memory.running():
            values: list[Tensor] = self._session.run(outputs, dict(inputs))
            return values

    def run_with_iobinding(self, binding: Any) -> None:
        with self._memory.running():
            self._session.run_with_iobinding(binding)


def session_of(path: Path, budget: EngineBudget) -> Session:
    """ONNX Runtime's session of a graph on the CPU, loaded in bounded memory.

    Raises `ExecutorUnavailable`, `CorruptModel`.
    """
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise ExecutorUnavailable(
            "executor 'onnx' needs onnxruntime; pip install 'voxturn[embedded]'"
        ) from exc
    options = ort.SessionOptions()
    options.intra_op_num_threads = budget.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if budget.spin else "0")
    options.add_session_config_entry(
        "session.force_spinning_stop", "1"
    )  # between calls the cores are another engine's
    try:
        memory = GraphMemory(path)
        with memory.loading():
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return Session(session, memory)
    except (
        Exception
    ) as exc:  # ONNX Runtime's classes derive from Exception alone and are not public
        raise unloadable(path, "ONNX Runtime", exc) from exc


def check_names(session: Session, contract: ModelContract, path: Path) -> None:
    """Raise `CorruptModel` where a contract names tensors that the graph has not."""
    has = {each.name for each in (*session.get_inputs(), *session.get_outputs())}
    lacks = [spec.name for spec in (*contract.inputs, *contract.outputs) if spec.name not in has]
    if lacks:
        raise CorruptModel(
            f"{path}: has no {', '.join(lacks)}, which its manifest names; pull the model again"
        )


class OnnxGraph:
    """A stateless graph. Inputs are checked against the contract."""

    name = "onnx"
    compiles_shapes = False
    few_shapes = False

    def __init__(self, path: Path, contract: ModelContract, budget: EngineBudget) -> None:
        self._session: Any = session_of(path, budget)
        self._contract = contract
        self._outputs = [spec.name for spec in contract.outputs]
        check_names(self._session, contract, path)

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._contract.check(inputs)
        try:
            values = self._session.run(self._outputs, inputs)
        except Exception as exc:
            raise InferenceFailed(f"{self._contract.file}: {first_line(exc)}") from exc
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        self._session = None


class OnnxDecoder:
    """A graph of `export.decoder`: a pair of key/value buffers a layer for all slots, past and
    present the same memory.

    A step's inputs, outputs and buffers are bound once for each range of slots; a step changes a
    few numbers in place. A graph whose buffers have a fixed size has that `capacity`.
    """

    name = "onnx"
    lengths = ()

    def __init__(
        self, path: Path, contract: ModelContract, budget: EngineBudget, slots: int, capacity: int
    ) -> None:
        self._session: Any = session_of(path, budget)
        check_names(self._session, contract, path)
        self._file = contract.file
        self._inputs = {spec.name: spec for spec in contract.inputs}
        outputs = {spec.name: spec for spec in contract.outputs}
        with reading(path.parent):
            held = self._inputs["past_key.0"].shape[2]
            self.vocabulary = int(outputs["logits"].shape[-1])
            width = int(outputs["hidden"].shape[-1])
        self.slots = slots
        self.capacity = held if isinstance(held, int) else capacity
        self._caches = {
            name: np.zeros(
                (slots, int(spec.shape[1]), self.capacity, int(spec.shape[3])), spec.dtype
            )
            for name, spec in self._inputs.items()
            if name.startswith("past_")
        }
        self._no_rows = np.zeros((1, width), np.float32) if "rows" in self._inputs else None
        self._logits = np.zeros((slots, 1, self.vocabulary), np.float32)
        self._hidden = np.zeros((slots, 1, width), np.float32)
        self._steps: dict[tuple[int, int], tuple[FusedInputs | PortableInputs, Any]] = {}

    def run(
        self,
        first: int,
        ids: npt.NDArray[np.int64],
        pasts: Sequence[int],
        rows: npt.NDArray[np.float32] | None = None,
    ) -> Outputs:
        count, length = ids.shape
        if not length or max(pasts) + length > self.capacity:
            raise InferenceFailed(
                f"{self._file}: {length} tokens after {max(pasts)} do not fit buffers of {self.capacity}"
            )
        if length == 1 and rows is None:
            if (first, count) not in self._steps:
                self._steps[first, count] = self._bound(first, count, 1, None)
            inputs, binding = self._steps[first, count]
        else:
            inputs, binding = self._bound(first, count, length, rows)
        inputs.set(ids, pasts)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as exc:
            raise InferenceFailed(f"{self._file}: {first_line(exc)}") from exc
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

    def _bound(
        self, first: int, count: int, length: int, rows: npt.NDArray[np.float32] | None
    ) -> tuple[FusedInputs | PortableInputs, Any]:
        """Inputs for `length` new tokens of `count` slots from `first`, and the binding that reads
        them."""
        changing = (
            PortableInputs(count, length, self.capacity, np.dtype(self._inputs["mask"].dtype))
            if "mask" in self._inputs
            else FusedInputs(count, length)
        )
        inputs = {name: array for name, array in changing.arrays.items() if name in self._inputs}
        if self._no_rows is not None:
            inputs["rows"] = self._no_rows if rows is None else rows
        outputs: dict[str, Tensor] = {
            "logits": self._logits[:count],
            "hidden": self._hidden[:count],
        }
        for name, cache in self._caches.items():
            inputs[name] = outputs[name.replace("past_", "present_")] = cache[first : first + count]
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return changing, binding


class OnnxBackend(Backend):
    """ONNX Runtime on the CPU."""

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        return OnnxGraph(artifact.path(role), artifact.contract(role), artifact.budget)

    def decoder(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int
    ) -> DecoderExecutor:
        contract = artifact.contract(role)
        return OnnxDecoder(artifact.path(role), contract, artifact.budget, slots, capacity)

    def whisper(self, artifact: LoadedArtifact) -> SpeechToTextExecutor:
        from voxturn.runtime.executors.whisper_onnx import OnnxWhisper  # it builds on this module

        return OnnxWhisper(artifact.folder, artifact.manifest, artifact.budget)
