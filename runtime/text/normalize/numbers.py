"""Numbers in words. num2words reads most of them, as upstream; what it cannot or misreads is read
here."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.text.normalize import chinese
from voxturn.runtime.text.normalize.forms import Rules, forms_of, rewritten
from voxturn.runtime.text.normalize.lexicon import Lexicon, Noun

NUMBER = r"\d+(?:[.,]\d+)*"
_LONGEST = 15  # digits; a longer one is read digit by digit, as a card or an account
_FAILURES = (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)
_LIBRARY = threading.Lock()  # num2words' converters keep the number in themselves


_CORRECTIONS: dict[str, Rules] = {
    "cs": (
        (r"\bdva celá\b", "dvě celé"),  # two whole ones and, five whole ones and
        (r"\b(tři|čtyři) celá\b", r"\1 celé"),
        (r"(?<!jedna)(?<!nula) celá\b", " celých"),
    ),
    "it": (("dicotto", "diciotto"),),  # elided too much: centodicotto
    "nl": ((r"(elf|twaalf|tien) honderd ?", r"\1honderd"),),  # one word
    "pt": (  # as in Brazil
        ("dezasse", "dezesse"),
        ("dezanove", "dezenove"),
        (r"^mil milhões\b", "um bilhão"),
        (r"(?<=[^\W\d_]) mil milhões\b", " bilhões"),
    ),
    "ar": ((r"(?:^|(?<= ))(ألف|مئت|مليون|مليار)ا$", r"\1ان"),),  # two without a noun
    "es": (("veintiuno mil", "veintiún mil"), ("uno mil", "un mil")),  # shortened before thousand
}
"""What num2words misreads, and what it should be."""


@dataclass(frozen=True)
class Number:
    """Digits as they are written, without separators; `fraction` is None for a whole number."""

    whole: str
    fraction: str | None = None

    @property
    def value(self) -> int:
        return int(self.whole[-18:])


def parse(token: str, lexicon: Lexicon) -> Number | None:
    """The number that `token` (of the form `NUMBER`) is in that language; None for 1.2.3 and the
    like."""
    seps = re.findall("[.,]", token)
    if not seps:
        return Number(token)
    kinds = set(seps)
    groups = re.split("[.,]", token)
    if len(kinds) == 2:
        last = seps[-1]
        if seps.count(last) > 1 or not (
            _grouped(groups[:-1]) or (last == "." and _indian(groups[:-1]))
        ):
            return None
        return Number("".join(groups[:-1]), groups[-1])
    if len(seps) == 1 and not (seps[0] == lexicon.group and _grouped(groups)):
        return Number(*groups)
    if _grouped(groups) or (seps[0] == "," and _indian(groups)):
        return Number("".join(groups))
    return None


def _grouped(groups: list[str]) -> bool:
    return (
        1 <= len(groups[0]) <= 3
        and groups[0] != "0"
        and all(len(group) == 3 for group in groups[1:])
    )


def _indian(groups: list[str]) -> bool:
    return (
        1 <= len(groups[0]) <= 2
        and len(groups[-1]) == 3
        and all(len(group) == 2 for group in groups[1:-1])
    )


def say(number: Number, lexicon: Lexicon) -> str:
    """A number in words."""
    return cardinal(number.whole, lexicon) if number.fraction is None else decimal(number, lexicon)


@lru_cache(maxsize=4096)
def _words(value: int | float, language: str, kind: str = "cardinal") -> str:
    """num2words' reading; raises one of `_FAILURES` where it has none."""
    try:
        from num2words import num2words
    except ImportError as exc:
        raise ExecutorUnavailable(
            "numbers are read by num2words; pip install 'voxturn[xtts]'"
        ) from exc
    with _LIBRARY:
        said: str = num2words(value, lang=language, to=kind)
    return rewritten(_CORRECTIONS.get(language, ()), said)


@lru_cache(maxsize=32)
def _point(language: str) -> str:
    from num2words import CONVERTER_CLASSES

    word: Any = getattr(CONVERTER_CLASSES[language], "pointword", ".")
    return str(word)


