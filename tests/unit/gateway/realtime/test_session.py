"""The session's settings, errors, limits, and ephemeral keys."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from voxturn.runtime.families.fake import FakeRecogniser
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.limits import Limits
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.realtime_client import Client, Opener, dialogues, silence, tone
from tests.unit.gateway.scripted_voice import ScriptedVoice, speak_with


async def test_an_update_changes_what_it_names_and_null_clears(client: Client) -> None:
    created = client.told[0]["session"]
    assert created["object"] == "realtime.session"
    assert created["id"].startswith("sess_")
    assert created["expires_at"] > 0
    transcription = {"model": "w", "language": "en", "prompt": "Seine", "delay": "low"}
    await client.update(
        instructions="Be brief.",
        max_output_tokens=100,
        audio={
            "input": {"transcription": transcription, "noise_reduction": {"type": "near_field"}}
        },
    )
    session = await client.update(
        truncation={"type": "retention_ratio", "retention_ratio": 0.5},
        reasoning={"effort": "low"},
        audio={"output": {"voice": {"id": "marin"}}},
        never_heard_of={"x": 1},
    )
    assert session["instructions"] == "Be brief."
    assert session["max_output_tokens"] == 100
    assert session["audio"]["output"]["voice"] == "marin"
    heard = session["audio"]["input"]
    assert heard["transcription"] == {"model": "w", "language": "en", "prompt": "Seine"}
    session = await client.update(
        audio={"input": {"transcription": None, "noise_reduction": None}}, max_output_tokens=None
    )
    assert session["audio"]["input"]["transcription"] is None
    assert session["audio"]["input"]["noise_reduction"] is None
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["max_output_tokens"] == "inf"
    detection = {"type": "server_vad", "threshold": 0.7}
    session = await client.update(audio={"input": {"turn_detection": detection}})
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    detection = {"type": "server_vad", "silence_duration_ms": 700}
    session = await client.update(audio={"input": {"turn_detection": detection}})
    assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.7


async def test_the_voice_is_locked_once_it_was_heard(client: Client) -> None:
    await client.update(audio={"output": {"voice": "cedar"}})
    await client.ask_aloud()
    await client.ended()
    update = {"type": "realtime", "audio": {"output": {"voice": "ash"}}}
    await client.send("session.update", session=update, event_id="v")
    assert (await client.until("error"))["error"]["event_id"] == "v"
    session = await client.update(audio={"output": {"voice": "cedar"}}, instructions="Go on.")
    assert session["audio"]["output"]["voice"] == "cedar"


async def test_a_style_is_chosen_at_any_time_and_null_is_the_voice_s_own(
    client: Client, gateway: Gateway
) -> None:
    voice = ScriptedVoice(styles=("happy",))
    speak_with(gateway, voice)
    assert "style" not in client.told[0]["session"]["audio"]["output"]
    await client.ask_aloud()
    await client.ended()
    session = await client.update(audio={"output": {"style": "happy"}})
    assert session["audio"]["output"]["style"] == "happy"
    assert session["instructions"] == client.told[0]["session"]["instructions"]
    assert voice.chosen[-1].style == "happy"
    await client.send("session.update", session={"audio": {"output": {"style": "sad"}}})
    assert (await client.until("error"))["error"]["code"] == "style_not_found"
    session = await client.update(audio={"output": {"style": None}})
    assert "style" not in session["audio"]["output"]
    assert (await client.respond(instructions="Say hello."))["status"] == "completed"


async def test_a_language_is_listened_for_until_it_is_any_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    hear = FakeRecogniser.hear

    def noted(self: Any, prior: str = "") -> Any:
        heard.append(prior)
        return hear(self, prior)

    monkeypatch.setattr(FakeRecogniser, "hear", noted)
    await client.update(audio={"input": {"transcription": {"model": "w", "language": "de"}}})
    await client.ask_aloud()
    await client.ended()
    assert heard
    assert heard[0].startswith("de")
    await client.update(audio={"input": {"transcription": {"model": "w"}}})
    heard.clear()
    await client.ask_aloud()
    await client.ended()
    assert heard[0] == ""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        ("", "invalid_json"),
        ("[]", "unknown_event"),
        ("null", "unknown_event"),
        ('{"type": "output_audio_buffer.clear", "event_id": "e"}', "unknown_event"),
        ('{"event_id": "e"}', "unknown_event"),
        ('{"type": "session.update", "event_id": "e", "session": 1}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "%", "event_id": "e"}', "invalid_value"),
        (
            '{"type": "input_audio_buffer.append", "audio": "AA==", "event_id": "e"}',
            "invalid_audio",
        ),
        ('{"type": "conversation.item.delete", "item_id": "x", "event_id": "e"}', None),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 1,'
            ' "event_id": "e"}',
            None,
        ),
        ("[" * 5000, None),
        (b"\xff\xfe", "invalid_json"),
    ],
)
async def test_an_error_is_told_and_the_socket_stays_open(
    client: Client, message: str | bytes, code: str | None
) -> None:
    await client.raw(message)
    error = (await client.until("error"))["error"]
    assert error["type"] in ("invalid_request_error", "not_found_error")
    assert code is None or error["code"] == code
    if b'"e"' in (message if isinstance(message, bytes) else message.encode()):
        assert error["event_id"] == "e"
    await client.update(instructions="Be brief.")


async def test_what_cannot_be_is_refused_by_name(client: Client) -> None:
    for session, param in (
        ({"audio": {"output": {"speed": 9}}}, "session.audio.output.speed"),
        ({"instructions": "x" * 40_000}, "session.instructions"),
        ({"max_output_tokens": -1}, "session.max_output_tokens"),
    ):
        await client.send("session.update", session=session)
        assert (await client.until("error"))["error"]["param"] == param
    await client.send("session.update", session={"tools": [{"type": "function", "name": "a b"}]})
    assert (await client.until("error"))["error"]["code"] == "invalid_value"
    await client.update(tools=[{"type": "mcp", "server_label": "x"}])
    await client.send("session.update", session={"prompt": {"id": "x" * (1 << 20)}})
    assert (await client.until("error"))["error"]["code"] == "session_too_large"


async def test_a_full_house_is_told_before_the_socket_is_open(
    gateway: Gateway, opened: Opener, port: int
) -> None:
    gateway.limits = Limits(replace(gateway.settings, sessions=1), 1)
    async with opened():
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://127.0.0.1:{port}/v1/realtime")
        response = caught.value.response
        assert response.status_code == 429
        assert response.headers["retry-after"]
        assert json.loads(response.body)["error"]["code"] == "session_limit_reached"
    async with asyncio.timeout(10):
        while gateway.limits.sessions:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0)
    async with opened():
        pass


async def closed(client: Client) -> str:
    """The code of the last error, and that it was closed."""
    with pytest.raises(ConnectionClosed):
        while True:
            await client.next()
    return str(client.of("error")[-1]["error"]["code"])


@pytest.mark.parametrize("what", ["idle_s", "longest_session_s"])
async def test_a_session_ends_when_its_time_is_over(
    gateway: Gateway, opened: Opener, what: str
) -> None:
    clock = ManualClock()
    gateway.clock = clock
    gateway.settings = replace(gateway.settings, **{what: 60.0})
    async with opened() as client:
        await client.update(instructions="Be brief.")
        for _ in range(10):
            clock.advance(10.0)
            for _ in range(50):
                await asyncio.sleep(0)
        assert await closed(client) == "session_expired"
    assert gateway.limits.sessions == 0


async def test_a_key_for_one_session(
    gateway: Gateway, http: httpx2.AsyncClient, opened: Opener, port: int
) -> None:
    class OneKey:
        async def caller(self, secret: str) -> Caller | None:
            return Caller("k1") if secret == "lasting" else None  # pragma: allowlist secret

        async def valid(self, key: str) -> bool:
            return True

    gateway.keys = OneKey()
    body: dict[str, Any] = {"session": {"type": "realtime", "instructions": "Be brief."}}
    body["expires_after"] = {"anchor": "created_at", "seconds": 60}
    address = "/v1/realtime/client_secrets"
    assert (await http.post(address, json=body)).status_code == 401
    key = {"authorization": "Bearer lasting"}
    made = (await http.post(address, json=body, headers=key)).json()
    assert made["value"].startswith("ek_")
    assert made["session"]["instructions"] == "Be brief."
    protocols = ["realtime", f"openai-insecure-api-key.{made['value']}"]
    async with opened(subprotocols=protocols) as client:
        assert client.socket.subprotocol == "realtime"
        assert client.told[0]["session"]["instructions"] == "Be brief."
        assert gateway.limits._places.taken("k1") == 1
    url = f"ws://127.0.0.1:{port}/v1/realtime"
    headers = {"authorization": f"Bearer {made['value']}"}
    assert (await http.post(address, json=body, headers=headers)).status_code == 401
    for each in (headers, {}):
        with pytest.raises(InvalidStatus) as caught:
            await connect(url, additional_headers=each)
        assert caught.value.response.status_code == 401


async def test_a_key_for_one_session_expires(
    gateway: Gateway, http: httpx2.AsyncClient, port: int
) -> None:
    body = {"expires_after": {"anchor": "created_at", "seconds": 10}}
    value = (await http.post("/v1/realtime/client_secrets", json=body)).json()["value"]
    gateway.secrets._wall = lambda: time.time() + 11.0  # type: ignore[attr-defined]
    with pytest.raises(InvalidStatus) as caught:
        await connect(
            f"ws://127.0.0.1:{port}/v1/realtime",
            additional_headers={"authorization": f"Bearer {value}"},
        )
    assert caught.value.response.status_code == 401
    body["expires_after"]["seconds"] = 1
    assert (await http.post("/v1/realtime/client_secrets", json=body)).status_code == 400


async def test_a_key_s_settings_have_a_bound(http: httpx2.AsyncClient) -> None:
    for letters, status in ((32_000, 200), (32_768, 413)):
        body = {"session": {"type": "realtime", "instructions": "a" * letters}}
        answer = await http.post("/v1/realtime/client_secrets", json=body)
        assert answer.status_code == status
    assert answer.json()["error"]["code"] == "session_too_large"


async def test_a_client_that_vanishes_leaves_nothing(gateway: Gateway, opened: Opener) -> None:
    before = asyncio.all_tasks()
    for _ in range(5):
        async with opened() as client:
            await client.say(tone(1.0), silence(1.0))
            await client.until("response.created")
            client.socket.transport.abort()
    async with asyncio.timeout(10):
        while gateway.limits.sessions or len(asyncio.all_tasks()) > len(before):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)
    assert dialogues(gateway)


@pytest.mark.parametrize("beside", [False, True])
async def test_an_answer_may_end_while_the_gateway_stops(
    beside: bool, gateway: Gateway, opened: Opener
) -> None:
    async with opened() as client:
        if beside:
            await client.write("Where is Rome?")
            await client.send("response.create", response={"conversation": "none"})
        else:
            await client.ask_aloud()
        await client.until("response.created")
        assert gateway.work.count == 1
        gateway.stopping.set()
        assert (await client.ended())["status"] == "completed"
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                await client.next()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
    assert gateway.work.count == 0


async def test_what_was_committed_is_written_down_while_the_gateway_stops(
    gateway: Gateway, opened: Opener
) -> None:
    async with opened() as client:
        await client.manual()
        await client.say(tone(1.0))
        await client.send("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")
        gateway.stopping.set()
        await client.until("conversation.item.input_audio_transcription.completed")
    assert gateway.work.count == 0
