"""TensorRT 10.16, 11 or RTX on one GPU: graphs, and decoders whose keys and values stay on the device.

Memory is planned once: buffers of the most a profile allows, pinned host memory for what crosses, one scratch memory for
all contexts of an engine, which never run at the same time. Every return value is checked: TensorRT says False or None
where others raise. Graphs are those of `export … --for tensorrt`, whose caches are updated in place.
Source: TensorRT's Python API, `IExecutionContext` and `ICudaEngine`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.contract import ModelContract, TensorSpec
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.cuda import Cuda, HostArray
from voxturn.runtime.executors.decoder_inputs import PortableInputs
from voxturn.runtime.executors.tensorrt_build import PREFILL, PROFILES, STEP, EngineCache, Log, load_library, shapes
from voxturn.runtime.fetch import Progress
from voxturn.runtime.protocols import Outputs, Tensor
from voxturn.runtime.streams import StageStream, Streams

_OUTPUT_SIZES = {"samples": 256 * 256, "T": 1500}
"""Of free sizes that only outputs have: the samples of a vocoder's largest window, an encoder's positions."""

_LINES = 50  # of what TensorRT says while an engine lives


@dataclass
class Buffer:
    """A tensor's place on the device, and the pinned host memory it is copied from or to."""

    device: int
    host: HostArray


