"""Events over a wire: whatever a turn says arrives as it was, and nothing else ends in an
unexpected error."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime import errors
from voxturn.runtime.errors import InferenceFailed, VoxturnError
from voxturn.runtime.messages import (
    Interrupted,
    Partial,
    Paused,
    PcmChunk,
    ReplyToken,
    Resumed,
    Sentence,
    SessionError,
    SessionEvent,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    TurnDone,
    Word,
)
from voxturn.runtime.remote import codec
from voxturn.runtime.remote.codec import decode, encode
from voxturn.runtime.remote.tensors import of_event, to_event, to_session_event

TEXT = st.text(max_size=20)
SECONDS = st.floats(0, 1e6, allow_nan=False)
WORDS = st.lists(st.builds(Word, TEXT, SECONDS, SECONDS), max_size=3).map(tuple)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
SENTENCES = st.builds(Sentence, TEXT, st.integers(0, 1000), TEXTS, TEXT)
SAMPLES = st.lists(st.floats(-1, 1, width=32), max_size=30).map(lambda v: np.array(v, np.float32))
EVENTS = st.one_of(
    st.builds(SpeechStarted, st.integers(0, 1 << 40)),
    st.builds(SpeechEnded, st.integers(0, 1 << 40)),
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
        WORDS,
    ),
    st.builds(TurnDone, TEXT),
)
CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, VoxturnError)
]
ERRORS = st.builds(
    lambda kind, text: kind(" ".join(text.split())),
    st.sampled_from([*CLASSES, ValueError, KeyError]),
    st.text(max_size=60),
)
OF_A_SESSION = st.one_of(
    st.just(Paused()),
    st.builds(Resumed, st.integers(0, 1 << 40)),
    st.builds(Interrupted, TEXT, TEXT),
    st.builds(SessionError, ERRORS),
)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def same(one: SessionEvent, other: SessionEvent) -> bool:
    if isinstance(one, SessionError) and isinstance(other, SessionError):
        known = isinstance(other.error, VoxturnError)
        name = "" if known else f"{type(other.error).__name__}: "
        return type(one.error) is (type(other.error) if known else InferenceFailed) and str(
            one.error
        ) == name + " ".join(str(other.error).split())
    if isinstance(one, PcmChunk) and isinstance(other, PcmChunk):
        fields = ("rate", "start", "sentence", "cut", "final")
        alike = all(getattr(one, name) == getattr(other, name) for name in fields)
        return alike and np.array_equal(one.samples, other.samples)
    ids = (getattr(event, "ids", ()) for event in (one, other))
    return one == other and len(set(ids)) == 1


@given(EVENTS | OF_A_SESSION)
def test_what_is_sent_arrives(event: SessionEvent) -> None:
    header, data = encode(event)
    assert same(decode(json.loads(json.dumps(header)), data), event)
    assert same(to_session_event(of_event(event)), event)


@given(OF_A_SESSION)
def test_an_event_of_a_session_is_none_of_a_turn(event: SessionEvent) -> None:
    with pytest.raises(InferenceFailed, match=f"a session's {type(event).__name__} for a turn"):
        to_event(of_event(event))


def test_an_error_arrives_as_its_class_and_one_line_whatever_it_was() -> None:
    try:
        raise ZeroDivisionError("oops\n  File here.py, line 3")
    except ZeroDivisionError as exc:
        header, data = encode(SessionError(exc))
    assert header == {
        "kind": "SessionError",
        "error": "InferenceFailed",
        "message": "ZeroDivisionError: oops File here.py, line 3",
    }
    for name in ("Telepathy", "SystemExit", "VoxturnError.mro", "__doc__"):
        event = decode({"kind": "SessionError", "error": name, "message": "a\nb"}, data)
        assert isinstance(event, SessionError)
        assert type(event.error) is InferenceFailed
        assert str(event.error) == f"{name}: a b"


@given(
    st.sampled_from(
        [
            "SpeechStarted",
            "Partial",
            "Transcript",
            "Sentence",
            "PcmChunk",
            "TurnDone",
            "Interrupted",
            "SessionError",
        ]
    ),
    st.dictionaries(
        st.sampled_from(["text", "at", "sentence", "rate", "words", "error", "message", "x"]), JSON
    ),
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


def test_every_event_of_a_session_can_be_sent() -> None:
    names = {kind.__name__ for kind in get_args(SessionEvent)}
    assert names == set(codec._KINDS)


def test_an_event_of_another_version_is_named_so() -> None:
    with pytest.raises(InferenceFailed, match="does not know; upgrade the client"):
        decode({"kind": "Hologram"}, b"")
