"""JSON from strangers: whatever it holds, the error names the field."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import UsageError
from voxturn.runtime.remote.contract import LONGEST_JSON, LONGEST_TEXT, MOST_MESSAGES
from voxturn.runtime.remote.table import Table, json_value
from voxturn.runtime.remote.tensors import text_of, text_tensor
from voxturn.runtime.serving.inputs import messages_of

FIELDS = ("text", "flag", "whole", "number", "ids", "table", "other")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[" * 100_000,
        '{"a":' * 100_000,
        '"\\ud800"',
        '[{"\\udfff": 1}]',
        "9" * 5000,
        "1" + " " * LONGEST_JSON,
        '{"a": 1',
        "\x00",
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^wish: "):
        json_value(text, "wish")


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert json_value('"\\ud83d\\ude42"', "wish") == "🙂"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UsageError, match=r"wish: must be UTF-8 \(byte 1 is not"):
        text_of(np.array([b"a\xff"], np.object_), "wish")


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_every_field_is_what_it_has_to_be_or_is_named(fields: dict[str, Any]) -> None:
    refused: list[tuple[str, str]] = []

    def read(call: Any, field: str, *more: Any) -> Any:
        try:
            return call(field, *more)
        except UsageError as exc:
            refused.append((field, str(exc)))
            return None

    about = Table(json.loads(json.dumps(fields)), "wish")
    assert isinstance(read(about.text, "text"), str | None)
    assert isinstance(read(about.flag, "flag"), bool | None)
    assert read(about.whole, "whole", -3, 3) in (None, *range(-3, 4))
    assert isinstance(read(about.number, "number", 1.0), float | None)
    assert isinstance(read(about.ids, "ids", 5, 3), list | None)
    assert isinstance(read(about.table, "table"), Table | None)
    assert all(
        re.match(rf"wish(\.{field}: must|: needs {field}$)", said) for field, said in refused
    )
    if "other" in fields:
        with pytest.raises(UsageError, match="wish: has no field other"):
            about.close()
    else:
        about.close()


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ({}, "messages: must be a JSON list"),
        ([], "messages: must be a JSON list"),
        ([1], r"messages\[0\]: must be a JSON object"),
        ([{"role": "user", "text": "a"}, None], r"messages\[1\]: must be a JSON object"),
        ([{"text": "a"}], r"messages\[0\]: needs role"),
        ([{"role": "king", "text": "a"}], r"messages\[0\].role: must be one of system, user"),
        ([{"role": ["user"], "text": "a"}], r"messages\[0\].role: must be one of"),
        ([{"role": "user"}], r"messages\[0\]: needs text"),
        ([{"role": "user", "text": 5}], r"messages\[0\].text: must be a text"),
        (
            [{"role": "user", "text": ""}] * (MOST_MESSAGES + 1),
            "messages: must be a JSON list of 1",
        ),
    ],
)
def test_messages_that_are_none_are_refused(messages: Any, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        messages_of({"messages": text_tensor(json.dumps(messages))})


def test_the_longest_dialogue_passes_in_any_script() -> None:
    text = "م" * LONGEST_TEXT
    asked = json.dumps([{"role": "user", "text": text}])
    assert messages_of({"messages": text_tensor(asked)})[0].text == text
