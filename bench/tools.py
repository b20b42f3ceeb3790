"""`voxturn bench tools`: a hundred scripted streams of answers with calls, cut in every way; all end
as documented, and nothing of a call is spoken.

No model is run: what is measured is what becomes of what a model may write.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxturn.bench.harness import Result
from voxturn.runtime.families.base import Replier
from voxturn.runtime.families.fake import FakeActivity, FakeRecogniser, FakeReplier, FakeVoice
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import (
    Event,
    Message,
    ReplyToken,
    Sentence,
    ToolCall,
    ToolSpec,
)
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.tools import Tool, ToolSettings
from voxturn.runtime.turn.turn import Conversation

FILLER, NO_ANSWER = "One moment.", "I could not find that out."
_SLOW_S, _TIMEOUT_S, _ROUNDS = 60.0, 10.0, 3
_PLACE = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}
_TRACES = ("tool_call", "{", "}", "arguments", "think", "weather", "place")
"""What would be heard of a call or a thought if it were spoken; no answer has it otherwise."""


def call(name: str, arguments: str = '{"place": "Paris"}') -> str:
    """A call as Qwen3 writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@dataclass(frozen=True)
class Script:
    """What a model writes, round by round, and how that ends: what is said, and each call's
    outcome.

    `stopped`: somebody speaks while the first call runs.
    """

    kind: str
    answers: tuple[str, ...]
    said: str
    outcomes: tuple[str, ...] = ()
    stopped: bool = False


_WEATHER = call("weather")
_BROKEN = '<tool_call>\n{"name": "weather", "arguments": {"place": "Pa\n</tool_call>'
_UNFIT = call("weather", '{"town": 5}')
_DONE = "It rains."
SCRIPTS = (
    Script("no call", ("It is 3 < 4, [and] so on.",), "It is 3 < 4, [and] so on."),
    Script("one call", (_WEATHER, _DONE), _DONE, ("done",)),
    Script("a call after words", (f"Let me look.\n{_WEATHER}", _DONE), f"Let me look. {_DONE}", ("done",)),
    Script("words after a call", (f"{_WEATHER} Wait.", _DONE), f"Wait. {_DONE}", ("done",)),
    Script("parallel calls", (f"{_WEATHER}\n{_WEATHER}\n{call('add', '{}')}", _DONE), _DONE, ("done",) * 3),
    Script("calls in two rounds", (_WEATHER, call("add", "{}"), _DONE), _DONE, ("done", "done")),
    Script("malformed, then right", (_BROKEN, _WEATHER, _DONE), _DONE, ("refused", "done")),
    Script("malformed twice", (_BROKEN, _BROKEN, "I cannot."), "I cannot.", ("refused",) * 2),
    Script("unknown name", (call("train"), "I cannot."), "I cannot.", ("refused",)),
    Script("unfit, then right", (_UNFIT, _WEATHER, _DONE), _DONE, ("refused", "done")),
    Script("unfit twice, then given up", (_UNFIT, _UNFIT, _WEATHER, "I cannot."), "I cannot.", ("refused",) * 3),
    Script("a failing tool", (call("fail", "{}"), "I cannot."), "I cannot.", ("failed",)),
    Script("a tool without an end", (call("hang", "{}"), "I cannot."), f"{FILLER} I cannot.", ("timed out",)),
    Script("a slow tool", (call("slow", "{}"), _DONE), f"{FILLER} {_DONE}", ("done",)),
    Script("slow and failing beside others", (f"{call('slow', '{}')}{call('fail', '{}')}{_WEATHER}", _DONE), f"{FILLER} {_DONE}", ("failed", "done", "done")),
    Script("a call in a thought", (f"<think>Shall I {_WEATHER}?</think>No.",), "No."),
    Script("nothing after a call", (_WEATHER, ""), NO_ANSWER, ("done",)),
    Script("calls without end", (_WEATHER,), NO_ANSWER, ("done",) * _ROUNDS + ("refused",) * 2),
    Script("a call that breaks off", ('<tool_call>\n{"name": "wea', "Sorry."), "Sorry.", ("refused",)),
    Script("a mark that breaks off", ("It rains. <tool_ca",), _DONE),
    Script("stopped while it runs", (f"Let me look. {call('hang', '{}')}", _DONE), f"Let me look. {FILLER}", ("cancelled",), stopped=True),
)  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """A script, and how its text is cut."""

    script: Script
    cut: str
    pieces: Callable[[str], list[str]]


def streams() -> list[Stream]:
    """Every script in five cuts: whole, by words, by characters, and by chance."""
    cuts: dict[str, Callable[[str], list[str]]] = {
        "whole": lambda text: [text],
        "words": lambda text: re.findall(r"\s*\S+", text),
        "characters": list,
        "chance 1": lambda text: _by_chance(text, 1),
        "chance 2": lambda text: _by_chance(text, 2),
    }
    return [Stream(script, name, cut) for script in SCRIPTS for name, cut in cuts.items()]


