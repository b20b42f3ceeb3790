"""The user's rules: read strictly, and read again while the filter runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from voxturn.runtime.errors import InvalidProfile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.text.filter import WordListFilter
from voxturn.runtime.text.filtering.rules import Rule, WatchedRules, read_rules


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.toml"


def test_rules_are_read_with_their_defaults(path: Path) -> None:
    path.write_text(
        '[[rule]]\nwords = ["alpha", "beta gamma"]\n'
        '[[rule]]\nwords = ["δ"]\naction = "refuse"\ntext = "No."\nlanguage = "pt-BR"\ndirection = "in"\n',
        encoding="utf-8",
    )
    assert read_rules(path) == (
        Rule(("alpha", "beta gamma")),
        Rule(("δ",), "refuse", "No.", "pt", "in"),
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("rule = 1", r"rule: must be a list"),
        ("rules = []", r"unknown key 'rules' \(did you mean 'rule'\?\)"),
        ("[[rule]]\n", r"rule\[0\]\.words: there are none"),
        (
            '[[rule]]\nwords = ["a"]\naction = "masc"',
            r"action: must be .* \(did you mean 'mask'\?\)",
        ),
        ('[[rule]]\nwords = ["a"]\ndirection = "up"', r"direction: must be in, out, both"),
        ('[[rule]]\nwords = ["a"]\nlanguage = "12"', r"language: '12' is no language tag"),
        ('[[rule]]\nwords = ["..."]', r"words: '\.\.\.' must have a letter"),
        (f'[[rule]]\nwords = ["{"a" * 101}"]', r"100 characters at most"),
        ('[[rule]]\nwords = ["a"]\naction = "refuse"', r"text: replace and refuse need one"),
        ('[[rule]]\nwords = ["a"]\ntext = "b"', r"mask has none"),
        (f'[[rule]]\nwords = ["a"]\naction = "replace"\ntext = "{"b" * 201}"', r"200 characters"),
        ('[[rule]]\nwords = "a"', r"words: must be a list"),
        ("not toml", r"not TOML"),
        ("#" * 1_000_001, r"1,000,000 at most"),
    ],
)
def test_mistakes_are_named(path: Path, content: str, problem: str) -> None:
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidProfile, match=problem) as caught:
        read_rules(path)
    assert str(caught.value).startswith("filter.rules: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_files_that_are_none(path: Path) -> None:
    with pytest.raises(InvalidProfile, match="cannot be read"):
        read_rules(path)
    os.mkfifo(path)
    with pytest.raises(InvalidProfile, match="named pipe"):
        read_rules(path)


def test_too_many_words(path: Path) -> None:
    words = '"ab",' * 10_001
    path.write_text(f"[[rule]]\nwords = [{words}]", encoding="utf-8")
    with pytest.raises(InvalidProfile, match="more than 10,000 words"):
        read_rules(path)


def rule(path: Path, word: str) -> None:
    path.write_text(f'[[rule]]\nwords = ["{word}"]', encoding="utf-8")


def test_the_file_is_looked_at_once_a_second(path: Path) -> None:
    clock = ManualClock()
    rule(path, "one")
    watched = WatchedRules(path, clock.now)
    before = watched.current()
    rule(path, "three")
    clock.advance(0.9)
    assert watched.current() is before
    clock.advance(0.2)
    assert watched.current() == (Rule(("three",)),)
    assert watched.current() is watched.current()


def test_a_broken_file_keeps_the_rules_and_is_told_of_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    rule(path, "one")
    watched = WatchedRules(path, clock.now)
    path.write_text("[[rule", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            clock.advance(1.0)
            assert watched.current() == (Rule(("one",)),)
    (record,) = caplog.records
    assert "the rules stay as they were" in record.message
    path.unlink()
    clock.advance(1.0)
    assert watched.current() == (Rule(("one",)),)
    rule(path, "three")
    clock.advance(1.0)
    assert watched.current() == (Rule(("three",)),)
    assert len(caplog.records) == 2


def test_a_filter_follows_its_file(path: Path) -> None:
    clock = ManualClock()
    rule(path, "alpha")
    content_filter = WordListFilter("en", rules=WatchedRules(path, clock.now))
    assert content_filter.check("alpha betas", "out").text == "… betas"
    rule(path, "betas")
    assert content_filter.check("alpha betas", "out").text == "… betas"
    clock.advance(1.0)
    assert content_filter.check("alpha betas", "out").text == "alpha …"
