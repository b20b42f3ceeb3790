"""A recording to its words, over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.fake import FakeRecogniser
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.transcriptions import endpointing_of
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.recognise import FilteredRecogniser

from tests.unit.gateway.sounds import wav

HEARD = "What is the capital of France?"
PATH = "/v1/audio/transcriptions"


async def post(
    http: httpx2.AsyncClient, path: str = PATH, audio: bytes | None = None, **fields: Any
) -> httpx2.Response:
    data = {name.replace("__", "[]"): value for name, value in fields.items()}
    file = wav(2.0) if audio is None else audio
    return await http.post(path, data=data, files={"file": ("../../etc/passwd", file)})


class Plain:
    """A recogniser whose family has no options."""

    def hear(self, prior: str = "") -> Any:
        return FakeRecogniser(HEARD).hear(prior)

    async def warm(self) -> None:
        pass


def recogniser(gateway: Gateway) -> FakeRecogniser:
    found = gateway.assistant.stages.recogniser.recogniser
    assert isinstance(found, FakeRecogniser)
    return found


async def test_json_has_the_text_and_what_it_cost(http: httpx2.AsyncClient) -> None:
    answer = await post(http, model="whisper-1")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"text": HEARD, "usage": {"type": "duration", "seconds": 2.0}}


async def test_text_is_the_text(http: httpx2.AsyncClient) -> None:
    answer = await post(http, response_format="text")
    assert answer.text == f"{HEARD}\n"
    assert answer.headers["content-type"].startswith("text/plain")


async def test_verbose_json_has_segments_and_words(http: httpx2.AsyncClient) -> None:
    answer = await post(
        http, response_format="verbose_json", timestamp_granularities__=["word", "segment"]
    )
    told = answer.json()
    assert (told["task"], told["language"], told["duration"]) == ("transcribe", "en", 2.0)
    (segment,) = told["segments"]
    wanted = (
        "id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob"
    )
    assert sorted(segment) == sorted(wanted.split())
    assert (segment["text"], segment["start"]) == (HEARD, 0.0)
    assert [word["word"] for word in told["words"]] == HEARD.split()
    times = [at for word in told["words"] for at in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[-1] <= 2.1


async def test_only_what_is_asked_for_is_timed(http: httpx2.AsyncClient) -> None:
    answer = await post(http, response_format="verbose_json")
    assert "words" not in answer.json()
    answer = await post(http, response_format="verbose_json", timestamp_granularities__="word")
    assert "segments" not in answer.json()


async def test_captions_begin_when_something_is_said(http: httpx2.AsyncClient) -> None:
    audio = wav(0.0, 1.0, 2.0)
    answer = await post(http, audio=audio, response_format="srt")
    lines = answer.text.split("\n")
    assert lines[0] == "1"
    assert lines[2] == HEARD
    assert lines[1].startswith("00:00:00,8")
    answer = await post(http, audio=audio, response_format="vtt")
    assert answer.text.startswith("WEBVTT\n\n00:00:00.8")
    assert answer.headers["content-type"].startswith("text/vtt")


async def test_silence_has_no_words(http: httpx2.AsyncClient) -> None:
    silence = wav(0.0, 1.0)
    assert (await post(http, audio=silence)).json()["text"] == ""
    assert (await post(http, audio=silence, response_format="vtt")).text == "WEBVTT\n"
    assert (await post(http, audio=silence, response_format="srt")).text == ""
    verbose = (await post(http, audio=silence, response_format="verbose_json")).json()
    assert (verbose["text"], verbose["segments"]) == ("", [])
    streamed = await post(http, audio=silence, stream="true")
    assert [event["type"] for event in events(streamed.text)] == ["transcript.text.done"]


def events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_stream_has_each_utterance_and_then_all(http: httpx2.AsyncClient) -> None:
    answer = await post(http, audio=wav(1.0, 3.0, 1.0), stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, second, done = events(answer.text)
    assert first == {"type": "transcript.text.delta", "delta": HEARD}
    assert second["delta"] == f" {HEARD}"
    assert done["text"] == first["delta"] + second["delta"]
    assert done["usage"] == {"type": "duration", "seconds": 5.0}


async def test_what_is_asked_of_the_recogniser_reaches_it(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    answer = await post(
        http, language="de", prompt="Ada Lovelace", keywords__=["Babbage", "Analytical Engine"]
    )
    assert answer.status_code == 200
    wanted = HearingOptions("de", ("Babbage", "Analytical Engine"), "Ada Lovelace")
    assert recogniser(gateway).asked == [wanted]
    await post(http, languages__=["en", "ar"])
    assert recogniser(gateway).asked[-1] == HearingOptions("en,ar")


async def test_a_translation_is_into_english(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    answer = await post(http, "/v1/audio/translations", response_format="verbose_json")
    told = answer.json()
    assert (told["task"], told["language"], told["text"]) == ("translate", "en", HEARD)
    assert recogniser(gateway).asked == [HearingOptions("auto", translate=True)]


async def test_a_recogniser_that_cannot_translate_says_so(
    http: httpx2.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = gateway.assistant.stages
    plain = FilteredRecogniser(Plain(), PassAll())
    monkeypatch.setattr(gateway.assistant, "stages", replace(stages, recogniser=plain))
    answer = await post(http, "/v1/audio/translations")
    assert answer.status_code == 400
    assert "does not translate" in answer.json()["error"]["message"]
    assert (await post(http, prompt="a hint is no demand")).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "docx"}, "response_format"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "7"}, "temperature"),
        ({"timestamp_granularities__": "letter"}, "timestamp_granularities[0]"),
        ({"chunking_strategy": "now and then"}, "chunking_strategy"),
        ({"chunking_strategy": '{"type":"server_vad","threshold":7}'}, "chunking_strategy"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"prompt": "a" * 9000}, "prompt"),
    ],
)
async def test_what_cannot_be_kept_is_refused_by_its_name(
    http: httpx2.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await post(http, **fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].replace("[]", "") == param


async def test_unknown_fields_are_accepted(http: httpx2.AsyncClient) -> None:
    answer = await post(http, include__="logprobs", temperature="0.2", newest="thing")
    assert answer.status_code == 200


async def test_models_and_languages_that_are_not_here(http: httpx2.AsyncClient) -> None:
    answer = await post(http, model="parrot-1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    answer = await post(http, language="no language")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_language")


@pytest.mark.parametrize("audio", [b"", b"no sound at all", b"#EXTM3U\n/etc/passwd\n"])
async def test_what_is_no_recording_is_refused(http: httpx2.AsyncClient, audio: bytes) -> None:
    answer = await post(http, audio=audio)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")
    assert "passwd" not in answer.text


async def test_a_file_is_needed(http: httpx2.AsyncClient) -> None:
    answer = await http.post(PATH, data={"model": "whisper-1"}, files={"other": b"x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    answer = await http.post(PATH, files={"file": wav(1.0), "model": b"whisper-1"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    answer = await http.post(PATH, json={})
    assert answer.json()["error"]["code"] == "invalid_content_type"


def test_a_chunking_strategy_is_an_end_pointer() -> None:
    usual = Endpointing()
    assert endpointing_of("auto", usual) == endpointing_of("", usual)
    text = (
        '{"type":"server_vad","silence_duration_ms":"700","threshold":0.4,"prefix_padding_ms":100}'
    )
    cut = endpointing_of(text, usual)
    assert (cut.threshold, cut.before_ms, cut.wait_ms(None)) == (0.4, 100, 700)
    with pytest.raises(ApiError):
        endpointing_of('{"type":"semantic"}', usual)


async def test_an_object_may_be_written_as_a_form_has_it(http: httpx2.AsyncClient) -> None:
    data = {
        "chunking_strategy[type]": "server_vad",
        "chunking_strategy[silence_duration_ms]": "300",
    }
    audio = wav(1.0, 0.8, 1.0)
    answer = await http.post(PATH, data=data, files={"file": audio})
    assert answer.json()["text"] == f"{HEARD} {HEARD}"
    assert (await post(http, audio=audio)).json()["text"] == HEARD


async def test_an_upload_has_its_limits(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    gateway.settings = replace(gateway.settings, longest_audio_s=3.0, longest_upload_mb=1)
    answer = await post(http, audio=wav(4.0))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_long")
    answer = await post(http, audio=wav(4.0), stream="true")
    assert answer.status_code == 413
    answer = await post(http, audio=b"x" * (3 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert (await post(http, audio=wav(2.9))).status_code == 200


@pytest.mark.parametrize("stream", ["", "true"])
async def test_an_error_of_the_recogniser_is_the_server_s_affair(
    http: httpx2.AsyncClient, gateway: Gateway, stream: str
) -> None:
    class Broken(Plain):
        def hear(self, prior: str = "") -> Any:
            raise InferenceFailed("at /home/ana/models/encoder")

    stages = gateway.assistant.stages
    broken = FilteredRecogniser(Broken(), PassAll())
    gateway.assistant.stages = replace(stages, recogniser=broken)
    answer = await post(http, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "ana" not in answer.text
    assert gateway.limits.sessions == 0
