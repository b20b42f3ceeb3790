"""The example that calls the gateway as a telephone provider does."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from clients.conftest import ASKED, MOST_S, QUESTION, ROOT, heard, words
from websockets.asyncio.client import connect

SCRIPT = ROOT / "examples/phone_agent/call.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phone_call", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_question_is_answered_over_the_phone(address: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.wav"
    done = subprocess.run(
        [sys.executable, SCRIPT, QUESTION, "--gateway", address, "--answer", answer],
        capture_output=True,
        text=True,
        check=True,
    )
    said, answered = done.stdout.splitlines()
    assert words(said) == f"said {ASKED}"
    assert "paris" in words(answered)
    assert answer.stat().st_size > 8000


async def test_speech_over_an_answer_clears_it(
    address: str, base_url: str, example: ModuleType
) -> None:
    question = example.read(QUESTION)
    async with (
        asyncio.timeout(MOST_S),
        connect(address.replace("http", "ws", 1) + "/ws/twilio") as socket,
    ):
        phone = example.Call(socket)
        await phone.start(instructions="Tell a long story, whatever you are asked.")
        running = asyncio.create_task(phone.run())
        try:
            phone.say(question)
            await phone.until(lambda: bool(phone.played))
            phone.say(question)
            await phone.until(lambda: phone.cleared > 0)
            cut = len(phone.played)
            await phone.answered(cut)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await phone.hang_up()
    rest = example.pcm(phone.played[cut:])
    assert "paris" in await heard(base_url, (rest * 32767).astype("<i2").tobytes(), example.RATE)


def test_the_example_s_mu_law_is_g_711(example: ModuleType) -> None:
    codes = bytes(range(256))
    assert np.array_equal(example.pcm(example.ulaw(example.pcm(codes))), example.pcm(codes))
    assert example.pcm(b"\x80\x00\xff").tolist() == [32124 / 32768, -32124 / 32768, 0.0]
