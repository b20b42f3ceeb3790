"""One CUDA stream a stage, so that Whisper of one turn, the reply of another and the voice of a
third overlap on one GPU.

A stage that speaks goes ahead of one that writes. A step hands over what it made by a mark behind
it in its stream: whoever takes it waits for the mark, while the step after it is running already.
What is handed over passes through the host (decision 0014 says why). Without a device everything
here does nothing, and the code that uses it is the same. Source: CUDA C++ programming guide,
streams and events; priorities are lower numbers first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

PRIORITIES = {"vocode": 0, "speak": 0, "reply": 1, "clone": 1}
"""Ranks of stages: the lower, the sooner a GPU takes their kernels.

Within one, a first window goes before others in its lane.
"""


class StreamDevice(Protocol):
    """What makes streams and events: `executors.cuda.Cuda`."""

    def stream(self, rank: int) -> int: ...

    def event(self) -> int: ...

    def record(self, event: int, stream: int) -> None: ...

    def reached(self, event: int) -> None: ...

    def range(self, name: str) -> AbstractContextManager[None]: ...

    def free_stream(self, stream: int) -> None: ...

    def free_event(self, event: int) -> None: ...


class Mark:
    """A point in a stage's stream, which is waited for before what was made up to it is taken.

    It may be put again.
    """

    def __init__(self, stream: int, device: StreamDevice | None) -> None:
        self._stream = stream
        self._device = device
        self._event = device.event() if device is not None else 0

    def put(self) -> None:
        """Behind everything that is in the stream by now."""
        if self._device is not None:
            self._device.record(self._event, self._stream)

    def reached(self) -> None:
        """Wait until the stream has come so far; what was put in later may still run."""
        if self._device is not None:
            self._device.reached(self._event)

    def free(self) -> None:
        """Free its event; safe to call twice."""
        if self._device is not None and self._event:
            self._device.free_event(self._event)
            self._event = 0


class StageStream:
    """The stream of one stage; `handle` is CUDA's, 0 without a device."""

    def __init__(self, stage: str, device: StreamDevice | None) -> None:
        self.stage = stage
        self._device = device
        self.handle = device.stream(PRIORITIES[stage]) if device is not None else 0

    def mark(self) -> Mark:
        """A mark for this stream. Whoever asks for it frees it, before the stream is closed."""
        return Mark(self.handle, self._device)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named range for profilers (NVTX)."""
        if self._device is None:
            yield
            return
        with self._device.range(f"{self.stage}.{name}"):
            yield

    def close(self) -> None:
        """Free the stream; safe to call twice."""
        if self._device is not None and self.handle:
            self._device.free_stream(self.handle)
            self.handle = 0


class Streams:
    """The streams of a process, made when a stage first asks."""

    def __init__(self, device: StreamDevice | None = None) -> None:
        self._device = device
        self._made: dict[str, StageStream] = {}

    def of(self, stage: str) -> StageStream:
        """The stage's stream."""
        if stage not in self._made:
            self._made[stage] = StageStream(stage, self._device)
        return self._made[stage]

    def close(self) -> None:
        """Free all of them."""
        while self._made:
            self._made.popitem()[1].close()
