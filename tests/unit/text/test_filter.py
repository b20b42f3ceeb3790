"""The content filter: languages, disguises, what is no disguise, rules."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.text.filter import Filtered, FilteredText, PassAll, WordListFilter
from voxturn.runtime.text.filtering.rules import WatchedRules

CASES = tomllib.loads(
    (Path(__file__).parents[3] / "bench/filter_cases.toml").read_text(encoding="utf-8")
)
EVASIONS = [(t["language"], *pair) for t in CASES["evasion"] for pair in t["pairs"]]
HARMLESS = [(t["language"], text) for t in CASES["harmless"] for text in t["texts"]]


@cache
def words() -> WordListFilter:
    return WordListFilter("en")


def ruled(tmp_path: Path, content: str, language: str = "en") -> WordListFilter:
    path = tmp_path / "rules.toml"
    path.write_text(content, encoding="utf-8")
    return WordListFilter(language, rules=WatchedRules(path, ManualClock().now))


@pytest.mark.parametrize(("language", "text", "left"), EVASIONS)
def test_disguises_are_seen_through(language: str, text: str, left: str) -> None:
    assert words().check(text, "in", language).text == left


@pytest.mark.parametrize(("language", "text"), HARMLESS)
def test_what_is_no_disguise_passes(language: str, text: str) -> None:
    assert words().check(text, "in", language) == Filtered(text)


def test_each_text_has_its_own_language() -> None:
    assert words().check("Merde alors", "out", "fr").text == "… alors"
    assert words().check("Merde alors", "out") == Filtered("Merde alors")
    assert WordListFilter("fr-CA").check("Merde alors", "out").text == "… alors"
    assert words().check("bastard", "out", "auto").text == "…"
    assert words().check("bastard", "out", "eu").text == "…"
    assert words().check("bastard", "out", "fr") == Filtered("bastard")


def test_the_trace_says_what_was_done_and_not_the_word() -> None:
    assert words().check("You b-astard!", "in").actions == ("in: removed 7 letters (mask, en)",)
    assert words().check("Merde", "out", "fr-CA").actions == ("out: removed 5 letters (mask, fr)",)


def test_own_words_are_added_in_every_language() -> None:
    content_filter = WordListFilter("en", ["zeta"])
    assert content_filter.check("Zeta, z-e-t-a and bastard", "out").text == "…, … and …"
    assert content_filter.check("zeta", "out", "ar").text == "…"


def test_rules_by_direction_and_language(tmp_path: Path) -> None:
    content_filter = ruled(
        tmp_path,
        '[[rule]]\nwords = ["alpha"]\ndirection = "in"\n'
        '[[rule]]\nwords = ["alpha", "beta gamma"]\naction = "replace"\ntext = "omega"\ndirection = "out"\n'
        '[[rule]]\nwords = ["bastard"]\naction = "replace"\ntext = "fellow"\nlanguage = "en-GB"\n'
        '[[rule]]\nwords = ["delta"]\nlanguage = "eu"',
    )
    assert content_filter.check("an alpha", "in").text == "an …"
    assert content_filter.check("4lpha, beta  gamma!", "out").text == "omega, omega!"
    assert content_filter.check("Oh bastard", "in").text == "Oh fellow"
    assert content_filter.check("delta", "in") == Filtered("delta")
    assert content_filter.check("delta", "in", "eu").text == "…"
    assert content_filter.check("alpha", "out").actions == ("out: removed 5 letters (replace, en)",)


def test_a_refusal_says_what_is_said_instead(tmp_path: Path) -> None:
    content_filter = ruled(
        tmp_path,
        '[[rule]]\nwords = ["alpha"]\n[[rule]]\nwords = ["beta"]\naction = "refuse"\ntext = "No."',
    )
    assert content_filter.check("alpha and b-e-t-a", "in") == Filtered(
        "… and …",
        ("in: removed 5 letters (mask, en)", "in: removed 4 letters (refuse, en)"),
        "No.",
    )


def test_no_filter_passes_all() -> None:
    assert PassAll().check("bastard", "in", "en") == Filtered("bastard")


ORDINARY = ["the", "class", "assassin,", "Sussex!", "a.m.", "über-cool", "3.5", "شعر", "Ñandú"]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(ORDINARY), max_size=30), st.sampled_from(["en", "ar", "de", "zh"]))
def test_texts_without_listed_words_are_unchanged(pieces: list[str], language: str) -> None:
    text = " ".join(pieces)
    assert words().check(text, "out", language) == Filtered(text)


@settings(max_examples=30)
@given(st.text(max_size=60), st.text(max_size=60))
def test_what_stands_around_a_listed_word_stays(before: str, after: str) -> None:
    before, after = f"{before}\n,", f",\n{after}"
    own = WordListFilter.check(words(), before, "out").text, words().check(after, "out").text
    assert words().check(f"{before} bastard {after}", "out").text == f"{own[0]} … {own[1]}"


def test_a_filter_keeps_a_bounded_number_of_lists() -> None:
    content_filter = WordListFilter("en")
    for tag in ("eu", "ca", "ga", "cy", "is", "et", "lv", "lt"):
        content_filter.check("text", "out", tag)
    assert len(content_filter._matchers) == 1


class Marking:
    """Shows what it was given at once; refuses what has a `!`."""

    name = "marking"

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        assert (direction, language) == ("out", "en")
        return Filtered(f"[{text}]", refusal="No." if "!" in text else "")


def test_a_written_text_is_looked_at_sentence_by_sentence() -> None:
    text = FilteredText(Marking(), "en")
    assert text.push("One") == ""
    assert text.push(" thing.") == ""
    assert text.push(" And") == "[One thing. ]"
    assert text.push("\nother") == "[And\n]"
    assert text.flush() == "[other]"
    assert text.flush() == ""


def test_a_refusal_ends_a_written_text() -> None:
    text = FilteredText(Marking(), "en")
    assert text.push("Stop! Now") == "No."
    assert text.refused
    assert text.push("More. ") == ""
    assert text.flush() == ""


def test_without_a_filter_a_written_text_comes_as_it_is() -> None:
    text = FilteredText(PassAll(), "en")
    assert [text.push(piece) for piece in ("On", "e. T")] == ["On", "e. T"]


@given(st.lists(st.text("ab .\n", max_size=300), max_size=6))
def test_a_written_text_keeps_every_character(pieces: list[str]) -> None:
    class Same:
        name = "same"

        def check(self, text: str, direction: str, language: str = "") -> Filtered:
            return Filtered(text)

    text = FilteredText(Same(), "en")
    shown, longest = "", 0
    for piece in pieces:
        shown += text.push(piece)
        longest = max(longest, len(text._held))
    assert shown + text.flush() == "".join(pieces)
    assert longest <= 400
