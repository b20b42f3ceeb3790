"""How each language writes and says what is counted, measured, dialled and numbered: a TOML file a
language, in `tables/`.

Beside the lexicon, which has the words of dates, times and prices. Nouns are written as they are
there (`lexicon.noun`). Every table may be missing where a language does not need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from voxturn.runtime.errors import InvalidRegistry
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.tomlfile import read_toml

Rules = tuple[tuple[str, str], ...]
"""Pairs of a regular expression and what it leads to; the first that matches counts."""


@dataclass(frozen=True)
class AddressWords:
    """What the marks of e-mail addresses and hosts are called."""

    at: str
    dot: str
    dash: str
    underscore: str


@dataclass(frozen=True)
class TelephoneWords:
    """Words before a telephone number, as regular expressions; `numbers` are those that stand
    before any other number, too; `plans` are numbers that others would be taken for.
    """

    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    pairs: bool = False


@dataclass(frozen=True)
class FractionWords:
    """Denominators as nouns; `whole` has fractions with a name of their own, `after_whole` how
    they stand after a whole number; `over` says any other.
    """

    over: str
    mixed: str
    parts: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    after_whole: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClockWords:
    """Words that make 14.30 a time, before and after it; `letter` divides it as in 14h30;
    `end` must follow a time after a word of `before`.

    `after_twenty`: how a minute below ten is said after twenty hours, which would otherwise sound
    as twenty-one to twenty-nine.

    `cases`: words before a time, and the row of `endings` that they ask for.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    letter: str = ""
    end: str = ""
    after_twenty: str = ""
    cases: Rules = ()
    endings: Mapping[str, Rules] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """The gender that a number takes from the word after it: `one` with its first form, `many` with
    the others.

    `hundreds` are rewritten in the feminine.
    """

    one: Rules = ()
    many: Rules = ()
    hundreds: Rules = ()


@dataclass(frozen=True)
class RomanWords:
    """Where Roman numerals stand and how they are read.

    `ordinal_after` (kings), `cardinal_after` (chapters) and `ordinal_before` (centuries) are rules
    on the neighbouring word; what a rule of ordinals leads to is the name of a row of `endings`:
    expressions on the ordinal and their replacements. Ordinals above `ordinal_up_to` are cardinals.
    `dotted`: a full stop belongs to the ordinal. `verbs` follow an I that is a pronoun; `titles`
    stand before the names of rulers, an expression; `between` stands between two numerals of a row.
    """

    cardinal_after: tuple[str, ...] = ()
    ordinal_after: Rules = ()
    ordinal_before: Rules = ()
    before_words: Rules = ()
    endings: Mapping[str, Rules] = field(default_factory=dict)
    suffix: str = ""
    ordinal_up_to: int = 4000
    dotted: bool = False
    leading: bool = False
    verbs: tuple[str, ...] = ()
    titles: str = ""
    between: str = ""


@dataclass(frozen=True, eq=False)
class Forms:
    """One language.

    `careful_units`: expressions that must hold after a unit that is a word as well.
    `without_of`: magnitudes without the lexicon's `of`; `glued` are written together with their
    number. `ordinal_before_noun`: what a masculine noun does to an ordinal. `years`: words
    after a year that make it an ordinal, and the row of `roman.endings`. `rewrites`: other
    notations, and the usual one that they stand for. `joins`: what is left to join in the
    words. `word_months`: short months that are words as well, unless a full stop or a year follows.
    `day_after` and `no_day_after`: what makes 9.10. a day, and what forbids it; `slash_day_after`:
    what makes 3/4 one. `labels`: nouns whose number comes after them, besides those of
    `roman.cardinal_after`. `weak_after`: articles that take the ending of an ordinal day away.
    """

    address: AddressWords
    fractions: FractionWords
    telephone: TelephoneWords = TelephoneWords()
    clock: ClockWords = ClockWords()
    agreement: Agreement = Agreement()
    roman: RomanWords = RomanWords()
    units: Mapping[str, str] = field(default_factory=dict)
    careful_units: Mapping[str, str] = field(default_factory=dict)
    magnitudes: Mapping[str, str] = field(default_factory=dict)
    without_of: tuple[str, ...] = ()
    glued: tuple[str, ...] = ()
    elision: str = ""
    months: tuple[str, ...] = ()
    word_months: tuple[str, ...] = ()
    day_after: str = ""
    no_day_after: str = ""
    slash_day_after: tuple[str, ...] = ()
    labels: str = ""
    ordinals: Mapping[str, Rules] = field(default_factory=dict)
    ordinal_before_noun: Rules = ()
    years: Rules = ()
    rewrites: Rules = ()
    joins: Rules = ()
    weak_after: tuple[str, ...] = ()


@cache
def forms(language: str) -> Forms:
    """The forms of one of `lexicon.LANGUAGES`."""
    path = Path(__file__).parent / "tables" / f"{language}.toml"
    table = _frozen(read_toml(path, InvalidRegistry))
    parts: dict[str, type[Any]] = {
        "address": AddressWords,
        "fractions": FractionWords,
        "telephone": TelephoneWords,
        "clock": ClockWords,
        "agreement": Agreement,
        "roman": RomanWords,
    }
    return Forms(
        **{key: parts[key](**value) if key in parts else value for key, value in table.items()}
    )


def forms_of(lexicon: Lexicon) -> Forms:
    """The forms beside a lexicon."""
    return forms(lexicon.language)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@lru_cache(maxsize=4096)
def ruled(rules: Rules, word: str) -> str | None:
    """What the first matching rule leads to; None without one."""
    return next((value for pattern, value in rules if re.search(pattern, word)), None)


def rewritten(rules: Rules, words: str) -> str:
    """`words` after every rule in turn, as `re.sub`."""
    for pattern, replacement in rules:
        words = re.sub(pattern, replacement, words)
    return words
