"""What the gateway counts and times, for Prometheus: docs/operations.md has the list.

Names and units are as https://prometheus.io/docs/practices/naming/ wants them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from voxturn.runtime.parts import Occupancy
from voxturn.runtime.turn.trace import Trace

_SECONDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0, 8.0)
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Where `prometheus_client`, when it is imported, learns that there are several processes."""
Together = Literal["livesum", "livemin", "livemax"]
_LONGER = (*_SECONDS, 15.0, 30.0, 60.0)


class Metrics:
    """The metrics of one process, in a registry of their own.

    `on_turn` are called with the trace of every turn that has ended, once it was counted;
    `before_text` by `refresh`. Within `shared_by_workers` all processes count
    together, but for `process_…`, which only a single process has.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.on_turn: list[Callable[[Trace], None]] = []
        self.before_text: list[Callable[[], None]] = []
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Requests", "path", "status")
        self.request = self._histogram(
            "request_seconds", "From a request to the beginning of its answer", _LONGER, "path"
        )
        self.refusals = self._counter(
            "refusals", "Requests and sessions refused for a while (429 and 503)", "code"
        )
        self.first_audio = self._histogram(
            "first_audio_seconds",
            "From the certain end of speech, or a request, to its first audio",
            _SECONDS,
            "way",
        )
        self.turns = self._counter("turns", "Turns that heard a question", "outcome")
        self.turn_time = self._histogram(
            "turn_seconds", "From the certain end of speech until all audio was made", _LONGER
        )
        self.endpoint_wait = self._histogram(
            "endpoint_wait_seconds", "From the end of speech until it was certain", _SECONDS
        )
        self.stage = self._histogram(
            "stage_seconds", "Time that a stage computed for a turn", _SECONDS, "stage"
        )
        self.prompt_tokens = self._counter(
            "prompt_tokens", "Positions of the reply's prompts: computed, or reused", "origin"
        )
        self.underruns = self._counter("underruns", "Times that playback had to wait")
        self.stalled = self._counter("stalled_seconds", "Time that playback had to wait")
        self.interruptions = self._counter("interruptions", "Speech over an answer", "what")
        self.sessions = self.gauge("sessions", "Conversations that are open", "livesum", "way")
        self.ready = self.gauge("ready", "0 once a canary turn has failed", "livemin")
        self.ready.set(1)  # the engines were warmed
        self.canary = self.gauge(
            "canary_seconds",
            "From the question of the last canary turn to its first audio",
            "livemax",
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"voxturn_{name}", what, labels, registry=self.registry)

    def _histogram(
        self, name: str, what: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"voxturn_{name}", what, labels, buckets=buckets, registry=self.registry)

    def gauge(self, name: str, what: str, workers: Together, *labels: str) -> Gauge:
        """A gauge. `workers`: how those of several processes become one."""
        return Gauge(
            f"voxturn_{name}", what, labels, registry=self.registry, multiprocess_mode=workers
        )

    def turn(self, trace: Trace) -> None:
        """Count a turn that has ended."""
        told = trace.to_dict()
        self.turns.labels(told["outcome"]).inc()
        self.underruns.inc(told["underruns"])
        self.stalled.inc(told["stalled_ms"] / 1000)
        if told["response_ms"] is not None:
            self.first_audio.labels("turn").observe(told["response_ms"] / 1000)
        if told["endpoint_wait_ms"] is not None:
            self.endpoint_wait.observe(max(0.0, told["endpoint_wait_ms"] / 1000))
        if trace.chunks and "endpoint" in trace.marks:
            self.turn_time.observe(max(0.0, trace.chunks[-1][0] - trace.marks["endpoint"]))
        for name, stage in told["stages"].items():
            if stage["calls"]:
                self.stage.labels(name).observe(stage["busy_ms"] / 1000)
        for origin, count in told["prompt_tokens"].items():
            self.prompt_tokens.labels(origin).inc(count)
        for each in trace.interruptions:
            self.interruptions.labels(each.what).inc()
        for listener in self.on_turn:
            listener(trace)

    def refused(self, status: int, code: str) -> None:
        """Count an error, where it says that something is not possible now."""
        if status in (429, 503):
            self.refusals.labels(code).inc()

    def refresh(self) -> None:
        """Ask for what is only known when it is asked for; in the event loop, before `text`."""
        for each in self.before_text:
            each()

    def text(self) -> bytes:
        """All of them, as Prometheus reads it. May be called in another thread: where several
        processes count together, it reads a file of each."""
        if not self.shared:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    @property
    def shared(self) -> bool:
        """Whether several processes count together."""
        return _SHARED in os.environ


class OccupancyGauges:
    """What is full and what waits, asked for whenever Prometheus asks.

    `sessions`: places for conversations, and how many are taken; `stages`: how busy each engine of
    this process is. Of engines behind Triton, Triton's own metrics tell.
    """

    def __init__(
        self,
        metrics: Metrics,
        sessions: Callable[[], tuple[int, int]],
        stages: Callable[[], dict[str, Occupancy]],
    ) -> None:
        self._sessions = sessions
        self._stages = stages
        # workers share the places of conversations: each of them says how many there are in all
        self._most = metrics.gauge(
            "session_places", "Conversations that may be open at once", "livemax"
        )
        self._taken = metrics.gauge(
            "session_places_used", "Conversations that hold a place", "livemax"
        )
        self._slots = metrics.gauge(
            "slots", "Sequences that a stage's engine computes at once", "livesum", "stage"
        )
        self._used = metrics.gauge(
            "slots_used", "Sequences that a stage's engine computes now", "livesum", "stage"
        )
        self._queue = metrics.gauge(
            "queue", "Calls and sequences that wait for a stage's engine", "livesum", "stage"
        )
        metrics.before_text.append(self.refresh)

    def refresh(self) -> None:
        """Ask."""
        most, taken = self._sessions()
        self._most.set(most)
        self._taken.set(taken)
        for stage, each in self._stages().items():
            if each.slots:
                self._slots.labels(stage).set(each.slots)
                self._used.labels(stage).set(each.busy)
            self._queue.labels(stage).set(each.waiting)


@contextmanager
def shared_by_workers() -> Iterator[None]:
    """While the block runs, processes that are begun in it count together: each tells what all of
    them counted. To be entered before they are begun; call `worker_ended` for each that ends."""
    with TemporaryDirectory(prefix="voxturn-metrics-") as folder:
        os.environ[_SHARED] = folder
        try:
            yield
        finally:
            del os.environ[_SHARED]


def worker_ended(pid: int) -> None:
    """What a worker had open is not open any more."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