def cardinal(digits: str, lexicon: Lexicon) -> str:
    """A whole number. One that begins with a zero, or is very long, is read digit by digit."""
    if len(digits) > _LONGEST or (len(digits) > 1 and digits[0] == "0"):
        return one_by_one(digits, lexicon)
    return _cardinal(int(digits), lexicon)


def _cardinal(value: int, lexicon: Lexicon) -> str:
    if lexicon.language == "zh-cn":
        return chinese.cardinal(str(value))
    if lexicon.ones:
        return indian(value, lexicon.ones)
    if lexicon.language == "tr" and value >= 1000:
        return _turkish(value, lexicon)
    try:
        return _words(value, lexicon.language)
    except _FAILURES:
        return one_by_one(str(value), lexicon)


def _turkish(value: int, lexicon: Lexicon) -> str:
    """A number from a thousand on; num2words forgets the one of twenty-one thousand."""
    sizes = ((10**12, "trilyon"), (10**9, "milyar"), (10**6, "milyon"), (1000, "bin"))
    size, name = next(pair for pair in sizes if value >= pair[0])
    high, low = divmod(value, size)
    head = "" if size == 1000 and high == 1 else _cardinal(high, lexicon)
    return f"{head}{name}" + (_cardinal(low, lexicon) if low else "")


def one_by_one(digits: str, lexicon: Lexicon) -> str:
    """Every digit by itself."""
    return ("" if lexicon.joined else " ").join(_cardinal(int(digit), lexicon) for digit in digits)


def decimal(number: Number, lexicon: Lexicon) -> str:
    """A number with a fraction."""
    whole, fraction = number.whole, number.fraction or ""
    short = len(whole) + len(fraction) <= _LONGEST and not (len(whole) > 1 and whole[0] == "0")
    short = short and fraction.strip("0") != ""  # num2words takes 2.0 for 2
    if short and lexicon.decimals == "library":
        try:
            return _words(float(Decimal(f"{whole}.{fraction}")), lexicon.language)
        except _FAILURES:
            pass
    if short and lexicon.decimals == "number":
        zeros = len(fraction) - len(fraction.lstrip("0"))
        said = " ".join(
            [_cardinal(0, lexicon)] * zeros
            + [_cardinal(int(fraction), lexicon)] * (zeros < len(fraction))
        )
    else:
        said = one_by_one(fraction, lexicon)
    return f"{cardinal(whole, lexicon)}{point_word(lexicon)}{said}"


def point_word(lexicon: Lexicon) -> str:
    """What stands between a number and its fraction, with the spaces around it."""
    if lexicon.joined:
        return lexicon.point
    return f" {lexicon.point or _point(lexicon.language)} "


def ordinal(digits: str, lexicon: Lexicon) -> str:
    """`digits` as an ordinal; a cardinal where the language's ordinals do not reach so far."""
    if len(digits) > _LONGEST:
        return one_by_one(digits, lexicon)
    value = int(digits)
    if lexicon.ordinals:
        if value < len(lexicon.ordinals):
            return lexicon.ordinals[value]
        return cardinal(digits, lexicon) + lexicon.ordinal_ending
    try:
        return _words(value, lexicon.language, "ordinal")
    except _FAILURES:
        return cardinal(digits, lexicon) + lexicon.ordinal_ending


def year(digits: str, lexicon: Lexicon) -> str:
    """Four digits as a year: twenty twenty-six, nineteen ninety-nine."""
    if not lexicon.date.years_after:
        return cardinal(digits, lexicon)
    try:
        return _words(int(digits), lexicon.language, "year")
    except _FAILURES:
        return cardinal(digits, lexicon)


