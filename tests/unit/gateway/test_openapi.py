"""The OpenAPI document, and whether the gateway keeps to it."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from voxturn.runtime.gateway.app import OPERATIONS
from voxturn.runtime.gateway.openapi import document


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_operation_is_in_it(operation: Any, described: dict[str, Any]) -> None:
    told = described["paths"][re.sub(r":\w+}", "}", operation.path)][operation.method.lower()]
    assert told["operationId"] == operation.name
    assert told["summary"] == operation.summary
    assert set(told["responses"]["200"].get("content", {})) == set(operation.answer.media)
    assert ("security" in told) == (not operation.public)
    assert ("requestBody" in told) == (operation.body is not None or bool(operation.files))


def test_operations_have_names_of_their_own() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_what_it_refers_to_is_there(described: dict[str, Any]) -> None:
    known = set(described["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/([\w.]+)", str(described))) <= known
    for name in known:
        assert "_" not in name.rsplit(".", 1)[-1]


def test_it_has_the_errors_that_there_are(described: dict[str, Any]) -> None:
    def statuses(method: str, path: str) -> set[str]:
        return set(described["paths"][path][method]["responses"])

    assert {"401", "408", "421", "429"} <= statuses("post", "/v1/audio/speech")
    assert statuses("get", "/readyz") == {"200", "421", "500", "503"}
    assert statuses("get", "/healthz") == {"200", "421", "500"}
    assert statuses("get", "/page/{name}") == {"200", "404", "421", "500"}


async def test_it_is_served_to_everyone(
    http: httpx2.AsyncClient, described: dict[str, Any]
) -> None:
    answer = await http.get("/openapi.json")
    assert answer.json() == described
    assert answer.json()["info"]["title"] == "voxturn"
