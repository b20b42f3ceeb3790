"""What an engine owns on a GPU: memory on both sides, marks, captured graphs, all of one stream and
freed together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from voxturn.runtime.executors.cuda.library import Cuda, HostArray
from voxturn.runtime.executors.cuda.streams import Mark, StageStream


@dataclass
class Buffer:
    """A tensor's place on the device, and the pinned host memory it is copied from or to."""

    device: int
    host: HostArray


class DeviceMemory:
    """Memory, marks and graphs on one stream. Close it when done."""

    def __init__(self, cuda: Cuda, stream: StageStream) -> None:
        self.cuda = cuda
        self.stream = stream
        self._closing = ExitStack()

    def allocate(self, size: int) -> int:
        """Device memory."""
        address = self.cuda.allocate(size)
        self._closing.callback(self.cuda.free, address)
        return address

    def host(self, shape: tuple[int, ...], dtype: str) -> HostArray:
        """Pinned memory."""
        array = HostArray(self.cuda, shape, dtype)
        self._closing.callback(array.close)
        return array

    def mark(self) -> Mark:
        """A mark for the stream."""
        made = self.stream.mark()
        self._closing.callback(made.free)
        return made

    def buffer(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """A tensor's memory on both sides."""
        host = self.host(shape, dtype)
        return Buffer(self.allocate(host.size), host)

    def captured(
        self, enqueue: Callable[[], None], prepare: Callable[[], None] | None = None
    ) -> int:
        """What `enqueue` puts into the stream, as a CUDA graph.

        Before that `prepare`, or `enqueue` itself, runs twice as it is. A capture must not hold
        what libraries set up when shapes first come: TensorRT at the first run, ONNX Runtime also
        at the second, for which it takes memory in one piece.
        """
        for _ in range(2):
            (prepare or enqueue)()
        self.cuda.synchronize(self.stream.handle)
        self.cuda.begin_capture(self.stream.handle)
        try:
            enqueue()
        except BaseException:
            self.cuda.abandon_capture(self.stream.handle)
            raise
        graph = self.cuda.end_capture(self.stream.handle)
        self._closing.callback(self.cuda.free_graph, graph)
        return graph

    def close(self) -> None:
        """Let the stream run empty, then free everything; safe to call twice."""
        try:
            self.cuda.synchronize(self.stream.handle)
        finally:
            self._closing.close()
