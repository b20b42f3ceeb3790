"""Sound as tensors that no microphone gives: the served models answer it or say in an error of ours
what is wrong, in time and within bounds, and go on."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.xtts import family
from voxturn.runtime.families.xtts.voices import Cloner
from voxturn.runtime.messages import Samples
from voxturn.runtime.remote.contract import LONGEST_AUDIO_S
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.handlers import HANDLERS

from tests import triton_fakes
from tests.artifacts import XTTS, FakeBackends
from tests.security.storm import check_error
from tests.security.test_requests import Wide, profile_of
from tests.unit.test_options import GRAPHS
from tests.voiced import voiced

RATE = 16000
LONGEST_S = 5.0
MOST_MB = 500.0
INPUTS = {"whisper": "audio", "voice_turn": "audio", "xtts": "reference"}
BEGINS, ENDS = 1, 2
SPEECH = voiced(3.0, rate=RATE).astype(np.float32)
_MANY = int(LONGEST_AUDIO_S * RATE)


def full(value: float, size: int = 2 * RATE) -> Samples:
    return np.full(size, value, np.float32)


def mixed(value: float) -> Samples:
    """Speech with one sample of another kind."""
    samples = SPEECH.copy()
    samples[RATE] = value
    return samples


SOUNDS: dict[str, tuple[np.ndarray[Any, Any], str]] = {
    "nothing": (full(0.0, 0), "EmptyAudio"),
    "NaN": (full(np.nan), "InvalidSamples"),
    "one NaN": (mixed(np.nan), "InvalidSamples"),
    "infinite": (full(np.inf), "InvalidSamples"),
    "one infinite": (mixed(-np.inf), "InvalidSamples"),
    "as large as numbers go": (full(3.4e38), "InvalidSamples"),
    "one that is huge": (mixed(-3e38), "InvalidSamples"),
    "whole numbers beyond 32 bits": (full(2.0**31), "InvalidSamples"),
    "too long": (full(0.1, _MANY + 1), "AudioTooLong"),
    "doubles that overflow": (np.full(RATE, 1e300), "UsageError"),
    "one sample": (full(0.5, 1), ""),
    "two samples": (full(0.5, 2), ""),
    "denormal": (full(1e-42), ""),
    "the smallest denormal": (full(-1e-45), ""),
    "silence": (full(0.0), ""),
    "a constant": (full(1.0), ""),
    "a constant below 0": (full(-0.5), ""),
    "16 bits as they are": (np.rint(mixed(1.0) * 32767), ""),
    "at the bound": (full(1e6), ""),
    "from one bound to the other": (np.resize(np.array([1e6, -1e6], np.float32), RATE), ""),
    "16 bits, whole numbers": (np.full(RATE, -32768, np.int16), "UsageError"),
    "32 bits, whole numbers": (np.full(RATE, -(2**31), np.int32), "UsageError"),
}
"""Each with the error that is expected of every model; empty: an answer, or any of our errors."""


class Ears(Cloner):
    """Hears recordings as the cloner does; its graphs have no opinion."""

    def __init__(self) -> None:
        self._clone = {"rate": 22050, "max_ref_len": 30}
        self._embed = {"rate": RATE}

    def embedding(self, samples: Samples) -> Samples:
        assert np.isfinite(samples).all()
        return np.zeros(512, np.float32)

    def latents(self, samples: Samples) -> Samples:
        assert np.isfinite(samples).all()
        return np.zeros((32, XTTS["gpt_n_model_channels"]), np.float32)


@dataclass(frozen=True)
class Served:
    """A model and what answers its requests."""

    model: str
    backend: Backend

    def asked(self, sound: np.ndarray[Any, Any]) -> triton_fakes.Asked:
        inputs = {INPUTS[self.model]: sound}
        if self.model == "xtts":
            inputs |= {"text": np.array([b"Hello."], np.object_)}
        return triton_fakes.Asked(inputs)

    def error_of(self, asked: triton_fakes.Asked) -> str:
        """What a request ends in, in time and in little memory; empty for an answer."""
        tracemalloc.start()
        began = time.monotonic()
        try:
            self.backend.execute([asked])
            assert asked.sender.done.wait(LONGEST_S)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert time.monotonic() - began < LONGEST_S
        assert peak < MOST_MB * 1e6
        response, _ = asked.sender.sent[-1]
        error = response[1] if response is not None else None
        if error:
            check_error(error, asked.tensors)
        return error or ""


@pytest.fixture(scope="module", params=sorted(INPUTS))
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    model, folder = request.param, tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("VOXTURN_HOME", str(folder / "home"))
        fake = FakeBackends()
        fake.graph = lambda role: FakeGraph(GRAPHS.get(role, dict))
        fake.decoder = lambda role, slots, capacity: Wide(lambda ids: 0, 300, slots, capacity)
        fake.install(monkeypatch)
        monkeypatch.setattr(family, "cloner", lambda parts: Ears())
        profile = profile_of(folder, "xtts-onnx" if model == "xtts" else "vits")
        backend = Backend(triton_fakes.Utilities, model, HANDLERS[model](profile))
        try:
            made = Served(model, backend)
            assert made.error_of(made.asked(SPEECH)) == ""  # its threads are there
            yield made
        finally:
            backend.close()


@pytest.mark.parametrize("name", SOUNDS)
def test_every_sound_ends_in_an_answer_or_a_typed_error(name: str, served: Served) -> None:
    sound, expected = SOUNDS[name]
    error = served.error_of(served.asked(sound))
    if expected:
        assert error.startswith(f"{expected}: "), error
    assert served.error_of(served.asked(SPEECH)) == ""  # it goes on


@pytest.mark.parametrize("served", ["whisper"], indirect=True)
@pytest.mark.parametrize("name", [n for n, (_, error) in SOUNDS.items() if error != "UsageError"])
def test_a_piece_of_an_utterance_is_judged_like_a_whole_one(name: str, served: Served) -> None:
    sound, expected = SOUNDS[name]
    speech = {"audio": SPEECH}
    number = 1 + list(SOUNDS).index(name)
    first = triton_fakes.Asked(speech, sequence=number, flag=BEGINS)
    assert served.error_of(first) == ""
    piece = triton_fakes.Asked({"audio": sound}, sequence=number)
    error = served.error_of(piece)
    assert error.startswith(f"{expected}: ") if expected else not error, error
    last = served.error_of(triton_fakes.Asked(speech, sequence=number, flag=ENDS))
    assert last.startswith("ForgottenSequence: ") if expected else not last, last
