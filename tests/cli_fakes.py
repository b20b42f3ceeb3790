"""The command line on fakes, in this process or, where signals and closed pipes are the matter, in one of its own."""

from __future__ import annotations

import sys

from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands import talk, transcribe
from voxturn.runtime.families.whisper.hearing import Transcribe
from voxturn.runtime.families.windowed import Vocode
from voxturn.runtime.families.xtts.speak import VitsSpeak
from voxturn.runtime.flow.clock import WallClock
from voxturn.runtime.profile import Profile
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.listen import Listen

from tests.conftest import CharTokenizer, FakeTurn, mel


class FakeAssembler:
    """An `Assembler` that introduces the stages to fakes. `seconds` is what every call of theirs takes."""

    seconds = 0.0

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.fake = FakeTurn(seconds=self.seconds)
        self.info = self.fake.setup.info

    def listen(self) -> Listen:
        return self.fake.stages.listen

    def transcribe(self) -> Transcribe:
        lane = self.fake.lanes["transcribe"]
        return Transcribe(
            self.fake.whisper, CharTokenizer(), mel, lane, self.profile.language, PassAll()
        )

    def speak(self) -> VitsSpeak:
        return self.fake.stages.speak

    def vocode(self) -> Vocode:
        return self.fake.stages.vocode

    def close(self) -> None:
        self.fake.close()


class FakeAssistant:
    """`Assistant.load` on fakes."""

    @staticmethod
    def load(name: str) -> Assistant:
        make = FakeAssembler(talk.load_profile(name))
        return Assistant(make, make.fake.stages, make.fake.engine, WallClock())  # type: ignore[arg-type]


def main(seconds: float) -> None:
    """`voxturn` on fakes, with this process's arguments."""
    FakeAssembler.seconds = seconds
    talk.Assembler, talk.Assistant = FakeAssembler, FakeAssistant  # type: ignore[attr-defined]
    transcribe.Assembler = FakeAssembler  # type: ignore[attr-defined]
    sys.exit(cli.main())
