"""The abbreviations of a language, and what the words around one say of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from voxturn.runtime.errors import InvalidRegistry
from voxturn.runtime.tomlfile import read_toml

REACH = 48
"""Characters before a full stop that are looked at."""

_PART = r"[^\s.,;:!?…()\[\]{}\"“”„«»‹›/@–—。，、！？；：「」『』（）]+"
_TAIL = re.compile(rf"(?:{_PART}\.[^\S\n]?)*{_PART}$")
_PARTS = re.compile(_PART)
_FOLLOWING = re.compile(
    r"[)\]}\"'”’»]*[^\S\n]*[(\[{\"'“”„‘‚«»‹›¿¡]*([^\s.,;:!?…()\[\]{}\"“”„«»‹›/–—-]*)(.?)", re.DOTALL
)
_NUMBER_BEFORE = re.compile(r"\d\.?[^\S\n]*$")
_YEAR_BEFORE = re.compile(r"(?<!\d)\d{4}[^\S\n]*$")
_ROMAN_BEFORE = re.compile(r"(?<![^\W_])[IVXLCDM]+[^\S\n]*$")
_ROMAN = re.compile(r"[IVXLC]+")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)")
_HOUSE_NUMBER = re.compile(r"\d[^\W_]*[^\S\n](?:[^\W\d_]+\.?[^\S\n]){1,3}$")
_PRONOUN = re.compile(
    r"(?i)\b(?:am|do|did|can|could|will|would|shall|should|may|might|must|have|had|was|were|nor|than|as|so)[^\S\n]I$"
)
_IN_CAPITALS = frozenset(
    ["co", "dr", "inc", "jr", "ltd", "mr", "mrs", "nr", "prof", "sr", "st", "tel"]
)
"""Keys of small letters that are also written all in capitals: no acronyms are."""
_JOINED = re.compile(r"['’]|(?<=[\u3040-\u9fff\uac00-\ud7af])(?=[A-Za-z])|^و(?=[^\W\d_]{1,2}$)")
"""Where a short word is written together with the next one: l'Ing., 王Dr., وأ."""


class Following(NamedTuple):
    """The next word of a text and the character after it; both empty where the text ends."""

    word: str
    mark: str

    @classmethod
    def at(cls, text: str, position: int) -> Following:
        """What follows a position, after quotes and brackets."""
        match = _FOLLOWING.match(text, position)
        assert match is not None  # every part of it may be empty
        return cls(match[1], match[2])

    @property
    def nothing(self) -> bool:
        """Whether the text or the line ends."""
        return not self.word and self.mark in ("", "\n")

    @property
    def number(self) -> bool:
        return self.word[:1].isdigit() or bool(_ROMAN.fullmatch(self.word))

    @property
    def small(self) -> bool:
        """Whether it begins with a small letter; iPhone does not, which begins sentences."""
        return self.word[:1].islower() and not self.word[1:2].isupper()

    @property
    def capital(self) -> bool:
        return (
            not self.small
            and self.word[:1].isalpha()
            and self.word[:1].upper() != self.word[:1].lower()
        )

    @property
    def initial(self) -> bool:
        """Whether it is a letter with a full stop."""
        return len(self.word) == 1 and self.word.isalpha() and self.mark == "."


class Place(Enum):
    """Where an abbreviation stands: the tables of a file."""

    BEFORE = "before"
    INSIDE = "inside"
    LAST = "last"
    NUMBER = "number"
    AFTER_NUMBER = "after_number"
    NAME = "name"


