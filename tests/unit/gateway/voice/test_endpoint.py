from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.messages import Message

from tests.realtime_client import dialogues
from tests.unit.gateway.voice.conftest import ANSWER_SAMPLES, QUESTION, TONE, Dial, places

OLD = [Message("system", "Old."), Message("user", "Hi"), Message("assistant", "Hello.")]


async def test_a_spoken_question_is_answered(dial: Dial) -> None:
    async with dial() as client:
        started = await client.start()
        assert (started["type"], started["rate"], started["resumed"]) == (
            "session.started",
            24_000,
            False,
        )
        await client.socket.send(QUESTION)
        done = await client.until("turn.done")
    assert done["heard"] == "Paris is the capital. It lies on the Seine."
    assert done["times_ms"]["first_audio"] > 0
    order = [each for each in client.kinds if each not in ("reply.delta", "partial", "ack")]
    assert order == [
        "session.started",
        "speech.started",
        "transcript",
        "sentence",
        "sentence",
        "reply.done",
        "turn.done",
    ]
    assert len(client.sound) == 2 * ANSWER_SAMPLES


async def test_audio_says_where_it_belongs(dial: Dial) -> None:
    async with dial() as client:
        await client.start()
        await client.tell("text.ask", text="Where is Paris?")
        done = await client.until("reply.done")
    at = 0
    for header, payload in client.audio:
        assert (header.start, header.turn) == (at, 1)
        assert len(payload) == 2 * header.samples
        at += header.samples
    assert at == done["samples"] == ANSWER_SAMPLES
    assert [header.first for header, _ in client.audio].count(True) == 1
    assert [h.sentence for h, _ in client.audio if h.final] == [0, 1]


@pytest.mark.parametrize(
    ("form", "rate"), [("wav", 0), ("wav", 16_000), ("opus", 0), ("opus", 48_000)]
)
async def test_answers_come_whole_in_other_formats(dial: Dial, form: str, rate: int) -> None:
    async with dial() as client:
        started = await client.start(output={"format": form, "rate": rate})
        assert started["rate"] == (rate or 24_000)
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("reply.done")
    samples = decoded(client.sound, started["rate"])
    assert samples.size == pytest.approx(ANSWER_SAMPLES * started["rate"] / 24_000, abs=32)
    assert sum(header.samples for header, _ in client.audio) == pytest.approx(samples.size, abs=32)


async def test_pcm_comes_at_the_rate_that_is_asked_for(dial: Dial) -> None:
    async with dial() as client:
        await client.start(output={"format": "pcm", "rate": 16_000})
        await client.tell("text.ask", text="Where is Paris?")
        done = await client.until("reply.done")
    assert len(client.sound) == pytest.approx(2 * ANSWER_SAMPLES * 2 / 3, abs=8)
    assert done["samples"] == pytest.approx(ANSWER_SAMPLES * 2 / 3, abs=4)


async def test_an_answer_is_asked_for_before_silence(dial: Dial) -> None:
    async with dial() as client:
        await client.start()
        await client.socket.send(TONE)
        await client.until("speech.started")
        await client.tell("answer")
        assert (await client.until("transcript"))["text"] == "What is the capital of France?"


async def test_facts_are_pinned_but_not_without_end(dial: Dial, gateway: Gateway) -> None:
    async with dial() as client:
        await client.start()
        for number in range(4):
            await client.tell("pin", fact=f"{number} is a number. {'x' * 8000}")
        await client.tell("pin", fact="y" * 8000)
        error = await client.until("error")
        assert (error["code"], error["param"]) == ("text_too_long", "fact")
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("turn.done")
    prompt = dialogues(gateway)[-1][0].text
    assert all(f"{number} is a number." in prompt for number in range(4))
    assert "y" not in prompt.replace("x", "").partition("0 is")[2]


