"""A fake CUDA, and a fake TensorRT and a fake CUDA provider over ONNX Runtime on the CPU, for tests
of what drives them.

Streams are lazy: work waits in its stream until someone synchronises with it or with an event in
it, then runs in order. So a read without a synchronisation, or without an event where one is
needed, sees old bytes. Memory is real; every access is checked against what is allocated. Every
call is noted in `calls`.
"""

from __future__ import annotations

import ctypes
import itertools
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
from voxturn.export.artifact import contract_of
from voxturn.export.bfloat16 import computable
from voxturn.export.xtts.export import GRAPHS
from voxturn.runtime.executors.cuda.kernels import CPlace, CSampling, CStep, CudaKernels
from voxturn.runtime.executors.cuda.tensorrt_build import PROFILES, shapes

Work = Callable[[], None]
_ROLES = {file: role for role, file in GRAPHS.items()} | {"decoder.onnx": "token_decoder"}


class FakeCuda:
    """What `cuda.bindings.runtime` gives.

    `fails` names a call that fails with error 700 from now on.
    """

    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyDefault=4)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, devices: int = 1) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.memory: dict[int, Any] = {}
        self.streams: dict[int, deque[Work]] = {}
        self.events: dict[int, list[Any]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.fails = ""
        self._devices, self._numbers = devices, itertools.count(1)
        self._capturing: dict[int, list[Work]] = {}

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if not name.startswith("cuda") or not callable(value):
            return value

        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            return (700,) if name == self.fails else value(*args)

        return call

    @property
    def alive(self) -> int:
        """Everything that was made and not freed."""
        return len(self.memory) + len(self.streams) + len(self.events) + len(self.graphs)

    def enqueue(self, stream: int, work: Work) -> None:
        """Put work into a stream."""
        assert stream in self.streams, "work in a stream that does not live, or in the default one"
        self._capturing[stream].append(work) if stream in self._capturing else self.streams[
            stream
        ].append(work)

    def captures(self, stream: int) -> bool:
        """Whether what comes into a stream is noted."""
        return stream in self._capturing

    def check(self, address: int, size: int) -> None:
        """An access that must lie in one live allocation."""
        assert self.owns(address, size), f"{size} bytes at {address:#x} are in no live allocation"

    def owns(self, address: int, size: int) -> bool:
        """Whether it lies in one live allocation."""
        return any(
            base <= address and address + size <= base + len(block)
            for base, block in self.memory.items()
        )

    def drain(self, stream: int) -> None:
        """Run what waits in a stream."""
        while self.streams[stream]:
            self.streams[stream].popleft()()

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return 0, self._devices

    def cudaGetDeviceProperties(self, _: int) -> tuple[int, Any]:
        return 0, SimpleNamespace(name=b"Fake GPU\0\0", major=8, minor=9)

    def cudaDeviceGetStreamPriorityRange(self) -> tuple[int, int, int]:
        return 0, 0, -5

    def cudaStreamCreateWithPriority(self, flags: int, priority: int) -> tuple[int, int]:
        assert flags == self.cudaStreamNonBlocking
        assert -5 <= priority <= 0
        stream = next(self._numbers)
        self.streams[stream] = deque()
        return 0, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        assert not self.streams[stream], "a stream was freed with work in it"
        del self.streams[stream]
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        assert stream not in self._capturing, "synchronised while capturing"
        self.drain(stream)
        return (0,)

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[int, int]:
        event = next(self._numbers)
        self.events[event] = []
        return 0, event

    def cudaEventDestroy(self, event: int) -> tuple[int]:
        del self.events[event]
        return (0,)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[int]:
        state = {"done": False, "stream": stream}
        self.events[event] = [state]
        self.enqueue(stream, lambda: state.update(done=True))
        return (0,)

    def cudaEventSynchronize(self, event: int) -> tuple[int]:
        (state,) = self.events[event] or [
            {"done": True, "stream": 0}
        ]  # one that was never recorded is no wait
        while not state["done"]:
            self.streams[state["stream"]].popleft()()
        return (0,)

    def _allocate(self, size: int) -> tuple[int, int]:
        assert not self._capturing, "memory is taken while a capture goes on"
        block = (ctypes.c_byte * size)()
        ctypes.memset(block, 0x5A, size)  # nothing is zero by itself
        address = ctypes.addressof(block)
        self.memory[address] = block
        return 0, address

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        return self._allocate(size)

    def cudaMallocHost(self, size: int) -> tuple[int, int]:
        return self._allocate(size)

    def _free(self, address: int) -> tuple[int]:
        assert not self._capturing, "memory is freed while a capture goes on"
        assert not any(self.streams.values()), "memory was freed with work in a stream"
        del self.memory[address]
        return (0,)

    def cudaFree(self, address: int) -> tuple[int]:
        return self._free(address)

    def cudaFreeHost(self, address: int) -> tuple[int]:
        return self._free(address)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[int]:
        self.check(target, size)
        self.check(source, size)

        def copy() -> None:
            self.check(target, size)
            self.check(source, size)
            ctypes.memmove(target, source, size)

        self.enqueue(stream, copy)
        return (0,)

    def cudaMemcpy2DAsync(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        rows: int,
        kind: int,
        stream: int,
    ) -> tuple[int]:
        assert width <= min(target_pitch, source_pitch)

        def check() -> None:
            """One side may be the caller's own memory, which this knows nothing of; the other one
            must be allocated."""
            sides = [
                all(self.owns(base + row * pitch, width) for row in range(rows))
                for base, pitch in ((target, target_pitch), (source, source_pitch))
            ]
            assert any(sides), "a copy between two memories that are not allocated"

        check()

        def copy() -> None:
            check()
            for row in range(rows):
                ctypes.memmove(target + row * target_pitch, source + row * source_pitch, width)

        self.enqueue(stream, copy)
        return (0,)

    def cudaMemsetAsync(self, target: int, value: int, size: int, stream: int) -> tuple[int]:
        self.check(target, size)

        def clear() -> None:
            self.check(target, size)
            ctypes.memset(target, value, size)

        self.enqueue(stream, clear)
        return (0,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        assert not self.streams[stream], "a capture begins in a stream with work in it"
        self._capturing[stream] = []
        return (0,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, int]:
        graph = next(self._numbers)
        self.graphs[graph] = self._capturing.pop(stream)
        return 0, graph

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[int, int]:
        ready = next(self._numbers)
        self.graphs[ready] = list(self.graphs[graph])
        return 0, ready

    def cudaGraphDestroy(self, graph: int) -> tuple[int]:
        del self.graphs[graph]
        return (0,)

    def cudaGraphExecDestroy(self, graph: int) -> tuple[int]:
        del self.graphs[graph]
        return (0,)

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[int]:
        for work in self.graphs[graph]:
            self.enqueue(stream, work)
        return (0,)


class FakeKernels:
    """The kernels' own source on the CPU, as work of a stream."""

    def __init__(self, fake: FakeCuda, kernels: CudaKernels) -> None:
        self.fake, self._kernels = fake, kernels

    def sample(self, step: CStep, samplings: int, batch: int, stream: int) -> None:
        step = CStep.from_buffer_copy(step)
        sizes = {
            "logits": 4 * step.vocabulary,
            "history": 8 * step.history_room,
            "stopped": 4,
            "status": 4,
        }
        for name in (
            "logits",
            "history",
            "history_count",
            "counter",
            "token",
            "input_id",
            "stopped",
            "status",
        ):
            self.fake.check(getattr(step, name), batch * sizes.get(name, 8))
        self.fake.check(samplings, batch * ctypes.sizeof(CSampling))
        self.fake.enqueue(stream, lambda: self._kernels.sample(step, samplings, batch, 8))

    def advance(self, place: CPlace, batch: int, stream: int) -> None:
        place = CPlace.from_buffer_copy(place)
        self.fake.check(place.write_index, batch * 8)
        self.fake.check(place.mask, batch * place.capacity * place.item)
        self.fake.enqueue(stream, lambda: self._kernels.advance(place, batch, 8))


class FakeTensorRt:
    """What the module `tensorrt` gives to the executor: engines are ONNX files by their path, run
    by ONNX Runtime.

    `says_no` names a call of a context that returns False from now on; `aliased=False` is a library
    without caches that are updated in place. `on_host` are inputs whose values decide shapes.
    """

    __name__, __version__ = "tensorrt", "11.4.0"
    BuilderFlag = SimpleNamespace()
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
    TensorLocation = SimpleNamespace(HOST="host", DEVICE="device")

    class ILogger:
        ERROR, INTERNAL_ERROR, VERBOSE = "error", "internal error", "verbose"

    def __init__(self, cuda: FakeCuda, aliased: bool = True, on_host: tuple[str, ...] = ()) -> None:
        self.cuda, self.aliased, self.on_host = cuda, aliased, on_host
        self.says_no = ""
        self.contexts: list[Context] = []

    def Runtime(self, logger: Any) -> Any:
        def deserialize(data: bytes) -> Any:
            if not data.startswith(b"onnx:"):
                logger.log("error", "the plan is not one of this version")
                return None
            return FakeEngine(self, Path(data[5:].decode()))

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class FakeEngine:
    device_memory_size_v2 = 4096

    def __init__(self, trt: FakeTensorRt, path: Path) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        with computable(path) as readable:
            session = ort.InferenceSession(
                str(readable), options, providers=["CPUExecutionProvider"]
            )
        self.trt, self.session, contract = trt, session, contract_of(path)
        self.profiles = PROFILES[_ROLES[path.name]]
        self.shapes = [shapes(contract, profile) for profile in self.profiles]
        self.inputs = {spec.name: np.dtype(spec.dtype) for spec in contract.inputs}
        self.outputs = {spec.name: np.dtype(spec.dtype) for spec in contract.outputs}

    def get_aliased_input_tensor(self, name: str) -> str:
        return (
            name.replace("present_", "past_")
            if self.trt.aliased and name.startswith("present_")
            else ""
        )

    def get_tensor_location(self, name: str) -> str:
        return "host" if name in self.trt.on_host else "device"

    def create_execution_context(self, strategy: str) -> Any:
        assert strategy == "user managed"
        context = Context(self)
        self.trt.contexts.append(context)
        return context


class Context:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.trt = engine, engine.trt
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch: tuple[int, int] | None = None
        self.profile = -1

    def _ok(self, name: str) -> bool:
        return self.trt.says_no != name

    def set_device_memory(self, address: int, size: int) -> None:
        self.trt.cuda.check(address, size)
        self.scratch = address, size

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream in self.trt.cuda.streams
        self.trt.cuda.enqueue(stream, lambda: setattr(self, "profile", profile))
        return self._ok("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name in self.engine.inputs
        least, _, most = self.engine.shapes[self.profile].get(name, (shape, shape, shape))
        self.shapes[name] = shape
        fits = all(a <= size <= b for a, size, b in zip(least, shape, most, strict=True))
        return fits and self._ok("set_input_shape")

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return self._ok("set_tensor_address")

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._run(dry=True)[name].shape)

    def execute_async_v3(self, stream: int) -> bool:
        cuda = self.trt.cuda
        assert self.scratch is not None, "a context without its memory"
        cuda.check(*self.scratch)
        assert self.profile >= 0, "a context whose profile is not set yet"
        frozen = dict(self.addresses), dict(self.shapes)
        values = self.engine.profiles[self.profile].values
        if any(not values[n][0] <= self._on_host(n) <= values[n][2] for n in values):
            return False
        if not self._ok("execute_async_v3"):
            return False

        def work() -> None:
            assert self.scratch is not None
            cuda.check(*self.scratch)
            assert self.shapes == frozen[1], (
                "work that was captured runs while its context has other shapes"
            )
            made = self._run(*frozen)
            for name, value in made.items():
                cuda.check(frozen[0][name], value.nbytes)
                ctypes.memmove(
                    frozen[0][name], np.ascontiguousarray(value).ctypes.data, value.nbytes
                )

        cuda.enqueue(stream, work)
        return True

    def _on_host(self, name: str) -> int:
        return ctypes.c_int64.from_address(self.addresses[name]).value

    def _run(
        self,
        addresses: dict[str, int] | None = None,
        shapes: dict[str, tuple[int, ...]] | None = None,
        dry: bool = False,
    ) -> dict[str, np.ndarray[Any, Any]]:
        addresses, shapes = addresses or self.addresses, shapes or self.shapes
        feeds = {}
        for name, kind in self.engine.inputs.items():
            size = int(np.prod(shapes[name])) * kind.itemsize
            if dry and name not in self.trt.on_host:
                feeds[name] = np.zeros(shapes[name], kind)
                continue
            self.trt.cuda.check(addresses[name], size)
            block = (ctypes.c_byte * size).from_address(addresses[name])
            feeds[name] = np.frombuffer(bytes(block), kind).reshape(shapes[name])
        feeds = {
            name: f.astype(np.float32) if f.dtype == "bfloat16" else f for name, f in feeds.items()
        }
        values = self.engine.session.run(list(self.engine.outputs), feeds)
        return {
            n: v.astype(kind)
            for (n, kind), v in zip(self.engine.outputs.items(), values, strict=True)
        }


class FakeCudaProvider:
    """What the module `onnxruntime` gives to the executor: the CUDA provider, run by the CPU's in
    the stream it was given.

    `fails` makes runs fail.
    """

    SessionOptions, RunOptions = ort.SessionOptions, ort.RunOptions

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.fails = cuda, False
        self.sessions: list[FakeCudaSession] = []

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def set_default_logger_severity(self, severity: int) -> None:
        self.severity = severity

    def InferenceSession(
        self, path: str | bytes, options: Any, providers: list[Any]
    ) -> FakeCudaSession:
        made = FakeCudaSession(self, path, options, providers)
        self.sessions.append(made)
        return made


class FakeCudaSession:
    def __init__(
        self, module: FakeCudaProvider, path: str | bytes, options: Any, providers: list[Any]
    ) -> None:
        ((name, self.about),) = providers
        assert name == "CUDAExecutionProvider"
        self.module, self.cuda, self.stream = (
            module,
            module.cuda,
            int(self.about["user_compute_stream"]),
        )
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._runs: Counter[tuple[Any, ...]] = Counter()
        self.inputs = [i.name for i in self._session.get_inputs()]
        self.outputs = [o.name for o in self._session.get_outputs()]
        if (
            self.about.get("enable_cuda_graph") and "Shape" in self._operators()
        ):  # what the CUDA provider leaves to the CPU
            raise RuntimeError(
                "This session cannot use the graph capture feature as requested by the user"
            )

    def _operators(self) -> set[str]:
        info = self._session.get_provider_graph_assignment_info()
        return {node.op_type for part in info for node in part.get_nodes()}

    def get_providers(self) -> list[str]:
        return self.module.get_available_providers()

    def get_provider_graph_assignment_info(self) -> list[Any]:
        info = self._session.get_provider_graph_assignment_info()
        return [
            SimpleNamespace(ep_name="CUDAExecutionProvider", get_nodes=part.get_nodes)
            for part in info
        ]

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self)

    def run_with_iobinding(self, binding: FakeBinding, options: Any) -> None:
        assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        assert (
            self.about.get("enable_cuda_graph"),
            options.get_run_config_entry("gpu_graph_id"),
        ) == ("1", "-1")
        if self.module.fails:
            raise RuntimeError("CUDA failure 700\nmore")
        bound = dict(binding.bound)
        assert set(bound) == {*self.inputs, *self.outputs}
        shapes = tuple(bound[name][1] for name in self.inputs)
        self._runs[shapes] += 1
        if (
            self._runs[shapes] <= 2
        ):  # the first one tells how much memory runs need, which the second takes
            assert not self.cuda.captures(self.stream), "memory is taken while a capture goes on"
        if (
            None in bound.values()
        ):  # outputs that ONNX Runtime finds a place for: their shapes are known at once
            feeds = {name: np.zeros(bound[name][1], bound[name][0]) for name in self.inputs}
            binding.made = self._session.run(self.outputs, feeds)
            return

        def work() -> None:
            made = self._session.run(
                self.outputs, {name: self._read(*bound[name]) for name in self.inputs}
            )
            for name, value in zip(self.outputs, made, strict=True):
                kind, shape, address = bound[name]
                self.cuda.check(address, value.nbytes)
                assert (value.dtype, value.shape) == (kind, shape), name
                ctypes.memmove(address, np.ascontiguousarray(value).ctypes.data, value.nbytes)

        self.cuda.enqueue(self.stream, work)

    def _read(self, kind: Any, shape: tuple[int, ...], address: int) -> np.ndarray[Any, Any]:
        size = int(np.prod(shape)) * kind.itemsize
        self.cuda.check(address, size)
        return np.frombuffer(bytes((ctypes.c_byte * size).from_address(address)), kind).reshape(
            shape
        )


class FakeBinding:
    def __init__(self, session: FakeCudaSession) -> None:
        self.session = session
        self.bound: dict[str, Any] = {}
        self.made: list[Any] = []

    def bind_input(
        self, name: str, device: str, number: int, kind: Any, shape: Any, address: int
    ) -> None:
        assert (device, number) == ("cuda", 0)
        self.session.cuda.check(address, int(np.prod(shape)) * np.dtype(kind).itemsize)
        self.bound[name] = np.dtype(kind), tuple(shape), address

    def bind_output(self, name: str, *where: Any) -> None:
        if where == ("cuda",):
            self.bound[name] = None
        else:
            self.bind_input(name, *where)

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(shape=lambda value=value: list(value.shape)) for value in self.made]
