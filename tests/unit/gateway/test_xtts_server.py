"""XTTS's streaming server, as Pipecat's service and its own client ask."""

from __future__ import annotations

import base64
import io
import wave

import httpx2
import pytest
from voxturn.runtime.gateway.core import Gateway

from tests.unit.gateway.cloning_voice import MOST, cloning, store  # noqa: F401  fixtures
from tests.unit.gateway.scripted_voice import ScriptedVoice, speak_with
from tests.unit.gateway.test_audio_voices import as_key, code, listed, recording


@pytest.fixture
def voice(gateway: Gateway) -> ScriptedVoice:
    voice = ScriptedVoice(22_050, speakers=("Ana", "Ben"))
    speak_with(gateway, voice)
    return voice


async def test_what_pipecat_sends_is_spoken(voice: ScriptedVoice, http: httpx2.AsyncClient) -> None:
    speakers = (await http.get("/studio_speakers")).json()
    assert list(speakers) == ["default", "Ana", "Ben"]
    body = {
        "text": "Hello there",
        "language": "de",
        "speaker_embedding": speakers["Ben"]["speaker_embedding"],
        "gpt_cond_latent": speakers["Ben"]["gpt_cond_latent"],
        "add_wav_header": False,
        "stream_chunk_size": 20,
    }
    answer = await http.post("/tts_stream", json=body)
    assert answer.status_code == 200
    assert abs(len(answer.content) / 48_000 - 0.05 * 11) < 1e-3  # 24 kHz of 16 bits
    (options,) = voice.chosen
    assert (options.speaker, options.language) == ("Ben", "de")


async def test_with_a_header_it_is_a_wav_of_24_khz(
    voice: ScriptedVoice, http: httpx2.AsyncClient
) -> None:
    body = {"text": "Hello", "language": "en", "stream_chunk_size": "20"}
    body |= {"speaker_embedding": "default", "gpt_cond_latent": "default"}
    answer = await http.post("/tts_stream", json=body)
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == 24_000
        assert abs(len(file.readframes(1 << 24)) - 12_000) < 8
    whole = base64.b64decode((await http.post("/tts", json=body)).json())
    assert len(whole) == len(answer.content)
    assert int.from_bytes(whole[40:44], "little") == len(whole) - 44


@pytest.mark.parametrize(
    "latents",
    [
        {"speaker_embedding": [0.1], "gpt_cond_latent": [[0.2]]},
        {"speaker_embedding": "Ana", "gpt_cond_latent": "Ben"},
        {"speaker_embedding": "Ana"},
    ],
)
async def test_what_is_no_token_is_refused(
    voice: ScriptedVoice, http: httpx2.AsyncClient, latents: dict[str, object]
) -> None:
    for path in ("/tts_stream", "/tts"):
        answer = await http.post(path, json={"text": "Hello", "language": "en"} | latents)
        assert code(answer) == (400, "invalid_value")
    answer = await http.post("/tts_stream", json={"text": " ", "language": "en"})
    assert code(answer) == (400, "empty_text")


async def test_languages_are_listed(voice: ScriptedVoice, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/languages")).json() == ["en", "de"]


@pytest.mark.usefixtures("cloning")
async def test_a_cloned_speaker_s_token_speaks_for_its_key(http: httpx2.AsyncClient) -> None:
    async def cloned(key: str, seconds: float) -> httpx2.Response:
        files = {"wav_file": ("a.wav", recording(seconds), "audio/wav")}
        return await http.post("/clone_speaker", files=files, headers=as_key(key))

    token = (await cloned("ann", 4.0)).json()
    assert token["speaker_embedding"] == token["gpt_cond_latent"]
    assert len(token["speaker_embedding"]) < 30
    assert (await cloned("ann", 4.0)).json() == token  # the same recording is the same voice
    body = {"text": "Hello", "language": "en"} | token
    said = await http.post("/tts_stream", json=body, headers=as_key("ann"))
    assert said.status_code == 200
    other = await http.post("/tts_stream", json=body, headers=as_key("bob"))
    assert code(other) == (404, "voice_not_found")
    speakers = (await http.get("/studio_speakers", headers=as_key("ann"))).json()
    assert len(speakers) == 3
    assert len(await listed(http, "ann")) == len(await listed(http, "bob")) + 1
    for number in range(1, MOST):
        assert (await cloned("ann", 4.0 + number)).status_code == 200
    assert code(await cloned("ann", 9.0)) == (409, "voice_limit_reached")


async def test_a_voice_that_does_not_clone_says_so(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/clone_speaker", files={"wav_file": b"x"})
    assert code(answer) == (400, "voice_cannot_clone")
