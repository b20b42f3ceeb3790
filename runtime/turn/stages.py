"""What turns and sessions are composed of."""

from __future__ import annotations

from dataclasses import dataclass, field

from voxturn.runtime.families.base import EndOfTurn, Replier, SoundOfEnd, Voice
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.turn.answer import Speaker
from voxturn.runtime.turn.end_of_turn import TextCompleteness
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.interrupt.words import AfterWords
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.tools import ToolSettings
from voxturn.runtime.turn.trace import StageInfo


@dataclass(frozen=True)
class Stages:
    """What a turn is composed of, ready to run.

    `partial_share`: the most of the recogniser's time that partial transcripts may take; 0: there
    are none. `end_of_turn` and `sound_of_end` judge whether someone who paused is done; without both
    the silence alone does. `interrupt`: when speech over a session's answers cuts them. `tools`: how
    tools are called. `answers`: whether what was heard is answered, or only written down; `aloud`:
    whether an answer is spoken, or stays text; `max_tokens` of it, 0: as many as the replier gives.
    """

    listen: Listen
    recogniser: FilteredRecogniser
    replier: Replier
    split: Split
    voice: Voice
    end_of_turn: EndOfTurn | None = field(default_factory=TextCompleteness)
    sound_of_end: SoundOfEnd | None = None
    partial_share: float = 0.25
    interrupt: Strategy = field(default_factory=AfterWords)
    tools: ToolSettings = field(default_factory=ToolSettings)
    answers: bool = True
    aloud: bool = True
    max_tokens: int = 0

    @property
    def speaker(self) -> Speaker:
        """What makes an answer."""
        voice = self.voice if self.aloud else None
        return Speaker(self.replier, self.split, voice, self.answers, self.max_tokens)


@dataclass(frozen=True)
class TurnSetup:
    """What every turn's trace says of its origin, and the clock."""

    profile: str
    info: dict[str, StageInfo]
    sampler: str
    clock: Clock
