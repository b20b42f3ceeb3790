"""`voxturn bench languages`: a dialogue that changes its language at every turn.

Each question is asked twice, in a dialogue of its own each time: spoken (espeak-ng's voices, or
recordings) and typed. The answers are scripted and hold numbers, foreign names and sentences of the
other language. Counted are the turns in which the transcript's language, the language of every
sentence, the words that the voice gets to read and the language that the filter is told are right.
"""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.espeak import Espeak
from voxturn.bench.harness import Result, ears
from voxturn.bench.turn import recorded
from voxturn.bench.words import error_rate
from voxturn.runtime.decode import sampler
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.fake import FakeReplier, FakeVoice
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import (
    Message,
    ReplyToken,
    Samples,
    ToolCall,
    ToolSpec,
    Transcript,
)
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.text.filter import ContentFilter, Filtered
from voxturn.runtime.text.judge import LanguageJudge
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.turn import Conversation, Turn

_DIALOGUE = Path(__file__).with_name("languages.toml")
_SILENCE_S, _TOKEN, _WORDS_A_MINUTE = 0.3, 4, 150


@dataclass(frozen=True)
class Asked:
    """A question, what is answered, and what a voice is to read of it: language and words."""

    language: str
    question: str
    answer: str
    read: tuple[tuple[str, str], ...]
    voice: str


def dialogue() -> list[Asked]:
    """The questions of all languages by turns."""
    tables = tomllib.loads(_DIALOGUE.read_text(encoding="utf-8"))
    asked = [
        [
            Asked(
                language,
                row["question"],
                row["answer"],
                tuple((tag, text) for tag, text in row["read"]),
                table["voice"],
            )
            for row in table["turns"]
        ]
        for language, table in tables.items()
    ]
    return [each for turn in zip(*asked, strict=True) for each in turn]


