"""How a dialogue is held: what a dialect's session settings come down to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from voxturn.runtime.families.base import Voice
from voxturn.runtime.gateway.realtime.items import Item
from voxturn.runtime.turn.end_of_turn import TextCompleteness
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.stages import Stages
from voxturn.runtime.turn.tools import Tool

_EAGER = {"low": (0.25, 8.0), "medium": (0.5, 4.0), "auto": (0.5, 4.0), "high": (0.75, 2.0)}


@dataclass(frozen=True)
class Taking:
    """How turns are taken where the sound decides. `judged`: whether somebody is done is judged by
    words and sound, too. `answers`, `interrupts`: without being asked."""

    endpointing: Endpointing
    judged: bool
    answers: bool = True
    interrupts: bool = True


@dataclass(frozen=True)
class Manner:
    """How a dialogue is held. `taking` None: the client says when a turn ends. `max_tokens` of an
    answer, 0: no bound. `language` that is spoken; empty: any. `writes`: whether what is heard is
    told as text; `live`: while it is said."""

    voice: Voice
    voice_name: str = ""
    instructions: str = ""
    tools: Sequence[Tool] = ()
    aloud: bool = True
    max_tokens: int = 0
    language: str = ""
    taking: Taking | None = None
    writes: bool = True
    live: bool = False
    answers: bool = True


@dataclass(frozen=True)
class Wish:
    """An answer that is asked for; what is None is as the dialogue has it. `beside`: the dialogue
    does not get it. `items`: what is answered instead of the dialogue."""

    beside: bool = False
    instructions: str | None = None
    tools: Sequence[Tool] | None = None
    aloud: bool | None = None
    voice: Voice | None = None
    voice_name: str = ""
    max_tokens: int | None = None
    items: Sequence[Item] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def by_silence(base: Endpointing, threshold: float, prefix_ms: float, silence_ms: float) -> Taking:
    """A turn ends after so much silence, whatever was said."""
    ms = max(32, round(silence_ms))
    waits = dict.fromkeys(("finished_ms", "end_ms", "unfinished_ms"), ms)
    endpointing = replace(
        base,
        threshold=threshold,
        before_ms=max(0, round(prefix_ms)),
        suspect_ms=min(base.suspect_ms, ms),
        eager=0.5,
        **waits,
    )
    return Taking(endpointing, judged=False)


def by_meaning(base: Endpointing, eagerness: str) -> Taking:
    """A turn ends when it sounds finished: after 8, 4 or 2 s at the latest, by how eager it is."""
    eager, longest_s = _EAGER[eagerness]
    unfinished_ms = round(1000 * longest_s / 2 ** (1 - 2 * eager))
    return Taking(replace(base, eager=eager, unfinished_ms=unfinished_ms), judged=True)


def listening(stages: Stages, manner: Manner) -> Stages:
    """The stages that hear as a manner says."""
    taking = manner.taking
    if taking is None:
        return replace(stages, answers=False)
    words = stages.end_of_turn or (None if stages.sound_of_end else TextCompleteness())
    return replace(
        stages,
        end_of_turn=words if taking.judged else None,
        sound_of_end=stages.sound_of_end if taking.judged else None,
        answers=taking.answers and manner.answers,
    )
