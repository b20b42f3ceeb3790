"""CUDA's runtime through cuda-bindings, every call checked: streams, events, memory, copies,
graphs.

Addresses and handles are integers. Source: CUDA Runtime API; NVIDIA's `cuda.bindings.runtime`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed


class Cuda:
    """The device. `runtime` is `cuda.bindings.runtime`, imported if it is left out.

    Raises `ExecutorUnavailable` without the library, a driver or a device; later failures are
    `InferenceFailed`.
    """

    def __init__(self, runtime: Any = None) -> None:
        if runtime is None:
            try:
                runtime = importlib.import_module("cuda.bindings.runtime")
            except ImportError as exc:
                raise ExecutorUnavailable(
                    "a GPU needs cuda-bindings; pip install 'voxturn[gpu]'"
                ) from exc
        self._rt = runtime
        self._nvtx = importlib.import_module("nvtx") if find_spec("nvtx") else None
        error, count = runtime.cudaGetDeviceCount()
        if int(error) or not count:
            raise ExecutorUnavailable(
                "no CUDA device is here, or no driver for it; see `voxturn doctor --gpu`"
            )

    @property
    def name(self) -> str:
        """The device's name and compute capability, as engines are kept for."""
        about = self._call("cudaGetDeviceProperties", 0)
        name = about.name.decode() if isinstance(about.name, bytes) else str(about.name)
        return f"{name.rstrip(chr(0))} sm{about.major}{about.minor}"

    def stream(self, rank: int) -> int:
        """A stream that does not wait for the default one; rank 0 is the most urgent."""
        least, greatest = self._call("cudaDeviceGetStreamPriorityRange")
        priority = min(least, greatest + rank)
        return int(
            self._call("cudaStreamCreateWithPriority", self._rt.cudaStreamNonBlocking, priority)
        )

    def event(self) -> int:
        """An event without timing."""
        return int(self._call("cudaEventCreateWithFlags", self._rt.cudaEventDisableTiming))

    def record(self, event: int, stream: int) -> None:
        """Put an event at the end of a stream."""
        self._call("cudaEventRecord", event, stream)

    def synchronize(self, stream: int) -> None:
        """Wait until a stream is empty."""
        self._call("cudaStreamSynchronize", stream)

    def reached(self, event: int) -> None:
        """Wait until what an event was put behind is done; what came into the stream later may
        still run."""
        self._call("cudaEventSynchronize", event)

    def allocate(self, size: int) -> int:
        """Device memory."""
        return int(self._call("cudaMalloc", max(1, size)))

    def allocate_host(self, size: int) -> int:
        """Pinned host memory."""
        return int(self._call("cudaMallocHost", max(1, size)))

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy between any two memories, in a stream."""
        self._call(
            "cudaMemcpyAsync",
            target,
            source,
            size,
            self._rt.cudaMemcpyKind.cudaMemcpyDefault,
            stream,
        )

    def copy_rows(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        rows: int,
        stream: int,
    ) -> None:
        """Copy `width` bytes of each of `rows` rows, in a stream."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDefault
        self._call(
            "cudaMemcpy2DAsync",
            target,
            target_pitch,
            source,
            source_pitch,
            width,
            rows,
            kind,
            stream,
        )

    def clear(self, target: int, size: int, stream: int) -> None:
        """Fill with zeros, in a stream."""
        self._call("cudaMemsetAsync", target, 0, size, stream)

    def begin_capture(self, stream: int) -> None:
        """What comes into the stream is noted, not run, until `end_capture`."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """What was noted, as a graph that `replay` runs."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def abandon_capture(self, stream: int) -> None:
        """End a capture in which something failed; of what was noted nothing is kept, and what went
        wrong is not hidden."""
        error, *graphs = self._rt.cudaStreamEndCapture(stream)
        for graph in graphs:
            if not int(error) and graph:
                self._rt.cudaGraphDestroy(graph)

    def replay(self, graph: int, stream: int) -> None:
        """Run a graph in a stream."""
        self._call("cudaGraphLaunch", graph, stream)

    def free(self, address: int) -> None:
        """Free device memory."""
        self._call("cudaFree", address)

    def free_host(self, address: int) -> None:
        """Free pinned host memory."""
        self._call("cudaFreeHost", address)

    def free_stream(self, stream: int) -> None:
        """Free a stream."""
        self._call("cudaStreamDestroy", stream)

    def free_event(self, event: int) -> None:
        """Free an event."""
        self._call("cudaEventDestroy", event)

    def free_graph(self, graph: int) -> None:
        """Free a graph."""
        self._call("cudaGraphExecDestroy", graph)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named range for profilers, if nvtx is here."""
        if self._nvtx is None:
            yield
            return
        with self._nvtx.annotate(name):
            yield

    def _call(self, name: str, *args: Any) -> Any:
        error, *values = getattr(self._rt, name)(*args)
        if int(error):
            raise InferenceFailed(f"CUDA: {name} failed with error {int(error)}")
        return values[0] if len(values) == 1 else tuple(values)


class HostArray:
    """A numpy array in pinned memory, so that copies from and to it run beside kernels.

    Close it when done.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: Any) -> None:
        import ctypes

        kind = np.dtype(dtype)
        self._cuda, size = cuda, int(np.prod(shape)) * kind.itemsize
        self.address = cuda.allocate_host(size)
        memory = (ctypes.c_byte * max(1, size)).from_address(self.address)
        self.array = np.frombuffer(memory, kind, count=int(np.prod(shape))).reshape(shape)
        self.size = size

    def close(self) -> None:
        """Free it; the array must not be used any more. Safe to call twice."""
        if self.address:
            self.array = self.array[:0].copy() if self.array.ndim else np.zeros(0)
            self._cuda.free_host(self.address)
            self.address = 0
