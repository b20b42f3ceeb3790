"""Stands for Triton's Python backend: requests, where their answers are sent, metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from voxturn.runtime.serving.backend import Backend


@dataclass
class Sender:
    """What a request is answered through: notes what is sent."""

    sent: list[tuple[Any, int]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False

    def is_cancelled(self) -> bool:
        return self.cancelled

    def send(self, response: Any = None, flags: int = 0) -> None:
        assert not self.done.is_set(), "sent after the end"
        self.sent.append((response, flags))
        if flags:
            self.done.set()


@dataclass
class Item:
    label: str
    value: np.ndarray[Any, Any]

    def name(self) -> str:
        return self.label

    def as_numpy(self) -> np.ndarray[Any, Any]:
        return self.value


@dataclass
class Asked:
    tensors: dict[str, np.ndarray[Any, Any]]
    sender: Sender = field(default_factory=Sender)
    sequence: int = 0
    flag: int = 0
    name: str = ""

    def request_id(self) -> str:
        return self.name

    def correlation_id(self) -> int:
        return self.sequence

    def flags(self) -> int:
        return self.flag

    def inputs(self) -> list[Item]:
        return [Item(name, value) for name, value in self.tensors.items()]

    def get_response_sender(self) -> Sender:
        return self.sender


SERIES: dict[tuple[str, ...], list[float]] = {}
"""What the metrics were told, by their family's name and their labels."""


@dataclass
class Metric:
    key: tuple[str, ...]

    def increment(self, by: float) -> None:
        SERIES.setdefault(self.key, []).append(by)

    observe = set = increment


@dataclass
class MetricFamily:
    """Of the backend's utilities."""

    name: str
    description: str
    kind: str
    COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

    def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> Metric:
        assert (buckets is not None) == (self.kind == "histogram")
        return Metric((self.name, *labels.values()))


class Utilities:
    """`triton_python_backend_utils`."""

    TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = 1
    TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = 2
    MetricFamily = MetricFamily

    @staticmethod
    def Tensor(name: str, value: Any) -> tuple[str, Any]:
        return name, value

    @staticmethod
    def TritonError(message: str) -> str:
        return message

    @staticmethod
    def InferenceResponse(output_tensors: Any, error: str | None = None) -> tuple[Any, str | None]:
        return output_tensors, error


def ask(backend: Backend, **tensors: np.ndarray[Any, Any]) -> Sender:
    """Where a request with these inputs is answered."""
    asked = Asked(tensors)
    backend.execute([asked])
    return asked.sender
