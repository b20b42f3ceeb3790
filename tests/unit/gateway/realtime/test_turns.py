"""Turns by the sound of speech, and by the client's word."""

from __future__ import annotations

import asyncio
import base64
import json
import threading

import numpy as np
import pytest
from voxturn.runtime.families.fake import FakeHearing
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.realtime.formats import FORMATS, Decoder
from voxturn.runtime.messages import Samples, Transcript

from tests.realtime_client import Client, Opener, Told, dialogues, silence, tone

ANSWER = "Paris is the capital. It lies on the Seine."
SPOKEN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
]
ENDING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
]


async def test_a_spoken_turn_is_told_in_its_natural_order(client: Client) -> None:
    await client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    await client.ask_aloud()
    await client.until("rate_limits.updated")
    names = client.names()[2:]
    assert names[: len(SPOKEN)] == SPOKEN
    assert names[-len(ENDING) :] == ENDING
    [done] = client.of("response.output_audio_transcript.done")
    assert done["transcript"] == ANSWER


async def test_the_output_is_the_answer_s_audio_and_says_where_its_words_lie(
    client: Client,
) -> None:
    await client.ask_aloud()
    done = await client.ended()
    audio = b"".join(base64.b64decode(e["delta"]) for e in client.of("response.output_audio.delta"))
    sentences = ["Paris is the capital.", "It lies on the Seine."]
    assert len(audio) == sum(2 * 1200 * len(text) for text in sentences)
    words = client.of("response.output_audio_transcript.delta")
    assert "".join(word["delta"] for word in words) == ANSWER
    times = [word["start_time"] for word in words]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert times[4] == pytest.approx(0.05 * len(sentences[0]), abs=0.001)
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": ANSWER}]
    assert done["usage"]["output_tokens"] == sum(done["usage"]["output_token_details"].values())
    assert "input_token_details" in done["usage"]
    trace = json.loads(done["metadata"]["voxturn_trace"])
    assert set(trace) == {"times_ms", "response_ms"}


async def test_semantic_detection_waits_by_the_words(opened: Opener) -> None:
    for eagerness in ("low", "medium", "high", "auto"):
        async with opened() as client:
            detection = {"type": "semantic_vad", "eagerness": eagerness}
            session = await client.update(audio={"input": {"turn_detection": detection}})
            assert session["audio"]["input"]["turn_detection"]["eagerness"] == eagerness
            await client.say(tone(1.0))
            for _ in range(10):  # the words are known at once, and finished
                await client.say(silence(0.1))
                await client.settle()
            [done] = client.of("response.done")
            assert done["response"]["status"] == "completed"


async def test_speech_over_an_answer_interrupts_it(client: Client) -> None:
    await client.ask_aloud()
    first = await client.ended()
    await client.say(tone(1.0), silence(2.0))
    await client.until("input_audio_buffer.speech_started")
    second = await client.ended()
    assert second["id"] != first["id"]
    starts = client.of("input_audio_buffer.speech_started")
    committed = client.of("input_audio_buffer.committed")
    assert [each["item_id"] for each in starts] == [each["item_id"] for each in committed]
    assert len(starts) == 2


async def test_what_is_heard_is_not_answered_where_the_client_answers(client: Client) -> None:
    detection = {"type": "server_vad", "create_response": False}
    await client.update(audio={"input": {"turn_detection": detection}})
    await client.ask_aloud()
    item = await client.until("conversation.item.done")
    assert item["item"]["role"] == "user"
    await client.say(silence(0.5))
    await client.send("conversation.item.retrieve", item_id=item["item"]["id"])
    await client.until("conversation.item.retrieved")
    assert client.of("response.created") == []
    assert (await client.respond())["status"] == "completed"


async def test_answers_need_not_be_interrupted(client: Client) -> None:
    detection = {"type": "server_vad", "interrupt_response": False}
    await client.update(audio={"input": {"turn_detection": detection}})
    await client.ask_aloud()
    await client.ended()
    await client.say(tone(0.5))
    await client.send("conversation.item.retrieve", item_id="none")
    await client.until("error")
    assert len(client.of("input_audio_buffer.speech_started")) == 1


