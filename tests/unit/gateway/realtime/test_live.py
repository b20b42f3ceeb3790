"""OpenAI's Live API on the real server, with a clock that stands still unless it is moved."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.realtime.live_connection import FIRST_S
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.realtime_client import Client, Told, dialogues, silence, tone

ANSWER = "Paris is the capital. It lies on the Seine."
ASKED = "What is the capital of France?"
Raw = Callable[..., AbstractAsyncContextManager["LiveClient"]]


class LiveClient(Client):
    """Speaks the Live API."""

    def __init__(self, socket: Any, clock: ManualClock) -> None:
        super().__init__(socket)
        self.clock = clock

    async def start(self, **session: Any) -> Told:
        await self.send("session.start", session={"model": "gpt-live-1", **session}, event_id="s")
        return await self.until("session.started", client_event_id="s")

    async def say(self, *sounds: bytes) -> None:
        audio = b"".join(sounds)
        for begin in range(0, len(audio), 4800):
            piece = base64.b64encode(audio[begin : begin + 4800]).decode()
            await self.send("session.input_audio.append", audio=piece)

    async def settle(self) -> None:
        await self.send("session.update", session={}, event_id="settled")
        await self.until("session.updated", client_event_id="settled")
        self.told.pop()

    async def play(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
            await self.settle()

    async def ask(self, rate: int = 24000) -> None:
        """Ask a question, and wait until something is said."""
        before = len(self.audio)
        await self.say(tone(1.0, rate=rate))
        for _ in range(50):  # its words are known before it is over
            await self.say(silence(0.1, rate=rate))
            await self.settle()
            if len(self.audio) > before:
                return
        raise AssertionError("nothing is said")

    async def answered(self, count: int = 1) -> None:
        """Until so many answers were made, and all of them was said."""
        async with asyncio.timeout(10):
            while len(self.of("session.usage.updated")) < count:
                await self.play(0.1)
        size = -1
        while len(self.audio) > size:
            size = len(self.audio)
            await self.play(0.5)

    @property
    def audio(self) -> bytes:
        return b"".join(base64.b64decode(t["delta"]) for t in self.of("session.output_audio.delta"))

    def text(self, way: str) -> str:
        return "".join(t["delta"] for t in self.of(f"session.{way}_transcript.delta"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(100.0)


@pytest.fixture
async def gateway(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Gateway]:
    profile = load_profile(write_profile(tmp_path / "fake"))
    store = Store(tmp_path / "store")
    async with Assistant.load(profile, store, clock=clock) as assistant:
        yield Gateway(assistant, profile.gateway, clock=clock)


@pytest.fixture
def raw(port: int, clock: ManualClock) -> Raw:
    """Opens a connection."""

    @asynccontextmanager
    async def opener(**options: Any) -> AsyncIterator[LiveClient]:
        url = f"ws://127.0.0.1:{port}/v1/live/sessions"
        async with connect(url, **options) as socket:
            yield LiveClient(socket, clock)

    return opener


@pytest.fixture
async def client(raw: Raw) -> AsyncIterator[LiveClient]:
    async with raw() as client:
        await client.start()
        yield client


async def test_a_session_is_started_and_closed(raw: Raw, clock: ManualClock) -> None:
    async with raw() as client:
        started = await client.start(instructions="Be brief.", audio={"output": {"voice": "alloy"}})
        session = started["session"]
        assert session["status"] == "active"
        assert session["instructions"] == "Be brief."
        assert session["audio"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert session["audio"]["output"] == {"voice": "alloy"}
        assert session["delegation"] == {"type": "client", "acknowledgement_delay_ms": 0}
        clock.advance(3.5)
        await client.send("session.close")
        closed = await client.until("session.closed")
        assert closed["reason"] == "close_requested"
        assert closed["session"] == session
        assert closed["usage"] == {"seconds": 3}
        with pytest.raises(ConnectionClosed) as ended:
            await client.next()
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1000


async def test_a_question_is_heard_and_answered_in_real_time(client: LiveClient) -> None:
    await client.ask()
    await client.settle()
    assert 0.2 <= len(client.audio) / 48000 <= 0.24
    assert client.text("output") == "Paris"
    await client.play(1.0)
    assert 1.1 <= len(client.audio) / 48000 <= 1.3
    await client.answered()
    assert client.text("input") == ASKED
    assert client.text("output") == ANSWER
    assert len(client.audio) / 48000 == pytest.approx(0.05 * (len(ANSWER) - 1), abs=0.01)
    words = client.of("session.output_transcript.delta")
    starts = [word["start_ms"] for word in words]
    assert starts == sorted(starts)
    assert all(word["start_ms"] <= word["end_ms"] for word in words)
    assert starts[-1] > 1500


async def test_an_interruption_stops_the_audio(client: LiveClient, gateway: Gateway) -> None:
    await client.ask()
    await client.play(0.3)
    for _ in range(15):
        await client.say(tone(0.1))
        await client.settle()
    count = len(client.audio)
    await client.play(5.0)
    assert len(client.audio) == count
    assert count < 2 * 48000
    for _ in range(20):
        await client.say(silence(0.1))
        await client.settle()
    await client.answered(2)
    assert len(client.audio) > count + 48000
    said = dialogues(gateway)[-1]
    assert [message.role for message in said[-3:]] == ["user", "assistant", "user"]
    assert said[-2].text
    assert ANSWER.startswith(said[-2].text)
    assert len(said[-2].text) < len(ANSWER)


@pytest.mark.parametrize(
    ("form", "rate", "width"),
    [("audio/pcm", 16000, 2), ("audio/pcmu", 8000, 1), ("audio/pcma", 8000, 1)],
)
async def test_forms_of_audio(raw: Raw, form: str, rate: int, width: int) -> None:
    async with raw() as client:
        told = await client.start(audio={"format": {"type": form, "rate": rate}})
        assert told["session"]["audio"]["format"] == {"type": form, "rate": rate}
        await client.send("session.commentary.append", content="It rains.", delegation_id=None)
        await client.answered()
        seconds = len(client.audio) / width / rate
        assert seconds == pytest.approx(0.05 * (len(ANSWER) - 1), abs=0.01)
        if width == 2:
            await client.ask(rate)
            await client.answered(2)
            assert client.text("input") == ASKED


async def test_mute_is_silence(client: LiveClient) -> None:
    await client.send("session.input_audio.mute", event_id="m")
    await client.until("session.input_audio.muted", client_event_id="m")
    await client.say(tone(1.0), silence(2.0))
    await client.play(1.0)
    assert client.text("input") == ""
    await client.send("session.input_audio.unmute")
    await client.until("session.input_audio.unmuted")
    await client.ask()
    await client.answered()
    assert client.text("input") == ASKED


async def test_context_is_known_to_the_model(raw: Raw, gateway: Gateway) -> None:
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "You know the town."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Good day."}]},
    ]
    async with raw() as client:
        await client.start(instructions="Be brief.", input=items)
        for kind in ("instructions", "thinking"):
            name = f"session.{kind}"
            await client.send(
                f"{name}.append", content=f"A {kind}.", delegation_id=None, event_id=kind
            )
            told = await client.until(f"{name}.appended", client_event_id=kind)
            assert told["start_ms"] == told["end_ms"] == 0
        assert dialogues(gateway) == []
        await client.ask()
        await client.answered()
    system, *rest = dialogues(gateway)[-1]
    for text in ("Be brief.", "You know the town.", "A instructions.", "A thinking."):
        assert text in system.text
    assert [message.text for message in rest] == ["Hello.", "Good day.", ASKED]


async def test_commentary_is_told_once_nothing_else_is_said(
    client: LiveClient, gateway: Gateway
) -> None:
    await client.ask()
    for text in ("It rains.", "It snows."):
        await client.send("session.commentary.append", content=text, delegation_id=None)
    await client.answered(2)
    assert len(dialogues(gateway)) == 2
    asked = dialogues(gateway)[-1][0].text
    assert "It rains." in asked
    assert "It snows." in asked
    assert client.text("output") == f"{ANSWER} {ANSWER}"
    await client.ask()
    await client.answered(3)
    assert len(dialogues(gateway)) == 3  # nothing was told that nobody had asked for


async def test_nothing_comes_before_the_start(raw: Raw, clock: ManualClock) -> None:
    async with raw() as client:
        await client.send("session.input_audio.append", audio="", event_id="early")
        error = await client.until("error")
        assert error["error"]["code"] == "session_not_started"
        assert error["error"]["client_event_id"] == error["client_event_id"] == "early"
        clock.advance(FIRST_S)
        late = await client.until("error")
        assert late["error"]["code"] == "session_start_timeout"
        with pytest.raises(ConnectionClosed):
            await client.next()
        assert client.of("session.closed") == []


@pytest.mark.parametrize(
    ("session", "param", "code"),
    [
        ({"model": None}, "session.model", "invalid_value"),
        ({"delegation": {"type": "decisions"}}, "session.delegation.type", "unsupported"),
        (
            {"delegation": {"type": "responses", "responses": {"model": "m", "tools": [{}]}}},
            "session.delegation.responses.tools",
            "unsupported",
        ),
        ({"store": True}, "session.store", "unsupported"),
        ({"triggers": [{}]}, "session.triggers", "unsupported"),
        ({"client": {"data_channel": {}}}, "session.client", "unsupported"),
        (
            {"audio": {"format": {"type": "audio/pcm", "rate": 8000}}},
            "session.audio.format.rate",
            "invalid_value",
        ),
        ({"audio": {"output": {"voice": "nobody"}}}, None, "voice_not_found"),
        ({"input": [{"role": "user", "content": []}]}, "session.input[0].content", "invalid_value"),
    ],
)
async def test_a_start_that_cannot_be(
    raw: Raw, session: dict[str, Any], param: str | None, code: str
) -> None:
    async with raw() as client:
        config = {"model": "gpt-live-1"} | session
        await client.send("session.start", session=config, event_id="bad")
        error = (await client.until("error"))["error"]
        assert error["client_event_id"] == "bad"
        assert error["param"] == param
        assert error["code"] == code
        await client.start()  # it may try again


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "session.start", "session": {"model": "m"}}, "session_already_started"),
        ({"type": "response.create"}, "unsupported"),
        ({"type": "session.truncate"}, "unknown_event"),
        ({"type": "session.input_audio.append", "audio": "AA=="}, "invalid_audio"),
        ({"type": "session.input_audio.append", "audio": "*"}, "invalid_value"),
        ({"type": "session.thinking.append", "content": ""}, "invalid_value"),
        (
            {"type": "session.thinking.append", "content": "x", "delegation_id": "d"},
            "delegation_not_found",
        ),
        (
            {"type": "session.update", "session": {"delegation": {"type": "responses"}}},
            "invalid_value",
        ),
    ],
)
async def test_events_that_cannot_be(client: LiveClient, event: dict[str, Any], code: str) -> None:
    await client.raw(json.dumps(event | {"event_id": "bad"}))
    error = (await client.until("error"))["error"]
    assert error["client_event_id"] == "bad"
    assert error["code"] == code
    await client.settle()  # it goes on


async def test_a_session_has_an_end(client: LiveClient, gateway: Gateway) -> None:
    client.clock.advance(gateway.settings.longest_session_s + gateway.settings.idle_s)
    closed = await client.until("error")
    assert closed["error"]["code"] == "session_expired"
    assert (await client.until("session.closed"))["reason"] == "expired"


async def test_a_key_for_one_session(http: httpx2.AsyncClient, raw: Raw) -> None:
    body = {"session": {"type": "realtime", "instructions": "Be brief."}}
    key = (await http.post("/v1/realtime/client_secrets", json=body)).json()["value"]
    headers = {"authorization": f"Bearer {key}"}
    async with raw(additional_headers=headers) as client:
        assert (await client.start())["session"]["instructions"] == "Be brief."
    with pytest.raises(Exception, match="401"):
        async with raw(additional_headers=headers):
            pass


NAMES = st.sampled_from(
    [
        "session.start",
        "session.update",
        "session.input_audio.append",
        "session.input_audio.mute",
        "session.input_audio.unmute",
        "session.instructions.append",
        "session.commentary.append",
        "response.create",
        "?",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("AAAA"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["model", "audio", "type", "input"]), inner, max_size=3)
    ),
    max_leaves=6,
)
EVENTS = st.builds(
    lambda name, fields: json.dumps({**fields, "type": name}),
    NAMES,
    st.dictionaries(
        st.sampled_from(["session", "audio", "content", "event_id", "delegation_id"]),
        VALUES,
        max_size=3,
    ),
)


@given(texts=st.lists(EVENTS | st.text(max_size=5), max_size=8))
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_comes_is_answered(texts: list[str]) -> None:
    asyncio.run(_answered(texts))


async def _answered(texts: list[str]) -> None:
    clock = ManualClock(100.0)
    with tempfile.TemporaryDirectory() as folder:
        profile = load_profile(write_profile(Path(folder) / "fake"))
        store = Store(Path(folder) / "store")
        async with Assistant.load(profile, store, clock=clock) as assistant:
            gateway = Gateway(assistant, profile.gateway, clock=clock)
            async with serving(gateway, Address(port=0)) as port:
                url = f"ws://127.0.0.1:{port}/v1/live/sessions"
                async with connect(url) as socket:
                    client = LiveClient(socket, clock)
                    for text in texts:
                        await client.raw(text)
                    await client.send("session.start", session={"model": "m"}, event_id="last")
                    while (await client.next()).get("client_event_id") != "last":
                        pass
                    await client.send("session.close")
                    while (await client.next())["type"] != "session.closed":
                        pass
                assert all(t["error"]["type"] != "server_error" for t in client.of("error"))
