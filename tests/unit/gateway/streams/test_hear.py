from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.gateway.core import Gateway
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.unit.gateway.streams.conftest import SILENCE, TONE, Client, Dial

HEARD = "What is the capital of France?"


async def started(client: Client, **fields: object) -> Client:
    await client.tell("hear.start", version=1, **fields)
    assert (await client.next())["type"] == "hear.started"
    return client


async def test_each_utterance_is_told_with_its_words(dial: Dial) -> None:
    async with dial("/ws/hear") as socket:
        client = await started(socket)
        before = 0.0
        for _ in range(2):
            await client.socket.send(TONE + bytes(2 * 512 * 5))
            await client.until("speech.suspected")
            await client.socket.send(SILENCE)
            told = await client.until("transcript")
            assert (told["text"], told["language"], told["more"]) == (HEARD, "en", False)
            times = [time for word in told["words"] for time in (word["begin_s"], word["end_s"])]
            assert [word["text"] for word in told["words"]] == HEARD.split()
            assert times == sorted(times)
            assert before <= told["begin_s"] <= times[0]
            assert times[-1] <= told["end_s"] + 0.001
            before = told["end_s"]
    kinds = [event["type"] for event in client.events if event["type"] != "partial"]
    one = ["speech.started", "speech.suspected", "speech.ended", "transcript"]
    assert kinds == ["hear.started", *one, *one]
    suspected, final = client.of("speech.suspected")[0], client.of("transcript")[0]
    assert suspected["words"] == final["words"]


async def test_speech_that_goes_on_withdraws_the_suspicion(dial: Dial) -> None:
    pause = bytes(2 * 512 * 5)
    async with dial("/ws/hear") as socket:
        client = await started(socket)
        await client.socket.send(TONE[: 2 * 512 * 31] + pause)
        await client.until("speech.suspected")
        await client.socket.send(TONE + SILENCE)
        resumed = await client.until("speech.resumed")
        told = await client.until("transcript")
    assert told["begin_s"] < resumed["at_s"] < told["end_s"]


async def test_a_flush_ends_what_is_said_and_hearing_goes_on(dial: Dial) -> None:
    async with dial("/ws/hear") as socket:
        client = await started(socket, rate=24_000, encoding="f32le")
        tone = np.sin(np.arange(24_000) * 0.2).astype("<f4").tobytes()
        for turn in (1, 2):
            await client.socket.send(tone)
            await client.tell("flush")
            await client.until("flushed")
            assert len(client.of("transcript")) == turn
        first, second = client.of("transcript")
        assert first["end_s"] <= second["begin_s"] <= 1.1
        await client.tell("flush")
        await client.until("flushed")
        assert len(client.of("transcript")) == 2


async def test_partials_come_while_somebody_speaks(dial: Dial) -> None:
    async with dial("/ws/hear") as socket:
        client = await started(socket)
        for at in range(0, len(TONE), 1024):
            await client.socket.send(TONE[at : at + 1024])
        for _ in range(3):
            await client.socket.send(TONE)
        partial = await client.until("partial")
    assert partial["unstable"] == HEARD


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"type": "flush"}', "start_expected"),
        ('{"type": "hear.start", "version": 2}', "unsupported_version"),
        ('{"type": "hear.start", "version": 1, "rate": 1}', "invalid_value"),
        ('{"type": "hear.start", "version": 1, "more": 1}', "invalid_value"),
        ("{", "invalid_json"),
        (b"\0\0", "start_expected"),
    ],
)
async def test_a_bad_beginning_is_told_and_ends_it(
    dial: Dial, message: str | bytes, code: str
) -> None:
    async with dial("/ws/hear") as client:
        await client.socket.send(message)
        assert await client.closed() == 1008
    assert [event["code"] for event in client.events] == [code]


async def test_what_cannot_be_used_later_ends_nothing_until_it_is_too_much(dial: Dial) -> None:
    async with dial("/ws/hear") as socket:
        client = await started(socket, encoding="f32le")
        await client.tell("hear.start", version=1)
        assert (await client.until("error"))["code"] == "session_started"
        await client.socket.send(np.full(100, np.nan, "<f4").tobytes())
        assert (await client.until("error"))["code"] == "invalid_audio"
        for _ in range(60):
            await client.tell("nothing")
        assert await client.closed() == 1008


async def test_it_holds_a_place_while_it_hears(dial: Dial, gateway: Gateway) -> None:
    async with dial("/ws/hear") as socket:
        await started(socket)
        assert gateway.limits.sessions == 1
        gateway.stopping.set()
        await socket.closed()
    assert gateway.limits.sessions == 0


async def test_it_is_closed_when_the_gateway_stops(dial: Dial, gateway: Gateway) -> None:
    async with dial("/ws/hear") as socket:
        client = await started(socket)
        gateway.stopping.set()
        assert await client.closed() == 1012


async def test_a_browser_may_show_its_key_beside_the_subprotocol(port: int) -> None:
    offered = [Subprotocol("openai-insecure-api-key.vx_1"), Subprotocol("voxturn.hear")]
    async with connect(f"ws://127.0.0.1:{port}/ws/hear", subprotocols=offered) as socket:
        assert socket.subprotocol == "voxturn.hear"


async def test_what_is_being_said_is_written_down_while_the_gateway_stops(
    dial: Dial, gateway: Gateway
) -> None:
    async with dial("/ws/hear") as socket:
        client = await started(socket)
        await client.socket.send(TONE)
        await client.until("speech.started")
        gateway.stopping.set()
        await client.socket.send(SILENCE)
        assert (await client.until("transcript"))["text"]
        assert await client.closed() == 1012
    assert gateway.work.count == 0
