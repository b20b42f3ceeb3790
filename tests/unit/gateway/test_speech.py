"""`POST /v1/audio/speech`, against the real server on a voice that a test decides about."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from voxturn.runtime.audio.stream_encode import FORMATS
from voxturn.runtime.errors import InferenceFailed, TooManyStreams
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.speaking import style_in
from voxturn.runtime.gateway.speeches import Speeches
from voxturn.runtime.gateway.voices import ALIASES, Voices
from voxturn.runtime.messages import PcmChunk, Sentence

from tests.unit.gateway.scripted_voice import ScriptedVoice, WordKeys, speak_with

SPEECH = "/v1/audio/speech"
TEXT = "Hello there, how are you?"
TEXT_S = 0.05 * len(TEXT)
LONG = "This is one sentence of many, and it goes on. " * 20


async def said(http: httpx2.AsyncClient, **body: Any) -> httpx2.Response:
    return await http.post(SPEECH, json={"input": TEXT, "model": "tts-1", "voice": "alloy"} | body)


def code(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"]


def seconds(name: str, data: bytes) -> float:
    """How long it is when PyAV has decoded it."""
    if name == "pcm":
        return len(data) / 48_000
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
    return sum(frame.samples for frame in frames) / frames[0].sample_rate


def events_of(text: str) -> list[str]:
    """The data of server-sent events."""
    assert text.endswith("\n\n")
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [line.removeprefix("data: ") for line in lines]


async def closed(voice: ScriptedVoice, gateway: Gateway) -> None:
    """The voice has stopped, and its place is free."""
    async with asyncio.timeout(10):
        await voice.closed.wait()
        while gateway.speeches.taken:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000])
@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_is_the_whole_text(
    gateway: Gateway, http: httpx2.AsyncClient, name: str, rate: int
) -> None:
    speak_with(gateway, ScriptedVoice(rate))
    answer = await said(http, response_format=name)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == FORMATS[name].media_type
    late = {"mp3": 0.11, "aac": 0.13}.get(name, 0.0002)
    assert TEXT_S - 0.0002 <= seconds(name, answer.content) <= TEXT_S + late


async def test_mp3_is_what_is_not_asked_for(http: httpx2.AsyncClient) -> None:
    answer = await http.post(SPEECH, json={"input": TEXT, "response_format": None, "speed": None})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers


async def test_it_leaves_from_the_first_chunk_on(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    voice = ScriptedVoice(at=1, holds=True)
    speak_with(gateway, voice)
    body = {"input": TEXT, "response_format": "pcm"}
    async with asyncio.timeout(10), http.stream("POST", SPEECH, json=body) as answer:
        assert answer.headers["server-timing"].startswith('audio;desc="first audio";dur=')
        chunks = answer.aiter_raw()
        first = await anext(chunks)
        assert 0 < len(first) <= 4800  # 100 ms, while the rest is not there yet
        voice.go.set()
        rest = b"".join([chunk async for chunk in chunks])
    assert (len(first) + len(rest)) / 48_000 == pytest.approx(TEXT_S)


async def test_sse_carries_the_same_audio_and_what_it_cost(http: httpx2.AsyncClient) -> None:
    plain = await said(http, response_format="pcm")
    answer = await said(http, response_format="pcm", stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *deltas, done, last = events_of(answer.text)
    assert last == "[DONE]"
    parsed = [json.loads(delta) for delta in deltas]
    assert {each["type"] for each in parsed} == {"speech.audio.delta"}
    assert len(parsed) > 1
    assert b"".join(base64.b64decode(each["audio"]) for each in parsed) == plain.content
    usage = {"input_tokens": 7, "output_tokens": 25, "total_tokens": 32}
    assert json.loads(done) == {"type": "speech.audio.done", "usage": usage}


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (InferenceFailed("/secret/path broke"), 500, "internal_error"),
        (TooManyStreams("full"), 429, "session_limit_reached"),
        (RuntimeError("what nobody expects"), 500, "internal_error"),
    ],
)
async def test_an_error_before_the_first_audio_has_a_status(
    gateway: Gateway,
    http: httpx2.AsyncClient,
    stream_format: str,
    error: Exception,
    status: int,
    expected: str,
) -> None:
    voice = ScriptedVoice(error=error, at=0)
    speak_with(gateway, voice)
    answer = await said(http, stream_format=stream_format)
    assert code(answer) == (status, expected)
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 429)
    await closed(voice, gateway)


async def test_an_error_after_it_cuts_the_audio_off(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    voice = ScriptedVoice(error=InferenceFailed("/secret/path broke"), at=2)
    speak_with(gateway, voice)
    heard = b""
    with pytest.raises(httpx2.RemoteProtocolError):
        async with http.stream("POST", SPEECH, json={"input": TEXT, "response_format": "pcm"}) as a:
            assert a.status_code == 200
            async for chunk in a.aiter_raw():
                heard += chunk
    assert len(heard) == 2 * 4800
    await closed(voice, gateway)
    assert (await said(http, response_format="pcm", voice="bob")).status_code == 404  # it goes on


async def test_an_error_after_it_is_the_last_event(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    speak_with(gateway, ScriptedVoice(error=InferenceFailed("/secret/path broke"), at=2))
    answer = await said(http, response_format="pcm", stream_format="sse")
    first, second, last = (json.loads(data) for data in events_of(answer.text))
    assert first["type"] == second["type"] == "speech.audio.delta"
    assert (last["type"], last["error"]["code"]) == ("error", "internal_error")
    assert "event: error\n" in answer.text
    assert "secret" not in answer.text
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize("at", [0, 1, 3])
async def test_a_client_that_leaves_stops_the_voice(
    gateway: Gateway, port: int, stream_format: str, at: int
) -> None:
    voice = ScriptedVoice(at=at, holds=True)
    speak_with(gateway, voice)
    body = json.dumps({"input": LONG, "response_format": "pcm", "stream_format": stream_format})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {SPEECH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body.encode())
    async with asyncio.timeout(10):
        await voice.begun.wait()
        if at:
            assert await reader.readuntil(b"\r\n\r\n")
        assert gateway.speeches.taken == 1
        writer.close()
    await closed(voice, gateway)
    assert len(voice.texts_said) <= max(1, at)


async def test_an_engine_that_hangs_is_waited_for_no_longer_than_allowed(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    gateway.clock = clock = ManualClock()
    voice = ScriptedVoice(holds=True)
    speak_with(gateway, voice)
    asking = asyncio.create_task(said(http))
    async with asyncio.timeout(10):
        await voice.begun.wait()
        while not clock.waiting:  # noqa: ASYNC110  a clock tells nobody
            await asyncio.sleep(0)
        clock.advance(gateway.settings.request_s + 0.1)
        assert code(await asking) == (504, "deadline_exceeded")
    await closed(voice, gateway)


@pytest.mark.parametrize("text", ["", " \n\t", "...", "*** ---", "\u200b"])
async def test_what_cannot_be_spoken_is_refused(http: httpx2.AsyncClient, text: str) -> None:
    answer = await said(http, input=text)
    assert code(answer) == (400, "empty_text")
    assert answer.json()["error"]["param"] == "input"


async def test_a_text_has_a_longest_length(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    gateway.settings = replace(gateway.settings, longest_text=10)
    assert (await said(http, input="1234567890")).status_code == 200
    assert code(await said(http, input="1234567890" + "a")) == (413, "text_too_long")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"speed": 0.1}, "speed"),
        ({"speed": 4.1}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"stream_format": "both"}, "stream_format"),
        ({"voice": 3}, "voice"),
        ({"voice": {"name": "x"}}, "voice"),
        ({"voice": "x" * 300}, "voice"),
        ({"instructions": "x" * 5000}, "instructions"),
        ({"input": None}, "input"),
    ],
)
async def test_what_is_no_request_is_told_by_its_field(
    http: httpx2.AsyncClient, body: dict[str, Any], param: str
) -> None:
    answer = await said(http, **body)
    assert code(answer) == (400, "invalid_value")
    assert answer.json()["error"]["param"] == param


async def test_unknown_voices_and_languages_are_typed(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    speak_with(gateway, ScriptedVoice(speakers=("Ana", "Ben")))
    answer = await said(http, voice="Cid")
    assert code(answer) == (404, "voice_not_found")
    assert "Ana, Ben" in answer.json()["error"]["message"]
    assert code(await said(http, language="xx")) == (400, "unsupported_language")


async def test_every_name_of_openai_is_a_voice(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    assert len(ALIASES) == 13
    speak_with(gateway, ScriptedVoice(speakers=("Ana", "Ben")))
    for name in (*ALIASES, "default"):
        assert (await said(http, voice=name, input="a")).status_code == 200
        assert (await said(http, voice={"id": name}, input="a")).status_code == 200


async def test_the_profile_says_who_an_alias_is(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    voice = ScriptedVoice(speakers=("Ana", "Ben", "sage"))
    speak_with(gateway, voice)
    gateway.voices = Voices(gateway.assistant, {"alloy": "Ben"}, gateway.voices.clients)
    for asked in ("alloy", "ash", "Ana", "sage"):
        assert (await said(http, voice=asked, input="a")).status_code == 200
    assert [options.speaker for options in voice.chosen] == ["Ben", "Ana", "sage"]


async def test_speed_and_language_reach_the_voice(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    voice = ScriptedVoice()
    speak_with(gateway, voice)
    assert (await said(http, speed=1.5, language="de")).status_code == 200
    (options,) = voice.chosen
    assert (options.speed, options.language) == (1.5, "de")


@pytest.mark.parametrize(
    ("instructions", "style"),
    [
        ("Speak in a happy and sad tone", "happy"),
        ("SAD, please!", "sad"),
        ("Sound unhappy and saddened", None),
        ("", None),
        (None, None),
    ],
)
async def test_instructions_choose_a_style_that_the_voice_has(
    gateway: Gateway, http: httpx2.AsyncClient, instructions: str | None, style: str | None
) -> None:
    voice = ScriptedVoice(styles=("happy", "sad"))
    speak_with(gateway, voice)
    assert (await said(http, instructions=instructions)).status_code == 200
    assert [options.style for options in voice.chosen] == ([style] if style else [])


def test_a_style_is_a_whole_word() -> None:
    assert style_in("very whisper-soft.", ("whisper-soft", "soft")) == "whisper-soft"
    assert style_in("nothing of the kind", ()) == ""


async def test_so_many_texts_are_spoken_at_once(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    gateway.keys = WordKeys("a", "b", "c")
    gateway.speeches = Speeches(OwnPlaces(2), 1)
    voice = ScriptedVoice(holds=True)
    speak_with(gateway, voice)

    async def ask(key: str) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key}"}
        return await http.post(SPEECH, json={"input": TEXT}, headers=headers)

    first = asyncio.create_task(ask("a"))
    async with asyncio.timeout(10):
        while gateway.speeches.taken < 1:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        again = await ask("a")
        assert code(again) == (429, "too_many_requests")
        assert int(again.headers["retry-after"]) >= 1
        second = asyncio.create_task(ask("b"))
        while gateway.speeches.taken < 2:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        assert code(await ask("c")) == (429, "too_many_requests")
        voice.go.set()
        assert [(await each).status_code for each in (first, second)] == [200, 200]
        assert (await ask("a")).status_code == 200


async def test_engines_are_told_whose_text_it_is(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    voice = ScriptedVoice()
    speak_with(gateway, voice)
    await said(http)
    gateway.keys = WordKeys("a")
    await http.post(SPEECH, json={"input": TEXT}, headers={"authorization": "Bearer a"})
    assert voice.clients == ["127.0.0.1", "a"]


async def test_texts_of_one_key_do_not_starve_another(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    lane, asked, order, may_go = Lane("voice"), list[str](), list[str](), threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    class LaneVoice(ScriptedVoice):
        """Computes each sentence in a lane, as engines do."""

        async def __call__(
            self, sentences: AsyncIterator[Sentence]
        ) -> AsyncGenerator[PcmChunk, None]:
            async with aclosing(super().__call__(sentences)) as chunks:
                async for chunk in chunks:
                    asked.append(CLIENT.get())
                    await lane.run(self.compute, CLIENT.get())
                    yield chunk

        def compute(self, client: str) -> None:
            loop.call_soon_threadsafe(began.set)
            assert may_go.wait(10)
            order.append(client)

    voice = LaneVoice()
    speak_with(gateway, voice)
    gateway.keys = WordKeys("a", "b")

    async def ask(key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        answer = await http.post(SPEECH, json={"input": "ab"}, headers=headers)
        assert answer.status_code == 200

    try:
        async with asyncio.timeout(10):
            tasks = [asyncio.create_task(ask("a")) for _ in range(5)]
            await began.wait()
            while len(asked) < 5:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0)
            tasks.append(asyncio.create_task(ask("b")))
            while len(asked) < 6:  # noqa: ASYNC110  as above
                await asyncio.sleep(0)
            may_go.set()
            await asyncio.gather(*tasks)
    finally:
        may_go.set()
        lane.close()
    assert order.index("b") == 1, order


async def test_the_first_audio_is_timed(http: httpx2.AsyncClient) -> None:
    await said(http)
    text = (await http.get("/metrics")).text
    assert 'voxturn_first_audio_seconds_count{way="speech"} 1.0' in text


_ODD = "aZ é中文ا🙂\u200d\u0000\u202e\ufffe\n\t.,!?…«»[]{}()<>&;$%#@*_~`|\\/\"'0123456789-+=:"


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_to_be_said_has_a_typed_answer(
    http: httpx2.AsyncClient, seed: int
) -> None:
    random = np.random.default_rng(seed)
    text = "".join(random.choice(list(_ODD), int(random.integers(1, 60))))
    for field in ("input", "voice", "instructions", "language"):
        answer = await said(http, **{field: text[:35]}, response_format="wav")
        assert answer.status_code == 200 or code(answer)[0] in (400, 404), answer.text


async def test_many_at_once_are_each_whole(http: httpx2.AsyncClient) -> None:
    texts = ["a" * (number + 1) for number in range(16)]
    answers = await asyncio.gather(
        *(said(http, input=text, response_format="pcm") for text in texts)
    )
    lengths = [np.frombuffer(answer.content, "<i2").size for answer in answers]
    assert lengths == [1200 * len(text) for text in texts]
