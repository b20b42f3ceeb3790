"""Dates in words, on lower-cased text with ASCII digits. Pure but for num2words."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize.forms import forms_of
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.numbers import (
    cardinal,
    ordinal,
    year,
)
from voxturn.runtime.text.normalize.spelling import Spelling, substitute

_YEAR_FIRST = re.compile(
    r"(?<![\d./-])(\d{4})([-/.])\s?(\d{1,2})\2\s?(\d{1,2})(?![\d/-]|\.\d)(\.?)"
)
_YEAR_LAST = re.compile(r"(?<![\d./-])(\d{1,2})([-/.])\s?(\d{1,2})\2\s?(\d{4})(?![\d/-]|\.\d)")
_DAY_MONTH = re.compile(r"(?<![\d./])(?<!\d-)(\d{1,2})\.(\s?)(\d{1,2})\.(?!\d|\s\d)")
_DAYS = re.compile(
    r"(?<![\d./])(\d{1,2}\.\s?(?:\d{1,2}\.)?)\s?[-–]\s?(\d{1,2}\.\s?\d{1,2}\.)(?!\d|\s\d)"
)
_DAY_MONTH_SLASH = re.compile(r"(?<![\w./-])(\d{1,2})/(\d{1,2})(?![\w/-]|[.,:]\d)")
_KOREAN_MONTH = re.compile(r"(?<!\d)(\d{1,2})월")
_DECADE = re.compile(
    r"(?<![\w.,])(?:((?:1[1-9]|20)[0-9]0)s|'([2-9]0)s"
    r"|(?<=\bthe\s)([2-9]0)s|(?<=\b(?:in|my)\s)([2-9]0)s|(?<=\b(?:mid|his|her|our)\s)([2-9]0)s"
    r"|(?<=\b(?:late|your)\s)([2-9]0)s|(?<=\b(?:their|early)\s)([2-9]0)s|(?<=\bmid-)([2-9]0)s)(?!\w)"
)  # the 1990s, the '90s
_ORDINAL_DAY = r"(?:\.|er|º|°|ª|st|nd|rd|th|-го|-е)?"


def dates(text: str, lexicon: Lexicon) -> str:
    """ISO dates, dates of three numbers in the language's order, and days beside the name of a
    month."""

    def year_first(match: re.Match[str]) -> str:
        said = _say(match, lexicon, match[1], int(match[3]), int(match[4]))
        # 2026. 11. 24. has its own full stop; a sentence's is kept
        following = match.string[match.end() : match.end() + 8].lstrip()[:1]
        own = match[2] == "." and not following.isupper()
        return (
            said
            if said == match[0] or (own and match.end() < len(match.string))
            else said + match[5]
        )

    def year_last(match: re.Match[str]) -> str:
        first, second = int(match[1]), int(match[3])
        month, day = (
            (first, second) if lexicon.date.order == "mdy" and match[2] == "/" else (second, first)
        )
        if (
            month > 12 >= day
        ):  # 11/24/2026 in a language that writes 24/11/2026, or the other way round
            month, day = day, month
        return _say(match, lexicon, match[4], month, day)

    def day_month(match: re.Match[str]) -> str:
        if not _is_day(match, lexicon):
            return match[0]
        said = _say(match, lexicon, None, int(match[3]), int(match[1]))
        ends = said != match[0] and not match.string[match.end() :].strip()
        return f"{said}." if ends else said

    def slashed(match: re.Match[str]) -> str:
        first, second = int(match[1]), int(match[2])
        month, day = (first, second) if lexicon.date.order == "mdy" else (second, first)
        return _say(match, lexicon, None, month, day)

    def named(match: re.Match[str]) -> str:
        if lexicon.language == "en" and not _is_month(match):
            return match[0]
        return _say(
            match,
            lexicon,
            match["year"],
            lexicon.date.months.index(match["month"]) + 1,
            int(match["day"]),
        )

    text = substitute(_YEAR_LAST, year_last, substitute(_YEAR_FIRST, year_first, text))
    if lexicon.dot_ordinal and lexicon.date.order == "dmy":
        text = substitute(_DAYS, lambda m: f"{m[1]} {lexicon.to} {m[2]}", text)
        text = substitute(_DAY_MONTH, day_month, text)
    if slash := _day_month_slash(lexicon):
        text = substitute(slash, slashed, text)
    if short := _short_months(lexicon):
        text = substitute(short, lambda m: _full_month(m, lexicon), text)
    if lexicon.language == "ko":  # the sixth and the tenth month lose a sound
        return substitute(_KOREAN_MONTH, lambda m: _month(int(m[1]), lexicon, m[0]), text)
    if lexicon.language == "en":
        text = substitute(
            _DECADE, lambda m: f"{year(m[m.lastindex or 1], lexicon).removesuffix('y')}ies", text
        )
    if lexicon.joined:
        return text  # 2026年11月24日 is read by its numbers
    text = substitute(_named(lexicon), named, text)
    if lexicon.language == "en":
        text = substitute(_day_first(lexicon), named, text)
    if lexicon.date.years_after:
        text = substitute(_year_pairs(lexicon), lambda m: _year_pair(m, lexicon), text)
        text = substitute(_years(lexicon), lambda m: year(m[0], lexicon), text)
    return text


def _is_day(match: re.Match[str], lexicon: Lexicon) -> bool:
    """Whether 9.10. is a day: there is a space in it, a range, or a word before it that says so."""
    words = forms_of(lexicon)
    before = match.string[max(0, match.start() - 24) : match.start()]
    if re.search(rf"(?<!\w)(?:{words.no_day_after or '(?!)'})\s$", before):
        return False
    to = re.escape(lexicon.to)
    ends_range = re.search(rf"\d\.\s{to}\s$", before)
    if match[2] or ends_range or re.match(rf"\s{to}\s\d{{1,2}}\.", match.string[match.end() :]):
        return True
    return bool(words.day_after and re.search(rf"(?<!\w)(?:{words.day_after}),?\s$", before))


@cache
def _day_month_slash(lexicon: Lexicon) -> re.Pattern[str] | None:
    """3/4 after a word that days follow; 9/11 has a name."""
    words = forms_of(lexicon)
    if not words.slash_day_after:
        return None
    lookbehind = "|".join(rf"(?<=\b{re.escape(word)}\s)" for word in words.slash_day_after)
    name = "(?!9/11(?!\\d))" if lexicon.language == "en" else ""
    part = r"(?!\s(?:of|de|du|des|di|del|della|dello|dei|da|do|das|dos|der|van)(?!\w))"
    return re.compile(rf"(?:{lookbehind}){name}{_DAY_MONTH_SLASH.pattern}{part}")


_DAY_BEFORE = re.compile(r"(?<!\w)(?:on|by|until|till|since|from|to|before|after|due)\s(?:the\s)?$")
_DAY_ENDS = re.compile(r"\s*(?:$|[.,;:!?)\]–—-]|\s(?:at|in|until|till|from|for)(?!\w))")


def _is_month(match: re.Match[str]) -> bool:
    """Whether the name of a month is none of the verbs may and march: all 5 may apply."""
    text = match.string
    plain = match[0].endswith(match["month"]) or match[0].startswith(match["month"])
    if match["month"] not in ("may", "march") or match["year"]:
        return True
    if not plain or " of " in match[0] or re.search(r"\d(?:st|nd|rd|th)", match[0]):
        return True
    written = text.written if isinstance(text, Spelling) else text
    if written[match.start("month")].isupper():
        return True
    before = text[max(0, match.start() - 16) : match.start()]
    return bool(_DAY_ENDS.match(text, match.end()) or _DAY_BEFORE.search(before))


@cache
def _short_months(lexicon: Lexicon) -> re.Pattern[str] | None:
    """Abbreviated months beside a number: 28 Nov., Sept 2026."""
    names = "|".join(filter(None, forms_of(lexicon).months))
    if not names:
        return None
    day = r"(?<=\d\s)|(?<=\d\.\s)|(?<=\d\sde\s)|(?<=\d(?:st|nd|rd|th)\s)|(?<=\d-)"
    month_first = r"\d{1,2}(?!\d|[:.]\d)|" if lexicon.date.order != "dmy" else ""
    return re.compile(
        rf"(?:(?:{day})(?:{names})(?!\w)\.?|(?<!\w)(?:{names})(?:\.,?\s?|,?\s)"
        rf"(?={month_first}(?:19|20)\d\d(?!\d)))"
    )


def _full_month(match: re.Match[str], lexicon: Lexicon) -> str:
    written = re.match(r"[^\W\d_]+", match[0])
    assert written
    index = next(
        at for at, names in enumerate(forms_of(lexicon).months) if written[0] in names.split("|")
    )
    rest = match[0][written.end() :]
    day = re.search(r"(\d+)[^\d]{1,4}$", match.string[max(0, match.start() - 8) : match.start()])
    dated = re.match(r"\.?,?\s?(?:19|20)\d\d(?!\d)", match.string[match.start() + written.end() :])
    ends = match.end() == len(match.string) and rest.endswith(".")
    if day and not dated and not 1 <= int(day[1]) <= 31:
        return match[0]
    if written[0] in forms_of(lexicon).word_months and not dated and (ends or "." not in rest):
        return match[0]
    return lexicon.date.months[index] + ("." if ends else " " if rest[-1:].isspace() else "")


def _month(month: int, lexicon: Lexicon, otherwise: str) -> str:
    return lexicon.date.months[month - 1] if 1 <= month <= 12 else otherwise


@cache
def _named(lexicon: Lexicon) -> re.Pattern[str]:
    months = "|".join(map(re.escape, lexicon.date.months))
    after = r"(?:,?\s(?:de\s|del\s)?(?P<year>\d{4})(?!\d|[.,]\d)(?:\s?г(?:\.|ода)|\sroku)?)?"
    if lexicon.date.order == "mdy":
        return re.compile(
            rf"(?<!\w)(?P<month>{months})\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\w:]|[.,]\d){after}"
        )
    if lexicon.date.order == "ymd":
        return re.compile(
            rf"(?<!\w)(?:(?P<year>\d{{4}})\.?\s)?(?P<month>{months})\s(?P<day>\d{{1,2}})(?:\.|(?!\w))"
        )
    return re.compile(
        rf"(?<![\w.,])(?P<day>\d{{1,2}}){_ORDINAL_DAY}\s(?:de\s)?(?P<month>{months})(?!\w){after}"
    )


@cache
def _day_first(lexicon: Lexicon) -> re.Pattern[str]:
    """3 March, the 3rd of March: in English besides March 3."""
    months = "|".join(map(re.escape, lexicon.date.months))
    return re.compile(
        r"(?<![\w.,:-])(?P<the>the\s)?(?P<day>\d{1,2})(?:st|nd|rd|th)?\s(?:of\s)?"
        rf"(?P<month>{months})(?!\w)"
        r"(?:,?\s(?P<year>\d{4})(?!\d|[.,]\d))?"
    )


@cache
def _years(lexicon: Lexicon) -> re.Pattern[str]:
    lookbehind = "|".join(rf"(?<=\b{re.escape(word)}\s)" for word in lexicon.date.years_after)
    return re.compile(
        rf"(?:{lookbehind})(?:1[1-9]|20)\d\d(?![\w:%€$£°-]|[.,]\d|\s(?:{_units(lexicon)}))"
    )


@cache
def _year_pairs(lexicon: Lexicon) -> re.Pattern[str]:
    """1914 to 1918."""
    years = r"((?:1[1-9]|20)\d\d)"
    return re.compile(
        rf"(?<![\w.,$€£¥-]){years}(\s(?:{lexicon.to}|{lexicon.symbols['&']})\s){years}"
        rf"(?![\w%€$£°-]|[.,:]\d|\s(?:{_units(lexicon)}))"
    )


def _year_pair(match: re.Match[str], lexicon: Lexicon) -> str:
    if int(match[1]) >= int(match[3]):
        return match[0]
    return f"{year(match[1], lexicon)}{match[2]}{year(match[3], lexicon)}"


@cache
def _units(lexicon: Lexicon) -> str:
    return "|".join(rf"{re.escape(unit)}\b" for unit in lexicon.units if unit[0].isalpha())


def _say(
    match: re.Match[str], lexicon: Lexicon, written_year: str | None, month: int, day: int
) -> str:
    words = lexicon.date
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    said_day = _day(day, lexicon)
    before = match.string[max(0, match.start() - 12) : match.start()].split()
    if before and before[-1] in words.oblique_after:
        said_day = said_day.removesuffix("r") + "n"
    elif before and before[-1] in forms_of(lexicon).weak_after:
        said_day = said_day.removesuffix("r")
    form = words.form if written_year else _without_year(words.form, words.order)
    if match.groupdict().get("the", "") != "":
        form = "the {day} of {month}" + (" {year}" if written_year else "")
    said = form.format(
        year=_year(written_year or "", lexicon), month=words.months[month - 1], day=said_day
    )
    following = match.string[match.end() : match.end() + 1]
    return f"{said} " if following.isalnum() and not lexicon.joined else said


def _day(day: int, lexicon: Lexicon) -> str:
    words = lexicon.date
    if words.days:
        return words.days[day - 1]
    if day == 1 and words.first:
        return words.first
    return ordinal(str(day), lexicon) if words.ordinal_days else cardinal(str(day), lexicon)


def _year(written: str, lexicon: Lexicon) -> str:
    if not written:
        return ""
    if lexicon.language == "zh-cn":
        return "".join(cardinal(digit, lexicon) for digit in written)
    if not lexicon.date.genitive_years:
        return year(written, lexicon)
    words = ordinal(written, lexicon).split(" ")
    for at in (
        -2,
        -1,
    ):  # of the year two thousand and twenty-sixth: its last ordinals are inflected
        for ending, genitive in lexicon.date.genitive_years.items():
            if len(words) >= -at and words[at].endswith(ending):
                stem = words[at].removesuffix(ending)
                words[at] = stem + (
                    genitive.removeprefix("i") if stem.endswith(("k", "g")) else genitive
                )
                break
    return " ".join(words)


def _without_year(form: str, order: str) -> str:
    if order == "ymd":
        return form[form.index("{month}") :]
    return form[: max(form.index("}", form.index(name)) for name in ("{day}", "{month}")) + 1]
