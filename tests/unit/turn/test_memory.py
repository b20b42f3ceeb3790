"""What a dialogue remembers where nothing of an answer was heard."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import EmptyText
from voxturn.runtime.messages import Message, PcmChunk, ReplyToken, Sentence
from voxturn.runtime.turn.memory import Dialogue, Exchange, alternating, with_question

RATE = 100


def exchanged(dialogue: Dialogue, question: str, heard: int | None) -> None:
    """A question, and an answer of two seconds of which `heard` samples were heard; None: all of
    them."""
    exchange = Exchange(dialogue)
    exchange.tokens.append(ReplyToken("one two", (1, 2)))
    samples = np.zeros(2 * RATE, np.float32)
    exchange.chunks.append(PcmChunk(samples, RATE, 0, Sentence("one two", 0), final=True))
    exchange.remember(question, "one two" if heard is None else None, heard or 0)


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
    exchange.remember("What?", "an answer")
    exchange.trim(0)
    assert dialogue.messages == [Message("user", "What?")]
    exchanged(dialogue, "Now?", None)
    assert [message.role for message in dialogue.messages] == ["user", "assistant"]


def test_what_was_left_out_of_a_joined_question_s_dialogue_is_dropped() -> None:
    dialogue = Dialogue("Be brief.")
    exchanged(dialogue, "Old?", None)
    exchanged(dialogue, "What?", 0)
    asked = with_question(dialogue.messages, "Now?")
    assert dialogue.fit(asked, "Now?") == 0
    assert len(dialogue.messages) == 4
    assert dialogue.fit([asked[0], asked[-1]], "Now?") == 2
    assert dialogue.messages == [Message("system", "Be brief."), Message("user", "What?")]


ROLES = st.sampled_from(["system", "user", "assistant"])


@given(st.lists(st.builds(Message, ROLES, st.text("ab", min_size=1, max_size=3))))
@settings(deadline=None)
def test_joined_messages_alternate_and_say_the_same(messages: list[Message]) -> None:
    joined = alternating(messages)
    assert all(first.role != second.role for first, second in pairwise(joined))
    assert " ".join(m.text for m in joined) == " ".join(m.text for m in messages)
    assert alternating(joined) == joined


@pytest.mark.parametrize("prompt", ["", "Be brief."])
def test_a_pinned_fact_stays_when_the_oldest_exchanges_leave(prompt: str) -> None:
    dialogue = Dialogue(prompt)
    dialogue.messages += [Message("user", "Hi."), Message("assistant", "Hello.")]
    asked = with_question(dialogue.messages[-2:], "Now?")[-1:]
    dialogue.pin(" The user is Ana. ")
    dialogue.pin("She lives in Rome.")
    assert dialogue.fit(asked, "Now?") == 2
    pinned = "The user is Ana.\nShe lives in Rome."
    assert dialogue.messages == [Message("system", f"{prompt}\n{pinned}".strip())]


def test_a_fact_has_words() -> None:
    with pytest.raises(EmptyText, match="no words"):
        Dialogue().pin("  ")
