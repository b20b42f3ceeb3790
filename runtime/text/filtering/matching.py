"""Finds listed words and phrases in a text, also where their letters are disguised.

A word is found as a whole word alone: as it is, with letters repeated (`fuuuck`), with digits and
signs for letters (`sh1t`), with stars in it (`sh*t`), with separators or spaces between single
letters (`s.h.i.t`, `s h i t`), and with the affixes that its language writes onto words. Scripts
without spaces have no words to see: there an entry is found wherever it stands. All of it takes
time in proportion to the text's length: no pattern here can go back over what it has read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

from voxturn.runtime.text.filtering.folded import (
    DIGIT,
    SEPARATOR,
    SPACE,
    STAR,
    SYMBOL,
    SYMBOLS,
    UNSPACED,
    Folded,
    Folding,
)

R = TypeVar("R")
_TOKEN = re.compile("[LDS]+|W+")
_SINGLE = "[LDS](?![LDS])"
_SPELLED = tuple(
    re.compile(f"(?<![LDS]){_SINGLE}(?:{gap}{_SINGLE}){{2,}}")
    for gap in (" {1,3}", r"[.*]{1,3} {0,3}")
)
"""Single letters with spaces between them, or with separators."""
_SPELLED_UNSPACED = re.compile("(?<!W)W(?!W)(?:[. *]{1,3}W(?!W))+")
_CHAIN = re.compile(r"(?<![LDS])[LDS]+(?:(?:[.]{1,3}|[*]{1,12})[LDS]+)+(?![LDS])")
"""Pieces with separators between them, and no spaces: all of it may be one word."""
_NEAR = re.compile("[. ]{0,3}")
"""What may stand between the words of a phrase."""
_DIGITS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
_I_OR_L = re.compile("[1!]")
_REPEATED = re.compile(r"(.)\1+", re.DOTALL)
_STRETCHED = re.compile(r"(.)\1\1+", re.DOTALL)
_BETWEEN = frozenset((SEPARATOR, STAR, SPACE))
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]+")
_LONGEST = 200
"""Characters of a word that is looked up; longer ones are nobody's."""


@dataclass(frozen=True)
class Spelling:
    """How a language writes its words.

    `own` and `letters` are as in `Folding`. `leet` are pairs of a digit and the letter that it
    stands for, beyond the usual ones. Words are found with one of `prefixes` or of
    `suffixes` as well where both together have `affixed` letters or more. `harmless` are words that
    look like listed ones.
    """

    own: str = ""
    letters: tuple[str, ...] = ()
    leet: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    affixed: int = 5
    harmless: tuple[str, ...] = ()


class Hit(NamedTuple, Generic[R]):
    """Characters `start` to `end` of a text are what a rule is about."""

    start: int
    end: int
    rule: R