@dataclass(frozen=True)
class Abbreviation:
    """A key and its reading; with a second one, that after a name."""

    key: str
    place: Place
    readings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Abbreviations:
    """Those of one language. `begun`: what keys of several parts begin with."""

    table: Mapping[str, tuple[Abbreviation, ...]]
    begun: frozenset[str]
    starters: frozenset[str]
    continues: frozenset[str]
    undotted: frozenset[str]
    measures: frozenset[str]
    letters: frozenset[str]
    particles: frozenset[str]
    suffixes: tuple[str, ...]
    trained: Mapping[str, str]

    def find(self, key: str) -> tuple[Abbreviation, ...]:
        """What is written so, or ends so where compounds do; nothing for what is no abbreviation."""
        if found := self.table.get(key) or self.table.get(key.lower()):
            return found
        suffix = next((each for each in self.suffixes if key.endswith(each)), "")
        return self.table.get(suffix, ())

    def here(self, key: str, before: str, following: Following) -> Abbreviation | None:
        """What a key that stands between `before` and `following` abbreviates there; None: it is a
        word."""
        numbered = bool(_NUMBER_BEFORE.search(before))
        for entry in self.find(key):
            if self.measured(entry, before):
                inside = entry.place is Place.INSIDE  # 5 Mio. Euro
                return entry if inside else replace(entry, place=Place.LAST)
            if _acronym(key, entry, before, following):
                continue
            if self._stands(entry, before, following, numbered):
                return entry
        return None

    def measured(self, entry: Abbreviation, before: str) -> bool:
        """Whether it is a unit or part of a time there, which others read; after a year it is none."""
        numbered = _NUMBER_BEFORE.search(before) and not _YEAR_BEFORE.search(before)
        return entry.key in self.measures and bool(numbered)

    def _stands(
        self, entry: Abbreviation, before: str, following: Following, numbered: bool
    ) -> bool:
        if entry.place is Place.NUMBER:
            return following.number and not numbered
        if entry.place is Place.AFTER_NUMBER:
            return numbered or bool(_ROMAN_BEFORE.search(before))
        if entry.place is Place.NAME:
            if following.word in self.particles:
                return True  # M. et Mme, M. le maire
            if len(entry.key) == 1:
                first = (
                    before.strip().isalpha()
                )  # of its sentence, which has a capital whatever it is
                return following.capital and (first or not _name_before(before))
            return following.capital and not self.starts(following)
        return True

    def reading(self, entry: Abbreviation, before: str, following: Following) -> str:
        """How it is read there."""
        after_name = len(entry.readings) > 1 and self._after_name(before, following)
        return entry.readings[1 if after_name else 0]

    def _after_name(self, before: str, following: Following) -> bool:
        """Whether it belongs to the name before it: James St., but not St. James."""
        if following.capital and not self.starts(following):
            return bool(_HOUSE_NUMBER.search(before))
        return _name_before(before)

    def starts(self, following: Following) -> bool:
        """Whether the word begins a sentence, for it has a capital or could have none, and is no
        name."""
        first = _JOINED.split(following.word.lower())[0]
        return not following.small and not following.initial and first in self.starters

    def noticed(self, before: str) -> bool:
        """Whether a full stop after `before` may be that of an abbreviation or of an initial."""
        if _initial(before) or (word := _last(before)) in self.letters:
            return True
        return "." in word or any(
            self.find(key) or key in self.begun or key.lower() in self.begun
            for key, _ in _keys(before)
        )

    def ends_sentence(self, before: str, following: Following) -> bool:
        """Whether a full stop after `before`, which is no number's, ends a sentence."""
        if following.nothing:
            return True
        if following.mark == "." and any(self._goes_on(k, following) for k, _ in _keys(before)):
            return False
        for key, start in _keys(before):
            if (entry := self.here(key, before[:start], following)) is not None:
                return self._may_end(entry, before[:start], following)
        word = _last(before)
        if word in self.letters and (following.word in self.letters or self._after_letter(before)):
            return False
        if _initial(before):
            if _NUMBER_BEFORE.search(before[:-1]) and not following.initial:
                return not following.small
            return bool(_PRONOUN.search(before)) or self.starts(following)
        if _dotted(word):
            return self.starts(following)
        caseless = word[-1:].isalpha() and word[-1:].upper() == word[-1:].lower()
        return caseless or not following.small

    def _after_letter(self, before: str) -> bool:
        """Whether the part before the last one is a letter, too: ए. पी."""
        longest = next(_keys(before), ("", 0))[0].split(".")
        return len(longest) > 1 and longest[-2] in self.letters

    def _goes_on(self, key: str, following: Following) -> bool:
        """Whether the next word is a further part of an abbreviation: EE. UU."""
        longer = f"{key}.{following.word}"
        return any(each in self.table or each in self.begun for each in (longer, longer.lower()))

    def _may_end(self, entry: Abbreviation, before: str, following: Following) -> bool:
        if following.small or not following.word[:1].isalpha():
            return False
        if len(entry.readings) > 1:
            return self.starts(following) and self._after_name(before, following)
        if entry.place is Place.LAST:
            return following.word.lower() not in self.continues
        return entry.place in (Place.INSIDE, Place.AFTER_NUMBER) and self.starts(following)


