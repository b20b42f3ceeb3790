"""`/v1/audio/conversions`: an upload in another voice, by a fake converter."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.encode import to_int16, wav_header
from voxturn.runtime.errors import AudioError
from voxturn.runtime.families.base import ConversionOptions
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.speeches import Speeches
from voxturn.runtime.messages import PcmChunk, Samples, Sentence

from tests.voiced import voiced

PATH = "/v1/audio/conversions"
RATE = 16_000


@dataclass
class Halves:
    """A converter that gives everything half as loud; references that are quiet are refused."""

    asked: list[ConversionOptions] = field(default_factory=list)
    rate: int = RATE
    delay_s: float = 0.0

    async def __call__(
        self, audio: AsyncIterator[Samples], rate: int
    ) -> AsyncGenerator[PcmChunk, None]:
        start = 0
        async for samples in audio:
            yield PcmChunk(samples / 2, self.rate, start, Sentence("", 0))
            start += samples.size

    def using(self, options: ConversionOptions) -> Halves:
        self.asked.append(options)
        for reference in options.to or ():
            assert isinstance(reference, io.BytesIO)
            if np.abs(decode_all(reference, RATE)).max() < 0.01:
                raise AudioError(f"{reference.name}: holds no speech")
        return dataclasses.replace(self)

    async def warm(self) -> None:
        """Nothing to do."""


@pytest.fixture
def converter(gateway: Gateway) -> Halves:
    gateway.assistant.converter = Halves()
    return gateway.assistant.converter


def wav(samples: Samples) -> bytes:
    data = to_int16(samples)
    return wav_header(RATE, len(data)) + data


SPEECH = wav(voiced(1.0))
CONSENT = {"consent": "true", "response_format": "wav"}


async def converted(
    http: httpx2.AsyncClient, fields: dict[str, Any], file: bytes | None, *references: bytes
) -> httpx2.Response:
    files = [("file", ("../../a", file, "audio/wav"))] if file is not None else []
    files += [("reference", (f"{i}", each, "audio/wav")) for i, each in enumerate(references)]
    return await http.post(PATH, data=fields, files=files)


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_an_upload_is_given_the_voice_of_references(
    http: httpx2.AsyncClient, converter: Halves
) -> None:
    fields = CONSENT | {"seed": "7", "noise": "0.25"}
    answer = await converted(http, fields, SPEECH, SPEECH, SPEECH)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/wav"
    assert "first audio" in answer.headers["server-timing"]
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, voiced(1.0) / 2, atol=1e-3)
    (asked,) = converter.asked
    assert (len(asked.to or ()), asked.seed, asked.noise) == (2, 7, 0.25)


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_every_format_is_given(
    http: httpx2.AsyncClient, converter: Halves, form: str
) -> None:
    answer = await converted(http, {"response_format": form}, SPEECH)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) > 500
    assert converter.asked[0].to is None


async def test_without_a_converter_it_says_so(http: httpx2.AsyncClient) -> None:
    assert code(await converted(http, CONSENT, SPEECH)) == (404, "model_not_found")


async def test_what_cannot_be_converted_is_refused(
    http: httpx2.AsyncClient, converter: Halves, gateway: Gateway
) -> None:
    silence = wav(np.zeros(RATE, np.float32))
    cases: list[tuple[dict[str, str], bytes | None, tuple[bytes, ...], tuple[int, str]]] = [
        ({}, SPEECH, (SPEECH,), (400, "consent_required")),
        ({"consent": "No"}, SPEECH, (SPEECH,), (400, "consent_required")),
        (CONSENT, None, (SPEECH,), (400, "missing_file")),
        (CONSENT, b"no audio at all", (), (400, "invalid_audio")),
        (CONSENT, wav(np.zeros(0, np.float32)), (), (400, "invalid_audio")),
        (CONSENT, SPEECH, (b"no audio at all",), (400, "invalid_audio")),
        (CONSENT, SPEECH, (silence,), (400, "invalid_audio")),
        (CONSENT, SPEECH, (SPEECH,) * 9, (400, "invalid_value")),
        (CONSENT | {"noise": "9"}, SPEECH, (), (400, "invalid_value")),
        (CONSENT | {"seed": "-1"}, SPEECH, (), (400, "invalid_value")),
        (CONSENT | {"response_format": "midi"}, SPEECH, (), (400, "invalid_value")),
        (CONSENT | {"reference": "ana"}, SPEECH, (), (400, "invalid_value")),
    ]
    for fields, file, references, wanted in cases:
        answer = await converted(http, fields, file, *references)
        assert code(answer) == wanted, (fields, answer.text)
    assert "the reference" in (await converted(http, CONSENT, SPEECH, silence)).text
    gateway.settings = replace(gateway.settings, longest_audio_s=0.2)
    assert code(await converted(http, CONSENT, SPEECH)) == (413, "audio_too_long")
    gateway.settings = replace(gateway.settings, longest_upload_mb=1)
    long = wav(np.zeros(RATE * 60, np.float32))
    assert code(await converted(http, CONSENT, long)) == (413, "request_too_large")
    assert gateway.speeches.taken == 0


async def test_it_takes_a_place_of_those_that_are_spoken(
    http: httpx2.AsyncClient, converter: Halves, gateway: Gateway
) -> None:
    places = OwnPlaces(1)
    gateway.speeches = Speeches(places, 0)
    taken = places.take("somebody", 1)
    assert isinstance(taken, int)
    assert code(await converted(http, CONSENT, SPEECH)) == (429, "too_many_requests")
    places.leave(taken)
    assert (await converted(http, CONSENT, SPEECH)).status_code == 200