def _by_chance(text: str, seed: int) -> list[str]:
    """Pieces of one to nine characters, as tokens have."""
    chance, pieces = random.Random(seed), list[str]()
    while text:
        size = chance.randint(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@dataclass
class Ending:
    """How a stream ended. `leaked`: characters of what was spoken or shown of calls and thoughts."""

    said: str = ""
    outcomes: tuple[str, ...] = ()
    leaked: int = 0
    unanswered: int = 0
    events: list[Event] = field(default_factory=list)

    def as_documented(self, script: Script) -> bool:
        """Whether that is what the script has; calls that end together in any order."""
        same = Counter(self.outcomes) == Counter(script.outcomes)
        return same and self.said == script.said and not self.unanswered


class _Replier(FakeReplier):
    """Writes a stream's pieces."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(*stream.script.answers)
        self._stream = stream

    def pieces(self, answer: str) -> list[str]:
        return self._stream.pieces(answer)


class _Watched:
    """A `Replier` of which is known whether it writes: time stands still meanwhile."""

    takes_tools = True

    def __init__(self, replier: Replier) -> None:
        self._replier = replier
        self.fitted, self.warm = replier.fitted, replier.warm
        self.writing = 0

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        self.writing += 1
        try:
            async with aclosing(self._replier(messages, tools)) as items:
                async for item in items:
                    yield item
        finally:
            self.writing -= 1


async def run(stream: Stream) -> Ending:
    """A turn of it, on a clock of its own."""
    return await end_of(stream.script, _Replier(stream))


async def end_of(script: Script, replier: Replier) -> Ending:
    """How a turn ends in which `replier` writes the script's answers."""
    clock, ending = ManualClock(), Ending()
    watched = _Watched(replier)
    conversation = _conversation(watched, clock)
    passing = asyncio.create_task(_pass_time(clock, watched))
    try:
        async with conversation.ask("What is the weather in Paris?") as turn:
            async for event in turn:
                ending.events.append(event)
                if script.stopped and isinstance(event, Sentence) and event.filler:
                    break
    finally:
        passing.cancel()
    ending.said = " ".join(e.text for e in ending.events if isinstance(e, Sentence))
    ending.outcomes = tuple(each.outcome for each in turn.trace.tools)
    shown = "".join(e.text for e in ending.events if isinstance(e, ReplyToken))
    ending.leaked = sum(
        text.count(mark) * len(mark) for text in (ending.said, shown) for mark in _TRACES
    )
    ending.unanswered = _unanswered(conversation)
    return ending


def _unanswered(conversation: Conversation) -> int:
    """Calls of the dialogue that have no result, and results of none."""
    messages = conversation.messages
    made = Counter(call.id for message in messages for call in message.calls)
    given = Counter(message.call_id for message in messages if message.role == "tool")
    return (made - given).total() + (given - made).total()


async def _pass_time(clock: ManualClock, replier: _Watched) -> None:
    """Let a second pass whenever nothing else happens."""
    while True:
        for _ in range(50):
            await asyncio.sleep(0)
        if not replier.writing:
            clock.advance(1.0)


def _conversation(replier: Replier, clock: ManualClock) -> Conversation:
    async def slow() -> str:
        await clock.sleep_until(clock.now() + _TIMEOUT_S / 2)
        return "rain"

    async def hang() -> str:
        await clock.sleep_until(clock.now() + _SLOW_S)
        return "rain"

    async def fail() -> None:
        raise OSError("the station\ndoes not answer")

    async def weather(place: str) -> dict[str, str]:
        return {"in": place}

    async def add() -> int:
        return 5

    nothing: dict[str, Any] = {"type": "object", "properties": {}}
    tools = (
        Tool("weather", "The weather.", _PLACE, weather),
        Tool("add", "Adds.", nothing, add),
        Tool("slow", "Takes its time.", nothing, slow),
        Tool("hang", "Takes too long.", nothing, hang),
        Tool("fail", "Fails.", nothing, fail),
    )
    stages = Stages(
        Listen(FakeActivity(), Endpointing()),
        FilteredRecogniser(FakeRecogniser(""), PassAll()),
        replier,
        Split(PassAll(), 200),
        FakeVoice(),
        tools=ToolSettings(
            timeout_s=_TIMEOUT_S,
            rounds=_ROUNDS,
            filler=FILLER,
            filler_after_ms=2000,
            no_answer=NO_ANSWER,
        ),
    )
    return Conversation(stages, TurnSetup("fake", {}, "numpy", clock), "Be brief.", tools)


def main(output: Path | None) -> Result:
    """Run all streams."""
    result = Result("tools")
    made = streams()
    endings = asyncio.run(_all(made))
    pairs = list(zip(made, endings, strict=True))
    wrong = [f"{s.script.kind}, {s.cut}" for s, e in pairs if not e.as_documented(s.script)]
    calls = [e for ending in endings for e in ending.events if isinstance(e, ToolCall)]
    result.value("tools.streams", "streams", len(made))
    result.value("tools.ended_as_documented", "streams", len(made) - len(wrong))
    result.value("tools.spoken_of_calls", "characters", sum(e.leaked for e in endings))
    result.value("tools.calls_made", "calls", len(calls))
    for outcome, count in sorted(Counter(o for e in endings for o in e.outcomes).items()):
        result.value(f"tools.{outcome.replace(' ', '_')}", "calls", count)
    result.notes = {"scripts": [script.kind for script in SCRIPTS], "not_as_documented": wrong}
    if output is not None:
        result.write(output)
    return result


async def _all(made: Sequence[Stream]) -> list[Ending]:
    return [await run(stream) for stream in made]
