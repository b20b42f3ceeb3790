"""Calls in what a model writes: the same however it is cut, and no text of theirs is left."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.messages import ToolCall
from voxturn.runtime.text.tool_calls import (
    CALL_FORMS,
    LONGEST_CALL,
    MOST_CALLS,
    CallParser,
    new_call_id,
)

CALL = '<tool_call>\n{"name": "add", "arguments": {"to": 1}}\n</tool_call>'
ADD = ("add", {"to": 1}, "")
NO_JSON = ("", {}, "the call cannot be read: it is no JSON")
NOT_WHOLE = ("", {}, "the call cannot be read: it is not whole")


def parsed(form: str, *pieces: str, in_thought: bool = False) -> tuple[str, list[Any]]:
    """The text and the calls in an answer that comes in pieces."""
    parser = CallParser(CALL_FORMS[form], in_thought)
    items = [item for piece in pieces for item in parser.push(piece)] + parser.flush()
    assert "" not in items
    calls = [(i.name, i.arguments, i.problem) for i in items if isinstance(i, ToolCall)]
    return "".join(item for item in items if isinstance(item, str)), calls


def cut(text: str, at: list[int]) -> list[str]:
    return [text[begin:end] for begin, end in pairwise([0, *sorted(at), len(text)])]


CASES = [
    ("hermes", "It rains.", "It rains.", []),
    ("hermes", CALL, "", [ADD]),
    ("hermes", f"Let me see.\n{CALL}\n{CALL} So.", "Let me see.\nSo.", [ADD, ADD]),
    ("hermes", '<tool_call>{"name": "add"}</tool_call>', "", [("add", {}, "")]),
    ("hermes", '<tool_call>{"name": "add", "arguments": "{\\"to\\": 1}"}</tool_call>', "", [ADD]),
    ("hermes", '<tool_call>{"function": {"name": "add", "parameters": {"to": 1}}}', "", [ADD]),
    ("hermes", '<tool_call>[{"name": "add"}, 5]</tool_call>', "", [("add", {}, ""), ("", {}, "the call cannot be read: it is no JSON object")]),
    ("hermes", '<tool_call>{"name": "say", "arguments": {"text": "a </tool_call> \\" }"}}</tool_call>', "", [("say", {"text": 'a </tool_call> " }'}, "")]),
    ("hermes", "<tool_call>add(1)</tool_call> So.", "So.", [NO_JSON]),
    ("hermes", "<tool_call>{add: 1}</tool_call>", "", [NO_JSON]),
    ("hermes", '<tool_call>{"name": "add", "arguments": {"to": NaN}}</tool_call>', "", [NO_JSON]),
    ("hermes", '<tool_call>{"name": "add", "arguments": {"to": "\\ud800"}}</tool_call>', "", [NO_JSON]),
    ("hermes", '<tool_call>{"name": "add", "arguments": [1]}</tool_call>', "", [("", {}, "the call cannot be read: its arguments are no JSON object")]),
    ("hermes", '<tool_call>{"arguments": {}}</tool_call>', "", [("", {}, "the call cannot be read: it has no name")]),
    ("hermes", '<tool_call>{"name": "add"}} or so</tool_call>!', "!", [("add", {}, "")]),
    ("hermes", f'<tool_call>{{"name": "add" {CALL}', "", [NOT_WHOLE, ADD]),
    ("hermes", '<tool_call>{"name": "ad', "", [NOT_WHOLE]),
    ("hermes", "<tool_call>", "", [NOT_WHOLE]),
    ("hermes", "So <tool_c", "So ", []),
    ("hermes", "2 <", "2 <", []),
    ("hermes", "<tool_box> <<tool_", "<tool_box> <", []),
    ("hermes", f"<think>{CALL}</think>No.", f"<think>{CALL}</think>No.", []),
    ("hermes", f"<think>so</think>{CALL}<think>{CALL}", f"<think>so</think><think>{CALL}", [ADD]),
    ("llama", '{"name": "add", "parameters": {"to": 1}}', "", [ADD]),
    ("llama", ' {"name": "add", "parameters": {"to": 1}}; {"name": "add"} So.', "So.", [ADD, ("add", {}, "")]),
    ("llama", '<|python_tag|>{"type": "function", "name": "add", "parameters": {"to": 1}}', "", [ADD]),
    ("llama", '{"name": "add", "par', "", [NOT_WHOLE]),
    ("llama", '{"nam', "", []),
    ("llama", "{1, 2} is a set.", "{1, 2} is a set.", []),
    ("llama", 'Say {"name": 1}.', 'Say {"name": 1}.', []),
    ("llama", "{", "{", []),
    ("mistral", '[TOOL_CALLS][{"name": "add", "arguments": {"to": 1}}, {"name": "add"}] So [1].', "So [1].", [ADD, ("add", {}, "")]),
    ("mistral", "[TOOL_CALLS] none", "", [NO_JSON]),
    ("mistral", "[1] says so", "[1] says so", []),
]  # fmt: skip


@pytest.mark.parametrize(("form", "text", "said", "calls"), CASES)
def test_text_and_calls_are_told_apart_wherever_they_are_cut(
    form: str, text: str, said: str, calls: list[Any]
) -> None:
    assert parsed(form, text) == (said, calls)
    assert parsed(form, *text) == (said, calls)
    for at in range(1, len(text)):
        assert parsed(form, text[:at], text[at:]) == (said, calls)


MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "<|python_tag|>")
PARTS = st.lists(
    st.sampled_from([CALL, '{"name": "a"}', "So", "tool", *MARKS, *' \n[{"\\}];<1']), max_size=8
).map("".join)


@given(st.sampled_from(sorted(CALL_FORMS)), PARTS, st.booleans(), st.data())
@settings(max_examples=150)
def test_whatever_is_written_cuts_change_nothing(
    form: str, text: str, in_thought: bool, data: Any
) -> None:
    at = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    whole = parsed(form, text, in_thought=in_thought)
    assert parsed(form, *cut(text, at), in_thought=in_thought) == whole


def test_text_is_held_back_only_while_it_may_begin_a_call() -> None:
    parser = CallParser(CALL_FORMS["hermes"])
    assert parser.push("It is <") == ["It is "]
    assert parser.push("tool_") == []
    assert parser.push("s") == ["<tool_s"]
    (call,) = parser.push(f" {CALL}")[1:]
    assert isinstance(call, ToolCall)
    bare = CallParser(CALL_FORMS["llama"])
    assert bare.push('{ "na') == []
    assert bare.push("vy") == ['{ "navy']
    assert bare.push(" {") == [" {"]  # no answer's beginning any more


def test_a_call_is_told_before_its_closing_mark() -> None:
    parser = CallParser(CALL_FORMS["hermes"])
    assert parser.push(CALL.removesuffix("}\n</tool_call>")) == []
    assert [type(item) for item in parser.push("}")] == [ToolCall]
    assert parser.push("\n</tool_call>") == []


def test_an_answer_has_so_many_calls_and_each_so_many_characters() -> None:
    assert len(parsed("hermes", CALL * (MOST_CALLS + 2))[1]) == MOST_CALLS
    few = CallParser(CALL_FORMS["hermes"], most=1)
    assert len(few.push(CALL * 3)) == 1
    long = f'<tool_call>{{"name": "{"a" * LONGEST_CALL}"}}</tool_call> So.'
    said, ((name, _, problem),) = parsed("hermes", long)
    assert (said, name) == ("So.", "")
    assert problem == f"the call cannot be read: it has more than {LONGEST_CALL} characters"


@pytest.mark.parametrize("nested", ["[" * 9_000, '{"a":' * 3_000])
def test_what_is_nested_too_deep_is_no_call(nested: str) -> None:
    closed = nested + "]" * nested.count("[") + "1" * (":" in nested) + "}" * nested.count("{")
    said, calls = parsed("hermes", f"<tool_call>{closed}</tool_call> So.")
    assert said == "So."
    assert [problem for _, _, problem in calls] == ["the call cannot be read: it is no JSON"]


@pytest.mark.parametrize("form", CALL_FORMS.values(), ids=lambda form: form.name)
def test_what_a_form_writes_it_reads(form: Any) -> None:
    calls = [
        ToolCall(new_call_id(), "add", {"text": 'a "b" {name} </tool_call>', "to": [1, None]}),
        ToolCall(new_call_id(), "now", {}),
    ]
    said, read = parsed(form.name, form.written(calls))
    assert (said, read) == ("", [(call.name, call.arguments, "") for call in calls])


def test_ids_are_nine_letters_and_digits() -> None:
    ids = {new_call_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(each) == 9 and each.isalnum() for each in ids)
