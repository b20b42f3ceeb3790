"""What each language says: one TOML file a language, in `languages/`.

A noun is written `one|many` (as many forms as `plural` tells apart), with `f:` or `n:` before it where its gender is not
masculine; a currency's noun is followed by ` / ` and the noun of its hundredth part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from voxturn.runtime.errors import InvalidRegistry, UnsupportedLanguage
from voxturn.runtime.text.language import find, is_auto
from voxturn.runtime.tomlfile import read_toml

LANGUAGES = (
    "en",
    "es",
    "fr",
    "de",
    "it",
    "pt",
    "pl",
    "tr",
    "ru",
    "nl",
    "cs",
    "ar",
    "zh-cn",
    "hu",
    "ko",
    "ja",
    "hi",
)
"""The languages of XTTS v2, by the names that its vocabulary has for them."""


@dataclass(frozen=True)
class Noun:
    """A noun to be counted: its forms in the order of the language's plural rule, and its gender
    (m, f, n)."""

    forms: tuple[str, ...]
    gender: str = "m"


@dataclass(frozen=True)
class DateWords:
    """How a date is said. `order` is that of ambiguous dates (24/11/2026): dmy, mdy or ymd."""

    order: str
    form: str
    months: tuple[str, ...]
    days: tuple[str, ...] = ()
    first: str = ""
    ordinal_days: bool = False
    oblique_after: tuple[str, ...] = ()
    years_after: tuple[str, ...] = ()
    genitive_years: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeWords:
    """How a time is said. `names` has 24 hours, or 12 where `form` says which half of the day."""

    form: str
    whole: str
    whole_late: str = ""
    zero: str = ""
    separators: str = ":"
    word: str = ""
    gender: str = ""
    oblique_after: tuple[str, ...] = ()
    hours: str = ""
    minutes: str = ""
    names: tuple[str, ...] = ()
    am: str = ""
    pm: str = ""
    am_marks: tuple[str, ...] = ("am", "a.m.")
    pm_marks: tuple[str, ...] = ("pm", "p.m.")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """One language. `group` is its thousands separator (, or .); `joined` languages write no space
    after a number.

    `decimals` says how a fraction is read: by num2words (library), its digits one by one (digits),
    or as one number.
    """

    language: str
    plural: str
    group: str
    minus: str
    to: str
    plus: str
    equals: str
    times: str
    cents: str
    date: DateWords
    time: TimeWords
    symbols: Mapping[str, str]
    currencies: Mapping[str, str]
    units: Mapping[str, str]
    magnitudes: tuple[str, ...] = ()
    before_number: Mapping[str, str] = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)
    point: str = ""
    decimals: str = "library"
    of: str = ""
    ordinal: str = ""
    ordinals: tuple[str, ...] = ()
    ordinal_ending: str = ""
    dot_ordinal: bool = False
    space_groups: bool = False
    joined: bool = False
    ones: tuple[str, ...] = ()
    last_word: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def language_of(name: str) -> str:
    """A language tag as the vocabulary has it: `en` of `EN`, `pt` of `pt-BR`, `zh-cn` of `zh`.
    Raises UnsupportedLanguage."""
    code = "" if is_auto(name) else find(name, LANGUAGES.__contains__)
    if not code:
        raise UnsupportedLanguage(
            f"XTTS v2 does not speak {name!r}; it knows {', '.join(LANGUAGES)}"
        )
    return code


@cache
def lexicon(language: str) -> Lexicon:
    """The words of one of `LANGUAGES`."""
    table = _frozen(
        read_toml(Path(__file__).parent / "languages" / f"{language}.toml", InvalidRegistry)
    )
    date, time = DateWords(**table.pop("date")), TimeWords(**table.pop("time"))
    return Lexicon(language=language, date=date, time=time, **table)


def _frozen(table: dict[str, Any]) -> dict[str, Any]:
    """Lists become tuples, nobody appends to a lexicon."""
    return {
        key: tuple(value)
        if isinstance(value, list)
        else _frozen(value)
        if isinstance(value, dict)
        else value
        for key, value in table.items()
    }


@cache
def noun(text: str) -> Noun:
    """A noun from its notation."""
    gender, colon, forms = text.partition(":")
    return Noun(tuple(forms.split("|")), gender) if colon else Noun(tuple(text.split("|")))


def money(text: str) -> tuple[Noun, Noun | None]:
    """A currency's noun and that of its hundredth part, from their notation."""
    whole, _, part = text.partition(" / ")
    return noun(whole), noun(part) if part else None
