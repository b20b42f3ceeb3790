"""What the filter refuses in a turn: the model is not asked, or not heard any further."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import FakeReplier, write_profile
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import Event, PcmChunk, ReplyToken, Sentence, Transcript, TurnDone
from voxturn.runtime.profile import FilterSettings, load_profile
from voxturn.runtime.turn.turn import Turn

from tests.conftest import tone

RULES = """
[[rule]]
words = ["capital of France"]
action = "refuse"
text = "I do not talk of that."
direction = "in"

[[rule]]
words = ["secret"]
action = "refuse"
text = "No more of this."
direction = "out"

[[rule]]
words = ["Seine"]
action = "replace"
text = "river"
"""


@asynccontextmanager
async def assistant(tmp_path: Path, heard: str, answer: str) -> AsyncIterator[Assistant]:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES, encoding="utf-8")
    profile = load_profile(write_profile(tmp_path / "profile", heard, answer))
    loaded = Assistant.load(replace(profile, filter=FilterSettings(rules=str(rules))))
    async with loaded:
        yield loaded


def replier(loaded: Assistant) -> FakeReplier:
    return cast(FakeReplier, loaded.stages.replier)


async def events_of(turn: Turn) -> list[Event]:
    async with turn:
        return [event async for event in turn]


def sentences(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Sentence)]


@pytest.mark.parametrize("typed", [False, True])
async def test_a_question_that_is_refused_does_not_reach_the_model(
    tmp_path: Path, typed: bool
) -> None:
    question = "What is the c-apital of France?"
    async with assistant(tmp_path, question, "Paris.") as loaded:
        conversation = loaded.conversation()
        frames = frames_from(tone(0.6, 1.2))
        turn = conversation.ask(question) if typed else conversation.turn(frames, whole_input=True)
        events = await events_of(turn)
        assert replier(loaded).dialogues == []
        (transcript,) = [event for event in events if isinstance(event, Transcript)]
        assert transcript.text == "What is the …?"
        assert sentences(events) == ["I do not talk of that."]
        assert not any(isinstance(event, ReplyToken) for event in events)
        assert any(isinstance(event, PcmChunk) for event in events)
        assert events[-1] == TurnDone("I do not talk of that.")
        trace = turn.trace.to_dict()
        assert trace["outcome"] == "done"
        assert trace["filtered"] == ["in: removed 15 letters (refuse, en)"]
        assert [(m.role, m.text) for m in conversation.messages] == [
            ("user", "…"),
            ("assistant", "I do not talk of that."),
        ]
        await events_of(conversation.ask("And what else?"))
        (dialogue,) = replier(loaded).dialogues
        assert not any("apital" in message.text for message in dialogue)


async def test_an_answer_that_is_refused_ends_with_the_refusal(tmp_path: Path) -> None:
    answer = "It is this. The s.e.c.r.e.t is near. Nobody hears that. Or that."
    async with assistant(tmp_path, "What is it?", answer) as loaded:
        conversation = loaded.conversation()
        turn = conversation.ask("What is it?")
        events = await events_of(turn)
        assert sentences(events) == ["It is this.", "No more of this."]
        spoken = {event.sentence.text for event in events if isinstance(event, PcmChunk)}
        assert spoken == {"It is this.", "No more of this."}
        assert events[-1] == TurnDone("It is this. No more of this.")
        assert turn.trace.to_dict()["filtered"] == ["out: removed 6 letters (refuse, en)"]
        (question, message) = conversation.messages
        assert (question.text, message.text) == ("What is it?", "It is this. No more of this.")
        assert message.ids == ()


async def test_an_interrupted_refusal_leaves_what_was_heard(tmp_path: Path) -> None:
    async with assistant(tmp_path, "What is it?", "It is this. The secret is near.") as loaded:
        conversation = loaded.conversation()
        turn = conversation.ask("What is it?")
        await events_of(turn)
        turn.played(round(0.05 * len("It is this.") * loaded.rate))
        assert conversation.messages[-1].text == "It is this."
        assert conversation.messages[-1].ids == ()


async def test_a_replacement_is_said_and_asked(tmp_path: Path) -> None:
    async with assistant(tmp_path, "x", "The Seine is long.") as loaded:
        conversation = loaded.conversation()
        events = await events_of(conversation.ask("Is the Seine long?"))
        assert sentences(events) == ["The river is long."]
        assert replier(loaded).dialogues[0][-1].text == "Is the river long?"
