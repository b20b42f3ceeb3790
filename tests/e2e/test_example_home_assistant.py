"""`examples/home_assistant`: what its files start, asked as Home Assistant asks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from tests.wyoming_client import Client, types

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/home_assistant"
SERVICES = yaml.safe_load((FOLDER / "compose.yml").read_text("utf-8"))["services"]
README = (FOLDER / "README.md").read_text("utf-8")
PORT = 10300


def serving() -> list[str]:
    """The arguments of the command that the container serves with."""
    (line,) = SERVICES["voxturn"]["command"]
    pull, serve = line.split(" && exec voxturn ")
    assert pull == "voxturn models pull --profile demo"
    return shlex.split(serve)


@pytest.fixture(scope="module")
def port(demo_models: None) -> Iterator[int]:
    """Where a process serves by that command: on this machine alone, at a free port."""
    arguments = serving()
    own = {"0.0.0.0": "127.0.0.1", str(PORT): "0"}
    command = [sys.executable, "-P", "-m", "voxturn.runtime", *(own.get(a, a) for a in arguments)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", address), "the server did not start"
        yield int(address.rpartition(":")[2])
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def test_the_command_the_page_and_the_health_check_name_one_port() -> None:
    arguments = serving()
    assert arguments[arguments.index("--port") + 1] == str(PORT)
    assert f"host `voxturn`, port `{PORT}`" in README
    assert str(PORT) in SERVICES["voxturn"]["healthcheck"]["test"][-1]
    assert "ports" not in SERVICES["voxturn"]  # there are no keys


async def test_home_assistant_finds_three_services(port: int) -> None:
    async with Client("127.0.0.1", port) as client:
        await client.tell(Describe())
        (event,) = await client.until("info")
    info = Info.from_event(event)
    assert [len(each) for each in (info.asr, info.tts, info.handle)] == [1, 1, 1]


async def test_a_question_goes_through_all_three(port: int) -> None:
    """It is said, heard, answered; each by a connection of its own."""
    question = "What is the capital of France?"
    async with Client("127.0.0.1", port) as client:
        await client.tell(SynthesizeStart(), SynthesizeChunk(text=question))
        await client.tell(Synthesize(text=question), SynthesizeStop())
        said = await client.until("synthesize-stopped")
    assert types(said) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    form = {"rate": said[0].data["rate"], "width": 2, "channels": 1}
    async with Client("127.0.0.1", port) as client:
        await client.tell(Transcribe(language="en"), AudioStart(**form))
        for event in said:
            if event.type == "audio-chunk":
                await client.tell(AudioChunk(**form, audio=event.payload or b""))
        await client.tell(AudioStop())
        heard = await client.until("transcript-stop")
    assert types(heard)[0] == "transcript-start"
    assert types(heard)[-2:] == ["transcript", "transcript-stop"]
    (text,) = [event.data["text"] for event in heard if event.type == "transcript"]
    assert text.strip().lower() == question.lower()
    async with Client("127.0.0.1", port) as client:
        await client.tell(Transcript(text, context={"conversation_id": "1"}, language="en"))
        answer = await client.until("handled")
    assert types(answer) == ["handled-start", "handled-chunk", "handled"]
    assert "Paris" in answer[-1].data["text"]
