"""Telephone numbers, digit by digit and group by group: never an amount."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize.forms import forms_of
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.numbers import cardinal, one_by_one
from voxturn.runtime.text.normalize.spelling import substitute

_RUN = r"(?:\(?\+\s?)?\(?\d{1,11}\)?(?:(?:\s?[-/]\s?|\.|\s|(?=\()|(?<=\)))\(?\d{1,8}\)?){0,8}"
_CANDIDATE = re.compile(rf"(?<![\w.,:/+%$€£¥₹-])(?<!\d ){_RUN}(?![\w%°$€£¥₹]|[.,:/-]\d)")
_CANDIDATE_JOINED = re.compile(
    rf"(?<![\da-z.,:/+%$€£¥₹-])(?<!\d ){_RUN}(?![\da-z%°$€£¥₹年月日円元원년월일개명万億亿만억]|[.,:/-]\d)"
)
_EMERGENCY = frozenset(("911", "999", "112", "110", "119", "113", "115", "118"))
_DATE = re.compile(r"(?:\d{4}([-/. ])\d{1,2}\1\d{1,2}|\d{1,2}([-/. ])\d{1,2}\2(?:\d{4}|\d\d))")
_THOUSANDS = re.compile(r"\d{1,3}(?: \d{3})+|\d{1,3}(?:\.\d{3})+")
_HYPHENED = re.compile(
    r"\d{3}\.\d{3}\.\d{4}|"
    r"(?:\d-)?\d{3}-\d{3,4}-\d{4}|(?:\d-)?\d{3}-\d{3}-\d{2}-\d{2}|\d{3}-\d{2}-\d{2}"
    r"|\d-\d{3}-\d{3}-\d{3}|\d{3}-\d{4}"
    r"|\d{2,4}-\d{3,4}-\d{3,4}|\d{3,4}-\d{6,8}"
)
_CARD = re.compile(r"\d{4}([ -])\d{4}(?:\1\d{4}){2}")
_AREA = re.compile(r"(?:\+?\d{1,3}[ -]?)?\(\d{2,5}\) ?\d[\d -]{4,}")
_SPACED = re.compile(r"\d \d{3} \d{3} \d{4}|\d(?: \d{3}){2}(?: \d\d){2}|\d{2,4}(?: \d{2,4}){2,5}")
_ZERO = re.compile(r"\(?0\d")


def telephones(text: str, lexicon: Lexicon) -> str:
    """Every telephone number in words."""

    def said(match: re.Match[str]) -> str:
        written = match[0]
        if not _dialled(written, match, lexicon):
            return written
        return _groups(written, lexicon)

    return substitute(_CANDIDATE_JOINED if lexicon.joined else _CANDIDATE, said, text)


def _dialled(written: str, match: re.Match[str], lexicon: Lexicon) -> bool:
    """Whether a run of digits and marks is a telephone number."""
    digits = sum(char.isdigit() for char in written)
    if not 3 <= digits <= 16 or _DATE.fullmatch(written):
        return False
    before = match.string[max(0, match.start() - 40) : match.start()]
    following = match.string[match.end() : match.end() + 2]
    counts = following[:1] == " " and following[1:].isalpha()
    asked = _words(lexicon, weak=False).search(before)
    if asked and not (digits < 5 and counts and written not in _EMERGENCY):
        return True
    if _words(lexicon, weak=True).search(before) and (digits >= 5 or written in _EMERGENCY):
        return not (_THOUSANDS.fullmatch(written) and counts)
    if _from_year_to_year(written):
        return False
    if digits < 7:
        return digits == 6 and bool(_ZERO.match(written)) and " " in written
    if "+" in written[:2] or written.startswith("00"):
        return True
    if any(re.fullmatch(plan, written) for plan in forms_of(lexicon).telephone.plans):
        return not counts
    if _ZERO.match(written):
        return not re.fullmatch(r"0\.\d+", written)
    if _THOUSANDS.fullmatch(written):
        return False
    if _CARD.fullmatch(written):
        return True
    marked = _HYPHENED.fullmatch(written) or _AREA.fullmatch(written)
    spaced = _SPACED.fullmatch(written) and re.search(r"\d{3}", written) and not _years(written)
    return bool(marked) or bool(spaced)


def _from_year_to_year(written: str) -> bool:
    """1990–1995, which has the digits of a local number in some countries."""
    years = re.fullmatch(r"(\d{4})[-–](\d{4})", written)
    return years is not None and 1000 <= int(years[1]) <= int(years[2]) <= 2100


def _years(written: str) -> bool:
    """1999 2000 2001: a list."""
    return all(re.fullmatch(r"1\d{3}|20\d\d", group) for group in written.split())


@cache
def _words(lexicon: Lexicon, *, weak: bool) -> re.Pattern[str]:
    table = forms_of(lexicon).telephone
    words = "|".join(table.numbers if weak else table.words) or "(?!)"
    start = "" if lexicon.joined else r"(?<!\w)"
    gap = r"[\s:：号是は：]{0,3}" if lexicon.joined else r"[\s.:]{1,3}"
    return re.compile(rf"{start}(?:{words}){gap}$")


def _groups(written: str, lexicon: Lexicon) -> str:
    """The number's groups, with what is said between them."""
    pairs = forms_of(lexicon).telephone.pairs
    abroad = "+" in written[:2]
    digits = (
        written.replace("(0)", " ") if abroad else written
    )  # not dialled after a country's code
    groups = [
        cardinal(group, lexicon) if pairs and len(group) == 2 else one_by_one(group, lexicon)
        for group in re.findall(r"\d+", digits)
    ]
    comma = {"ja": "、", "zh-cn": "，"}.get(lexicon.language, ", ")
    said = comma.join(groups)
    if not abroad:
        return said
    return f"{lexicon.plus}{said}" if lexicon.joined and comma != ", " else f"{lexicon.plus} {said}"
