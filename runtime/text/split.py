"""Cuts a stream of text into what is spoken at once: an early first clause, then sentences.

Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Self

from voxturn.runtime.errors import UsageError
from voxturn.runtime.text.abbreviations import Abbreviations, Following, abbreviations
from voxturn.runtime.text.judge import LanguageJudge
from voxturn.runtime.text.language import base_code
from voxturn.runtime.text.scripts import script_of

ENDS = ".!?؟۔。！？…।"
PAUSES = ",;:،؛、，；：—–"
CLOSERS = "\"'”’»“‘«›‹)]}」』）"
_UNSPACED = set("。！？、，；：")
_CASELESS = set("؟۔।")  # of scripts without small letters
_WORD = re.compile(r"[^\s(\"'“‘«]*$")
_NUMERAL = re.compile(r"[\d./–-]*\d|[IVXLC]+")
_NEXT = re.compile(r"[^\S\n]*([^\W_]*)")
_DOTTED = re.compile(r"cs|da|de|et|fi|hr|hu|is|ko|lv|nb|nn|no|sk|sl|sr|tr")
"""Languages that write ordinals or dates with full stops."""
_TAKES_ORDINAL = {
    "de": re.compile(
        r"(?i)\b(?:der|die|das|dem|den|des|am|im|vom|zum|zur|beim|ein\w{0,2}|jede[mnrs]?|diese[mnrs]?|"
        r"(?:mein|dein|sein|ihr|unser)e[mnrs]?)\s+(?:\d{1,2}|[ivxlc]+)$"
    ),
    "tr": re.compile(r"(?<!\d)\d{1,2}$"),  # a Turkish sentence ends in its verb
}
"""Before a full stop: a number that is an ordinal though a capital follows."""
_MONTHS = {
    "de": re.compile(
        r"(?i)Januar|Jänner|Februar|Feber|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
    )
}
"""The names of months where they are written with a capital."""


class Clause(str):
    """A clause. `language` is its tag where the text may be in several; else empty."""

    language: str

    def __new__(cls, text: str, language: str = "") -> Self:
        clause = super().__new__(cls, text)
        clause.language = language
        return clause


class ClauseSplitter:
    """Feed text as it comes; get clauses as soon as they are certain. How it is cut into pieces
    changes no clause.

    Until `soon_chars` characters were given, a clause may end at a comma, colon or dash once it has
    `first_chars` of them: the voice has little in hand yet. Later ones end at sentence ends. None
    is longer than `max_chars`: a longer one is cut at its last pause, else at its last space, else
    anywhere. No sentence ends before a small letter, but at an ellipsis, nor with an abbreviation
    that belongs to what follows. Concatenated, the clauses hold every non-space character of the
    text, in order. `language`, a tag, is needed for abbreviations (left out: the English ones) and
    for ordinals before a capital: am 3. Mai. With a `judge` it is that of what was said before: each
    clause is judged, and one ends where the text goes over into a language of another script.
    """

    def __init__(
        self,
        first_chars: int = 16,
        min_chars: int = 2,
        max_chars: int = 220,
        language: str = "",
        soon_chars: int = 32,
        judge: LanguageJudge | None = None,
    ) -> None:
        if max_chars < 1:
            raise UsageError(
                f"clauses of at most {max_chars} characters cannot hold a text; set max_chars to 1 or more"
            )
        self._first_chars = first_chars
        self._min_chars = min_chars
        self._max_chars = max_chars
        self._soon_chars = soon_chars
        self._before = language
        self._judge = judge
        self._buffer = ""
        self._given = 0

    @property
    def pending(self) -> str:
        """What has come of the next clause."""
        return self._buffer

    def push(self, text: str) -> list[Clause]:
        """The clauses that `text` completes."""
        self._buffer += text
        return self._drain(final=False)

    def flush(self) -> list[Clause]:
        """The text ended: everything that is left."""
        return self._drain(final=True)

    def _drain(self, final: bool) -> list[Clause]:
        clauses = []
        self._buffer = self._buffer.lstrip()
        while (cut := self._cut(final)) is not None:
            text, self._buffer = self._buffer[:cut].strip(), self._buffer[cut:].lstrip()
            if text:
                clauses.append(self._clause(text))
                self._given += _spoken(text)
        return clauses

    def _clause(self, text: str) -> Clause:
        if self._judge is None:
            return Clause(text)
        self._before = self._judge.language_of(text, self._before)
        return Clause(text, self._before)

    def _cut(self, final: bool) -> int | None:
        """Where the first clause in the buffer ends, or None if that is not certain yet."""
        text = self._buffer
        certain = len(text)
        for i, char in enumerate(text[: self._max_chars]):
            end = self._boundary(text, i, char, final)
            if end is None:
                continue
            if end > self._max_chars or (end == len(text) and not final and char != "\n"):
                certain = i
                break
            if _spoken(text[:end]) >= self._min_chars:
                return self._change(text[:end]) or end
        if change := self._change(text[: min(certain, self._max_chars)]):
            return change
        if len(text) > self._max_chars:
            return self._forced(text)
        return len(text) if final and text else None

    def _change(self, text: str) -> int | None:
        """Where a text goes over into another language; None where it does not."""
        return None if self._judge is None else self._judge.change(text)

    def _rules(self, before: str) -> tuple[str, Abbreviations]:
        """The code of the language of a clause that begins so, and its abbreviations."""
        judge = self._judge
        return _rules_of(self._before if judge is None else judge.language_of(before, self._before))

    def _boundary(self, text: str, i: int, char: str, final: bool) -> int | None:
        """End of the clause that closes at `i`, its closing quotes with it; None: nothing closes
        there.

        An end that is the text's end is not certain: what follows may belong to it.
        """
        if char == "\n":
            return i + 1
        sentence = char in ENDS
        if not sentence and not (
            char in PAUSES
            and self._given < self._soon_chars
            and _spoken(text[:i]) >= self._first_chars
        ):
            return None
        end = i + 1
        while end < len(text) and text[end] in CLOSERS + ENDS:
            end += 1
        if char in _UNSPACED or end == len(text):
            return end
        if not text[end].isspace():
            other = self._judge is not None and sentence and _other_script(text[i - 1], text[end])
            return end if other else None  # a decimal, a time, an address
        if not sentence or char in _CASELESS or _ellipsis(text[i:end]):
            return end
        return self._sentence_end(text, i, end, final)

    def _sentence_end(self, text: str, i: int, end: int, final: bool) -> int | None:
        """As `_boundary`, for a mark that may end a sentence: what follows decides.

        It is looked at as far as a clause reaches, so that nothing depends on how much has come.
        """
        following = Following.at(text[: self._max_chars + 1], end)
        known = self._rules(text[:i])[1]
        if following.nothing and following.mark:
            return end  # the line ends
        if not following.mark and len(text) <= self._max_chars and not final:
            undecided = len(following.word) < 2 and not following.capital
            if undecided or (text[i] == "." and known.noticed(text[:i])):
                return len(text)
        if text[i] != ".":
            return None if following.small and _cased(text[:i]) else end
        word = _word(text[:i])
        letters = word.isalpha() and known.noticed(text[:i])  # C. Smith, CC. OO.
        if _NUMERAL.fullmatch(word) and not letters:
            return self._after_number(text, i, end, final)
        return end if known.ends_sentence(text[:i], following) else None

    def _after_number(self, text: str, i: int, end: int, final: bool) -> int | None:
        """As `_sentence_end`, for the full stop of a number: 3. května, am 3. Mai, 24. 12. 2026,
        but not: He is 30. She is."""
        following = _NEXT.match(text[: self._max_chars + 1], end)
        assert following
        word, language = following[1], self._rules(text[:i])[0]
        months, takes = _MONTHS.get(language), _TAKES_ORDINAL.get(language)
        if word[:1].islower() or (word[:1].isdigit() and _DOTTED.fullmatch(language)):
            return None
        if following.end() == len(text) <= self._max_chars and not final and (months or not word):
            return len(text)
        ordinal = (months and months.fullmatch(word)) or (word and takes and takes.search(text[:i]))
        return None if ordinal else end

    def _forced(self, text: str) -> int:
        """Where a clause that is too long is cut: not inside a number and not after an
        abbreviation, if it can be."""
        last = self._max_chars - 1
        for i in range(last, self._max_chars // 2 - 1, -1):
            if text[i] in _UNSPACED or (text[i + 1].isspace() and self._pauses(text, i)):
                return i + 1
        return next((i + 1 for i in range(last, 0, -1) if text[i].isspace()), self._max_chars)

    def _pauses(self, text: str, i: int) -> bool:
        """Whether a reader pauses at a mark: also at full stops in a text without capitals."""
        return text[i] in PAUSES or (
            text[i] in ENDS
            and not self._rules(text[:i])[1].noticed(text[:i])
            and len(_word(text[:i])) > 2
        )


@lru_cache(maxsize=256)
def _rules_of(language: str) -> tuple[str, Abbreviations]:
    code = base_code(language)
    return code, abbreviations(code or "en")


def filled(text: str, limit: int, language: str = "") -> Iterator[str]:
    """Sentences put together while they fit into `limit` characters, as they stand in `text`."""
    start = end = 0
    for sentence in _sentences(text, limit, language):
        at = text.index(sentence, end)
        if end > start and at + len(sentence) - start > limit:
            yield text[start:end]
            end = start
        if end == start:
            start = at
        end = at + len(sentence)
    if end > start:
        yield text[start:end]


def _sentences(text: str, limit: int, language: str) -> Iterator[str]:
    splitter = ClauseSplitter(
        first_chars=len(text) + 1, min_chars=1, max_chars=limit, language=language
    )
    step = (
        4 * limit
    )  # the splitter copies what waits in it: fed all at once, time would grow with the square
    for at in range(0, len(text), step):
        yield from splitter.push(text[at : at + step])
    yield from splitter.flush()


def _spoken(text: str) -> int:
    """How many letters and digits there are."""
    return sum(unicodedata.category(char)[0] in "LN" for char in text)


def _word(before: str) -> str:
    """The last word."""
    match = _WORD.search(before)
    return match.group() if match else ""


def _other_script(last: str, first: str) -> bool:
    """Whether two letters are of different scripts."""
    scripts = script_of(last), script_of(first)
    return all(scripts) and scripts[0] != scripts[1]


def _ellipsis(marks: str) -> bool:
    return "…" in marks or ".." in marks


def _cased(before: str) -> bool:
    """Whether the last letter is of a script that has small letters, or there is none."""
    letter = next((char for char in reversed(before) if char.isalpha()), "a")
    return letter.lower() != letter.upper()
