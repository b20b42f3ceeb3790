"""The passes over a text that need no more than the lexicon: ranges, signs, and the numbers that are left."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize import chinese, korean
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.numbers import (
    NUMBER,
    cardinal,
    one_by_one,
    ordinal,
    parse,
    point_word,
    say,
)
from voxturn.runtime.text.normalize.spelling import substitute

_SPACED_GROUPS = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?!\d)")
_END = r"\d+(?:[.,:]\d+)*"  # of a range: a number or a time
_RANGE = re.compile(rf"(?<![\w.,:/-])([$€£¥₹]?)({_END})-([$€£¥₹]?)({_END})(?![\d/-])")
_RANGE_JOINED = re.compile(rf"(?<![\da-z.,:/-])([$€£¥₹]?)({_END})-([$€£¥₹]?)({_END})(?![\d/-])")
_NEGATIVE = re.compile(r'(?<![^\s(\["“„«])-(?=[$€£¥₹]?\d)')
_NEGATIVE_JOINED = re.compile(r"(?<![\da-z)-])-(?=[$€£¥₹]?\d)")
_PLUS = re.compile(r"\+(?=\s?\d)")
_EQUALS = re.compile(r"(?<=\d)\s?=\s?")
_TIMES = re.compile(r"(?<=\d)(?:\s[×x*]\s|[×x*])(?=\d)")
_GLUED = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_TELEPHONE = re.compile(r"(?<![\w.,-])\d{2,4}(?:-\d{3,4}){1,2}(?![\w-]|[.,]\d)")
_NUMBER = re.compile(NUMBER)


def lower(text: str, language: str) -> str:
    """Lower case; Turkish has two kinds of i."""
    if language == "tr":
        text = text.replace("İ", "i").replace("I", "ı")
    return text.lower()


def separate_groups(text: str, lexicon: Lexicon) -> str:
    """1 234 567 without its spaces, where numbers are written so."""
    if not lexicon.space_groups:
        return text
    return substitute(_SPACED_GROUPS, lambda m: m[0].replace(" ", ""), text)


def ranges(text: str, lexicon: Lexicon) -> str:
    """Hyphens and signs between and before numbers: 5-10, -5, 3 x 4 = 12."""

    def said(match: re.Match[str]) -> str:
        first, last = match[2], match[4]
        if not _ascending(first, last):
            return match[0]
        return f"{match[1]}{first}{_around(lexicon.to, lexicon)}{match[3]}{last}"

    text = substitute(_RANGE_JOINED if lexicon.joined else _RANGE, said, text)
    minus = _NEGATIVE_JOINED if lexicon.joined else _NEGATIVE
    text = substitute(minus, _after(lexicon.minus, lexicon), text)
    text = substitute(_PLUS, _around(lexicon.plus, lexicon), text)
    text = substitute(_TIMES, _around(lexicon.times, lexicon), text)
    return substitute(_EQUALS, _around(lexicon.equals, lexicon), text)


def _ascending(first: str, last: str) -> bool:
    """Two numbers that are a range: the second is larger and neither is a code with leading zeros."""
    if len(first) == 3 and len(last) == 4 and not last.endswith("0"):
        return False  # 555-1234: a telephone
    for token in (first, last):
        if len(token) > 9 or re.match(r"0\d+(?!\d*:)", token):
            return False
    return [int(n) for n in re.split("[.,:]", first)] < [int(n) for n in re.split("[.,:]", last)]


def _around(word: str, lexicon: Lexicon) -> str:
    if lexicon.language == "ko":
        return f"{word} "
    return word if lexicon.joined or word == "-" else f" {word} "


def _after(word: str, lexicon: Lexicon) -> str:
    return word if lexicon.joined and lexicon.language != "ko" else f"{word} "


def numbers(text: str, lexicon: Lexicon) -> str:
    """Every number that is left, ordinals first. No digit remains."""
    if lexicon.before_number:
        text = substitute(
            _before_number(lexicon), lambda m: f"{lexicon.before_number[m[1]]} ", text
        )
    if lexicon.language == "zh-cn":
        return chinese.numbers(substitute(_NUMBER, lambda m: _ungrouped(m[0], lexicon), text))
    text = substitute(_TELEPHONE, lambda m: _telephone(m[0], lexicon), text)
    if lexicon.language == "ko":
        text = korean.counted(text)
    if lexicon.ordinal or lexicon.dot_ordinal:
        text = substitute(_ordinals(lexicon), lambda m: ordinal(m[1], lexicon), text)
    if not lexicon.joined:
        text = substitute(_GLUED, " ", text)
    return substitute(_NUMBER, lambda m: _number(m[0], lexicon), text)


def _telephone(written: str, lexicon: Lexicon) -> str:
    return (" " if lexicon.joined else ", ").join(
        one_by_one(part, lexicon) for part in written.split("-")
    )


def _ungrouped(token: str, lexicon: Lexicon) -> str:
    number = parse(token, lexicon)
    if number is None:
        return token
    if number.fraction is not None:
        return f"{number.whole}.{number.fraction}"
    return cardinal(number.whole, lexicon) if "," in token else number.whole


@cache
def _before_number(lexicon: Lexicon) -> re.Pattern[str]:
    keys = "|".join(map(re.escape, lexicon.before_number))
    return re.compile(rf"(?<!\w)({keys})\s?(?=\d)")


@cache
def _ordinals(lexicon: Lexicon) -> re.Pattern[str]:
    marks = []
    if lexicon.ordinal:
        marks.append(rf"(?:{lexicon.ordinal})" + ("" if lexicon.joined else r"(?!\w)"))
    if lexicon.dot_ordinal:
        marks.append(r"\.(?=\s+\w)")  # at the end of the text a full stop is a full stop
    return re.compile(rf"(?<![\d.,])(\d+)(?:{'|'.join(marks)})")


def _number(token: str, lexicon: Lexicon) -> str:
    number = parse(token, lexicon)
    if number is not None:
        return say(number, lexicon)
    said = []
    for part in re.split("([.,])", token):
        if part == ",":
            said.append(", ")
        elif part == ".":
            said.append(point_word(lexicon))
        else:
            said.append(one_by_one(part, lexicon) if len(part) > 3 else cardinal(part, lexicon))
    return "".join(said)


def symbols(text: str, lexicon: Lexicon) -> str:
    """Signs that have a name."""
    for sign, name in lexicon.symbols.items():
        words = name if lexicon.joined and lexicon.language != "ko" else f" {name} "
        text = substitute(re.compile(re.escape(sign)), words, text)
    return text
