from __future__ import annotations

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.logs import log_context
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.telemetry import (
    NoTelemetry,
    OpenTelemetry,
    configured,
    telemetry_of,
)
from voxturn.runtime.turn.trace import Trace

RARE = "Xylographie"


class Spans:
    """What was exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.telemetry = OpenTelemetry(provider, ManualClock(100.0))

    def by_name(self) -> dict[str, list]:  # type: ignore[type-arg]
        found: dict[str, list] = {}  # type: ignore[type-arg]
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found


@pytest.fixture
def spans() -> Spans:
    return Spans()


def trace(outcome: str = "done") -> Trace:
    made = Trace("demo", {}, "native", transcript=f"What is {RARE}?", reply=f"{RARE}.")
    made.marks = {"endpoint": 101.0, "first_audio": 101.5}
    made.call("reply", 101.0, 101.2)
    made.call("reply", 101.2005, 101.3)  # goes on without a gap: one stretch
    made.call("speak", 101.3, 101.5)
    made.call("reply", 102.0, 102.25)
    made.ended(outcome)
    return made


def test_a_turn_is_a_span_with_marks_and_stretches_of_work(spans: Spans) -> None:
    with log_context(session="s1"):
        spans.telemetry.turn(trace())
    found = spans.by_name()
    (turn,) = found["turn"]
    assert turn.end_time - turn.start_time == 1_250_000_000
    assert [event.name for event in turn.events] == ["endpoint", "first_audio"]
    assert turn.events[1].timestamp - turn.start_time == 500_000_000
    assert turn.attributes["session.id"] == "s1"
    assert turn.attributes["voxturn.outcome"] == "done"
    lengths = [round((span.end_time - span.start_time) / 1e6) for span in found["reply"]]
    assert lengths == [300, 250]
    (speak,) = found["speak"]
    assert speak.parent.span_id == turn.context.span_id
    assert RARE not in "".join(
        span.to_json() for each in found.values() for span in each
    )  # no word of it


def test_a_turn_that_failed_is_an_error(spans: Spans) -> None:
    spans.telemetry.turn(trace("error"))
    (turn,) = spans.by_name()["turn"]
    assert turn.status.status_code is StatusCode.ERROR


async def test_a_request_is_a_child_of_its_caller_s_span(gateway: Gateway, spans: Spans) -> None:
    gateway.telemetry = spans.telemetry
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with (
        serving(gateway, Address(port=0)) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as http,
    ):
        await http.get(f"/healthz?api_key={RARE}", headers={"traceparent": parent})
    (request,) = spans.by_name()["GET /healthz"]
    assert request.kind is SpanKind.SERVER
    assert f"{request.context.trace_id:032x}" == parent.split("-")[1]
    assert request.attributes["http.response.status_code"] == 200
    assert RARE not in request.to_json()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_it_exports_only_where_it_is_configured(environment: dict[str, str], wanted: bool) -> None:
    assert configured(environment) is wanted


def test_the_exporter_is_made_by_the_environment() -> None:
    clock = ManualClock()
    assert isinstance(telemetry_of(clock, {}), NoTelemetry)
    made = telemetry_of(clock, {"OTEL_TRACES_EXPORTER": "otlp"})
    assert isinstance(made, OpenTelemetry)
    made.close()
