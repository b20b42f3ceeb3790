"""A model's text front end: cleaner, phonemizer, symbols, ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from voxturn.runtime.text.frontend.cleaners import CLEANERS, clean
from voxturn.runtime.text.frontend.phonemizers import (
    PHONEMIZERS,
    Phonemize,
    load_phonemizer,
    phonemized,
)


@dataclass(frozen=True)
class Reading:
    """How a model reads, as its artifact says it.

    `symbols` are ids by symbol, `cleaner` a name of `CLEANERS` or empty, `phonemizers` a name of
    `PHONEMIZERS` and its voice by language; none for a model of characters. `blank` is the id
    between symbols, `ends` those around a text; None where there are none.
    """

    symbols: Mapping[str, int]
    cleaner: str
    phonemizers: Mapping[str, tuple[str, str]]
    blank: int | None
    ends: tuple[int, int] | None

    @classmethod
    def of(cls, text: Mapping[str, Any]) -> Reading:
        """Of an artifact's property `text`.

        Raises `LookupError`, `TypeError`, `ValueError` or `AttributeError` for a damaged one.
        """
        phonemizers = {
            str(language): (str(entry["name"]), str(entry["voice"]))
            for language, entry in text["phonemizers"].items()
        }
        cleaner, ends = str(text["cleaner"]), text["ends"]
        if cleaner and cleaner not in CLEANERS:
            raise ValueError(f"no cleaner is called {cleaner[:80]!r}")
        if unknown := {name for name, _ in phonemizers.values()} - set(PHONEMIZERS):
            raise ValueError(f"no phonemizer is called {min(unknown)[:80]!r}")
        return cls(
            symbols={str(symbol): int(i) for symbol, i in text["symbols"].items()},
            cleaner=cleaner,
            phonemizers=phonemizers,
            blank=None if text["blank"] is None else int(text["blank"]),
            ends=None if ends is None else (int(ends[0]), int(ends[1])),
        )


@dataclass(frozen=True)
class SymbolReader:
    """Texts to ids, by a `reading`; its phonemizers are loaded when this is made.

    Raises `ExecutorUnavailable` for one that is not installed.
    """

    reading: Reading
    _phonemizers: Mapping[str, Phonemize] = field(init=False)

    def __post_init__(self) -> None:
        named = self.reading.phonemizers
        loaded = {entry: load_phonemizer(*entry) for entry in set(named.values())}
        by_language = {language: loaded[entry] for language, entry in named.items()}
        object.__setattr__(self, "_phonemizers", by_language)

    def ids(self, text: str, language: str = "") -> list[int]:
        """The ids of a text; symbols that the model does not know are left out. Empty for a text
        that has no sound."""
        known = self.known(text, language)
        if not any(symbol.isalpha() for symbol in known):
            return []
        return self._framed([self.reading.symbols[symbol] for symbol in known])

    def known(self, text: str, language: str = "") -> list[str]:
        """The symbols of a text that the model knows."""
        read = clean(text, self.reading.cleaner, language)
        if phonemize := self._phonemizers.get(language):
            read = phonemized(read, phonemize)
        return [symbol for symbol in read if symbol in self.reading.symbols]

    def _framed(self, ids: Sequence[int]) -> list[int]:
        """With blanks between all and around them, and the marks of both ends."""
        blank, ends = self.reading.blank, self.reading.ends
        if blank is not None:
            ids = [blank, *(each for i in ids for each in (i, blank))]
        return [ends[0], *ids, ends[1]] if ends else list(ids)
