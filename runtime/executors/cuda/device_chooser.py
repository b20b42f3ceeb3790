"""Decode steps of a decoder on a GPU whose tokens are chosen there; see `executors.device_decoder`.

A step, its sampling and what the next step needs are one captured CUDA graph, so the token never
leaves the device on its way into the next step: the host reads what a step chose while the next one
runs. Two steps may be in flight, and what the host reads of them lies in two sets of pinned memory.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.decode.ahead import Chosen
from voxturn.runtime.decode.generation import Follow
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.cuda.device_memory import Buffer, DeviceMemory
from voxturn.runtime.executors.cuda.kernels import (
    MOST_CANDIDATES,
    MOST_PRUNED,
    MOST_VOCABULARY,
    ROOM,
    STATUSES,
    CPlace,
    CSampling,
    CStep,
    CudaKernels,
)
from voxturn.runtime.executors.cuda.library import HostArray
from voxturn.runtime.executors.cuda.streams import Mark
from voxturn.runtime.executors.decoder_inputs import PortableInputs

_RING = 2
_SAMPLING = ctypes.sizeof(CSampling)


@dataclass(frozen=True)
class _Read:
    """What the host reads of a step, in pinned memory, and the mark behind it."""

    token: HostArray
    status: HostArray
    hidden: HostArray
    logits: HostArray
    mark: Mark


class Chooser:
    """The state of every slot on the device, and the captured steps. Everything is freed with
    `engine`.

    `inputs` are the graph's inputs but for its buffers, by name: shape with `B` for the slots, and
    dtype. `execute` binds them, from the slot `first`, and runs `count` sequences. `outputs` are
    where logits and hidden states come out.
    """

    def __init__(
        self,
        engine: DeviceMemory,
        kernels: CudaKernels,
        slots: int,
        capacity: int,
        inputs: dict[str, tuple[tuple[int, ...], str]],
        outputs: tuple[Buffer, Buffer],
        execute: Callable[[int, int, dict[str, int]], None],
    ) -> None:
        self._engine = engine
        self._kernels = kernels
        self._capacity = capacity
        self._execute = execute
        self._logits, self._hidden = outputs
        self._room = 2 * capacity  # a history may begin with ids that are not in the buffers
        self._inputs = {
            name: engine.buffer(shape, dtype) for name, (shape, dtype) in inputs.items()
        }
        state = (
            ("history", (slots, self._room)),
            ("history_count", (slots,)),
            ("counter", (slots,)),
        )
        self._state = {name: engine.buffer(shape, "int64") for name, shape in state}
        self._settings = engine.buffer((slots, _SAMPLING), "uint8")
        made = (("token", "int64"), ("stopped", "int32"), ("status", "int32"))
        self._made = {name: engine.buffer((slots,), dtype) for name, dtype in made}
        self._reads = [
            _Read(
                engine.host((slots,), "int64"),
                engine.host((slots,), "int32"),
                engine.host(self._hidden.host.array.shape, "float32"),
                engine.host(self._logits.host.array.shape, "float32"),
                engine.mark(),
            )
            for _ in range(_RING)
        ]
        self._graphs: dict[tuple[int, int, int, bool], int] = {}
        self._flying: deque[tuple[int, int, int, bool]] = deque()
        self._number = 0
        self._slots = slots
        self._reset()
        self._choose_and_advance(
            0, slots
        )  # CUDA loads a kernel at its first launch, which must not be in a capture
        self._reset()

    def warm(self) -> None:
        """Capture the steps of every slot alone, before a sequence has to wait for it.

        No slot may hold anything yet.
        """
        for slot in range(self._slots):
            for logits in (False, True):
                for _ in range(_RING):
                    self.choose(slot, 1, logits)
                    self.chosen()
        self._reset()

    def can_choose(self, sampling: Sampling, history: int) -> bool:
        """Whether the kernel has these settings and is fast with them, and room for a history of so
        many ids."""
        vocabulary = int(self._logits.host.array.shape[-1])
        most = MOST_CANDIDATES if vocabulary <= ROOM else MOST_PRUNED
        fits = sampling.temperature == 0 or 0 < sampling.top_k <= most
        return fits and history < self._room and vocabulary <= MOST_VOCABULARY

    def start(
        self,
        slot: int,
        past: int,
        pending: int,
        history: Sequence[int],
        given: int,
        sampling: Sampling,
        follow: Follow,
    ) -> None:
        """Put a sequence's state where its slot is: `pending` is its next input id, after `past`
        positions."""
        portable = PortableInputs(1, 1, self._capacity, self._inputs["mask"].host.array.dtype)
        portable.set(np.array([[pending]], np.int64), [past])
        for name, buffer in self._inputs.items():
            if name in portable.arrays:
                self._put(buffer, slot, portable.arrays[name].reshape(-1))
        self._put(self._state["history"], slot, np.asarray(history, np.int64))
        self._put(self._state["history_count"], slot, np.array([len(history)], np.int64))
        self._put(self._state["counter"], slot, np.array([given], np.int64))
        self._put(
            self._settings, slot, np.frombuffer(bytes(CSampling.of(sampling, follow)), np.uint8)
        )
        self._engine.cuda.synchronize(
            self._engine.stream.handle
        )  # the pinned rows may be written again

    def choose(self, first: int, count: int, logits: bool) -> None:
        """Put a step of the slots `first … first + count - 1` into the stream."""
        if len(self._flying) == _RING:
            raise InferenceFailed(f"{_RING} steps are in flight already; read one first")
        engine, ring = self._engine, self._number % _RING
        key = first, count, ring, logits
        with engine.stream.range(f"step of {count}"):
            if key not in self._graphs:
                # a run alone changes nothing that the step does not write again
                self._graphs[key] = engine.captured(
                    lambda: self._step(*key), lambda: self._run(first, count)
                )
            engine.cuda.replay(self._graphs[key], engine.stream.handle)
            self._reads[ring].mark.put()
        self._number += 1
        self._flying.append(key)

    def chosen(self) -> Chosen:
        """What the oldest step in flight chose, once it is done; valid until the step after the
        next one."""
        _, count, ring, with_logits = self._flying.popleft()
        read = self._reads[ring]
        read.mark.reached()
        problems = {
            row: STATUSES[status] for row, status in enumerate(read.status.array[:count]) if status
        }
        logits: npt.NDArray[np.float32] | None = (
            read.logits.array[:count, 0] if with_logits else None
        )
        return Chosen(
            read.token.array[:count].tolist(), problems, read.hidden.array[:count, 0], logits
        )

    def abandon(self) -> None:
        """Read nothing more of what is in flight."""
        self._flying.clear()

    def _reset(self) -> None:
        """The state of slots that never started."""
        for buffer in (*self._inputs.values(), *self._state.values(), self._settings):
            buffer.host.array[...] = 0
            self._copy(buffer.device, buffer.host.address, buffer.host.size)
        self._engine.cuda.synchronize(self._engine.stream.handle)

    def _run(self, first: int, count: int) -> None:
        self._execute(
            first, count, {name: _row(buffer, first) for name, buffer in self._inputs.items()}
        )

    def _step(self, first: int, count: int, ring: int, logits: bool) -> None:
        """The run, the choice, one position on, and what the host will read; all in the stream."""
        self._run(first, count)
        self._choose_and_advance(first, count)
        read = self._reads[ring]
        for name, host in (("token", read.token), ("status", read.status)):
            self._copy(host.address, _row(self._made[name], first), count * host.array.itemsize)
        self._copy(
            read.hidden.address, self._hidden.device, count * self._hidden.host.array[0].nbytes
        )
        if logits:
            self._copy(
                read.logits.address, self._logits.device, count * self._logits.host.array[0].nbytes
            )

    def _choose_and_advance(self, first: int, count: int) -> None:
        stream, positions = self._engine.stream.handle, self._inputs.get("positions")
        step = CStep(
            logits=self._logits.device,
            stops=0,
            input_id=_row(self._inputs["input_ids"], first),
            vocabulary=self._logits.host.array.shape[-1],
            history_room=self._room,
            stop_count=0,
            **{name: _row(buffer, first) for name, buffer in (self._state | self._made).items()},
        )
        self._kernels.sample(step, _row(self._settings, first), count, stream)
        place = CPlace(
            write_index=_row(self._inputs["write_index"], first),
            positions=_row(positions, first) if positions is not None else 0,
            mask=_row(self._inputs["mask"], first),
            capacity=self._capacity,
            item=self._inputs["mask"].host.array.itemsize,
        )
        self._kernels.advance(place, count, stream)

    def _put(self, buffer: Buffer, slot: int, values: npt.NDArray[Any]) -> None:
        """The beginning of a slot's row."""
        row = buffer.host.array[slot : slot + 1].reshape(-1)
        row[: values.size] = values
        offset = slot * row.nbytes
        self._copy(buffer.device + offset, buffer.host.address + offset, values.size * row.itemsize)

    def _copy(self, target: int, source: int, size: int) -> None:
        self._engine.cuda.copy(target, source, size, self._engine.stream.handle)


def _row(buffer: Buffer, slot: int) -> int:
    """Where a slot's row of a state is; `rows`, which all sequences share, has one."""
    array = buffer.host.array
    return buffer.device + (slot * array[0].nbytes if len(array) > 1 else 0)
