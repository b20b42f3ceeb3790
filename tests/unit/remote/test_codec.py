"""Events over a wire: whatever a turn says arrives as it was, and nothing else ends in an
unexpected error."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.messages import (
    Event,
    Partial,
    PcmChunk,
    ReplyToken,
    Sentence,
    SpeechStarted,
    Transcript,
    TurnDone,
    Word,
)
from voxturn.runtime.remote.codec import decode, encode
from voxturn.runtime.remote.tensors import of_event, to_event

TEXT = st.text(max_size=20)
SECONDS = st.floats(0, 1e6, allow_nan=False)
WORDS = st.lists(st.builds(Word, TEXT, SECONDS, SECONDS), max_size=3).map(tuple)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
SENTENCES = st.builds(Sentence, TEXT, st.integers(0, 1000), TEXTS)
SAMPLES = st.lists(st.floats(-1, 1, width=32), max_size=30).map(lambda v: np.array(v, np.float32))
EVENTS = st.one_of(
    st.builds(SpeechStarted, st.integers(0, 1 << 40)),
    st.builds(Partial, TEXT, TEXT, TEXT, st.integers(0, 1 << 40)),
    st.builds(Transcript, TEXT, TEXT, SECONDS, st.integers(0, 9), TEXTS, WORDS),
    st.builds(ReplyToken, TEXT, st.lists(st.integers(0, 1 << 20), max_size=4).map(tuple)),
    SENTENCES,
    st.builds(
        PcmChunk,
        SAMPLES,
        st.integers(8000, 48000),
        st.integers(0, 1 << 40),
        SENTENCES,
        TEXT,
        st.booleans(),
    ),
    st.builds(TurnDone, TEXT),
)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def same(one: Event, other: Event) -> bool:
    if isinstance(one, PcmChunk) and isinstance(other, PcmChunk):
        fields = ("rate", "start", "sentence", "cut", "final")
        alike = all(getattr(one, name) == getattr(other, name) for name in fields)
        return alike and np.array_equal(one.samples, other.samples)
    ids = (getattr(event, "ids", ()) for event in (one, other))
    return one == other and len(set(ids)) == 1


@given(EVENTS)
def test_what_is_sent_arrives(event: Event) -> None:
    header, data = encode(event)
    assert same(decode(json.loads(json.dumps(header)), data), event)
    assert same(to_event(of_event(event)), event)


@given(
    st.sampled_from(["SpeechStarted", "Partial", "Transcript", "Sentence", "PcmChunk", "TurnDone"]),
    st.dictionaries(st.sampled_from(["text", "at", "sentence", "rate", "words", "x"]), JSON),
    st.binary(max_size=9),
)
def test_what_is_not_whole_is_one_clear_line(
    kind: str, fields: dict[str, Any], data: bytes
) -> None:
    line = ""
    try:
        decode({"kind": kind} | fields, data)
    except InferenceFailed as exc:
        line = str(exc)
    assert "\n" not in line


def test_an_event_of_another_version_is_named_so() -> None:
    with pytest.raises(InferenceFailed, match="does not know; upgrade the client"):
        decode({"kind": "Hologram"}, b"")
