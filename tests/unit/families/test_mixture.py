"""Names of speakers: voices, styles, mixtures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.mixture import Part, parts_of

names = st.sampled_from(["ana", "Claribel Dervla", "علي", "v1.2-b"])
styles = st.sampled_from(["", "happy", "very-sad"])
weights = st.floats(1e-3, 1e3)


@pytest.mark.parametrize(
    ("speaker", "parts"),
    [
        ("ana", [Part("ana")]),
        ("ana/Happy", [Part("ana", "happy")]),
        ("ana:5", [Part("ana")]),
        ("ana:0.7+ben:0.3", [Part("ana", "", 0.7), Part("ben", "", 0.3)]),
        ("ana/happy:3 + ben", [Part("ana", "happy", 0.75), Part("ben", "", 0.25)]),
        ("ana+ana/sad", [Part("ana", "", 0.5), Part("ana", "sad", 0.5)]),
    ],
)
def test_what_names_mean(speaker: str, parts: list[Part]) -> None:
    assert list(parts_of(speaker)) == parts


@given(st.lists(st.tuples(names, styles, weights), min_size=1, max_size=8))
def test_every_mixture_is_read_as_it_was_written(parts: list[tuple[str, str, float]]) -> None:
    speaker = "+".join(
        f"{voice}{'/' if style else ''}{style}:{weight}" for voice, style, weight in parts
    )
    found = parts_of(speaker)
    assert [(part.voice, part.style) for part in found] == [each[:2] for each in parts]
    total = sum(weight for _, _, weight in parts)
    assert [part.weight for part in found] == pytest.approx([w / total for _, _, w in parts])
    assert sum(part.weight for part in found) == pytest.approx(1.0)


@given(st.text(st.sampled_from("ab/:+. 01-einf\n"), max_size=20))
def test_any_text_is_read_or_refused_in_one_line(speaker: str) -> None:
    try:
        parts = parts_of(speaker)
    except UsageError as exc:
        problem, parts = str(exc), ()
    else:
        problem = ""
    assert "\n" not in problem
    assert all(part.voice and 0 < part.weight <= 1 for part in parts)


@pytest.mark.parametrize(
    ("speaker", "says"),
    [
        ("", "names no voice"),
        ("ana+", "names no voice"),
        ("+ben", "names no voice"),
        (":1", "names no voice"),
        ("/happy", "names no voice"),
        ("ana/", "names no voice"),
        ("ana/happy/sad", "style 'happy/sad'"),
        ("ana:", "the weight ''"),
        ("ana:x+ben", "the weight 'x'"),
        ("ana:0+ben:1", "the weight '0'"),
        ("ana:-1+ben:2", "the weight '-1'"),
        ("ana:nan", "the weight 'nan'"),
        ("ana:inf+ben", "the weight 'inf'"),
        ("ana:1:2", "the weight '1:2'"),
        ("+".join(["ana"] * 9), "at most 8 voices"),
    ],
)
def test_what_is_no_name(speaker: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parts_of(speaker)
    assert says in str(caught.value)


def test_a_voice_that_is_there_is_meant_whatever_signs_its_name_has() -> None:
    assert parts_of("a+b:1/c", ["a+b:1/c"]) == (Part("a+b:1/c"),)
