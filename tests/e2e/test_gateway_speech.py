"""Real models: what the gateway says in each format says its text when it is written down again."""

from __future__ import annotations

import base64
import io
import json

import httpx2
import jiwer
import numpy as np
import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.decode import decode_all, decode_raw
from voxturn.runtime.audio.stream_encode import FORMATS
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.messages import Samples

from tests.e2e.test_demo_turn import _WORDS

TEXT = "The weather is very nice today. We should go outside and have a picnic."
"""One that the demo's recogniser hears without a mistake: so it is the format that is judged."""
pytestmark = [pytest.mark.usefixtures("demo_models"), pytest.mark.slow]


def heard(name: str, data: bytes) -> Samples:
    if name == "pcm":
        return np.concatenate(list(decode_raw(io.BytesIO(data), 24_000, 16_000, 16_000)))
    return decode_all(io.BytesIO(data), 16_000)


async def test_every_format_says_its_text() -> None:
    async with (
        Assistant.load("demo") as assistant,
        serving(Gateway(assistant), Address(port=0)) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120.0) as http,
    ):
        lengths = {}
        for name in FORMATS:
            body = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": name}
            answer = await http.post("/v1/audio/speech", json=body)
            assert answer.status_code == 200, answer.text
            samples = heard(name, answer.content)
            lengths[name] = samples.size / 16_000
            assert await written(assistant, samples) == 0, name
        assert max(lengths.values()) - min(lengths.values()) < 0.2
        body |= {"response_format": "mp3", "stream_format": "sse", "speed": 1.25}
        answer = await http.post("/v1/audio/speech", json=body)
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        deltas = [json.loads(line).get("audio", "") for line in lines]
        samples = heard("mp3", b"".join(base64.b64decode(delta) for delta in deltas))
        assert samples.size / 16_000 < 0.9 * lengths["mp3"]
        assert await written(assistant, samples) <= 0.2
        wav = (await http.get("/api/tts", params={"text": TEXT})).content
        assert await written(assistant, heard("wav", wav)) == 0


async def written(assistant: Assistant, samples: Samples) -> float:
    """The share of words that are heard wrongly."""
    transcript = await assistant.stages.recogniser.hear().final(samples)
    return jiwer.wer(TEXT, transcript.text, reference_transform=_WORDS, hypothesis_transform=_WORDS)