async def test_push_to_talk(client: Client, gateway: Gateway) -> None:
    await client.manual()
    await client.send("response.cancel", event_id="c1")
    error = (await client.until("error"))["error"]
    assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "c1")
    assert error["message"].startswith("Cancellation failed")
    await client.say(tone(0.05))
    await client.send("input_audio_buffer.commit")
    assert (await client.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
    await client.send("input_audio_buffer.clear")
    await client.until("input_audio_buffer.cleared")
    await client.say(tone(0.5))
    await client.send("input_audio_buffer.commit")
    done = await client.respond(metadata={"client_event_id": "x"})
    assert done["status"] == "completed"
    assert client.of("response.created")[0]["response"]["metadata"] == {"client_event_id": "x"}
    assert done["metadata"]["client_event_id"] == "x"
    [completed] = client.of("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "What is the capital of France?"
    assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(0.5, abs=0.02)}
    assert not client.of("input_audio_buffer.speech_started")
    assert [m.text for m in dialogues(gateway)[-1]][-1] == "What is the capital of France?"


async def test_what_was_cleared_is_not_heard(client: Client) -> None:
    await client.say(tone(1.0))
    await client.until("input_audio_buffer.speech_started")
    await client.send("input_audio_buffer.clear")
    await client.until("input_audio_buffer.cleared")
    await client.say(silence(2.0), tone(1.0), silence(2.0))
    await client.ended()
    assert len(client.of("input_audio_buffer.committed")) == 1


async def test_speech_may_be_committed_before_its_silence(client: Client) -> None:
    await client.say(silence(0.5))
    await client.send("input_audio_buffer.commit")
    assert (await client.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
    await client.say(tone(1.0))
    await client.until("input_audio_buffer.speech_started")
    await client.send("input_audio_buffer.commit")
    await client.ended()


@pytest.mark.parametrize("name", ["audio/pcmu", "audio/pcma"])
async def test_telephone_audio_both_ways(client: Client, name: str) -> None:
    form = FORMATS[name]
    audio = {"input": {"format": {"type": name}}, "output": {"format": {"type": name}}}
    session = await client.update(audio=audio)
    assert session["audio"]["output"]["format"] == {"type": name}
    speech = np.frombuffer(tone(1.0, rate=8000) + silence(2.0, rate=8000), "<i2") / 32768
    raw = form.raw(speech.astype(np.float32))
    await client.send("input_audio_buffer.append", audio=base64.b64encode(raw).decode())
    await client.ended()
    audio = b"".join(base64.b64decode(e["delta"]) for e in client.of("response.output_audio.delta"))
    assert len(audio) == 400 * 42
    assert np.abs(form.samples(audio)).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
async def test_clients_of_models_without_ends_commit(opened: Opener, model: str) -> None:
    async with opened("intent=transcription") as client:
        await client.update(
            type="transcription", audio={"input": {"transcription": {"model": model}}}
        )
        session = client.of("session.updated")[-1]["session"]
        assert session["audio"]["input"]["turn_detection"] is None


async def test_a_transcription_session_only_writes_down(opened: Opener) -> None:
    async with opened("intent=transcription") as client:
        assert client.told[0]["session"]["type"] == "transcription"
        audio = {"input": {"transcription": {"model": "gpt-transcribe", "language": "en"}}}
        await client.update(type="transcription", audio=audio)
        await client.ask_aloud()
        done = await client.until("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == "What is the capital of France?"
        await client.send("response.create")
        await client.until("error")
        assert not client.of("response.created")
        assert client.of("conversation.item.input_audio_transcription.delta")


def spoken(audio: bytes) -> Told:
    content = [{"type": "input_audio", "audio": base64.b64encode(audio).decode()}]
    return {"type": "message", "role": "user", "content": content}


async def test_so_much_audio_waits_for_its_words_and_no_more(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, final = asyncio.Event(), FakeHearing.final

    async def held(self: FakeHearing, samples: Samples, words: bool = False) -> Transcript:
        await going.wait()
        return await final(self, samples, words)

    monkeypatch.setattr(FakeHearing, "final", held)
    await client.manual()
    for _ in range(8):
        await client.say(tone(0.2))
        await client.send("input_audio_buffer.commit")
        item = (await client.until("conversation.item.added"))["item"]
        await client.send("conversation.item.delete", item_id=item["id"])
    await client.say(tone(0.2))
    await client.send("input_audio_buffer.commit")
    assert (await client.until("error"))["error"]["code"] == "too_many_items_in_progress"
    await client.send("conversation.item.create", item=spoken(tone(0.2)))
    assert (await client.until("error"))["error"]["code"] == "too_many_items_in_progress"
    going.set()
    for _ in range(8):
        await client.until("conversation.item.done")
    await client.settle()
    await client.send("input_audio_buffer.commit")  # what was refused is still there
    await client.until("input_audio_buffer.committed")


async def test_an_item_s_audio_is_resampled_in_a_thread_and_has_a_bound(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    push = Decoder.push

    def noted(self: Decoder, raw: bytes) -> Samples:
        threads.append(threading.get_ident())
        return push(self, raw)

    monkeypatch.setattr(Decoder, "push", noted)
    await client.update(audio={"input": {"turn_detection": None, "format": {"type": "audio/pcmu"}}})
    await client.send("conversation.item.create", item=spoken(bytes(8000 * 60)))
    await client.until("conversation.item.done")
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    await client.send("conversation.item.create", item=spoken(bytes(8000 * 900 + 1)))
    error = (await client.until("error"))["error"]
    assert (error["code"], error["param"]) == ("audio_too_long", "item.content")
    assert len(threads) == 1
