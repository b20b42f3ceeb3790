"""The gateway with the demo's models, as a process of its own: these tests know it by its clients
alone, and import nothing of it but the plugins.

They run in an environment of their own (`make test-clients`), beside openai, Pipecat and LiveKit.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from openai import AsyncOpenAI, OpenAI

ROOT = Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("VOXTURN", str(ROOT / ".venv/bin/voxturn"))
QUESTION = ROOT / "runtime/demo/question.wav"
ASKED = "what is the capital of france"
TEXT = "Please remember to close the windows before you leave the house tonight."
MP3_FRAME_S = 1152 / 24_000
"""MP3's frames are the longest of the formats, and come whole."""

LONG = "Tell a long story about a fox, a crow and a piece of cheese."
"""What is not answered before somebody speaks over it."""

RATE = 24_000
"""Of what the clients hear and say, in Hz."""

MOST_S = 60.0
"""Longer than anything takes that will ever come."""

Pcm = npt.NDArray[np.int16]

pytest_plugins = ["clients.chromium"]

CALL = """<tool_call>
{"name": "weather", "arguments": {"city": "Paris"}}
</tool_call>"""
"""What the model of the profile `caller` answers, as Qwen3 writes it."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the gateway with the demo's models is, as `http://127.0.0.1:PORT`."""
    with served("demo") as where:
        yield where


@pytest.fixture(scope="session")
def calling_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway whose model calls `weather` at every question: the demo's takes no tools."""
    with served(fake_profile(tmp_path_factory.mktemp("caller"), CALL)) as where:
        yield f"{where}/v1"


def fake_profile(folder: Path, answer: str, *further: str, gateway: str = "") -> str:
    """A profile whose model gives this answer, and `further` once its calls have their results.
    `gateway`: lines of the table of that name."""
    write = "import sys, pathlib; from voxturn.runtime.families.fake import write_profile; "
    write += "place, answer, *further = sys.argv[1:]; "
    write += "print(write_profile(pathlib.Path(place), answer=answer, further=further))"
    path = printed("-c", write, str(folder / "profile"), answer, *further)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"\n[gateway]\n{gateway}\n")
    return path


def printed(*arguments: str) -> str:
    """What a program of the gateway's own environment prints."""
    python = Path(COMMAND).with_name("python")
    done = subprocess.run(
        [python, "-P", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stdout.strip()


@contextmanager
def served(profile: str, database: Path | None = None) -> Iterator[str]:
    """A gateway in a process of its own, which has to end well."""
    with tempfile.TemporaryDirectory() as folder:  # the developer's own keys stay out of it
        command = [COMMAND, "serve", "gateway", "--profile", profile, "--port", "0"]
        command += ["--database", str(database or Path(folder) / "gateway.sqlite")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with _ending(server) as where:
            yield where


@contextmanager
def _ending(server: subprocess.Popen[str]) -> Iterator[str]:
    try:
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        assert line.startswith("http://"), "the gateway did not start"
        yield line
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


@pytest.fixture(scope="session")
def base_url(address: str) -> str:
    """What users of OpenAI's clients set in place of its own."""
    return f"{address}/v1"


def pcm_of(path: Path, rate: int) -> Pcm:
    """A mono WAV file's samples at another rate, linearly interpolated: good enough to be heard."""
    with wave.open(str(path)) as file:
        own = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    if own == rate:
        return samples.copy()
    at = np.arange(0, samples.size - 1, own / rate)
    return np.interp(at, np.arange(samples.size), samples).astype(np.int16)


@pytest.fixture(scope="session")
def question() -> Pcm:
    """Someone asks for the capital of France: 24 kHz, with a second of silence after it."""
    return np.concatenate([pcm_of(QUESTION, 24_000), np.zeros(24_000, np.int16)])


def pieces(sound: Pcm) -> list[bytes]:
    """Sound as a microphone gives it: 20 ms at a time."""
    size = RATE // 50
    return [sound[begin : begin + size].tobytes() for begin in range(0, sound.size, size)]


def words(text: str) -> str:
    """A text as its words alone, in small letters; 's is written out, as Whisper's own measure of
    errors does, since nobody hears "France's Paris" and "France is Paris" apart.
    """
    text = re.sub(r"['\u2019]s\b", " is", text.lower())
    kept = "".join(char if char.isalnum() or char == " " else " " for char in text)
    return " ".join(kept.split())


def wav_of(pcm: bytes, rate: int = RATE) -> bytes:
    """16-bit mono PCM as a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframesraw(pcm)
    return out.getvalue()


async def heard(url: str, pcm: bytes, rate: int = RATE) -> str:
    """The words that the gateway hears in 16-bit mono PCM."""
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        answer = await client.audio.transcriptions.create(
            file=("answer.wav", wav_of(pcm, rate)), model="whisper-1"
        )
    return words(answer.text)


@pytest.fixture(scope="session")
def whole_s(base_url: str) -> float:
    """How long the text that every client has spoken is, in seconds, as PCM."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        answer = client.audio.speech.create(
            model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format="pcm"
        )
    return len(answer.content) / 2 / RATE