async def test_a_cut_answer_says_what_was_heard_and_sends_no_more(dial: Dial) -> None:
    async with dial() as client:
        await client.start()
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("reply.done")
        await client.tell("played", ms=1050)
        await client.tell("cancel")
        cut = await client.until("interrupted")
        assert (cut["heard"], cut["turn"]) == ("Paris is the capital.", 1)
        sound = len(client.audio)
        done = await client.until("turn.done")
        assert (done["heard"], done["outcome"]) == ("Paris is the capital.", "cut")
        await client.tell("text.ask", text="And now?")
        await client.until("reply.done")
    assert [header.turn for header, _ in client.audio[sound:]].count(1) == 0


async def test_a_conversation_is_kept_before_its_turn_is_done(
    dial: Dial, gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    async with dial() as client:
        started = await client.start(conversation="ours")
        assert started["conversation"] == "ours"
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("turn.done")
        kept = await gateway.conversations.load("", "ours")
    assert kept is not None
    assert [each.role for each in kept if each.role != "system"] == ["user", "assistant"]
    async with dial() as client:
        await client.start(conversation="ours")
        await client.tell("text.ask", text="And Rome?")
        await client.until("turn.done")
    answer = (await http.get("/v1/conversations/ours")).json()
    said = [each["text"] for each in answer["messages"] if each["role"] == "user"]
    assert said == ["Where is Paris?", "And Rome?"]
    assert (await http.delete("/v1/conversations/ours")).json()["deleted"]
    assert (await http.get("/v1/conversations/ours")).status_code == 404


async def test_what_is_deleted_in_the_middle_stays_deleted(
    dial: Dial, gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    async with dial() as client:
        await client.start(conversation="ours")
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("turn.done")
        assert (await http.delete("/v1/conversations/ours")).json()["deleted"]
        await client.tell("text.ask", text="And Rome?")
        await client.until("turn.done")
        assert await gateway.conversations.load("", "ours") is None
        await client.tell("session.end")
        assert await client.closed() == 1000
    assert await gateway.conversations.load("", "ours") is None


async def test_instructions_take_the_place_of_the_profiles(dial: Dial, gateway: Gateway) -> None:
    await gateway.conversations.save("", "old", OLD)
    async with dial() as client:
        await client.start(conversation="old", instructions="New.")
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("turn.done")
        kept = await gateway.conversations.load("", "old")
    assert kept is not None
    assert [(each.role, each.text) for each in kept[:3]] == [
        ("system", "New."),
        ("user", "Hi"),
        ("assistant", "Hello."),
    ]


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ({"type": "text.ask", "text": "Hi"}, "start_expected", "type"),
        ({"type": "session.start"}, "invalid_value", ""),
        ({"type": "session.start", "version": 2}, "unsupported_version", "version"),
        ({"type": "session.start", "version": 1, "speed": 9}, "invalid_value", "speed"),
        ({"type": "session.start", "version": 1, "colour": 1}, "invalid_value", ""),
        ({"type": "session.start", "version": 1, "voice": "Nobody"}, "voice_not_found", ""),
        ({"type": "session.start", "version": 1, "language": "xx"}, "unsupported_language", ""),
        (
            {"type": "session.start", "version": 1, "audio": {"format": "mp3"}},
            "invalid_value",
            "audio.format",
        ),
        (
            {"type": "session.start", "version": 1, "output": {"format": "opus", "rate": 22050}},
            "invalid_value",
            "",
        ),
        (
            {"type": "session.start", "version": 1, "interrupt": {"strategy": "never", "ms": 3}},
            "invalid_value",
            "interrupt",
        ),
        (
            {"type": "session.start", "version": 1, "resume": {"session": "sess_no"}},
            "session_not_found",
            "",
        ),
    ],
)
async def test_a_wrong_beginning_is_a_typed_error(
    dial: Dial, gateway: Gateway, message: dict[str, Any], code: str, param: str
) -> None:
    async with dial() as client:
        await client.socket.send(json.dumps(message))
        error = await client.next()
        assert (error["type"], error["code"], error["param"]) == ("error", code, param)
        assert "Traceback" not in error["message"]
        assert await client.closed() == 1008
    assert len(gateway.sessions) == gateway.limits.sessions == 0


