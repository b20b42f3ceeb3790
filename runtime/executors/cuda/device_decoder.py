"""Decoders on a GPU, whose keys and values stay there, over whichever engine runs their graph."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.cuda.device_chooser import Chooser
from voxturn.runtime.executors.cuda.device_memory import DeviceMemory
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.executors.cuda.tensorrt_build import PREFILL, PROFILES, STEP
from voxturn.runtime.executors.decoder_inputs import PortableInputs
from voxturn.runtime.models.manifest import ModelContract, TensorSpec
from voxturn.runtime.protocols import Outputs, Tensor

_LOG = logging.getLogger(__name__)


class DecoderEngine(DeviceMemory, ABC):
    """What runs a decoder's graph: `tensorrt_engine.Engine`, `onnx_cuda.OnnxCudaEngine`."""

    name: str

    @abstractmethod
    def in_place(self, past: str, present: str) -> bool:
        """Whether the output `present` is the input `past`, updated."""

    @abstractmethod
    def context(self, profile: int, batch: int, length: int = 0) -> Any:
        """What calls of a profile (PREFILL, STEP) with `batch` sequences are bound to; one for
        each, and always the same.

        A prompt's captured runs have one for their `length`; 0: those of any length, and steps.
        """

    @abstractmethod
    def bind_input(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        """Where an input lies, and its shape."""

    @abstractmethod
    def bind_output(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        """Where an output goes, and its shape."""

    @abstractmethod
    def execute(self, context: Any) -> None:
        """Put a run of what is bound into the stream."""


_MOST_ROWS = PROFILES["token_decoder"][PREFILL].sizes["R"][2]
LENGTHS = 16, 32, 64, 96, 128, 192, 256
"""Of pieces of a prompt whose runs are captured."""


class DeviceDecoder:
    """A graph of `export.decoder.portable`: keys and values for all slots on the device, updated in
    place.

    A step of a range of slots, or a prompt's piece of one of the `lengths` in a slot, is captured
    once as a CUDA graph, copies of inputs and outputs included, and replayed. With `kernels` tokens
    can be chosen on the device (`chooser`).
    """

    def __init__(
        self,
        engine: DecoderEngine,
        contract: ModelContract,
        slots: int,
        kernels: CudaKernels | None = None,
    ) -> None:
        self.name = engine.name
        self._file = contract.file
        self._engine = engine
        self._specs = {spec.name: spec for spec in contract.inputs}
        outputs = {spec.name: spec for spec in contract.outputs}
        try:
            caches = [spec for spec in contract.inputs if spec.name.startswith("past_")]
            self.slots = slots
            self.capacity = int(caches[0].shape[2])
            self.lengths: Sequence[int] = tuple(
                length for length in LENGTHS if length < self.capacity
            )
            self.vocabulary = int(outputs["logits"].shape[-1])
            self._width = int(outputs["hidden"].shape[-1])
            least, _, most = PROFILES["token_decoder"][STEP].sizes["B"]
            if not least <= slots <= most:
                raise ExecutorUnavailable(
                    f"{self._file}: engines are built for {least} to {most} slots, not {slots}"
                )
            for spec in caches:
                present = spec.name.replace("past_", "present_")
                if not engine.in_place(spec.name, present):
                    raise ExecutorUnavailable(
                        f"{self._file}: {present} is not updated in place; use TensorRT 10.16 or later"
                    )
            self._caches = {spec.name: self._cache(spec) for spec in caches}
            self._logits = self._engine.buffer((slots, 1, self.vocabulary), "float32")
            self._hidden = self._engine.buffer((slots, 1, self._width), "float32")
            self._captured: dict[tuple[int, int], _Call] = {}
            self._longest = PROFILES["token_decoder"][PREFILL].sizes["S"][2]
            self._any_length = _Call(self, 1, self._longest)
            self.chooser = self._chooser(kernels) if kernels is not None else None
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
        if length > self._longest:
            raise InferenceFailed(
                f"{self._file}: {length} tokens at once are beyond the profile's {self._longest}"
            )
        if rows is not None and len(rows) > _MOST_ROWS:
            raise InferenceFailed(
                f"{self._file}: {len(rows)} rows are beyond the profile's {_MOST_ROWS}"
            )
        if count > 1 and (length > 1 or rows is not None):
            raise InferenceFailed(f"{self._file}: prompts are computed one at a time, not {count}")
        stream = self._engine.stream
        with stream.range(f"{self._file} {count}x{length}"):
            try:
                if length in self.lengths or (length == 1 and rows is None):
                    call = self._call(count, length)
                    call.set(ids, pasts, rows)
                    call.replay(first)
                else:
                    self._any_length.set(ids, pasts, rows)
                    self._any_length.enqueue(first, length)
            finally:  # nothing may be in flight when the pinned memory is written again
                self._engine.cuda.synchronize(stream.handle)
        return Outputs(self._logits.host.array[:count, 0], self._hidden.host.array[:count, 0])

    def warm(self) -> None:
        """Capture what every slot alone needs, before a sequence has to wait for it. No slot may
        hold anything yet.

        Where a prompt's run cannot be captured, prompts run as they are; that is said.
        """
        self.run(0, np.zeros((1, 2), np.int64), [0])  # of a length that is not captured
        for slot in range(self.slots):
            self.run(slot, np.zeros((1, 1), np.int64), [0])
        try:
            for length in self.lengths:
                for slot in range(self.slots):
                    self.run(slot, np.zeros((1, length), np.int64), [0])
        except InferenceFailed as exc:
            _LOG.warning("%s: prompts are not captured, and slower: %s", self._file, exc)
            self.lengths = ()
        if self.chooser is not None:
            self.chooser.warm()

    def _call(self, count: int, length: int) -> _Call:
        if (count, length) not in self._captured:
            self._captured[count, length] = _Call(self, count, length)
        return self._captured[count, length]

    def copy(self, source: int, target: int, length: int) -> None:
        for cache in self._caches.values():
            cache.move(self._engine, cache.slot(target), cache.slot(source), length)
        self._engine.cuda.synchronize(self._engine.stream.handle)

    def save(self, slot: int, length: int) -> list[Tensor]:
        saved = []
        for cache in self._caches.values():
            values = np.empty((cache.heads, length, cache.size), cache.dtype)
            cache.out(self._engine, values, slot, length)
            saved.append(values)
        self._engine.cuda.synchronize(self._engine.stream.handle)
        return saved

    def load(self, slot: int, saved: Sequence[Tensor]) -> None:
        for cache, values in zip(self._caches.values(), saved, strict=True):
            cache.into(self._engine, np.ascontiguousarray(values), slot)
        self._engine.cuda.synchronize(self._engine.stream.handle)

    def close(self) -> None:
        self._engine.close()

    def execute(self, first: int, count: int, addresses: Mapping[str, int]) -> None:
        """Put a step of a range of slots into the stream, its inputs being at these device
        addresses."""
        engine = self._engine
        context = engine.context(STEP, count)
        for name, address in addresses.items():
            engine.bind_input(
                context, name, address, self._shape(name, {"B": count, "S": 1, "R": 1})
            )
        self.enqueue(context, first, count)

    def enqueue(self, context: Any, first: int, count: int) -> None:
        """Bind buffers and outputs, and run."""
        for name, cache in self._caches.items():
            shape = count, cache.heads, cache.capacity, cache.size
            self._engine.bind_input(context, name, cache.slot(first), shape)
            self._engine.bind_output(
                context, name.replace("past_", "present_"), cache.slot(first), shape
            )
        self._engine.bind_output(
            context, "logits", self._logits.device, (count, 1, self.vocabulary)
        )
        self._engine.bind_output(context, "hidden", self._hidden.device, (count, 1, self._width))
        self._engine.execute(context)

    def _chooser(self, kernels: CudaKernels) -> Chooser:
        sizes = {"B": self.slots, "S": 1, "R": 1}
        inputs = {
            n: (self._shape(n, sizes), s.dtype)
            for n, s in self._specs.items()
            if n not in self._caches
        }
        outputs = self._logits, self._hidden
        return Chooser(
            self._engine, kernels, self.slots, self.capacity, inputs, outputs, self.execute
        )

    def _shape(self, name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(
            sizes[size] if isinstance(size, str) else size for size in self._specs[name].shape
        )

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

    def move(self, engine: DeviceMemory, target: int, source: int, length: int) -> None:
        width = length * self.size * self.dtype.itemsize
        engine.cuda.copy_rows(
            target, self._pitch, source, self._pitch, width, self.heads, engine.stream.handle
        )

    def out(self, engine: DeviceMemory, values: Tensor, slot: int, length: int) -> None:
        width = length * self.size * self.dtype.itemsize
        engine.cuda.copy_rows(
            values.ctypes.data,
            width,
            self.slot(slot),
            self._pitch,
            width,
            self.heads,
            engine.stream.handle,
        )

    def into(self, engine: DeviceMemory, values: Tensor, slot: int) -> None:
        width = values.shape[1] * self.size * self.dtype.itemsize
        engine.cuda.copy_rows(
            self.slot(slot),
            self._pitch,
            values.ctypes.data,
            width,
            width,
            self.heads,
            engine.stream.handle,
        )


class _Call:
    """The changing inputs of calls with `count` sequences of up to `length` new tokens, and
    captured graphs of those of exactly so many, by the first slot."""

    def __init__(self, decoder: DeviceDecoder, count: int, length: int) -> None:
        self._d = decoder
        self._count = count
        self._length = length
        self._graphs: dict[int, int] = {}
        self._mask_type = np.dtype(decoder._specs["mask"].dtype)
        self._sizes = {"B": count, "R": _MOST_ROWS if length > 1 else 1}
        most = self._sizes | {"S": length}
        self._buffers = {
            spec.name: decoder._engine.buffer(decoder._shape(spec.name, most), spec.dtype)
            for spec in decoder._specs.values()
            if not spec.name.startswith("past_")
        }

    def set(
        self, ids: npt.NDArray[np.int64], pasts: Sequence[int], rows: npt.NDArray[np.float32] | None
    ) -> None:
        """New tokens after `pasts` positions, into pinned memory; rows that are not given are
        zeros."""
        memory = {name: buffer.host.array for name, buffer in self._buffers.items()}
        PortableInputs(len(ids), ids.shape[1], self._d.capacity, self._mask_type, memory).set(
            ids, pasts
        )
        if "rows" in self._buffers:
            given = 0 if rows is None else len(rows)
            self._buffers["rows"].host.array[:given] = rows
            self._buffers["rows"].host.array[given:] = 0

    def replay(self, first: int) -> None:
        """Put the captured run of the slots from `first` into the stream."""
        engine = self._d._engine
        if first not in self._graphs:
            self._graphs[first] = engine.captured(
                lambda: self.enqueue(first, self._length, self._length)
            )
        engine.cuda.replay(self._graphs[first], engine.stream.handle)

    def enqueue(self, first: int, length: int, context_for: int = 0) -> None:
        """Copies in, the run, copies out, all in the stream.

        `context_for`: the length that the context is for alone.
        """
        d, engine = self._d, self._d._engine
        cuda, stream = engine.cuda, engine.stream.handle
        context = (
            engine.context(STEP, self._count)
            if self._length == 1
            else engine.context(PREFILL, 1, context_for)
        )
        for name, buffer in self._buffers.items():
            shape = d._shape(name, self._sizes | {"S": length})
            cuda.copy(
                buffer.device,
                buffer.host.address,
                int(np.prod(shape)) * buffer.host.array.itemsize,
                stream,
            )
            engine.bind_input(context, name, buffer.device, shape)
        d.enqueue(context, first, self._count)
        for made, width in ((d._logits, d.vocabulary), (d._hidden, d._width)):
            cuda.copy(made.host.address, made.device, self._count * width * 4, stream)
