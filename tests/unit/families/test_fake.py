"""The shipped fakes: a profile on them loads and holds turns, in process, served, and from the
command line."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.errors import InvalidProfile, UnsupportedLanguage, UsageError
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.fake import FakeReplier, FakeVoice, write_profile
from voxturn.runtime.messages import Message, PcmChunk, SpeechStarted, Transcript, TurnDone
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.remote.tensors import to_event
from voxturn.runtime.serving.handlers import TurnHandler

from tests.conftest import fed, tone

ANSWER = "It is Paris. Do visit it."


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    return write_profile(tmp_path / "fakes", heard="Where is it?", answer=ANSWER)


async def test_a_turn_in_process(profile: Path) -> None:
    async with Assistant.load(profile) as assistant:
        conversation = assistant.conversation()
        async with conversation.turn(fed(tone(1.0, 1.0))) as turn:
            events = [event async for event in turn]
        assert isinstance(events[0], SpeechStarted)
        assert next(e.text for e in events if isinstance(e, Transcript)) == "Where is it?"
        assert events[-1] == TurnDone(ANSWER)
        spoken = sum(e.samples.size for e in events if isinstance(e, PcmChunk))
        assert spoken == pytest.approx(24_000 * 0.05 * len(ANSWER), rel=0.1)
        replier = assistant.stages.replier
        assert isinstance(replier, FakeReplier)
        assert replier.dialogues[-1][-1] == Message("user", "Where is it?")


async def test_silence_has_no_words(profile: Path) -> None:
    async with Assistant.load(profile) as assistant:
        recogniser = assistant.stages.recogniser
        assert (await recogniser.transcribe(np.zeros(16000, np.float32))).text == ""


async def test_a_turn_that_is_served(profile: Path) -> None:
    handler = TurnHandler(load_profile(profile))
    try:
        events = [to_event(tensors) async for tensors in handler({"audio": tone(1.0, 1.0)})]
        assert events[-1] == TurnDone(ANSWER)
    finally:
        handler.close()


def test_the_command_line_speaks_hears_and_holds_a_turn(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is replaced in the commands: this is the way that users go."""
    named = ["--profile", str(profile)]
    assert cli.main(["say", "Good morning.", *named, "-o", str(tmp_path / "said.wav")]) == 0
    with wave.open(str(tmp_path / "said.wav")) as said:
        assert (said.getframerate(), said.getnframes()) == (24_000, 15_600)
    with WavFile(tmp_path / "asked.wav", 16000) as sink:
        sink.write(tone(1.0, 1.0))
    capsys.readouterr()
    assert cli.main(["transcribe", str(tmp_path / "asked.wav"), *named]) == 0
    assert "Where is it?" in capsys.readouterr().out
    trace = tmp_path / "trace.json"
    turn = ["turn", str(tmp_path / "asked.wav"), *named, "-o", str(tmp_path / "reply.wav")]
    assert cli.main([*turn, "--trace", str(trace)]) == 0
    written = json.loads(trace.read_text(encoding="utf-8"))
    assert written["outcome"] == "done"
    assert written["stages"]["speak"]["executor"] == "fake"
    assert cli.main(["doctor", *named]) == 0


def test_a_model_is_no_fake(profile: Path, tmp_path: Path) -> None:
    text = profile.read_text(encoding="utf-8").replace('executor = "fake"', 'executor = "onnx"', 1)
    profile.write_text(text + "speed = 2.0\n", encoding="utf-8")
    parts = LoadedParts(load_profile(profile))
    try:
        with pytest.raises(InvalidProfile, match="speed"):
            parts.voice()
    finally:
        parts.close()


def test_what_a_fake_voice_has_not_is_refused() -> None:
    with pytest.raises(UnsupportedLanguage):
        FakeVoice("en").using(VoiceOptions(language="ar"))
    with pytest.raises(UsageError):
        FakeVoice("en").using(VoiceOptions(speed=2.0))
