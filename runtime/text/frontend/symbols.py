"""A model's text front end: cleaner, phonemizer, symbols, ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxturn.runtime.text.frontend.cleaners import CLEANERS, clean
from voxturn.runtime.text.frontend.phonemizers import (
    PHONEMIZERS,
    load_phonemizer,
    phonemized,
)
from voxturn.runtime.text.reading import ReadText, words_of


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


class SymbolReader:
    """Texts to ids, by a `Reading`. Its phonemizers are loaded when this is made."""

    def __init__(self, reading: Reading) -> None:
        """Raises `ExecutorUnavailable` for a phonemizer that is not installed."""
        named = reading.phonemizers
        loaded = {entry: load_phonemizer(*entry) for entry in set(named.values())}
        self._phonemizers = {language: loaded[entry] for language, entry in named.items()}
        self._reading = reading

    def read(self, text: str, language: str = "") -> ReadText:
        """A text's ids; symbols that the model does not know are left out."""
        known = self.known(text, language)
        if not any(symbol.isalpha() for symbol in known):
            return ReadText([])
        ids = self._framed([self._reading.symbols[symbol] for symbol in known])
        blank, ends = self._reading.blank is not None, self._reading.ends is not None
        first, step = (2 if ends else 1, 2) if blank else (int(ends), 1)
        places = [(at, at + 1) for at in range(first, first + step * len(known), step)]
        return ReadText(ids, words_of(text, known, places))

    def known(self, text: str, language: str = "") -> list[str]:
        """The symbols of a text that the model knows."""
        read = clean(text, self._reading.cleaner, language)
        if phonemize := self._phonemizers.get(language):
            read = phonemized(read, phonemize)
        return [symbol for symbol in read if symbol in self._reading.symbols]

    def _framed(self, ids: Sequence[int]) -> list[int]:
        """With blanks between all and around them, and the marks of both ends."""
        blank, ends = self._reading.blank, self._reading.ends
        if blank is not None:
            ids = [blank, *(each for i in ids for each in (i, blank))]
        return [ends[0], *ids, ends[1]] if ends else list(ids)
