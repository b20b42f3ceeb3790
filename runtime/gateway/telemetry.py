"""Spans of requests and turns for OpenTelemetry: extra `otel`, and only where it is configured.

Configured means by OpenTelemetry's own environment (`OTEL_EXPORTER_OTLP_ENDPOINT` and its like). A
turn's spans come from its trace: nothing is measured twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import HTTPConnection
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.gateway.logs import current_ids
from voxturn.runtime.models.plugins import importable
from voxturn.runtime.turn.trace import Trace, merged

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_SIGNS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class RequestSpan(Protocol):
    """The span of a request that is being answered."""

    def answered(self, status: int) -> None:
        """Its status is known."""
        ...


class Telemetry(Protocol):
    """Is told of requests and turns."""

    def request(self, connection: HTTPConnection, path: str) -> AbstractContextManager[RequestSpan]:
        """The span of a request or a WebSocket; turns within the block are its children."""
        ...

    def turn(self, trace: Trace) -> None:
        """A turn has ended."""
        ...

    def close(self) -> None:
        """Export what is left. Blocks."""
        ...


class NoTelemetry:
    """A `Telemetry` that tells nobody."""

    @contextmanager
    def request(self, connection: HTTPConnection, path: str) -> Iterator[NoTelemetry]:
        """No span."""
        yield self

    def answered(self, status: int) -> None:
        """Nothing to do."""

    def turn(self, trace: Trace) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class OpenTelemetry:
    """A `Telemetry` that makes spans with a provider. `clock` is that of the turns."""

    def __init__(self, provider: TracerProvider, clock: Clock) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("voxturn")
        self._offset_ns = time.time_ns() - round(clock.now() * 1e9)

    @contextmanager
    def request(self, connection: HTTPConnection, path: str) -> Iterator[RequestSpan]:
        """A span of the kind server, a child of the one that the client names (W3C traceparent)."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        method = connection.scope.get("method", "GET")
        attributes = {"http.request.method": method, "http.route": path}
        with self._tracer.start_as_current_span(
            f"{method} {path}",
            propagate.extract(dict(connection.headers)),
            SpanKind.SERVER,
            attributes,
            record_exception=False,  # a message may quote what was said
        ) as span:
            yield _OpenSpan(span)

    def turn(self, trace: Trace) -> None:
        """A span with its marks as events, and one for each stretch of a stage's work."""
        from opentelemetry.trace import set_span_in_context

        begin, end = _ends(trace)
        span = self._tracer.start_span(
            "turn", attributes=_attributes(trace), start_time=self._ns(begin)
        )
        for name, when in sorted(trace.marks.items(), key=lambda mark: mark[1]):
            span.add_event(name, timestamp=self._ns(when))
        within, calls = set_span_in_context(span), list(trace.spans)
        for stage in sorted({name for name, _, _ in calls}):
            for first, last in merged(sorted((b, e) for s, b, e in calls if s == stage)):
                child = self._tracer.start_span(stage, within, start_time=self._ns(first))
                child.end(self._ns(last))
        if trace.outcome == "error":
            from opentelemetry.trace import StatusCode

            span.set_status(StatusCode.ERROR)
        span.end(self._ns(end))

    def close(self) -> None:
        """Export what is left. Blocks."""
        self._provider.shutdown()

    def _ns(self, seconds: float) -> int:
        """A time of the turns' clock, in nanoseconds since 1970."""
        return round(seconds * 1e9) + self._offset_ns


class _OpenSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        """Its status is known."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)


def _ends(trace: Trace) -> tuple[float, float]:
    times = [*trace.marks.values(), *(when for _, b, e in list(trace.spans) for when in (b, e))]
    times += [ready for ready, _ in trace.chunks]
    return min(times, default=0.0), max(times, default=0.0)


def _attributes(trace: Trace) -> dict[str, Any]:
    told = trace.to_dict()
    attributes: dict[str, Any] = {
        "voxturn.profile": trace.profile,
        "voxturn.outcome": trace.outcome,
        "voxturn.language": trace.language,
        "voxturn.underruns": told["underruns"],
        "voxturn.audio_ms": told["audio_ms"],
        "voxturn.prompt_tokens.computed": trace.prompt_tokens_computed,
        "voxturn.prompt_tokens.reused": trace.prompt_tokens_reused,
    }
    for name in ("response_ms", "endpoint_wait_ms"):
        if told[name] is not None:
            attributes[f"voxturn.{name}"] = told[name]
    if session := current_ids().session:
        attributes["session.id"] = session
    return attributes


def configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for traces to be exported."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if exporter:
        return exporter == "otlp"
    return any(environment.get(name) for name in _SIGNS)


def telemetry_of(clock: Clock, environment: Mapping[str, str] = os.environ) -> Telemetry:
    """What the environment asks for. Raises `ExecutorUnavailable` where it cannot be had."""
    if not configured(environment):
        return NoTelemetry()
    if not (importable("opentelemetry.sdk") and importable("opentelemetry.exporter.otlp")):
        raise ExecutorUnavailable(
            "OTEL_* asks for traces, and OpenTelemetry is not installed; pip install 'voxturn[otel]'"
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = environment.get("OTEL_SERVICE_NAME", "voxturn")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider, clock)
