"""Texts that mix scripts: their words, and where a text goes over into another language. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voxturn.runtime.text.scripts import script_of

_UNSPACED = frozenset(
    {"Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar"}
)
_LETTERS_A_WORD = 2
_NAME = 0.5
_BEFORE, _AFTER_MARK, _AFTER_WORD = 1.5, 2.0, 3.0
"""Words that make a clause of their own: before the change, one of them surely no name; after it."""
_OPENERS = "\"'“‘«‹([{「『（"
_MARKS = ".!?؟۔。！？…।,;:،؛、，；：—–\"'”’»›)]}」』）"


@dataclass(frozen=True)
class Word:
    """Letters of one script, with the marks around them: `text[begin:end]`.

    `weight`: 1 for a word, half of it for one with a capital, which may be a name; where words are
    not spaced, two letters count as one.
    """

    begin: int
    end: int
    script: str
    weight: float


def words_of(text: str) -> Iterator[Word]:
    """The words of a text that have letters. A word ends at a space, and where the script changes."""
    begin, script, letters, first = 0, "", 0, ""
    for at, char in enumerate(text):
        kind = script_of(char)
        if script and (char.isspace() or (kind and kind != script)):
            end = at if char.isspace() else _opened(text, begin, at)
            yield Word(begin, end, script, _weight(script, letters, first))
            begin, script, letters = end, "", 0
        if char.isspace():
            begin = at + 1
        elif kind:
            first = first if script else char
            script = kind
            letters += 1
    if script:
        yield Word(begin, len(text), script, _weight(script, letters, first))


def _opened(text: str, begin: int, at: int) -> int:
    """Where a word begins whose first letter is at `at`: its opening marks belong to it."""
    while at > begin + 1 and text[at - 1] in _OPENERS:
        at -= 1
    return at


def _weight(script: str, letters: int, first: str) -> float:
    if script in _UNSPACED:
        return letters / _LETTERS_A_WORD
    return _NAME if first.isupper() else 1.0


def change(text: str, owners: Callable[[str], frozenset[str]]) -> int | None:
    """Where a text goes over into a language of another script: the first letter or opening mark of
    what follows.

    Foreign names are no change, nor is a word or two: three are one, or two after a mark, where more
    than names stand before it. `owners`: which of the languages are written in a script; what is in
    a script of none of them does not count. What follows a change does not move it.
    """
    ours: frozenset[str] = frozenset()
    held, plain, begin, theirs, foreign = 0.0, False, 0, frozenset[str](), 0.0
    for word in words_of(text):
        languages = owners(word.script)
        if not languages:
            continue
        if not ours or languages & ours:
            ours = languages & ours if ours else languages
            held += word.weight
            plain = plain or word.weight != _NAME
            theirs, foreign = frozenset(), 0.0
            continue
        if languages & theirs:
            theirs &= languages
        else:
            begin, theirs, foreign = word.begin, languages, 0.0
        foreign += word.weight
        if foreign < (_AFTER_MARK if _marked(text, begin) else _AFTER_WORD):
            continue
        if held >= _BEFORE and plain:
            return begin
        ours, held, plain = theirs, held + foreign, True  # a name came first
        theirs, foreign = frozenset(), 0.0
    return None


def _marked(text: str, begin: int) -> bool:
    """Whether a mark stands before a word, or opens it."""
    return text[begin] in _OPENERS or text[:begin].rstrip()[-1:] in _MARKS
