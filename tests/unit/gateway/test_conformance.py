"""Whatever the OpenAPI document allows, and what it does not: the real server answers as it says.

Requests are made by schemathesis from a fixed seed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.app import OPERATIONS
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.openapi import document
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile

from tests.unit.gateway.sounds import wav

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
"""What it refuses, though a schema allows it, is its own affair: schemas do not say everything."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a gateway on fake stages is served, by a loop in a thread of its own."""
    folder = tmp_path_factory.mktemp("gateway")
    profile = load_profile(write_profile(folder / "fake"))
    ready, done, ports = threading.Event(), asyncio.Event(), list[int]()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with Assistant.load(profile, Store(folder / "store")) as assistant:
            gateway = Gateway(assistant, GatewaySettings(requests_per_minute=1_000_000))
            async with serving(gateway, Address(port=0)) as port:
                ports.append(port)
                ready.set()
                await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


SCHEMA: Any = schemathesis.openapi.from_dict(document(OPERATIONS))
DESCRIBED = [found.ok() for found in SCHEMA.get_all_operations()]
CASES = [(each, GenerationMode.POSITIVE) for each in DESCRIBED]
CASES += [
    (each, GenerationMode.NEGATIVE)
    for each in DESCRIBED
    if each.body or each.query  # of the others nothing can be wrong: every text may be a name
]


def no_change(case: Any) -> None:
    """It may be answered as it is."""


def loaded_model(case: Any) -> None:
    case.path_parameters["model"] = "fake-voice"


def a_file(case: Any) -> None:
    case.path_parameters["name"] = "main.js"


def a_recording(case: Any) -> None:
    """Random bytes are no recording, and random words no model."""
    case.body["file"] = wav(0.3)
    for name in ("model", "language", "languages[]", "chunking_strategy"):
        case.body.pop(name, None)


def a_question(case: Any) -> None:
    """A dialogue that ends with one, and nothing that the model cannot do."""
    for name in ("model", "n", "response_format", "tool_choice", "modalities", "tools"):
        case.body.pop(name, None)
    case.body["messages"] = [{"role": "user", "content": "Why?"}]


USABLE: Mapping[str, Callable[[Any], None]] = {
    "GET /page/{name}": a_file,
    "GET /v1/models/{model}": loaded_model,
    "POST /v1/audio/transcriptions": a_recording,
    "POST /v1/audio/translations": a_recording,
    "POST /v1/chat/completions": a_question,
}
"""What makes of a request that the schema allows one that is not refused."""


@pytest.mark.parametrize(
    ("operation", "mode"), CASES, ids=[f"{each.label} {mode.value}" for each, mode in CASES]
)
def test_every_answer_is_as_described(operation: Any, mode: Any, address: str) -> None:
    cases = operation.as_strategy(generation_mode=mode)

    @seed(21)
    @settings(max_examples=25, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def answered(data: st.DataObject) -> None:
        case = data.draw(cases)
        if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
            USABLE.get(operation.label, no_change)(case)
        case.call_and_validate(base_url=address, checks=CHECKS, timeout=10)

    answered()
