"""What the metrics say is what is so when they are asked."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.inputs import Inputs

from tests.triton_fakes import Asked, Utilities


@dataclass
class Series:
    """A metric whose values can be waited for."""

    values: list[float] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def observe(self, value: float) -> None:
        with self.changed:
            self.values.append(value)
            self.changed.notify_all()

    set = increment = observe

    def reaches(self, value: float) -> bool:
        """Whether the last value becomes `value`."""
        with self.changed:
            return self.changed.wait_for(lambda: self.values[-1:] == [value], 10)


SERIES: dict[str, Series] = {}


class Watched(Utilities):
    """`triton_python_backend_utils` with such metrics."""

    @dataclass
    class MetricFamily:
        name: str
        description: str
        kind: str
        COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

        def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> Series:
            return SERIES.setdefault("".join([self.name, *list(labels.values())[1:]]), Series())


class Endless:
    """A handler whose every answer goes on until it is cancelled."""

    def __init__(self) -> None:
        self.engine = DecodeEngine(FakeDecoder(lambda ids: 7, 8, slots=2, capacity=100_000))
        self._lane = Lane("reply")
        self._service = DecodeService(self.engine, self._lane)

    def describe(self) -> dict[str, Any]:
        return {}

    async def warm(self) -> None:
        return None

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        steps = self._service.stream(Request([1, 2, 3], max_tokens=90_000))
        try:
            async for _ in steps:
                yield {"text": text_tensor("x")}
        finally:
            await steps.aclose()

    def close(self) -> None:
        self._lane.close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    SERIES.clear()
    backend = Backend(Watched, "qwen3", Endless())
    yield backend
    backend.close()


def test_a_slot_that_a_cancelled_stream_held_is_free_without_another_request(
    backend: Backend,
) -> None:
    asked = [Asked({"messages": text_tensor("[]")}) for _ in range(2)]
    backend.execute(asked)
    busy = SERIES["voxturn_slots_busy"]
    assert busy.reaches(2)
    asked[0].sender.cancelled = True
    assert busy.reaches(1)
    asked[1].sender.cancelled = True
    assert busy.reaches(0)
    assert all(each.sender.done.wait(10) for each in asked)
    # what was generated until then is counted as well
    counts = backend._handler.engine.counts
    assert sum(SERIES["voxturn_tokens_total"].values) == counts.generated
