from __future__ import annotations

import threading
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from voxturn.runtime.errors import ServerDied
from voxturn.runtime.gateway.core import Gateway


async def test_it_says_that_it_lives(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_it_lives_and_is_not_ready_while_it_stops(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    assert (await http.get("/readyz")).status_code == 200
    gateway.stopping.set()
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "stopping"
    told = (await http.get("/metrics")).text
    assert 'voxturn_refusals_total{code="stopping"} 1.0' in told
    assert (await http.get("/healthz")).status_code == 200


async def test_it_is_ready_when_a_canary_was_answered(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    text = (await http.get("/metrics")).text
    assert "voxturn_ready 1.0" in text


async def test_an_engine_that_died_is_not_ready_and_its_error_stays_inside(
    gateway: Gateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> None:
        raise ServerDied("/secret/path died")

    monkeypatch.setattr(gateway.assistant, "conversation", dead)
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_died"
    assert "retry-after" in answer.headers
    assert "secret" not in answer.text
    assert "voxturn_ready 0.0" in (await http.get("/metrics")).text


async def test_metrics_count_requests(http: httpx2.AsyncClient) -> None:
    await http.get("/healthz")
    text = (await http.get("/metrics")).text
    assert 'voxturn_requests_total{path="/healthz",status="200"} 1.0' in text


async def test_metrics_are_what_prometheus_reads(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    assert {"voxturn_session_places", "voxturn_slots", "voxturn_queue"} <= set(families)
    (places,) = families["voxturn_session_places"].samples
    assert places.value >= 1
    stages = {sample.labels["stage"] for sample in families["voxturn_queue"].samples}
    assert {"transcribe", "reply", "speak"} <= stages


async def test_metrics_are_written_beside_the_loop(
    gateway: Gateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    text, refresh = gateway.metrics.text, gateway.metrics.refresh
    for name, work in (("refresh", refresh), ("text", text)):

        def noted(work: Any = work) -> Any:
            threads.append(threading.current_thread())
            return work()

        monkeypatch.setattr(gateway.metrics, name, noted)
    assert (await http.get("/metrics")).status_code == 200
    assert [each is threading.current_thread() for each in threads] == [True, False]


async def test_an_unknown_address_is_a_typed_error(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v2/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"


async def test_a_request_has_an_id_and_its_time(http: httpx2.AsyncClient) -> None:
    own = await http.get("/healthz", headers={"x-request-id": "abc-1"})
    assert own.headers["x-request-id"] == "abc-1"
    assert own.headers["server-timing"].startswith("total;dur=")
    forged = await http.get("/healthz", headers={"x-request-id": "a b{}"})
    assert forged.headers["x-request-id"].startswith("req_")
