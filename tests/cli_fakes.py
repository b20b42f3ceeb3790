"""The command line on fakes, in this process or, where signals and closed pipes are the matter, in
one of its own."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands import say, talk, transcribe, turns
from voxturn.runtime.families.silero import Silero
from voxturn.runtime.families.vits.voice import VitsVoice
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser
from voxturn.runtime.flow.clock import WallClock
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.text.filter import PassAll

from tests.artifacts import KINDS
from tests.conftest import CharTokenizer, FakeTurn, mel


class FakeParts:
    """`LoadedParts` of fakes. `seconds` is what every call of theirs takes."""

    seconds = 0.0

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.fake = FakeTurn(seconds=self.seconds)
        self.info = self.fake.setup.info
        self.languages = profile.languages
        self.clock = WallClock()

    def activity(self) -> Silero:
        return Silero(self.fake.vad, self.fake.lanes["listen"])

    def recogniser(self) -> WhisperRecogniser:
        lane, language = self.fake.lanes["transcribe"], self.profile.language
        return WhisperRecogniser(self.fake.whisper, CharTokenizer(), mel, lane, language)

    def voice(self) -> VitsVoice:
        voice = self.fake.stages.voice
        assert isinstance(voice, VitsVoice)
        return voice

    def converter(self) -> None:
        """There is none."""

    def content_filter(self) -> PassAll:
        return PassAll()

    def close(self) -> None:
        self.fake.close()


def use_fakes(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Have the commands load fakes, and find the demo's voice in `home`: nothing of the user's own
    is looked at."""
    for commands in (say, transcribe):
        patch.setattr(commands, "load_parts", FakeParts)
    for module in (turns, talk):
        patch.setattr(module, "load_assistant", fake_assistant)
    patch.setenv("VOXTURN_HOME", str(home))
    speak = load_profile("demo").speak
    model, _ = Registry.read().resolve(speak.model)
    KINDS["vits"](Store().artifact_path(model, speak.precision or model.precisions[0]))


def fake_assistant(name: str) -> Assistant:
    """`load_assistant` on fakes."""
    parts: Any = FakeParts(load_profile(name))
    return Assistant(parts, parts.fake.stages)


def main(seconds: float) -> None:
    """`voxturn` on fakes, with this process's arguments."""
    FakeParts.seconds = seconds
    with tempfile.TemporaryDirectory() as home:
        use_fakes(pytest.MonkeyPatch(), Path(home))
        sys.exit(cli.main())