@pytest.mark.parametrize("data", ["", "{", "[]", '{"type":"nothing"}', '{"type":"played","ms":-1}'])
async def test_a_wrong_message_is_an_error_and_the_session_goes_on(dial: Dial, data: str) -> None:
    async with dial() as client:
        await client.start()
        await client.socket.send(data)
        assert (await client.next())["code"] in ("invalid_json", "invalid_value")
        await client.tell("ping", id="7")
        pong = await client.next()
        assert (pong["type"], pong["id"], pong["received"]) == ("pong", "7", 1)


async def test_a_flood_of_wrong_messages_is_cut(dial: Dial) -> None:
    async with dial() as client:
        await client.start()
        for _ in range(60):
            await client.socket.send("{")
        assert await client.closed() == 1008


async def test_a_full_house_says_so_at_once(dial: Dial, gateway: Gateway) -> None:
    places(gateway, 1)
    async with dial() as first:
        await first.start()
        async with dial() as second:
            error = await second.start()
            assert error["code"] == "session_limit_reached"
            assert error["retry_after_s"] > 0
        await first.tell("session.end")
        assert await first.closed() == 1000
        assert first.kinds[-1] == "session.ended"
    async with dial() as third:
        assert (await third.start())["type"] == "session.started"


async def test_sessions_are_listed_and_ended(
    dial: Dial, gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    async with dial() as client:
        session = (await client.start())["session"]
        (listed,) = (await http.get("/v1/sessions")).json()["data"]
        assert (listed["id"], listed["state"]) == (session, "connected")
        assert (await http.delete(f"/v1/sessions/{session}")).json()["deleted"]
        assert (await client.until("session.ended"))["reason"] == "deleted"
        assert await client.closed() == 1000
    assert (await http.delete(f"/v1/sessions/{session}")).status_code == 404
    assert gateway.limits.sessions == 0


async def test_a_tool_of_the_client_is_called(dial: Dial, gateway: Gateway) -> None:
    replier: Any = gateway.assistant.stages.replier
    replier.answer = '<tool_call>{"name": "lamp", "arguments": {"on": true}}</tool_call>'
    replier.further = ("It is on.",)
    tool = {"name": "lamp", "description": "A lamp", "parameters": {"type": "object"}}
    async with dial() as client:
        await client.start(tools=[tool])
        await client.tell("text.ask", text="Light, please.")
        call = await client.until("tool.call")
        assert (call["name"], call["arguments"]) == ("lamp", {"on": True})
        await client.tell("tool.result", call_id=call["call_id"], content="done")
        assert (await client.until("reply.done"))["reply"] == "It is on."
        await client.tell("tool.result", call_id="no", content="done")
        assert (await client.until("error"))["code"] == "call_not_found"


async def test_input_that_comes_too_fast_is_dropped_and_counted(
    dial: Dial, gateway: Gateway
) -> None:
    async with dial() as client:
        await client.start()
        for _ in range(20):
            await client.socket.send(TONE)
        await client.tell("answer")
        done = await client.until("turn.done")
        assert done["dropped_ms"] >= 0


async def test_a_file_is_read_no_faster_than_it_is_heard(dial: Dial) -> None:
    async with dial() as client:
        await client.start(audio={"overflow": "wait"})
        sending = asyncio.create_task(client.socket.send([TONE] * 30))
        await sending
        await client.tell("answer")
        assert (await client.until("turn.done"))["dropped_ms"] == 0


def decoded(data: bytes, rate: int) -> np.ndarray[Any, Any]:
    """Audio as another library reads it."""
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler("flt", "mono", rate)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


async def test_a_tool_with_a_pattern_is_refused(dial: Dial) -> None:
    tool = {"name": "try", "parameters": {"properties": {"a": {"pattern": "(a+)+$"}}}}
    async with dial() as client:
        told = await client.start(tools=[tool])
    assert (told["type"], told["code"]) == ("error", "invalid_value")