class Matcher(Generic[R]):
    """Entries, words or phrases, each with its rule; of two with one word the first counts."""

    def __init__(self, spelling: Spelling, entries: Iterable[tuple[str, R]]) -> None:
        self._fold = Folding(spelling.own, spelling.letters)
        leet = SYMBOLS | _DIGITS | {pair[0]: pair[1] for pair in spelling.leet}
        self._leet = str.maketrans(leet)
        self._prefixes = tuple(self._fold(each).text for each in spelling.prefixes)
        self._suffixes = tuple(self._fold(each).text for each in spelling.suffixes)
        self._affixed = spelling.affixed
        self._words: dict[str, R] = {}
        self._blurred: dict[str, R] = {}
        self._squeezed: dict[str, list[str]] = {}
        self._starred: dict[str, R] = {}
        self._phrases: dict[str, list[tuple[tuple[str, ...], R]]] = {}
        self._unspaced: dict[str, list[tuple[str, R]]] = {}
        for entry, rule in entries:
            self._add(self._fold(entry), rule)
        self._harmless = {self._fold(each).text for each in spelling.harmless} - set(self._words)

    def hits(self, text: str) -> list[Hit[R]]:
        """What is found, in the order of the text; what lies in something longer is left out."""
        folded = self._fold(text)
        tokens = [match.span() for match in _TOKEN.finditer(folded.kinds)]
        found = [
            *self._in_tokens(folded, tokens),
            *self._in_phrases(folded, tokens),
            *self._in_spelled(folded),
            *self._in_chains(folded),
        ]
        hits = [Hit(folded.starts[begin], folded.ends[end - 1], rule) for begin, end, rule in found]
        hits.sort(key=lambda hit: (hit.start, -hit.end))
        apart: list[Hit[R]] = []
        for hit in hits:
            if not apart or hit.start >= apart[-1].end:
                apart.append(hit)
        return apart

    def _add(self, entry: Folded, rule: R) -> None:
        spans = [match.span() for match in _TOKEN.finditer(entry.kinds)]
        words = [entry.text[begin:end] for begin, end in spans]
        if not words:
            return
        if all(entry.kinds[begin] == UNSPACED for begin, _ in spans):
            word = "".join(words)
            self._unspaced.setdefault(word[0], []).append((word, rule))
        elif len(words) > 1:
            alike = tuple(map(self._alike, words))
            self._phrases.setdefault(alike[0], []).append((alike, rule))
        elif words[0] not in self._words:
            self._add_word(words[0], rule)

    def _add_word(self, word: str, rule: R) -> None:
        self._words[word] = rule
        self._blurred.setdefault(word.replace("l", "i"), rule)
        self._squeezed.setdefault(_REPEATED.sub(r"\1", word), []).append(word)
        if len(word) >= 4:
            inner = range(1, len(word) - 1)
            self._starred.setdefault(word[0] + "*" * len(inner) + word[-1], rule)
            for at in inner:
                self._starred.setdefault(word[:at] + "*" + word[at + 1 :], rule)

    def _in_tokens(
        self, folded: Folded, tokens: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, int, R]]:
        for begin, end in tokens:
            if folded.kinds[begin] == UNSPACED:
                for at, to, rule in self._within(folded.text[begin:end]):
                    yield begin + at, begin + to, rule
            elif end - begin <= _LONGEST:
                yield from self._token(folded, begin, end)

    def _token(self, folded: Folded, begin: int, end: int) -> Iterator[tuple[int, int, R]]:
        """A word; signs at its ends are its letters or they are not."""
        kinds = folded.kinds[begin:end]
        if SYMBOL not in kinds:
            if (rule := self._word(folded.text[begin:end], kinds)) is not None:
                yield begin, end, rule
            return
        last = begin + len(kinds.rstrip(SYMBOL))
        first = end - len(kinds.lstrip(SYMBOL))
        for at, to in dict.fromkeys([(begin, end), (begin, last), (first, end), (first, last)]):
            if at < to and (rule := self._word(folded.text[at:to], kinds)) is not None:
                yield at, to, rule
                return

    def _word(self, word: str, kinds: str = "") -> R | None:
        """The rule of a word in any of its disguises. `kinds` are those of its characters."""
        if (rule := self._plain(word)) is not None:
            return rule
        if DIGIT not in kinds and SYMBOL not in kinds:
            return None
        letters = sum(char.isalpha() for char in word)
        if len(word) < 3 or not letters or letters < sum(char.isdecimal() for char in word):
            return None
        letters_only = word.translate(self._leet)
        rule = self._plain(letters_only)
        if rule is None and _I_OR_L.search(word):  # each of them may be either
            rule = self._blurred.get(letters_only.replace("l", "i"))
        return rule

    def _plain(self, word: str) -> R | None:
        """The rule of a word that is written in letters."""
        if word in self._harmless:
            return None
        if (rule := self._unaffixed(word)) is not None:
            return rule
        if len(word) < self._affixed:
            return None
        stems = [word.removesuffix(each) for each in self._suffixes if word.endswith(each)]
        stems += [word.removeprefix(each) for each in self._prefixes if word.startswith(each)]
        return next((r for stem in stems if (r := self._unaffixed(stem)) is not None), None)

    def _unaffixed(self, word: str) -> R | None:
        if (rule := self._words.get(word)) is not None:
            return rule
        if not _REPEATED.search(word):
            return None
        for listed in self._squeezed.get(_REPEATED.sub(r"\1", word), ()):
            if _stretches(listed, word):
                return self._words[listed]
        return None

    def _alike(self, word: str) -> str:
        """A word of a phrase, out of its disguise."""
        return _STRETCHED.sub(r"\1", word.translate(self._leet))

    def _in_phrases(
        self, folded: Folded, tokens: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, int, R]]:
        """Phrases of words as they stand, and of words that are spelled or in pieces."""
        if not self._phrases:
            return
        readings = [tokens]
        if len(whole := _put_together(folded, tokens)) < len(tokens):
            readings.append(whole)
        for spans in readings:
            words = [self._alike(_joined(folded, *span)) for span in spans]
            for number, word in enumerate(words):
                for phrase, rule in self._phrases.get(word, ()):
                    last = number + len(phrase) - 1
                    if tuple(words[number : last + 1]) == phrase and all(
                        _NEAR.fullmatch(folded.kinds, spans[n][1], spans[n + 1][0])
                        for n in range(number, last)
                    ):
                        yield spans[number][0], spans[last][1], rule

    def _in_spelled(self, folded: Folded) -> Iterator[tuple[int, int, R]]:
        """Words of single letters.

        One more may stand before or behind: "a s h i t" of a sentence's article.
        """
        for pattern in _SPELLED:
            for match in pattern.finditer(folded.kinds):
                places = _letters(folded, *match.span())
                for part in (places, places[1:], places[:-1]):
                    if 3 <= len(part) <= _LONGEST:
                        rule = self._word("".join(folded.text[i] for i in part), match.group())
                        if rule is not None:
                            yield part[0], part[-1] + 1, rule
                            break
        for match in _SPELLED_UNSPACED.finditer(folded.kinds):
            places = _letters(folded, *match.span())
            for at, to, rule in self._within("".join(folded.text[i] for i in places)):
                yield places[at], places[to - 1] + 1, rule

    def _in_chains(self, folded: Folded) -> Iterator[tuple[int, int, R]]:
        """Words with separators or stars in them."""
        for match in _CHAIN.finditer(folded.kinds):
            begin, end = match.span()
            if end - begin > _LONGEST:
                continue
            text = folded.text[begin:end]
            if STAR in match.group() and (rule := self._starred.get(text)) is not None:
                yield begin, end, rule
                continue
            word = _joined(folded, begin, end)
            if len(word) >= 4 and (rule := self._word(word, match.group())) is not None:
                yield begin, end, rule

    def _within(self, text: str) -> Iterator[tuple[int, int, R]]:
        """Entries in a text without spaces. Katakana stands for a word of its own: an entry of
        nothing else has to be all of it."""
        for at, char in enumerate(text):
            for entry, rule in self._unspaced.get(char, ()):
                end = at + len(entry)
                if text.startswith(entry, at) and not (
                    _KATAKANA.fullmatch(entry)
                    and _KATAKANA.search(text[max(0, at - 1) : at] + text[end : end + 1])
                ):
                    yield at, end, rule


