"""`examples/microphone` by files, and with a sound device whose microphone is a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import wave
from pathlib import Path

import pytest
from clients.conftest import ASKED, COMMAND, MOST_S, QUESTION, ROOT, heard, pcm_of, wav_of, words

PROGRAM = ROOT / "examples/microphone/talk.py"
PYTHON = Path(COMMAND).with_name("python").absolute()
INTERRUPTED = 130


@pytest.fixture
def gateway(address: str) -> str:
    return address.replace("http", "ws")


def run(*arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
    """The program with arguments, and more environment."""
    return subprocess.run(
        [PYTHON, "-P", PROGRAM, *map(str, arguments)],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )


async def said(base_url: str, path: Path) -> str:
    """The words that are heard in a WAV file."""
    with wave.open(str(path)) as file:
        pcm = file.readframes(file.getnframes())
        return await heard(base_url, pcm, file.getframerate())


async def test_a_question_in_a_file_is_answered_in_another(
    gateway: str, base_url: str, tmp_path: Path
) -> None:
    answer = tmp_path / "answer.wav"
    done = run(gateway, QUESTION, answer)
    assert done.returncode == 0, done.stderr
    asked, *sentences = done.stdout.splitlines()
    assert words(asked) == ASKED
    spoken = words(" ".join(sentences))
    assert "paris" in spoken
    assert await said(base_url, answer) == spoken


async def test_it_talks_until_it_is_interrupted(
    gateway: str, base_url: str, tmp_path: Path
) -> None:
    shutil.copy(Path(__file__).with_name("sound_device.py"), tmp_path / "sounddevice.py")
    microphone, loudspeaker = tmp_path / "microphone.wav", tmp_path / "loudspeaker.wav"
    microphone.write_bytes(wav_of(pcm_of(QUESTION, 16_000).tobytes(), 16_000))
    done = run(gateway, PYTHONPATH=tmp_path, MICROPHONE=microphone, LOUDSPEAKER=loudspeaker)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "")
    asked, *sentences = done.stdout.splitlines()
    assert words(asked) == ASKED
    assert await said(base_url, loudspeaker) == words(" ".join(sentences))


def test_a_file_without_words_has_an_empty_answer(gateway: str, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(wav_of(bytes(32_000), 16_000))
    done = run(gateway, silence, tmp_path / "answer.wav")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_errors_are_one_line(gateway: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.wav"
    for arguments in (("ws://127.0.0.1:1",), (gateway, tmp_path / "none.wav", answer)):
        done = run(*arguments)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
    assert not answer.exists()
