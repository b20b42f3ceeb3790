"""What a dialogue remembers where nothing of an answer was heard."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import EmptyText, TextError
from voxturn.runtime.messages import Message, PcmChunk, ReplyToken, Sentence, ToolCall
from voxturn.runtime.turn.memory import (
    Dialogue,
    Exchange,
    Round,
    alternating,
    read_messages,
    with_question,
    write_messages,
)

RATE = 100


def exchanged(dialogue: Dialogue, question: str, heard: int | None) -> None:
    """A question, and an answer of two seconds of which `heard` samples were heard; None: all of
    them."""
    exchange = Exchange(dialogue)
    exchange.chunks.append(spoken("one two", 0, 2))
    exchange.remember(question, [said("one two", 0)], heard)


def said(text: str, index: int, *calls: ToolCall) -> Round:
    """A round of one sentence, and the results of its calls but the last."""
    made = Round(sentences=[Sentence(text, index)] if text else [])
    for item in (ReplyToken(text, (1, 2)), *calls):
        made.written(item)
    for call in calls[:-1]:
        made.results[call.id] = Message("tool", f"{call.name} done", call_id=call.id)
    return made


def spoken(text: str, index: int, seconds: int, start: int = 0) -> PcmChunk:
    samples = np.zeros(seconds * RATE, np.float32)
    return PcmChunk(samples, RATE, start * RATE, Sentence(text, index), final=True)


def test_a_question_after_one_without_an_answer_is_joined_to_it() -> None:
    dialogue = Dialogue("Be brief.")
    exchanged(dialogue, "What time is it?", 0)
    exchanged(dialogue, "In Paris, I mean.", 0)
    exchanged(dialogue, "And in Rome.", None)
    exchanged(dialogue, "Thanks.", 0)
    assert dialogue.messages == [
        Message("system", "Be brief."),
        Message("user", "What time is it? In Paris, I mean. And in Rome."),
        Message("assistant", "one two", (1, 2)),
        Message("user", "Thanks."),
    ]
    assert with_question(dialogue.messages, "Bye.")[-1] == Message("user", "Thanks. Bye.")


def test_an_answer_of_which_nothing_is_left_leaves_a_question_to_join() -> None:
    dialogue = Dialogue()
    exchange = Exchange(dialogue)
    exchange.remember("What?", [said("an answer", 0)])
    exchange.trim(0)
    assert dialogue.messages == [Message("user", "What?")]
    exchanged(dialogue, "Now?", None)
    assert [message.role for message in dialogue.messages] == ["user", "assistant"]


def test_what_was_left_out_of_a_joined_question_s_dialogue_is_dropped() -> None:
    dialogue = Dialogue("Be brief.")
    exchanged(dialogue, "Old?", None)
    exchanged(dialogue, "What?", 0)
    dialogue.drop(0)
    assert len(dialogue.messages) == 4
    dialogue.drop(2)
    assert dialogue.messages == [Message("system", "Be brief."), Message("user", "What?")]


ADD, FIND = ToolCall("a", "add", {"to": 1}), ToolCall("b", "find", {})
STOPPED = "error: it was stopped before it had a result"


def called(heard: int | None) -> list[Message]:
    """What is remembered of an answer with two calls, the second of which was stopped; then three
    seconds of speech."""
    dialogue = Dialogue()
    exchange = Exchange(dialogue)
    exchange.chunks += [spoken("Let me see.", 0, 2), spoken("It is two.", 1, 3, 2)]
    exchange.remember("What?", [said("Let me see.", 0, ADD, FIND), said("It is two.", 1)], heard)
    assert exchange.heard == " ".join(
        m.text for m in dialogue.messages if m.role == "assistant"
    ).removesuffix(" …")
    return dialogue.messages


def test_calls_and_results_stay_whatever_was_heard_of_the_words() -> None:
    between = [Message("tool", "add done", call_id="a"), Message("tool", STOPPED, call_id="b")]
    whole = Message("assistant", "Let me see.", calls=(ADD, FIND))
    assert called(None) == [
        Message("user", "What?"),
        whole,
        *between,
        Message("assistant", "It is two."),
    ]
    assert called(300)[1:] == [whole, *between, Message("assistant", "It")]
    nothing = Message("assistant", "", calls=(ADD, FIND))
    assert called(0)[1:] == [nothing, *between, Message("assistant", "…")]


def test_the_words_after_calls_are_trimmed_and_the_calls_are_not() -> None:
    dialogue = Dialogue("Be brief.")
    exchange = Exchange(dialogue)
    exchange.chunks.append(spoken("It is two.", 1, 3))
    exchange.remember("What?", [said("", 0, ADD), said("It is two.", 1)])
    exchange.trim(200)
    assert [m.text for m in dialogue.messages] == ["Be brief.", "What?", "", STOPPED, "It is"]
    dialogue.messages.append(Message("user", "Next?"))
    exchange.trim(0)
    assert len(dialogue.messages) == 6  # the dialogue went on


def test_a_dialogue_with_calls_is_saved_whole(tmp_path: Path) -> None:
    messages = [replace(called(None)[1], ids=(3, 4)), *called(None)[2:]]
    write_messages(tmp_path / "dialogue.json", messages)
    loaded = read_messages(tmp_path / "dialogue.json")
    assert loaded == messages
    assert loaded[0].ids == (3, 4)


@pytest.mark.parametrize(
    "damage",
    [
        {"calls": "none"},
        {"calls": [{"id": "a", "name": "add", "arguments": []}]},
        {"calls": [{"id": 1, "name": "add", "arguments": {}}]},
        {"role": "tool"},
    ],
)
def test_calls_that_are_none_are_no_dialogue(tmp_path: Path, damage: dict[str, Any]) -> None:
    path = tmp_path / "dialogue.json"
    path.write_text(json.dumps([{"role": "assistant", "text": ""} | damage]), encoding="utf-8")
    with pytest.raises(TextError, match="is no dialogue") as caught:
        read_messages(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


ROLES = st.sampled_from(["system", "user", "assistant"])


@given(st.lists(st.builds(Message, ROLES, st.text("ab", min_size=1, max_size=3))))
def test_joined_messages_alternate_and_say_the_same(messages: list[Message]) -> None:
    joined = alternating(messages)
    assert all(first.role != second.role for first, second in pairwise(joined))
    assert " ".join(m.text for m in joined) == " ".join(m.text for m in messages)
    assert alternating(joined) == joined


@pytest.mark.parametrize("prompt", ["", "Be brief."])
def test_a_pinned_fact_stays_when_the_oldest_exchanges_leave(prompt: str) -> None:
    dialogue = Dialogue(prompt)
    dialogue.messages += [Message("user", "Hi."), Message("assistant", "Hello.")]
    dialogue.pin(" The user is Ana. ")
    dialogue.pin("She lives in Rome.")
    dialogue.drop(2)
    pinned = "The user is Ana.\nShe lives in Rome."
    assert dialogue.messages == [Message("system", f"{prompt}\n{pinned}".strip())]


def test_a_fact_has_words() -> None:
    with pytest.raises(EmptyText, match="no words"):
        Dialogue().pin("  ")
