"""The gateway on XTTS with synthetic weights: a voice that a client adds speaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.encode import to_int16, wav_header
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import Engine, SpeakEngine, load_profile

from tests.tiny.conftest import Tiny
from tests.voiced import voiced


async def test_a_voice_that_a_client_adds_speaks(tiny: Tiny, tmp_path: Path) -> None:
    model = str(tiny.short)
    profile = replace(
        load_profile(write_profile(tmp_path / "fake")),
        speak=SpeakEngine(model, "onnx", "int8", seed=1),
        vocode=Engine(model, "onnx", "int8"),
    )
    store = Store(tmp_path / "store")
    async with Assistant.load(profile, store) as assistant:
        gateway = Gateway(assistant)
        async with (
            serving(gateway, Address(port=0)) as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as http,
        ):
            names = {each["name"] for each in (await http.get("/v1/audio/voices")).json()["data"]}
            said = {}
            for number, name in enumerate(("One", "Two")):
                samples = to_int16(voiced(3.5 + number))
                answer = await http.post(
                    "/v1/audio/voices",
                    data={"name": name, "consent": "true"},
                    files={"audio_sample": wav_header(16_000, len(samples)) + samples},
                )
                assert answer.status_code == 200, answer.text
                body = {"input": "Hello.", "voice": name, "response_format": "pcm"}
                answer = await http.post("/v1/audio/speech", json=body)
                assert answer.status_code == 200, answer.text
                said[name] = np.frombuffer(answer.content, "<i2")
                assert said[name].size > 1000
            one, two = said.values()
            assert one.size != two.size or not np.array_equal(one, two)
            listed = (await http.get("/v1/audio/voices")).json()["data"]
            assert {each["name"] for each in listed} - names == {"One", "Two"}
            assert (await http.delete("/v1/audio/voices/One")).status_code == 200
            body = {"input": "Hello.", "voice": "One"}
            assert (await http.post("/v1/audio/speech", json=body)).status_code == 404
            speed = {"input": "Hello.", "voice": "Two", "speed": 2.0, "response_format": "pcm"}
            fast = (await http.post("/v1/audio/speech", json=speed)).content
            assert 0 < len(fast) < 0.7 * two.nbytes
