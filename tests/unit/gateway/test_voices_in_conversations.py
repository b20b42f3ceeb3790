"""A key's own voices in every kind of conversation, and in no other key's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import numpy as np
import pytest
from voxturn.runtime.audio.encode import to_int16, wav_header
from voxturn.runtime.gateway.client_voices import HIDDEN
from websockets.asyncio.client import connect

from tests.unit.gateway.cloning_voice import (  # noqa: F401  fixtures
    CloningVoice,
    cloning,
    store,
)
from tests.voiced import voiced

OUTPUT = {"audio": {"output": {"voice": "Mine"}}}
ASK: dict[str, Any] = {"type": "response.create", "response": {"instructions": "Say hello."}}
SESSIONS: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "voice": (
        "/ws/voice",
        [{"type": "session.start", "version": 1, "voice": "Mine"}],
        "session.started",
    ),
    "realtime": (
        "/v1/realtime",
        [{"type": "session.update", "session": {"type": "realtime"} | OUTPUT}],
        "session.updated",
    ),
    "response": (
        "/v1/realtime",
        [ASK | {"response": ASK["response"] | OUTPUT}],
        "response.created",
    ),
    "live": (
        "/v1/live/sessions",
        [{"type": "session.start", "session": {"model": "gpt-live-1"} | OUTPUT}],
        "session.started",
    ),
}


@pytest.fixture(autouse=True)
async def mine(http: httpx2.AsyncClient, cloning: CloningVoice) -> CloningVoice:  # noqa: F811
    """Ann has a voice."""
    samples = to_int16(np.asarray(voiced(4.0)))
    answer = await http.post(
        "/v1/audio/voices",
        data={"name": "Mine", "consent": "true"},
        files={"audio_sample": ("a.wav", wav_header(16_000, len(samples)) + samples, "audio/wav")},
        headers={"authorization": "Bearer ann"},
    )
    assert answer.status_code == 200, answer.text
    cloning.chosen.clear()
    return cloning


async def told(port: int, key: str, session: str) -> tuple[str, str]:
    """What comes first of what was wished for and of errors, and its code."""
    path, messages, wished = SESSIONS[session]
    headers = {"authorization": f"Bearer {key}"}
    async with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers) as socket:
        for message in messages:
            await socket.send(json.dumps(message))
        while True:
            async with asyncio.timeout(10):
                event = json.loads(await socket.recv())
            if event["type"] in (wished, "error"):
                return event["type"], event.get("error", event).get("code") or ""


@pytest.mark.parametrize("session", SESSIONS)
async def test_a_key_s_own_voice_speaks(port: int, mine: CloningVoice, session: str) -> None:
    assert await told(port, "ann", session) == (SESSIONS[session][2], "")
    assert any(HIDDEN.fullmatch(options.speaker or "") for options in mine.chosen)


@pytest.mark.parametrize("session", SESSIONS)
async def test_another_key_s_is_not_found(port: int, session: str) -> None:
    assert await told(port, "bob", session) == ("error", "voice_not_found")


@pytest.mark.parametrize(("key", "status"), [("ann", 200), ("bob", 404)])
async def test_ephemeral_keys_have_it_too(http: httpx2.AsyncClient, key: str, status: int) -> None:
    answer = await http.post(
        "/v1/realtime/client_secrets",
        json={"session": {"type": "realtime"} | OUTPUT},
        headers={"authorization": f"Bearer {key}"},
    )
    assert answer.status_code == status, answer.text
