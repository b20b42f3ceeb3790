"""The examples of whole agents, as their readers run them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from clients.conftest import ASKED, MOST_S, QUESTION, ROOT, heard, pcm_of, words


async def test_the_pipecat_agent_answers_a_wav(address: str, base_url: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.wav"
    agent = ROOT / "examples/pipecat_agent/pipecat_agent.py"
    command = [sys.executable, "-P", str(agent), address, str(QUESTION), str(answer)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=MOST_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert ASKED in words(done.stdout)
    assert "paris" in await heard(base_url, pcm_of(answer, 24_000).tobytes())


async def test_the_livekit_agent_holds_a_conversation(
    address: str, base_url: str, tmp_path: Path
) -> None:
    answers = tmp_path / "answers.wav"
    agent = ROOT / "examples/livekit_agent/livekit_agent.py"
    command = [
        sys.executable,
        "-P",
        str(agent),
        address,
        str(answers),
        str(QUESTION),
        str(QUESTION),
    ]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=MOST_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert words(done.stdout).count(ASKED) == 2
    assert (await heard(base_url, pcm_of(answers, 22_050).tobytes(), 22_050)).count("paris") >= 2