def _put_together(folded: Folded, tokens: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The words of a text, those that are spelled or in pieces as one each."""
    patterns = (*_SPELLED, _CHAIN)
    spans = [match.span() for each in patterns for match in each.finditer(folded.kinds)]
    together: list[tuple[int, int]] = []
    for begin, end in sorted([*tokens, *spans], key=lambda span: (span[0], -span[1])):
        if not together or begin >= together[-1][1]:
            together.append((begin, end))
    return together


def _joined(folded: Folded, begin: int, end: int) -> str:
    """A word without what stands between its letters."""
    kinds = folded.kinds[begin:end]
    if _BETWEEN.isdisjoint(kinds):
        return folded.text[begin:end]
    return "".join(folded.text[i] for i in _letters(folded, begin, end))


def _letters(folded: Folded, begin: int, end: int) -> list[int]:
    """Where the letters of a spelled word are."""
    return [i for i in range(begin, end) if folded.kinds[i] not in _BETWEEN]


def _stretches(listed: str, word: str) -> bool:
    """Whether `word` is `listed` with letters repeated, both being alike without repetitions.

    One doubled letter makes another word in many languages (pene, penne): it takes three of a
    letter, or two doubled ones.
    """
    added = 0
    for (_, of_listed), (_, of_word) in zip(groupby(listed), groupby(word), strict=True):
        least, count = len(list(of_listed)), len(list(of_word))
        if count < least:
            return False
        if count > least:
            added += 2 if count >= 3 else 1
    return added >= 2
