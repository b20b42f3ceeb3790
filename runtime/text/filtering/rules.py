"""The user's own rules: a TOML file that is read again while the filter runs.

[[rule]]
words = ["a word", "another one"]  # words or phrases
action = "replace"                 # mask (default), replace or refuse
text = "something"                 # of replace: what stands there; of refuse: what is said
language = "en"                    # default: texts of every language
direction = "out"                  # in, out or both (default)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from voxturn.runtime.errors import InvalidProfile, UnsupportedLanguage
from voxturn.runtime.files import size_of
from voxturn.runtime.text.language import base_code, codes_of
from voxturn.runtime.tomlfile import build, nearest, read_toml

MASK, REPLACE, REFUSE = ACTIONS = ("mask", "replace", "refuse")
DIRECTIONS = ("in", "out", "both")
ELLIPSIS = "…"
"""Stands for what was masked. It is not spoken."""
_LOOK_S = 1.0
_MOST_BYTES, _MOST_WORDS, _LONGEST_WORD, _LONGEST_TEXT = 1_000_000, 10_000, 100, 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """What is done about words: `text` is put in their place, or said instead of everything."""

    words: tuple[str, ...] = ()
    action: str = MASK
    text: str = ""
    language: str = ""
    direction: str = "both"

    def applies(self, language: str, direction: str) -> bool:
        """Whether it is about texts of a language (a code without region) in a direction."""
        return self.language in ("", language) and self.direction in ("both", direction)


@dataclass(frozen=True)
class _File:
    rule: tuple[Rule, ...] = ()


class WatchedRules:
    """The rules of a file. Raises `InvalidProfile` where they cannot be read at first.

    The file is looked at once a second at most. One that cannot be read later is told of once, and
    the rules stay as they were. `now` gives the time in seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._stamp = _stamp(path)
        self._rules = read_rules(path)
        self._look_at = now() + _LOOK_S

    def current(self) -> tuple[Rule, ...]:
        """The rules as they are now; the same object as long as they do not change."""
        if (now := self._now()) < self._look_at:
            return self._rules
        self._look_at = now + _LOOK_S
        if (stamp := _stamp(self._path)) != self._stamp:
            self._stamp = stamp
            try:
                self._rules = read_rules(self._path)
            except InvalidProfile as exc:
                _LOG.warning("%s; the rules stay as they were", exc)
        return self._rules


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file. Raises `InvalidProfile`."""
    where = f"filter.rules: {path}"
    try:
        size_of(path, _MOST_BYTES)
    except OSError as exc:
        raise InvalidProfile(f"{where}: cannot be read ({exc.strerror})") from exc
    except ValueError as exc:
        raise InvalidProfile(f"{where}: {exc}") from exc
    table = read_toml(path, lambda text: InvalidProfile(f"filter.rules: {text}"))
    rules = build(_File, table, where, InvalidProfile).rule
    if sum(len(rule.words) for rule in rules) > _MOST_WORDS:
        raise InvalidProfile(f"{where}: more than {_MOST_WORDS:,} words")
    return tuple(_checked(rule, f"{where}.rule[{n}]") for n, rule in enumerate(rules))


def _checked(rule: Rule, where: str) -> Rule:
    """The rule with its language as a code."""
    for name, value, known in (
        ("action", rule.action, ACTIONS),
        ("direction", rule.direction, DIRECTIONS),
    ):
        if value not in known:
            raise InvalidProfile(
                f"{where}.{name}: must be {', '.join(known)}, not {value!r}{nearest(value, known)}"
            )
    if not rule.words:
        raise InvalidProfile(f"{where}.words: there are none")
    for word in rule.words:
        if len(word) > _LONGEST_WORD or not any(char.isalnum() for char in word):
            raise InvalidProfile(
                f"{where}.words: {word[:40]!r} must have a letter or a digit, and {_LONGEST_WORD} characters at most"
            )
    if (rule.action == MASK) == bool(rule.text.strip()) or len(rule.text) > _LONGEST_TEXT:
        raise InvalidProfile(
            f"{where}.text: {REPLACE} and {REFUSE} need one of {_LONGEST_TEXT} characters at most, {MASK} has none"
        )
    if not rule.language:
        return rule
    try:
        codes_of(rule.language)
    except UnsupportedLanguage as exc:
        raise InvalidProfile(f"{where}.language: {exc}") from exc
    return replace(rule, language=base_code(rule.language))


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with a file's content; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