class Engine:
    """An engine with its contexts on one stream, and all their memory. Close it when done."""

    def __init__(self, trt: Any, cuda: Cuda, stream: StageStream, serialized: bytes) -> None:
        self.cuda, self.stream, self._closing = cuda, stream, ExitStack()
        self._trt, self._log = trt, Log(keep=_LINES)
        runtime = trt.Runtime(self._log.for_library(trt))
        plan = runtime.deserialize_cuda_engine(serialized)
        if plan is None:
            raise CorruptModel(f"the engine is not one for this GPU and TensorRT {trt.__version__} ({self._said()})")
        self.plan, self._runtime = plan, runtime
        self._contexts: dict[tuple[int, int], Any] = {}
        try:
            self._scratch_size = int(plan.device_memory_size_v2)
            self._scratch = self.allocate(self._scratch_size)
        except BaseException:
            self.close()
            raise

    def context(self, profile: int, batch: int) -> Any:
        """The context of a profile for a number of sequences, made when it is first asked for.

        One for each: a CUDA graph that was captured from a context holds what that context set up for its shapes.
        """
        if (profile, batch) not in self._contexts:
            context = self.plan.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
            if context is None:
                raise InferenceFailed(f"TensorRT gives no context ({self._said()})")
            context.set_device_memory(self._scratch, self._scratch_size)
            self.checked(
                context.set_optimization_profile_async(profile, self.stream.handle), "set_optimization_profile"
            )
            self.cuda.synchronize(self.stream.handle)  # the switch must be over before its first use
            self._contexts[profile, batch] = context
        return self._contexts[profile, batch]

    def allocate(self, size: int) -> int:
        """Device memory that is freed with the engine."""
        address = self.cuda.allocate(size)
        self._closing.callback(self.cuda.free, address)
        return address

    def buffer(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """A tensor's memory on both sides, freed with the engine."""
        host = HostArray(self.cuda, shape, dtype)
        self._closing.callback(host.close)
        return Buffer(self.allocate(host.size), host)

    def captured(self, enqueue: Callable[[], None]) -> int:
        """What `enqueue` puts into the stream, as a CUDA graph that is freed with the engine."""
        self.cuda.begin_capture(self.stream.handle)
        try:
            enqueue()
        except BaseException:
            self.cuda.abandon_capture(self.stream.handle)
            raise
        graph = self.cuda.end_capture(self.stream.handle)
        self._closing.callback(self.cuda.free_graph, graph)
        return graph

    def checked(self, ok: bool, what: str) -> None:
        """Raise `InferenceFailed` for a call of TensorRT's that says no."""
        if not ok:
            raise InferenceFailed(f"TensorRT: {what} failed ({self._said()})")

    def bind(self, context: Any, name: str, address: int, shape: tuple[int, ...] | None = None) -> None:
        """Where a tensor lies, and the shape of an input."""
        if shape is not None:
            self.checked(context.set_input_shape(name, shape), f"the shape {list(shape)} of {name}")
        self.checked(context.set_tensor_address(name, address), f"the address of {name}")

    def execute(self, context: Any) -> None:
        """Run, in the stream."""
        self.checked(context.execute_async_v3(self.stream.handle), "the run")

    def close(self) -> None:
        """Let the stream run empty, then free contexts, memory and engine, in this order; safe to call twice."""
        if self.plan is None:
            return
        try:
            self.cuda.synchronize(self.stream.handle)
        finally:
            self._contexts = {}
            self._closing.close()
            self.plan = self._runtime = None

    def _said(self) -> str:
        return " ".join(" ".join([*self._log.errors][-2:]).split())[:300] or "it does not say why"


class TensorRtGraph:
    """A stateless graph. Inputs are checked against the contract."""

    name = "tensorrt"
    compiles_shapes = False

    def __init__(
        self, trt: Any, cuda: Cuda, stream: StageStream, serialized: bytes, contract: ModelContract, role: str
    ) -> None:
        self._contract, self._engine = contract, Engine(trt, cuda, stream, serialized)
        self._lock = threading.Lock()  # its buffers hold one call; callers may be in several threads
        try:
            most = shapes(contract, PROFILES[role][0])
            self._inputs = {
                spec.name: self._engine.buffer(most[spec.name][2] if spec.name in most else _sizes(spec), spec.dtype)
                for spec in contract.inputs
            }
            location = self._engine.plan.get_tensor_location
            self._sizes_in = {s.name for s in contract.inputs if location(s.name) == trt.TensorLocation.HOST}
            bound = {size: int(values[2]) for size, values in PROFILES[role][0].sizes.items()} | _OUTPUT_SIZES
            self._outputs = {
                spec.name: self._engine.buffer(
                    tuple(bound[size] if isinstance(size, str) else size for size in spec.shape),
                    spec.dtype,
                )
                for spec in contract.outputs
            }
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self._lock:
            return self._run(inputs)

    def _run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        engine, cuda, stream = self._engine, self._engine.cuda, self._engine.stream
        context = engine.context(0, 1)
        with stream.range(self._contract.file):
            for spec in self._contract.inputs:
                value = inputs[spec.name]
                spec.check(value, self._contract.file)
                buffer = self._inputs[spec.name]
                if value.nbytes > buffer.host.size:
                    raise InferenceFailed(
                        f"{self._contract.file}: {spec.name} {list(value.shape)} is beyond the profile"
                    )
                flat = buffer.host.array.reshape(-1)[: value.size]
                flat[:] = np.asarray(value).reshape(-1)
                if spec.name in self._sizes_in:  # its values decide shapes: TensorRT reads them on the host, at once
                    engine.bind(context, spec.name, buffer.host.address, tuple(value.shape))
                    continue
                engine.bind(context, spec.name, buffer.device, tuple(value.shape))
                cuda.copy(buffer.device, buffer.host.address, value.nbytes, stream.handle)
            for name, buffer in self._outputs.items():
                engine.bind(context, name, buffer.device)
            engine.execute(context)
            made = {}
            for name, buffer in self._outputs.items():
                shape = tuple(int(size) for size in context.get_tensor_shape(name))
                size = int(np.prod(shape)) * buffer.host.array.itemsize
                if min(shape) < 0 or size > buffer.host.size:
                    raise InferenceFailed(f"{self._contract.file}: output {name} has shape {list(shape)}, too large")
                cuda.copy(buffer.host.address, buffer.device, size, stream.handle)
                made[name] = shape
            cuda.synchronize(stream.handle)
        return {
            name: self._outputs[name].host.array.reshape(-1)[: int(np.prod(shape))].reshape(shape).copy()
            for name, shape in made.items()
        }

    def close(self) -> None:
        self._engine.close()


class TensorRtDecoder:
    """A graph of `export.decoder_portable`: keys and values for all slots on the device, updated in place.

    A step of a range of slots is captured once as a CUDA graph, copies of inputs and outputs included, and replayed.
    """

    name = "tensorrt"

    def __init__(
        self, trt: Any, cuda: Cuda, stream: StageStream, serialized: bytes, contract: ModelContract, slots: int
    ) -> None:
        self._file = contract.file
        self._specs = {spec.name: spec for spec in contract.inputs}
        outputs = {spec.name: spec for spec in contract.outputs}
        caches = [spec for spec in contract.inputs if spec.name.startswith("past_")]
        self.slots, self.capacity = slots, int(caches[0].shape[2])
        self.vocabulary, self._width = int(outputs["logits"].shape[-1]), int(outputs["hidden"].shape[-1])
        least, _, most = PROFILES["decoder"][STEP].sizes["B"]
        if not least <= slots <= most:
            raise ExecutorUnavailable(f"{self._file}: engines are built for {least} to {most} slots, not {slots}")
        self._engine = Engine(trt, cuda, stream, serialized)
        try:
            for spec in caches:
                present = spec.name.replace("past_", "present_")
                if self._engine.plan.get_aliased_input_tensor(present) != spec.name:
                    raise ExecutorUnavailable(
                        f"{self._file}: {present} is not updated in place; use TensorRT 10.16 or later"
                    )
            self._caches = {spec.name: self._cache(spec) for spec in caches}
            self._logits = self._engine.buffer((slots, 1, self.vocabulary), "float32")
            self._hidden = self._engine.buffer((slots, 1, self._width), "float32")
            self._steps: dict[tuple[int, int], _Call] = {}
            self._prefill = _Call(self, 1, PROFILES["decoder"][PREFILL].sizes["S"][2])
        except BaseException:
            self.close()
            raise

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
        most = PROFILES["decoder"][PREFILL].sizes
        if (length > 1 and length > most["S"][2]) or (rows is not None and len(rows) > most["R"][2]):
            raise InferenceFailed(f"{self._file}: {length} tokens at once are beyond the profile's {most['S'][2]}")
        engine, stream = self._engine, self._engine.stream
        with stream.range(f"{self._file} {count}x{length}"):
            if length == 1 and rows is None:
                if (first, count) not in self._steps:
                    self._steps[first, count] = _Call(self, count, 1)
                call = self._steps[first, count]
                call.set(ids, pasts)
                if call.graph == 0:
                    call.enqueue(STEP, first, count, 1, None)  # once as it is: it sets up what a capture must not
                    engine.cuda.synchronize(stream.handle)
                    call.set(ids, pasts)
                    call.graph = engine.captured(partial(call.enqueue, STEP, first, count, 1, None))
                engine.cuda.replay(call.graph, stream.handle)
            else:
                if count != 1:
                    raise InferenceFailed(f"{self._file}: prompts are computed one at a time, not {count}")
                self._prefill.set(ids, pasts)
                self._prefill.enqueue(PREFILL, first, 1, length, rows)
            engine.cuda.synchronize(stream.handle)
        return Outputs(self._logits.host.array[:count, 0], self._hidden.host.array[:count, 0])

    def copy(self, source: int, target: int, length: int) -> None:
        for cache in self._caches.values():
            cache.move(self._engine, cache.slot(target), cache.slot(source), length)
        self._engine.cuda.synchronize(self._engine.stream.handle)

    def save(self, slot: int, length: int) -> list[Tensor]:
        saved = []
        for cache in self._caches.values():
            kept = np.empty((cache.heads, length, cache.size), cache.dtype)
            cache.out(self._engine, kept, slot, length)
            saved.append(kept)
        self._engine.cuda.synchronize(self._engine.stream.handle)
        return saved

    def load(self, slot: int, saved: Sequence[Tensor]) -> None:
        for cache, kept in zip(self._caches.values(), saved, strict=True):
            cache.into(self._engine, np.ascontiguousarray(kept), slot)
        self._engine.cuda.synchronize(self._engine.stream.handle)

    def close(self) -> None:
        self._engine.close()

    def _cache(self, spec: TensorSpec) -> _Cache:
        heads, size, dtype = int(spec.shape[1]), int(spec.shape[3]), np.dtype(spec.dtype)
        total = self.slots * heads * self.capacity * size * dtype.itemsize
        address = self._engine.allocate(total)
        self._engine.cuda.clear(address, total, self._engine.stream.handle)
        return _Cache(address, heads, self.capacity, size, dtype)


@dataclass(frozen=True)
class _Cache:
    """Keys or values of a layer, `[slots, heads, capacity, size]`, at a device address."""

    address: int
    heads: int
    capacity: int
    size: int
    dtype: np.dtype[Any]

    @property
    def _pitch(self) -> int:
        return self.capacity * self.size * self.dtype.itemsize

    def slot(self, number: int) -> int:
        """Where a slot's begins."""
        return self.address + number * self.heads * self._pitch

    def move(self, engine: Engine, target: int, source: int, length: int) -> None:
        width = length * self.size * self.dtype.itemsize
        engine.cuda.copy_rows(target, self._pitch, source, self._pitch, width, self.heads, engine.stream.handle)

    def out(self, engine: Engine, kept: Tensor, slot: int, length: int) -> None:
        width = length * self.size * self.dtype.itemsize
        engine.cuda.copy_rows(
            kept.ctypes.data, width, self.slot(slot), self._pitch, width, self.heads, engine.stream.handle
        )

    def into(self, engine: Engine, kept: Tensor, slot: int) -> None:
        width = kept.shape[1] * self.size * self.dtype.itemsize
        engine.cuda.copy_rows(
            self.slot(slot), self._pitch, kept.ctypes.data, width, width, self.heads, engine.stream.handle
        )


class _Call:
    """The changing inputs of calls with up to `count` sequences of `length` new tokens, and their captured graph."""

    def __init__(self, decoder: TensorRtDecoder, count: int, length: int) -> None:
        self._d, self.graph = decoder, 0
        self._mask_type = np.dtype(decoder._specs["mask"].dtype)
        most = {"B": count, "S": length, "R": PROFILES["decoder"][STEP].sizes["R"][2]}
        self._buffers = {
            spec.name: decoder._engine.buffer(
                tuple(most[size] if isinstance(size, str) else size for size in spec.shape), spec.dtype
            )
            for spec in decoder._specs.values()
            if not spec.name.startswith("past_")
        }

    def set(self, ids: npt.NDArray[np.int64], pasts: Sequence[int]) -> None:
        """New tokens after `pasts` positions, into pinned memory."""
        made = PortableInputs(len(ids), ids.shape[1], self._d.capacity, self._mask_type)
        made.set(ids, pasts)
        for name, value in made.arrays.items():
            if name in self._buffers:
                self._buffers[name].host.array.reshape(-1)[: value.size] = value.reshape(-1)

    def enqueue(self, profile: int, first: int, count: int, length: int, rows: npt.NDArray[np.float32] | None) -> None:
        """Copies in, the run, copies out, all in the stream."""
        d, engine = self._d, self._d._engine
        cuda, stream, context = engine.cuda, engine.stream.handle, engine.context(profile, count)
        sizes = {"B": count, "S": length, "R": 1 if rows is None else len(rows)}
        for name, buffer in self._buffers.items():
            shape = tuple(sizes[size] if isinstance(size, str) else size for size in d._specs[name].shape)
            if name == "rows":
                buffer.host.array[: len(rows) if rows is not None else 1] = 0 if rows is None else rows
            cuda.copy(buffer.device, buffer.host.address, int(np.prod(shape)) * buffer.host.array.itemsize, stream)
            engine.bind(context, name, buffer.device, shape)
        for name, cache in d._caches.items():
            shape = (count, cache.heads, cache.capacity, cache.size)
            engine.bind(context, name, cache.slot(first), shape)
            engine.bind(context, name.replace("past_", "present_"), cache.slot(first))
        engine.bind(context, "logits", d._logits.device)
        engine.bind(context, "hidden", d._hidden.device)
        engine.execute(context)
        for made, width in ((d._logits, d.vocabulary), (d._hidden, d._width)):
            cuda.copy(made.host.address, made.device, count * width * 4, stream)


class Gpu:
    """One GPU: its streams and its engines, which are built when they are first asked for.

    `root` is where engines are kept. Raises `ExecutorUnavailable` without a driver or a device, and without TensorRT once
    an engine is asked for. Close it after what it made.
    """

    def __init__(self, root: Path, progress: Progress, trt: Any = None, cuda: Cuda | None = None) -> None:
        self._library, self._progress = trt, progress
        self._cuda = cuda or Cuda()
        self._engines = EngineCache(root, self._cuda.name)
        self.streams = Streams(self._cuda)

    @property
    def _trt(self) -> Any:
        self._library = self._library or load_library()
        return self._library

    def graph(self, path: Path, contract: ModelContract, role: str, stage: str) -> TensorRtGraph:
        """The executor of a stateless graph, on the stage's stream."""
        made = self._engines.engine(self._trt, path, contract, role, self._progress)
        return TensorRtGraph(self._trt, self._cuda, self.streams.of(stage), made, contract, role)

    def decoder(self, path: Path, contract: ModelContract, role: str, stage: str, slots: int) -> TensorRtDecoder:
        """The executor of a decoder, on the stage's stream."""
        made = self._engines.engine(self._trt, path, contract, role, self._progress)
        return TensorRtDecoder(self._trt, self._cuda, self.streams.of(stage), made, contract, slots)

    def close(self) -> None:
        """Free the streams."""
        self.streams.close()


def _sizes(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(int(size) for size in spec.shape)