def _keys(before: str) -> Iterator[tuple[str, int]]:
    """What may be an abbreviation at the end of a text and where it begins, the longest first: of
    `p. ej`, `p.ej` and `ej`."""
    offset = max(0, len(before) - REACH)
    tail = _TAIL.search(before, offset)
    if tail is None:
        return
    parts = list(_PARTS.finditer(before, tail.start()))
    for i, part in enumerate(parts):
        rest = [each[0] for each in parts[i + 1 :]]
        yield ".".join([part[0], *rest]), part.start()
        elided = _JOINED.split(part[0])[-1]
        if elided and elided != part[0]:
            yield ".".join([elided, *rest]), part.end() - len(elided)


def _acronym(key: str, entry: Abbreviation, before: str, following: Following) -> bool:
    """Whether a key is an acronym or an initial instead: BP is no bishop, П. Иванов no пункт.

    Capitals alone say nothing where the text around has no small letters, or where a number follows
    what stands before one.
    """
    if not key.isupper() or "." in key or entry.key == key or entry.key in _IN_CAPITALS:
        return False
    if len(key) == 1:
        return entry.place is Place.BEFORE and not following.number
    if entry.place is Place.NUMBER:
        return False  # which also wants a number
    around = f"{before} {following.word}"
    return any(map(str.islower, around)) or not any(map(str.isupper, around))


def _last(before: str) -> str:
    """The last word, with the full stops inside it."""
    match = re.search(r"[^\s(\"'“„‘«]*$", before[-REACH:])
    return match[0] if match else ""


def _initial(before: str) -> bool:
    """Whether the last word is one letter of a script that has capitals."""
    word = _last(before)
    return len(word) == 1 and word.lower() != word.upper()


def _dotted(word: str) -> bool:
    """Whether it is letters with full stops between them: U.S.A, Ph.D."""
    parts = word.split(".")
    return len(parts) > 1 and all(
        1 <= len(part) <= 3 and all(char.lower() != char.upper() for char in part) for part in parts
    )


def _name_before(before: str) -> bool:
    """Whether a word with a capital, or an ordinal, stands directly before."""
    if not before[-1:].isspace() or not before[-2:-1].isalnum():
        return False
    word = before.split()[-1]
    return word[:1].isupper() or bool(_ORDINAL.fullmatch(word))


@cache
def _files() -> Mapping[str, Path]:
    return {path.stem: path for path in Path(__file__).parent.glob("*.toml")}


@cache
def abbreviations(language: str) -> Abbreviations:
    """Those of a language by its code, as `en` or `zh-cn`; of one that has no file, what many
    languages write."""
    base = language.split("-")[0]
    code = next((code for code in (language, base, f"{base}-cn") if code in _files()), "und")
    raw = read_toml(_files()[code], InvalidRegistry)
    table: dict[str, tuple[Abbreviation, ...]] = {}
    for place in Place:
        for key, reading in raw.get(place.value, {}).items():
            entry = Abbreviation(key, place, tuple(reading.split(" / ")))
            table[key] = (*table.get(key, ()), entry)
    begun = {key[:at] for key in table for at, char in enumerate(key) if char == "."}
    return Abbreviations(
        table=table,
        begun=frozenset(begun),
        starters=frozenset(raw.get("starters", "").split()),
        continues=frozenset(raw.get("continues", "").split()),
        undotted=frozenset(raw.get("undotted", ())),
        measures=frozenset(raw.get("measures", ())),
        letters=frozenset(raw.get("letters", "").split()),
        particles=frozenset(raw.get("particles", "").split()),
        suffixes=tuple(raw.get("suffixes", ())),
        trained=raw.get("trained", {}),
    )