def indian(value: int, ones: tuple[str, ...]) -> str:
    """A number in hundreds, thousands, lakhs and crores, for Hindi; `ones` has the names below a
    hundred."""
    parts = []
    for size, name in (
        (10**11, "खरब"),
        (10**9, "अरब"),
        (10**7, "करोड़"),
        (10**5, "लाख"),
        (1000, "हज़ार"),
        (100, "सौ"),
    ):
        if value >= size:
            parts += [indian(value // size, ones), name]
            value %= size
    return " ".join([*parts, ones[value]] if value or not parts else parts)


def counted(number: Number, noun: Noun, lexicon: Lexicon) -> str:
    """A number and what it counts, in the form and the gender that belong together."""
    form = form_of(number, noun, lexicon)
    if (
        lexicon.plural == "arabic"
        and number.fraction is None
        and number.value in (1, 2)
        and len(noun.forms) > 1
    ):
        return form if number.value == 2 else f"{form} {'واحدة' if noun.gender == 'f' else 'واحد'}"
    words = say(number, lexicon)
    if number.fraction is None:
        words = agree(words, noun.gender, lexicon)
    return f"{words}{form}" if lexicon.joined else f"{words} {form}"


def form_of(number: Number, noun: Noun, lexicon: Lexicon) -> str:
    """The noun as it stands beside the number."""
    return noun.forms[min(plural_form(number, lexicon.plural), len(noun.forms) - 1)]


def agree(words: str, gender: str, lexicon: Lexicon) -> str:
    """The number's last word in the noun's gender: uno, un, una."""
    head, space, last = words.rpartition(" ")
    if lexicon.plural == "arabic":
        return _arabic_feminine(words) if gender == "f" else words
    if gender == "f" and (hundreds := forms_of(lexicon).agreement.hundreds):
        words = rewritten(hundreds, words)  # millions are masculine themselves
        head, space, last = words.rpartition(" ")
    for ending, other in lexicon.last_word.get(gender, {}).items():
        whole_word = (
            lexicon.language in ("de", "pl", "cs")
            or (lexicon.language == "it" and gender == "f")
            or head
        )
        if last == ending or (not whole_word and last.endswith(ending)):
            return f"{head}{space}{last.removesuffix(ending)}{other}"
    return words


_FEMININE = {
    "واحد": "إحدى", "أحد": "إحدى", "اثنان": "اثنتان", "اثنا": "اثنتا", "ثلاثة": "ثلاث", "أربعة": "أربع", "خمسة": "خمس",
    "ستة": "ست", "سبعة": "سبع", "ثمانية": "ثماني", "تسعة": "تسع", "عشرة": "عشر", "عشر": "عشرة",
}  # fmt: skip
_THOUSANDS = re.compile(r"ألف|آلاف|ملي|ملايين|مائة|مئتا|تريليون")


def _arabic_feminine(words: str) -> str:
    """What is below a hundred of an Arabic number beside a feminine noun: three of thirteen loses
    the ending that ten gets."""
    parts = words.split(" و ")
    below = max((at + 1 for at, part in enumerate(parts) if _THOUSANDS.search(part)), default=0)
    said = [
        " ".join(_FEMININE.get(word, word) for word in part.split(" ")) for part in parts[below:]
    ]
    return " و ".join(parts[:below] + said)


def plural_form(number: Number, rule: str) -> int:
    """Which of a noun's forms goes with the number: index into `Noun.forms`."""
    n = number.value
    if number.fraction is not None:
        return {
            "russian": 1,
            "polish": 3,
            "czech": 3,
            "arabic": 4,
            "below-two": 0 if n < 2 else 1,
        }.get(rule, 1)
    tens, ones = n % 100, n % 10
    few = 2 <= ones <= 4 and not 12 <= tens <= 14
    if rule == "one-other":
        return 0 if n == 1 else 1
    if rule == "below-two":
        return 0 if n < 2 else 1
    if rule == "russian":
        return 0 if ones == 1 and tens != 11 else 1 if few else 2
    if rule == "polish":
        return 0 if n == 1 else 1 if few else 2
    if rule == "czech":
        return 0 if n == 1 else 1 if 2 <= n <= 4 else 2
    if rule == "arabic":
        return 0 if n == 1 else 1 if n == 2 else 2 if 3 <= tens <= 10 else 3 if tens > 10 else 4
    return 0
