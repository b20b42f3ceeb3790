"""Words in disguise are found, words that hold them are not, and no text takes long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.text.filtering.matching import Matcher, Spelling

from tests.scaling import in_proportion

PLAIN = Spelling()
MILD = ["damn", "hell", "boob", "go to hell", "дурак", "笨蛋", "バカ", "pene"]


def found(text: str, words: Sequence[str] = MILD, spelling: Spelling = PLAIN) -> list[str]:
    hits = Matcher(spelling, [(word, word) for word in words]).hits(text)
    return [text[hit.start : hit.end] for hit in hits]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("Damn! (hell)", ["Damn", "hell"]),
        ("daaamn heelll", ["daaamn", "heelll"]),
        ("d4mn h3ll he11 b00b", ["d4mn", "h3ll", "he11", "b00b"]),
        ("d.a.m.n. and h-e-l-l", ["d.a.m.n", "h-e-l-l"]),
        ("oh d a m n it", ["d a m n"]),
        ("d.amn da-mn", ["d.amn", "da-mn"]),
        ("d*mn d**n d*a*m*n", ["d*mn", "d**n", "d*a*m*n"]),
        ("d\u200bamn\u200b ok", ["d\u200bamn\u200b"]),
        ("go  to-hell", ["go  to-hell"]),
        ("go to heeell", ["go to heeell"]),
        ("дyрaк и дурaк", ["дурaк"]),
        ("这个笨蛋吗", ["笨蛋"]),
        ("笨 蛋", ["笨 蛋"]),
        ("このバカめ", ["バカ"]),
    ],
)
def test_words_are_found(text: str, spans: list[str]) -> None:
    assert found(text) == spans


@pytest.mark.parametrize(
    "text",
    [
        "shell hello Hellman",
        "goddamnit",
        "penne alla pene?"[:5],
        "bob bo ob",
        "dam n",
        "da mn",
        "d a m n e d",
        "he'll",
        "go to the hell-bent"[:9],
        "バカンス",
        "2hell2 4 d 1",
        "7734 80085",
    ],
)
def test_words_that_look_like_them_are_not(text: str) -> None:
    assert found(text) == []


def test_the_first_entry_of_a_word_counts_and_the_longer_place() -> None:
    matcher = Matcher(Spelling(), [("hell", 1), ("HELL", 2), ("go to hell", 3)])
    assert [hit.rule for hit in matcher.hits("hell, go to hell")] == [1, 3]


def test_affixes_count_where_the_whole_is_long_enough() -> None:
    spelling = Spelling(prefixes=("ال", "و"), suffixes=("s",))
    assert found("الحمار وحمار", ["حمار"], spelling) == ["الحمار", "وحمار"]
    assert found("وبقر البقر", ["بقر"], spelling) == ["البقر"]
    assert found("idiots hells", ["idiot", "hell"], spelling) == ["idiots", "hells"]


def test_harmless_words_are_not_taken_for_others_but_own_ones_are() -> None:
    spelling = Spelling(harmless=("hells", "annal"), suffixes=("s",))
    assert found("hells", ["hell"], spelling) == []
    assert found("hells", ["hell", "hells"], spelling) == ["hells"]


HOSTILE = [
    "a ", "a.", "!", "*a", "ﷺ", "e\u0301", "\u0301", "笨 ", "笨", "バ", "h.e.l.l.", "1a", "hell ", "$ ", "@!", "hel", "d*", "go to ", "a.b ", "!a", "ﾞ", ". ", "aa.",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    matcher = Matcher(Spelling(), [(word, word) for word in MILD])
    assert in_proportion(lambda length: matcher.hits((piece * length)[:length]), 250)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["hell", "shell", "x", ".", " ", "!", "-", "\u200b", "笨蛋", "é"])))
def test_hits_lie_apart_and_within_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    hits = Matcher(Spelling(), [(word, word) for word in MILD]).hits(text)
    ends = [0, *(hit.end for hit in hits)]
    assert all(end <= hit.start < hit.end for end, hit in zip(ends, hits, strict=False))
    assert all(hit.end <= len(text) for hit in hits)


@settings(max_examples=40)
@given(
    st.text(alphabet=st.characters(categories=["Zs", "Po"]), max_size=3).filter(
        lambda text: not set(text) & set("@!*.-_/\\・·~|")
    ),
    st.text(alphabet=st.characters(categories=["Zs", "Po"]), max_size=3).filter(
        lambda text: not set(text) & set("@!*.-_/\\・·~|")
    ),
)
def test_what_is_cut_is_the_word_alone(before: str, after: str) -> None:
    (hit,) = Matcher(Spelling(), [("hell", 1)]).hits(f"{before}hell{after}")
    assert (hit.start, hit.end) == (len(before), len(before) + 4)
