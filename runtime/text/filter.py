"""The content filter: what may pass into the model and out of the loudspeaker.

Pluggable; the default is word lists, one a language, and the user's own rules (`filtering`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.text.filtering.lists import ENGLISH, LANGUAGES, spelling_of, words_of
from voxturn.runtime.text.filtering.matching import Hit, Matcher
from voxturn.runtime.text.filtering.rules import (
    ELLIPSIS,
    REFUSE,
    REPLACE,
    Rule,
    WatchedRules,
)
from voxturn.runtime.text.language import base_code, find

_LISTED = Rule()
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)]?\s+|[。！？؟।]|\n")
_LONGEST_HELD = 400
"""Characters without the end of a sentence that are held back at most."""


@dataclass(frozen=True)
class Filtered:
    """The text that may pass and, for the trace, what was done to it (one entry a place).

    `refusal` is what is to be said instead of all of it; empty where nothing is refused.
    """

    text: str
    actions: tuple[str, ...] = ()
    refusal: str = ""


class ContentFilter(Protocol):
    """Looks at a whole transcript (`direction` "in") or a whole clause ("out").

    `language` is the text's, a tag; empty: the profile's.
    """

    name: str

    def check(self, text: str, direction: str, language: str = "") -> Filtered: ...


class PassAll:
    """No filter."""

    name = "off"

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        return Filtered(text)


class FilteredText:
    """A text that comes in pieces and is read, through a filter: sentence by sentence where there is
    one, else as it comes. A refusal ends it (`refused`)."""

    def __init__(self, content_filter: ContentFilter, language: str = "") -> None:
        self._filter = content_filter
        self._language = language
        self._held = ""
        self.refused = False

    def push(self, text: str) -> str:
        """What may be shown now."""
        if self._filter.name == PassAll.name or self.refused:
            return "" if self.refused else text
        self._held += text
        ends = [found.end() for found in _SENTENCE_END.finditer(self._held)]
        whole = ends[-1] if ends else 0
        if len(self._held) - whole > _LONGEST_HELD:
            whole = self._held.rfind(" ") + 1 or len(self._held)
        checked, self._held = self._held[:whole], self._held[whole:]
        return self._checked(checked)

    def flush(self) -> str:
        """The text ended: what was held back, as far as it may be shown."""
        checked, self._held = self._held, ""
        return "" if self.refused else self._checked(checked)

    def _checked(self, text: str) -> str:
        if not text:
            return ""
        passed = self._filter.check(text, "out", self._language)
        self.refused = bool(passed.refusal)
        return passed.refusal or passed.text


class WordListFilter:
    """Acts on listed words: the list of the text's language, and the user's own words and rules,
    which come first.

    A word that is taken out is replaced by an ellipsis, which is not spoken. Raises
    `ExecutorUnavailable` where the library of the lists is not installed.
    """

    name = "words"

    def __init__(
        self, language: str, own_words: Sequence[str] = (), rules: WatchedRules | None = None
    ) -> None:
        self._language = language
        self._own_words = tuple(own_words)
        self._watched = rules
        self._rules: tuple[Rule, ...] = ()
        self._matchers: dict[tuple[str, str, str], Matcher[Rule]] = {}
        self._matcher("", "out")  # made now, not with the first clause

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        """Takes a fraction of a millisecond for a clause, and time in proportion to the length."""
        hits = self._matcher(language, direction).hits(text)
        if not hits:
            return Filtered(text)
        code = _codes(language or self._language)[0]
        actions = tuple(_action(text, hit, direction, code) for hit in hits)
        refusal = next((hit.rule.text for hit in hits if hit.rule.action == REFUSE), "")
        return Filtered(_without(text, hits), actions, refusal)

    def _matcher(self, language: str, direction: str) -> Matcher[Rule]:
        if self._watched is not None and (rules := self._watched.current()) is not self._rules:
            self._rules = rules
            self._matchers.clear()
        code, listed = _codes(language or self._language)
        # of languages without a list and a rule there may be many
        own = code if any(rule.language == code for rule in self._rules) else ""
        key = own, listed, direction
        if key not in self._matchers:
            entries = [
                *((w, r) for r in self._rules if r.applies(code, direction) for w in r.words),
                *((word, _LISTED) for word in (*self._own_words, *words_of(listed))),
            ]
            self._matchers[key] = Matcher(spelling_of(listed), entries)
        return self._matchers[key]


@lru_cache(maxsize=1024)
def _codes(tag: str) -> tuple[str, str]:
    """A language without its region, and that of its list: English for one that has none, and where
    the model is to tell the language."""
    try:
        return base_code(tag), find(tag, LANGUAGES.__contains__) or ENGLISH
    except UnsupportedLanguage:
        return ENGLISH, ENGLISH


def _without(text: str, hits: Sequence[Hit[Rule]]) -> str:
    """The text with something else in the places of `hits`."""
    pieces: list[str] = []
    end = 0
    for hit in hits:
        instead = hit.rule.text if hit.rule.action == REPLACE else ELLIPSIS
        pieces += [text[end : hit.start], instead]
        end = hit.end
    return "".join([*pieces, text[end:]])


def _action(text: str, hit: Hit[Rule], direction: str, language: str) -> str:
    """What a trace says of a hit: nothing of the word itself."""
    letters = sum(char.isalnum() for char in text[hit.start : hit.end])
    return f"{direction}: removed {letters} letters ({hit.rule.action}, {language})"
