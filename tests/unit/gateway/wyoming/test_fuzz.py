"""Whatever a client sends, in whatever order: it is answered or told why not, and others are served
all the same."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address
from voxturn.runtime.gateway.wyoming.server import serving_wyoming
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from wyoming.event import Event
from wyoming.ping import Ping

from tests.wyoming_client import Client

TYPES = (
    "describe",
    "transcribe",
    "audio-start",
    "audio-chunk",
    "audio-stop",
    "transcript",
    "synthesize",
    "synthesize-start",
    "synthesize-chunk",
    "synthesize-stop",
    "other",
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50_000) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
FORM = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([8_000, 16_000, 44_100]) | ANY,
        "width": st.just(2) | ANY,
        "channels": st.just(1) | ANY,
    }
)
NAMES = ("text", "voice", "language", "context", "rate", "width", "channels", "timestamp", "name")
DATA = FORM | st.dictionaries(st.sampled_from(NAMES), st.just("Yes. No.") | ANY, max_size=4)
EVENTS = st.builds(
    Event, st.sampled_from(TYPES), DATA, st.none() | st.binary(min_size=1, max_size=4000)
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server in a loop of its own, for all examples."""
    folder, ready, ports = tmp_path_factory.mktemp("fuzz"), threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve(profile: Path) -> None:
        async with Assistant.load(load_profile(profile), Store(folder / "store")) as assistant:
            chosen = Gateway(assistant)
            chosen.limits._rate = type(chosen.limits._rate)(1_000_000)
            async with serving_wyoming(chosen, Address(port=0)) as number:
                ports.append(number)
                ready.set()
                await stop.wait()

    thread = threading.Thread(
        target=loop.run_until_complete, args=(serve(write_profile(folder / "fake")),)
    )
    thread.start()
    assert ready.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    assert not thread.is_alive()
    loop.close()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENTS, max_size=8))
def test_any_events_leave_the_server_well(port: int, events: list[Event]) -> None:
    asyncio.run(_send(port, events))


async def _send(port: int, events: list[Event]) -> None:
    codes: list[str] = []
    client = Client("127.0.0.1", port)
    await client.connect()
    with contextlib.suppress(ConnectionError):
        for event in events:
            await client.write_event(event)
        await client.tell(Ping(text="the end"))
        while (answer := await client.read()) is not None and answer.type != "pong":
            if answer.type == "error":
                codes.append(answer.data["code"])
    with contextlib.suppress(ConnectionError):
        await client.disconnect()
    assert "internal_error" not in codes, events
    async with Client("127.0.0.1", port) as other:
        await other.tell(Ping())
        await other.until("pong")
