"""What is told of a session over a wire arrives as it was; two dialogues and their change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import InferenceFailed, TextError, UsageError
from voxturn.runtime.messages import Message
from voxturn.runtime.remote.sessions import (
    AnswerNow,
    Ask,
    Cancel,
    Close,
    Command,
    Pin,
    Played,
    SetMessages,
    change_between,
    of_change,
    of_command,
    to_change,
    to_command,
)
from voxturn.runtime.remote.tensors import text_tensor

TEXT = st.text(max_size=20)
ROLES = st.sampled_from(["system", "user", "assistant"])
PLAIN = st.builds(Message, ROLES, TEXT)
DIALOGUES = st.lists(
    st.builds(Message, ROLES, TEXT, st.lists(st.integers(0, 1 << 20), max_size=3).map(tuple)),
    max_size=5,
)
COMMANDS = st.one_of(
    st.builds(Ask, TEXT),
    st.just(AnswerNow()),
    st.just(Cancel()),
    st.builds(Played, st.floats(-1e9, 1e9), st.integers(0, 1 << 30)),
    st.builds(SetMessages, st.lists(PLAIN, max_size=4).map(tuple)),
    st.builds(Pin, TEXT),
    st.just(Close()),
)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(COMMANDS)
def test_a_command_arrives(command: Command) -> None:
    assert to_command(of_command(command)) == command


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["do", "text", "ms", "messages", "fact", "x"]), JSON | ROLES, max_size=4
    )
    | JSON
)
def test_what_is_no_command_is_one_clear_line(about: Any) -> None:
    line = ""
    try:
        to_command({"command": text_tensor(json.dumps(about))})
    except (UsageError, TextError) as exc:
        line = str(exc)
    assert line or about["do"] in ("answer", "cancel", "close", "ask", "messages", "played", "pin")
    assert "\n" not in line


@settings(max_examples=40)
@given(DIALOGUES, DIALOGUES, st.integers(0, 9))
def test_a_dialogue_follows_its_changes(
    before: list[Message], after: list[Message], sets: int
) -> None:
    change = change_between(before, after, sets)
    alike = [(m, m.ids) for m in before] == [(m, m.ids) for m in after]
    assert (change is None) == alike
    if change is None:
        return
    told, more = to_change(of_change(change, rate=8000))
    assert (told, more) == (change, {"rate": 8000})
    followed = [*before[: told.kept], *told.added]
    assert [(m, m.ids) for m in followed] == [(m, m.ids) for m in after]


@settings(max_examples=40)
@given(JSON)
def test_what_is_no_change_is_refused(about: Any) -> None:
    with pytest.raises(InferenceFailed, match="upgrade the client"):
        to_change({"answer": text_tensor(json.dumps(about))})
