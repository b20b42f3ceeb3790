"""One CUDA stream a stage, so that Whisper of one turn, the reply of another and the voice of a third overlap on one GPU.

A stage that speaks goes ahead of one that writes. What stays on the device from one stage to the next is handed over by a
mark, for which the next one's kernels wait and the host does not; today's stages hand over on the host and need none.
Without a device everything here does nothing, and the code that uses it is the same.
Source: CUDA C++ programming guide, streams and events; priorities are lower numbers first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

PRIORITIES = {"vocode": 0, "speak": 0, "reply": 1, "clone": 1}
"""Ranks of stages: the lower, the sooner a GPU takes their kernels. Within one, a first window goes before others in its lane."""


class StreamDevice(Protocol):
    """What makes streams and events: `executors.cuda.Cuda`."""

    def stream(self, rank: int) -> int: ...

    def event(self) -> int: ...

    def record(self, event: int, stream: int) -> None: ...

    def wait(self, stream: int, event: int) -> None: ...

    def range(self, name: str) -> AbstractContextManager[None]: ...

    def free_stream(self, stream: int) -> None: ...

    def free_event(self, event: int) -> None: ...


class Mark:
    """A point in a stage's stream that another one waits for, once."""

    def __init__(self, event: int, device: StreamDevice | None = None) -> None:
        self.event, self._device = event, device

    def free(self) -> None:
        """Free its event, which CUDA keeps for whoever waits already; safe to call twice."""
        if self._device is not None and self.event:
            self._device.free_event(self.event)
            self.event = 0


class StageStream:
    """The stream of one stage; `handle` is CUDA's, 0 without a device."""

    def __init__(self, stage: str, device: StreamDevice | None) -> None:
        self.stage, self._device = stage, device
        self.handle = device.stream(PRIORITIES[stage]) if device is not None else 0
        self._marks: list[Mark] = []

    def mark(self) -> Mark:
        """Everything that is in the stream by now."""
        if self._device is None:
            return Mark(0)
        made = Mark(self._device.event(), self._device)
        self._marks = [mark for mark in self._marks if mark.event] + [made]
        self._device.record(made.event, self.handle)
        return made

    def after(self, mark: Mark) -> None:
        """What comes into the stream from now on waits for `mark`, which is then over; the caller does not wait."""
        if self._device is not None and mark.event:
            self._device.wait(self.handle, mark.event)
            mark.free()

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named range for profilers (NVTX)."""
        if self._device is None:
            yield
            return
        with self._device.range(f"{self.stage}.{name}"):
            yield

    def close(self) -> None:
        """Free the stream and its marks; safe to call twice."""
        if self._device is None:
            return
        while self._marks:
            self._marks.pop().free()
        if self.handle:
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