class Script(FakeReplier):
    """Answers one turn after the other, whatever it is asked, a few letters at a time."""

    def __init__(self, answers: Sequence[str]) -> None:
        super().__init__("")
        self.answers = answers
        self.turn = 0

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer of the turn that `turn` counts from 0."""
        answer = self.answers[self.turn]
        for at in range(0, len(answer), _TOKEN):
            yield ReplyToken(answer[at : at + _TOKEN])


class NotingFilter:
    """A `ContentFilter` that notes in which languages it is asked, by direction."""

    def __init__(self, content_filter: ContentFilter) -> None:
        self.name = content_filter.name
        self._filter = content_filter
        self.told: dict[str, list[str]] = {"in": [], "out": []}

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        self.told[direction].append(language)
        return self._filter.check(text, direction, language)

    def forget(self) -> None:
        """Begin a turn."""
        self.told = {"in": [], "out": []}


class Dialogue:
    """The ears of a profile, a script and a voice that notes what it reads, as one conversation."""

    def __init__(self, parts: LoadedParts, asked: Sequence[Asked]) -> None:
        tags = parts.languages.tags
        listen, recogniser = ears(parts)
        self.filter = NotingFilter(parts.content_filter())
        self.voice = FakeVoice(tags[0], languages=tags)
        self.script = Script([each.answer for each in asked])
        self.conversation = Conversation(
            Stages(
                listen=listen,
                recogniser=FilteredRecogniser(recogniser.recogniser, self.filter),
                replier=self.script,
                split=Split(
                    self.filter, parts.profile.speak.max_chars, tags[0], judge=LanguageJudge(tags)
                ),
                voice=self.voice,
            ),
            TurnSetup(parts.profile.name, parts.info, sampler.BACKEND, parts.clock),
            parts.profile.instructions,
        )

    async def turn(self, number: int, asked: Asked, samples: Samples | None) -> dict[str, Any]:
        """One turn, spoken or typed, and which of it was right."""
        self.script.turn = number
        self.filter.forget()
        self.voice.said.clear()
        if samples is None:
            turn = self.conversation.ask(asked.question)
        else:
            turn = self.conversation.turn(frames_from(samples), whole_input=True)
        heard = await _heard(turn)
        read = [(sentence.language, sentence.text) for sentence in self.voice.said]
        told = self.filter.told
        languages = [tag for tag, _ in asked.read]
        right = {
            "transcript": bool(heard.text) and heard.language == asked.language,
            "reply": [tag for tag, _ in read] == languages,
            "read": [text for _, text in read] == [text for _, text in asked.read],
            "filter": set(told["in"]) <= {asked.language} and told["out"] == languages,
        }
        return {
            "language": asked.language,
            "asked": asked.question,
            "transcript": heard.text,
            "heard_as": heard.language,
            "read": [list(each) for each in read],
            "right": right,
        }


async def _heard(turn: Turn) -> Transcript:
    """Run a turn; what was heard."""
    heard = Transcript("", "")
    async with turn:
        async for event in turn:
            if isinstance(event, Transcript):
                heard = event
    return heard


async def run(profile: str, path: Path | None, recordings: Path | None = None) -> Result:
    """Both dialogues. `recordings`: a folder of WAV files that ask, one for each question."""
    asked = dialogue()
    languages = tuple(dict.fromkeys(each.language for each in asked))
    spoken = _spoken(asked, recordings)
    result = Result("languages")
    parts = LoadedParts(replace(load_profile(profile), language=languages))
    try:
        for way, samples in (("typed", [None] * len(asked)), ("spoken", spoken)):
            held = Dialogue(parts, asked)
            turns = [
                await held.turn(number, each, sound)
                for number, (each, sound) in enumerate(zip(asked, samples, strict=True))
            ]
            _count(result, way, turns)
        for stage in ("listen", "transcribe"):
            result.artifact(stage, parts.info[stage])
    finally:
        parts.close()
    result.samples("languages.judge_ms", "ms", _judging_ms(asked, languages))
    result.notes["questions"] = "recordings" if recordings else "espeak-ng"
    if path is not None:
        result.write(path)
    return result


def _spoken(asked: Sequence[Asked], recordings: Path | None) -> list[Samples]:
    """The questions at 16 kHz. Raises `UsageError` for recordings that are not one a question."""
    if recordings is None:
        espeak, silence = Espeak(), np.zeros(int(_SILENCE_S * RATE), np.float32)
        return [
            np.concatenate([silence, espeak.say(each.question, each.voice, _WORDS_A_MINUTE)])
            for each in asked
        ]
    files = recorded(recordings)
    if len(files) != len(asked):
        raise UsageError(
            f"--recordings {recordings}: has {len(files)} WAV files; there are {len(asked)} questions"
        )
    return list(files.values())


def _count(result: Result, way: str, turns: Sequence[dict[str, Any]]) -> None:
    """Turns that are right, of one way to ask."""
    for what in turns[0]["right"]:
        result.value(f"languages.{way}.{what}", "count", sum(t["right"][what] for t in turns))
    result.value(f"languages.{way}.whole", "count", sum(all(t["right"].values()) for t in turns))
    result.value(f"languages.{way}.turns", "count", len(turns))
    for language in dict.fromkeys(t["language"] for t in turns):
        mine = [t for t in turns if t["language"] == language]
        right = sum(t["right"]["transcript"] for t in mine)
        result.value(f"languages.{way}.{language}.transcript", "count", right)
        errors = error_rate([t["asked"] for t in mine], [t["transcript"] for t in mine])
        result.value(f"languages.{way}.{language}.wer", "ratio", errors)
    result.notes[way] = list(turns)


def _judging_ms(asked: Sequence[Asked], languages: Sequence[str]) -> list[float]:
    """How long each sentence takes to be judged for the first time."""
    judge, took = LanguageJudge(languages), []
    for each in asked:
        for _, text in each.read:
            begin = time.perf_counter()
            judge.language_of(text, each.language)
            took.append(1000 * (time.perf_counter() - begin))
    return took


def main(profile: str, recordings: Path | None, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, path, recordings))
