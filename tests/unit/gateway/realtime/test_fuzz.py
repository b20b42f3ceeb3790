"""Whatever a client sends, in whatever order: it is answered, in order, and nothing is left behind."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from websockets.asyncio.client import connect

from tests.realtime_client import Client, Told, silence, tone

KINDS = [
    "error",
    "session.created",
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.deleted",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
    "input_audio_buffer.committed",
    "input_audio_buffer.cleared",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "response.created",
    "response.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "rate_limits.updated",
]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


IDS = st.sampled_from(["a", "b", "c", "root", "none"])
SOUND = st.sampled_from([tone(0.2), tone(1.0), silence(0.2), silence(1.5), b"", b"\1"])
TEXT = st.sampled_from(["Where?", "", "When and why? " * 5])
DETECTION = st.sampled_from(
    [
        None,
        {"type": "server_vad"},
        {"type": "server_vad", "silence_duration_ms": 100, "create_response": False},
        {"type": "server_vad", "interrupt_response": False},
        {"type": "semantic_vad", "eagerness": "high"},
    ]
)
ITEMS = st.one_of(
    st.builds(
        lambda item_id, role, text: {
            "id": item_id,
            "type": "message",
            "role": role,
            "content": [{"type": "input_text", "text": text}],
        },
        IDS,
        st.sampled_from(["user", "assistant", "system"]),
        TEXT,
    ),
    st.just({"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}),
    st.just({"type": "function_call_output", "call_id": "x", "output": "1"}),
)
EVENTS = st.one_of(
    st.builds(lambda s: ("input_audio_buffer.append", {"audio": b64(s)}), SOUND),
    st.builds(lambda s: ("input_audio_buffer.append", {"audio": b64(s)}), SOUND),
    st.just(("input_audio_buffer.commit", {})),
    st.just(("input_audio_buffer.clear", {})),
    st.builds(lambda i: ("conversation.item.create", {"item": i}), ITEMS),
    st.builds(
        lambda i, p: ("conversation.item.create", {"item": i, "previous_item_id": p}), ITEMS, IDS
    ),
    st.builds(lambda i: ("conversation.item.retrieve", {"item_id": i}), IDS),
    st.builds(lambda i: ("conversation.item.delete", {"item_id": i}), IDS),
    st.builds(
        lambda i, ms: ("conversation.item.truncate", {"item_id": i, "audio_end_ms": ms}),
        st.sampled_from(["a", "last", "last"]),
        st.sampled_from([0, 500, 99999]),
    ),
    st.just(("response.create", {})),
    st.just(("response.create", {"response": {"output_modalities": ["text"]}})),
    st.just(("response.create", {"response": {"conversation": "none"}})),
    st.just(("response.create", {"response": {"max_output_tokens": 2}})),
    st.just(("response.cancel", {})),
    st.just(("wait", {})),
    st.builds(
        lambda d: ("session.update", {"session": {"audio": {"input": {"turn_detection": d}}}}),
        DETECTION,
    ),
    st.just(("session.update", {"session": {"output_modalities": ["text"]}})),
    st.just(("session.update", {"session": {"output_modalities": ["audio"]}})),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "item", "session", "audio", "response", "id", "content", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
TYPES = st.sampled_from(
    [
        "session.update",
        "input_audio_buffer.append",
        "conversation.item.create",
        "response.create",
        "conversation.item.truncate",
    ]
)
FIELDS = st.sampled_from(["session", "audio", "item", "response", "item_id", "audio_end_ms"])
WILD = st.builds(
    lambda kind, fields: json.dumps({**fields, "type": kind}),
    TYPES,
    st.dictionaries(FIELDS, JSON, max_size=3),
)


async def play(events: list[tuple[str, dict[str, Any]]], wild: list[str]) -> list[Told]:
    with tempfile.TemporaryDirectory() as folder:
        profile = load_profile(write_profile(Path(folder) / "fake"))
        async with Assistant.load(profile, Store(Path(folder) / "store")) as assistant:
            gateway = Gateway(assistant, replace(profile.gateway, drain_s=0.0))
            async with serving(gateway, Address(port=0)) as port:
                tasks = len(asyncio.all_tasks())
                async with connect(f"ws://127.0.0.1:{port}/v1/realtime") as socket:
                    client = Client(socket)
                    await client.next()
                    await converse(client, events, wild)
                async with asyncio.timeout(10):
                    while len(asyncio.all_tasks()) > tasks or gateway.limits.sessions:  # noqa: ASYNC110  nobody tells
                        await asyncio.sleep(0.001)
    return client.told


async def converse(
    client: Client, events: list[tuple[str, dict[str, Any]]], wild: list[str]
) -> None:
    for text in wild:
        await client.raw(text)
    for kind, fields in events:
        if fields.get("item_id") == "last":
            outputs = client.of("response.output_item.added")
            fields = {**fields, "item_id": outputs[-1]["item"]["id"] if outputs else "none"}
        if kind == "wait":
            await settle(client)
        else:
            await client.send(kind, **fields)
    await client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
    await settle(client)
    async with asyncio.timeout(10):
        while running(client.told):
            await client.next()
        while client.told[-1]["type"] in ("response.done",):
            await client.next()


async def settle(client: Client) -> None:
    await client.send("conversation.item.retrieve", item_id="?", event_id="settled")
    while (await client.next()).get("error", {}).get("event_id") != "settled":
        pass


def running(told: list[Told]) -> set[str]:
    """The answers that have not ended."""
    begun = {t["response"]["id"] for t in told if t["type"] == "response.created"}
    return begun - {t["response"]["id"] for t in told if t["type"] == "response.done"}


def check_order(told: list[Told]) -> None:
    """Raise `AssertionError` where events come in an order that no client expects."""
    assert {event["type"] for event in told} <= set(KINDS)
    ids = [event["event_id"] for event in told]
    assert len(set(ids)) == len(ids)
    main: str | None = None
    for at, event in enumerate(told):
        if event["type"] == "response.created" and event["response"]["conversation_id"]:
            assert main is None, "two answers of the dialogue at once"
            main = event["response"]["id"]
        if event["type"] == "response.done":
            assert told[at + 1]["type"] == "rate_limits.updated"
            check_done(event["response"])
            main = None if event["response"]["id"] == main else main
    begun = {e["response"]["id"] for e in told if e["type"] == "response.created"}
    for response_id in begun:
        check_response([e for e in told if response_of(e) == response_id])
    check_speech(told)


def response_of(event: Told) -> str | None:
    return event.get("response_id") or event.get("response", {}).get("id")


def check_done(response: Told) -> None:
    assert response["status"] in ("completed", "cancelled", "failed", "incomplete")
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert {"text_tokens", "audio_tokens"} <= usage["input_token_details"].keys()
    assert {"text_tokens", "audio_tokens"} <= usage["output_token_details"].keys()
    assert (response["status_details"] is None) == (response["status"] == "completed")


def check_response(events: list[Told]) -> None:
    """An answer begins, has items one after the other, and ends."""
    names = [event["type"].removeprefix("response.") for event in events]
    assert names[0] == "created"
    assert names[-1] == "done"
    assert names.count("created") == names.count("done") == 1
    inside: list[str] = []
    for name in names[1:-1]:
        if name.endswith(".added"):
            inside.append(name.removesuffix(".added"))
        elif name in ("content_part.done", "output_item.done"):
            assert inside.pop() == name.removesuffix(".done")
        else:
            assert inside
            if not name.startswith("function_call"):
                assert inside[-1] == "content_part"
    assert not inside
    spoken = [event["delta"] for event in events if "audio_transcript.delta" in event["type"]]
    for event in events:
        if event["type"] == "response.output_audio_transcript.done":
            assert "".join(spoken) == event["transcript"]


def check_speech(told: list[Told]) -> None:
    """What was heard is committed once, after it began and stopped."""
    started: dict[str, list[str]] = {}
    for event in told:
        name = event["type"].removeprefix("input_audio_buffer.")
        if name in ("speech_started", "speech_stopped"):
            started.setdefault(event["item_id"], []).append(name)
    for item_id, names in started.items():
        assert names in (["speech_started"], ["speech_started", "speech_stopped"]), item_id
    for event in told:
        if event["type"] == "input_audio_buffer.committed" and event["item_id"] in started:
            assert started[event["item_id"]] == ["speech_started", "speech_stopped"]


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENTS, max_size=12))
def test_any_sequence_of_events_is_answered_in_order(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    check_order(asyncio.run(play(events, [])))


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(st.lists(WILD | JSON.map(json.dumps) | st.text(max_size=20), max_size=20))
def test_no_message_ends_the_connection(messages: list[str]) -> None:
    check_order(asyncio.run(play([], messages)))
