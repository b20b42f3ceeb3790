"""Whatever strangers send, every request ends, in an answer or in an error that says what was
wrong, and the models go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.errors import EmptyAudio
from voxturn.runtime.executors.fake import FakeDecoder, FakeGraph
from voxturn.runtime.families.xtts import family
from voxturn.runtime.profile import FilterSettings, Profile, SpeakEngine
from voxturn.runtime.protocols import Outputs
from voxturn.runtime.remote.contract import CANARY, OPEN
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.handlers import HANDLERS
from voxturn.runtime.serving.health import silent

from tests import triton_fakes
from tests.artifacts import XTTS, FakeBackends, all_kinds, on_cpu
from tests.e2e.conftest import demo_models as demo_models
from tests.security.storm import check_error, http_storm, storm
from tests.security.strangers import Asked, Strangers
from tests.triton.conftest import ROOT, Running, memory_mb, serve
from tests.unit.test_options import GRAPHS

DEMO = ROOT / "runtime/profiles/demo.toml"


def profile_of(folder: Path, voice: str) -> Profile:
    """A profile on artifacts without a model, with an engine of each kind."""
    folders = all_kinds(folder)
    speak = SpeakEngine(str(folders[voice]), "onnx", max_chars=100)
    return replace(on_cpu(folders), speak=speak, filter=FilterSettings(kind="off"))


class Mute:
    """Finds no speech in any recording."""

    def clone(self, name: str, recordings: list[Path]) -> None:
        raise EmptyAudio(f"{len(recordings)} recordings without speech")


class Wide(FakeDecoder):
    """Its hidden states are as wide as the voice's latents."""

    def run(self, *args: Any) -> Outputs:
        outputs = super().run(*args)
        return replace(outputs, hidden=np.repeat(outputs.hidden, XTTS["gpt_n_model_channels"], 1))


@pytest.mark.parametrize(
    ("model", "voice"),
    [
        ("whisper", "xtts-onnx"),
        ("qwen3", "xtts-onnx"),
        ("xtts", "xtts-onnx"),
        ("xtts_vocoder", "xtts-onnx"),
        ("vits", "vits"),
        ("voice_turn", "vits"),
    ],
)
def test_every_request_to_a_model_ends_in_an_answer_or_a_typed_error(
    model: str, voice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    fake = FakeBackends()
    fake.graph = lambda role: FakeGraph(GRAPHS.get(role, dict))
    fake.decoder = lambda role, slots, capacity: Wide(lambda ids: 0, 300, slots, capacity)
    fake.install(monkeypatch)
    monkeypatch.setattr(family, "cloner", lambda parts: Mute())
    backend = Backend(triton_fakes.Utilities, model, HANDLERS[model](profile_of(tmp_path, voice)))
    try:
        strangers = Strangers(1, [model], worst=1)
        ended: Counter[str] = Counter()
        for _ in range(50):
            requests = [triton_request(strangers.request()) for _ in range(8)]
            backend.execute(requests)
            for each in requests:
                each.sender.cancelled = OPEN in each.tensors  # or it would go on for ever
                assert each.sender.done.wait(60), each.tensors
                response, _ = each.sender.sent[-1]
                error = response[1] if response is not None else None
                if error:
                    check_error(error, each.tensors)
                ended[error.partition(":")[0] if error else "done"] += 1
        assert ended["done"] > 20
        assert ended["UsageError"] > 20
        canary = triton_fakes.ask(backend, **{CANARY: np.array([True])})
        assert canary.done.wait(10)
    finally:
        backend.close()


def triton_request(asked: Asked) -> triton_fakes.Asked:
    """A request as the server hands it over."""
    if asked.piece is None:
        return triton_fakes.Asked(asked.inputs)
    flags = asked.piece.start * 1 + asked.piece.end * 2
    return triton_fakes.Asked(asked.inputs, sequence=asked.piece.sequence, flag=flags)


MODELS_HERE = ("whisper", "qwen3", "vits", "voice_turn")


@pytest.fixture(scope="module")
def server(demo_models: None) -> Iterator[Running]:
    running = serve(DEMO, MODELS_HERE, "--http")
    yield running
    assert running.stop() == 0


async def test_two_thousand_random_requests_are_answered_and_leave_the_models_as_they_were(
    server: Running,
) -> None:
    await two_thousand(server)  # allocators reach the size that these very requests need
    before = memory_mb(server)
    ended, by_http = await two_thousand(server)
    assert (ended["answered"] > 200, ended["UsageError"] > 200) == (True, True)
    assert (by_http["answered"] > 50, by_http["UsageError"] > 50) == (True, True), by_http
    assert await silent(server.grpc, MODELS_HERE) == []
    assert memory_mb(server) - before < 60


async def two_thousand(server: Running) -> tuple[Counter[str], Counter[str]]:
    """Strangers' requests, the same each time: how they ended, by gRPC and by HTTP."""
    ended = await storm(server.grpc, Strangers(2, MODELS_HERE), 1500)
    return ended, await http_storm(server.http, Strangers(3, MODELS_HERE), 500)
