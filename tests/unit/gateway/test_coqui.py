"""Coqui's `tts-server` and MaryTTS, as their clients ask."""

from __future__ import annotations

import asyncio
import io
import wave

import httpx2
import pytest
from voxturn.runtime.gateway.core import Gateway

from tests.unit.gateway.scripted_voice import ScriptedVoice, speak_with


@pytest.fixture
def voice(gateway: Gateway) -> ScriptedVoice:
    voice = ScriptedVoice(22_050, speakers=("Ana", "Ben C"))
    speak_with(gateway, voice)
    return voice


def seconds(answer: httpx2.Response) -> float:
    """Of a whole WAV file, which says its own length."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert int.from_bytes(answer.content[4:8], "little") == len(answer.content) - 8
    with wave.open(io.BytesIO(answer.content)) as file:
        assert len(answer.content) == 44 + 2 * file.getnframes()
        assert file.getframerate() == 22_050
        return file.getnframes() / file.getframerate()


@pytest.mark.parametrize("way", ["query", "form", "multipart", "headers"])
async def test_a_text_is_said_however_it_is_asked(
    voice: ScriptedVoice, http: httpx2.AsyncClient, way: str
) -> None:
    values = {"text": "hello", "speaker_id": "Ben C", "language_id": "de", "style_wav": "/etc/x"}
    if way == "query":
        answer = await http.get("/api/tts", params=values)
    elif way == "form":
        answer = await http.post("/api/tts", data=values)
    elif way == "multipart":
        files = {name: (None, value) for name, value in values.items()}
        answer = await http.post("/api/tts", files=files)
    else:
        headers = {name.replace("_", "-"): value for name, value in values.items()}
        answer = await http.post("/api/tts", headers=headers)
    assert seconds(answer) == pytest.approx(0.25, abs=1e-4)
    (options,) = voice.chosen
    assert (options.speaker, options.language) == ("Ben C", "de")


async def test_empty_ids_are_the_voice_as_it_is(
    voice: ScriptedVoice, http: httpx2.AsyncClient
) -> None:
    assert seconds(await http.get("/api/tts?text=hello&speaker_id=&language_id=&style_wav=")) > 0
    assert voice.chosen == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "empty_text"),
        ("text=+", 400, "empty_text"),
        ("text=hello&speaker_id=Cid", 404, "voice_not_found"),
        ("text=hello&language_id=xx", 400, "unsupported_language"),
        (f"text={'x' * 5000}", 413, "text_too_long"),
        (f"text=hello&speaker_id={'x' * 300}", 400, "invalid_value"),
    ],
)
async def test_errors_have_one_form(
    voice: ScriptedVoice, http: httpx2.AsyncClient, query: str, status: int, code: str
) -> None:
    answer = await http.get(f"/api/tts?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("body", [b"\xff\xfe=\xff", b"&".join([b"a=b"] * 100), b"x" * (2 << 20)])
async def test_a_form_that_is_none_is_refused(
    voice: ScriptedVoice, http: httpx2.AsyncClient, body: bytes
) -> None:
    answer = await http.post("/api/tts", content=body)
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_what_there_is_is_listed(voice: ScriptedVoice, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/api/speakers")).json() == ["Ana", "Ben C"]
    assert (await http.get("/api/languages")).json() == ["en", "de"]
    assert (await http.get("/voices")).text == "Ana en u\nBen C en u\n"
    assert (await http.get("/locales")).text == "en\nde\n"


async def test_a_voice_without_speakers_has_one_line(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/voices")).text == "default en u\n"
    assert (await http.get("/api/speakers")).json() == []


@pytest.mark.parametrize("post", [False, True])
async def test_marytts_is_answered(
    voice: ScriptedVoice, http: httpx2.AsyncClient, post: bool
) -> None:
    values = {
        "INPUT_TEXT": "hello",
        "INPUT_TYPE": "TEXT",
        "OUTPUT_TYPE": "AUDIO",
        "AUDIO": "WAVE_FILE",
        "LOCALE": "de_DE",
        "VOICE": "Ana",
    }
    asked = http.post("/process", data=values) if post else http.get("/process", params=values)
    assert seconds(await asked) == pytest.approx(0.25, abs=1e-4)
    (options,) = voice.chosen
    assert (options.speaker, options.language) == ("Ana", "de")


async def test_a_locale_that_it_does_not_speak_is_not_heeded(
    voice: ScriptedVoice, http: httpx2.AsyncClient
) -> None:
    assert seconds(await http.get("/process?INPUT_TEXT=hello&LOCALE=fr_FR")) > 0
    assert voice.chosen == []


@pytest.mark.parametrize(
    "wrong", ["AUDIO=MP3_FILE", "INPUT_TYPE=RAWMARYXML", "OUTPUT_TYPE=ALLOPHONES", "INPUT_TEXT="]
)
async def test_what_marytts_can_do_besides_is_refused(
    voice: ScriptedVoice, http: httpx2.AsyncClient, wrong: str
) -> None:
    text = "" if wrong.startswith("INPUT_TEXT") else "INPUT_TEXT=hello&"
    answer = await http.get(f"/process?{text}{wrong}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == wrong.partition("=")[0]


@pytest.mark.parametrize("path", ["/api/tts?text=", "/process?INPUT_TEXT="])
async def test_a_client_that_leaves_stops_the_voice(gateway: Gateway, port: int, path: str) -> None:
    voice = ScriptedVoice(at=1, holds=True)
    speak_with(gateway, voice)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path}hello HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        await voice.begun.wait()
        writer.close()
        await voice.closed.wait()
    assert len(voice.texts_said) == 1
