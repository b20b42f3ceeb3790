"""OpenAI's own package against the gateway: one address is changed, nothing else."""

from __future__ import annotations

import base64
import io
import json

import av
import openai
import pytest
from clients.conftest import ASKED, MP3_FRAME_S, QUESTION, TEXT, wav_of, words
from openai import OpenAI

MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. Give short answers."},
    {"role": "user", "content": "What is the capital of France?"},
]
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


@pytest.fixture
def client(base_url: str) -> OpenAI:
    return OpenAI(base_url=base_url, api_key="none", max_retries=0)


def seconds(data: bytes, form: str) -> float:
    """How long audio is, decoded to its last sample."""
    if form == "pcm":
        return len(data) / 2 / 24_000
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
    return sum(frame.samples / frame.sample_rate for frame in frames)


def heard(client: OpenAI, data: bytes, name: str) -> str:
    """What the gateway hears in audio."""
    answer = client.audio.transcriptions.create(file=(name, data), model="whisper-1")
    return words(answer.text)


@pytest.fixture(scope="module")
def spoken(base_url: str) -> dict[str, bytes]:
    """The text in every format."""
    client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
    out = {}
    for form in FORMATS:
        with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format=form
        ) as answer:
            assert answer.headers["content-type"].startswith("audio/")
            out[form] = answer.read()
    return out


@pytest.mark.parametrize("form", FORMATS)
def test_speech_says_its_text_in_every_format(
    client: OpenAI, spoken: dict[str, bytes], form: str
) -> None:
    data = wav_of(spoken[form]) if form == "pcm" else spoken[form]
    name = f"speech.{'wav' if form == 'pcm' else form}"
    assert heard(client, data, name) == words(TEXT)


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_loses_its_end(spoken: dict[str, bytes], form: str) -> None:
    whole = seconds(spoken["wav"], "wav")
    assert whole - 0.001 <= seconds(spoken[form], form) <= whole + 2 * MP3_FRAME_S


def test_speech_as_events(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="alloy",
        input=TEXT,
        response_format="pcm",
        stream_format="sse",
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    audio = b"".join(
        base64.b64decode(each["audio"]) for each in events if each["type"] == "speech.audio.delta"
    )
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] > 0
    assert heard(client, wav_of(audio), "speech.wav") == words(TEXT)


def test_errors_are_openais(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="")
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="gpt-4o-mini-tts", voice="nobody", input=TEXT)
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(file=("a.wav", b"no audio"), model="whisper-1")


def test_transcriptions_in_five_forms(client: OpenAI) -> None:
    def transcribed(**options: object) -> object:
        return client.audio.transcriptions.create(  # type: ignore[call-overload]
            file=QUESTION, model="whisper-1", **options
        )

    assert words(transcribed(response_format="json").text) == ASKED  # type: ignore[attr-defined]
    assert words(str(transcribed(response_format="text"))) == ASKED
    assert "-->" in str(transcribed(response_format="srt"))
    assert str(transcribed(response_format="vtt")).startswith("WEBVTT")
    verbose = transcribed(
        response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert words(" ".join(word.word for word in verbose.words)) == ASKED  # type: ignore[attr-defined]
    assert words(verbose.segments[0].text) == ASKED  # type: ignore[attr-defined]
    times = [(word.start, word.end) for word in verbose.words]  # type: ignore[attr-defined]
    assert times == sorted(times)
    assert 0 <= times[0][0] < times[-1][1] <= verbose.duration  # type: ignore[attr-defined]


def test_a_transcription_is_streamed(client: OpenAI) -> None:
    events = list(
        client.audio.transcriptions.create(
            file=QUESTION, model="gpt-4o-mini-transcribe", stream=True
        )
    )
    assert events[-1].type == "transcript.text.done"
    assert words(events[-1].text) == ASKED
    deltas = "".join(each.delta for each in events if each.type == "transcript.text.delta")
    assert words(deltas) == ASKED


def test_chat_answers_whole_and_streamed(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)  # type: ignore[arg-type]
    assert "Paris" in (whole.choices[0].message.content or "")
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o-mini",
            messages=MESSAGES,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"


def test_chat_stops_where_it_is_told(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=MESSAGES,  # type: ignore[arg-type]
        stop=["Paris"],
        seed=7,
    )
    assert "Paris" not in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"


def test_chat_calls_tools(calling_url: str) -> None:
    client = OpenAI(base_url=calling_url, api_key="none", max_retries=0)
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    messages = [{"role": "user", "content": "How is the weather in Paris?"}]
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=messages,  # type: ignore[arg-type]
        tools=[tool],  # type: ignore[list-item]
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    function = choice.message.tool_calls[0].function  # type: ignore[union-attr]
    assert (function.name, json.loads(function.arguments)) == ("weather", {"city": "Paris"})


def test_models_are_those_that_are_loaded(client: OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert {"whisper-base", "smollm2-135m", "vits-en-us-joe"} <= ids
    assert client.models.retrieve("whisper-base").id == "whisper-base"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-17")
