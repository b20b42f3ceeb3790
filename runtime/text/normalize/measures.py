"""Prices and measures in words, on lower-cased text with ASCII digits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from voxturn.runtime.text.normalize.forms import forms_of
from voxturn.runtime.text.normalize.lexicon import Lexicon, Noun, money, noun
from voxturn.runtime.text.normalize.numbers import (
    NUMBER,
    Number,
    agree,
    cardinal,
    counted,
    form_of,
    parse,
    say,
)
from voxturn.runtime.text.normalize.spelling import Spelling, substitute

_SIGNS = {
    "us$": "USD", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR",
    "₽": "RUB", "₺": "TRY", "₩": "KRW", "c$": "CAD", "ca$": "CAD", "a$": "AUD", "au$": "AUD",
    "r$": "BRL", "mx$": "MXN", "zł": "PLN", "kč": "CZK",
}  # fmt: skip
_WORDS = frozenset(
    {"try", "sek", "nok", "cad", "aud", "rub", "sar", "pln", "dkk", "brl", "mxn", "krw"}
)
"""Codes that are a word or a unit in some language, and are codes in capitals only."""

_DOLLARS = ("USD", "CAD", "AUD", "MXN")  # all are written with $
_ZEROS = {"k": 3, "m": 6, "b": 9}
_MILLION = Number("1000000")
_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}")


def prices(text: str, lexicon: Lexicon) -> str:
    """A number with the sign or the code of a currency before or after it."""

    def said(match: re.Match[str]) -> str:
        number = parse(_amount(match["number"]), lexicon)
        if number is None:
            return match[0]
        sign = "sign" if match["sign"] else "glued"
        currency = _signs(lexicon)[match[sign]]
        if currency.lower() in _WORDS and match[sign] == currency.lower():
            text = match.string
            written = text.written if isinstance(text, Spelling) else text
            if not written[match.start(sign) : match.end(sign)].isupper():
                return match[0]
        magnitude = (match["magnitude"] or match["letter"] or "").rstrip(".")
        if _named(currency, lexicon).match(match.string, match.end()):
            words = _magnitude(number, magnitude, lexicon) if magnitude else say(number, lexicon)
        else:
            words = _price(number, currency, magnitude, lexicon)
        if _ends_sentence(match):
            words += "."  # the abbreviation's is the sentence's too
        return _apart(match, words, lexicon)

    before, after = _prices(lexicon)
    return substitute(after, said, substitute(before, said, text))


@cache
def _named(currency: str, lexicon: Lexicon) -> re.Pattern[str]:
    """The name of the currency after a price, where the sign adds nothing: $500 pesos."""
    codes = [code for code in _DOLLARS if code in lexicon.currencies]
    codes = codes if currency == "USD" else [currency]
    nouns = [money(lexicon.currencies[code])[0] for code in codes]
    names = [re.escape(form.lower()) for each in nouns for form in each.forms]
    names += ["pesos?"] * (currency == "USD")
    of = rf"(?:{lexicon.of}\s)?" if lexicon.of else ""
    return re.compile(rf"\s{of}(?:{'|'.join(names)})(?!\w)")


def _ends_sentence(match: re.Match[str]) -> bool:
    """Whether the full stop that ends the match ends a sentence as well."""
    if not match[0].endswith("."):
        return False
    text = match.string
    written = text.written if isinstance(text, Spelling) else text
    following = written[match.end() : match.end() + 8].lstrip()[:1]
    return not following or following.isupper() or following in _SIGNS


def _amount(token: str) -> str:
    """A price without a comma before three digits: no coin is a thousandth."""
    return re.sub(r"(?<=\d),(?=\d{3}$)", "", token) if _THOUSANDS.fullmatch(token) else token


@cache
def _signs(lexicon: Lexicon) -> dict[str, str]:
    codes = {code.lower(): code for code in lexicon.currencies}
    if lexicon.language == "tr":  # whose small I has no dot
        codes |= {code.replace("i", "ı"): currency for code, currency in codes.items()}
    signs = {sign: code for sign, code in _SIGNS.items() if code in lexicon.currencies}
    return {**codes, **signs, **lexicon.signs}


@cache
def _prices(lexicon: Lexicon) -> tuple[re.Pattern[str], re.Pattern[str]]:
    known = sorted(_signs(lexicon), key=len, reverse=True)
    sign = "|".join(map(re.escape, known))
    short = forms_of(lexicon).magnitudes
    words = "|".join(map(re.escape, sorted(lexicon.magnitudes, key=len, reverse=True)))
    abbreviations = "|".join(key for key in short if len(key) > 1) or "(?!)"
    letters = "|".join(key for key in short if len(key) == 1) or "(?!)"
    end = _end(lexicon)
    magnitude, after_magnitude = (
        rf"(?:\s?(?P<magnitude>(?:{words}){end}|(?:{abbreviations}){end}\.?)"
        rf"|{space}(?P<letter>{letters}){end})?"
        for space in ("", r"\s?")
    )
    number = rf"(?P<number>{NUMBER})"
    of = rf"(?:{lexicon.of}\s)?" if lexicon.of else ""
    signs = "|".join(re.escape(name) for name in known if not name[0].isalpha())
    start = "" if lexicon.joined else r"(?<![^\W\d_])"
    # "2 Kč 3": a sign between two numbers belongs to the first, unless it is glued to the second
    return (
        re.compile(
            rf"{start}(?:(?<!\d)(?<!\d\s)(?P<sign>{sign})\s?|(?P<glued>{signs})){number}{magnitude}"
        ),
        re.compile(
            rf"(?<![\d.,]){number}{after_magnitude}\s?{of}(?:(?P<sign>{sign})|(?P<glued>(?!))){_end(lexicon)}"
        ),
    )


def _end(lexicon: Lexicon) -> str:
    # a sign is followed by no letter; where words are not set apart, by no Latin one
    return "(?![a-z0-9])" if lexicon.joined else r"(?!\w)"


def _price(number: Number, currency: str, magnitude: str, lexicon: Lexicon) -> str:
    whole, part = money(lexicon.currencies[currency])
    if magnitude:
        amount = _magnitude(number, magnitude, lexicon)
        form = form_of(_MILLION, whole, lexicon)
        if lexicon.joined:
            return f"{amount}{form}"
        table = forms_of(lexicon)
        of = "" if amount.endswith(table.without_of) else lexicon.of
        if of and table.elision and form[0] in "aeiouéèêhy":
            return f"{amount} {table.elision}{form}"
        return " ".join(filter(None, [amount, of, form]))
    fraction = (number.fraction or "").rstrip("0")
    if not fraction:
        return counted(Number(number.whole), whole, lexicon)
    if len(fraction) > 2 or part is None:
        return counted(number, whole, lexicon)
    cents = counted(Number(str(int(fraction.ljust(2, "0")))), part, lexicon)
    if not number.whole.strip("0"):
        return cents
    return f"{counted(Number(number.whole), whole, lexicon)}{lexicon.cents}{cents}"


def _magnitude(number: Number, name: str, lexicon: Lexicon) -> str:
    """A number and the magnitude that it counts, which may be an abbreviation."""
    written = forms_of(lexicon).magnitudes
    if lexicon.joined and name in _ZEROS:  # there are other words for it: 百五十万
        fraction = (number.fraction or "").ljust(_ZEROS[name], "0")
        if not fraction[_ZEROS[name] :]:
            return cardinal((number.whole + fraction).lstrip("0") or "0", lexicon)
    if name in written:
        return counted(number, noun(written[name]), lexicon)
    words = say(number, lexicon)
    for text in written.values():
        magnitude = noun(text)
        if name in magnitude.forms and number.fraction is None:
            words = agree(words, magnitude.gender, lexicon)
            break
    glued = lexicon.joined or name in forms_of(lexicon).glued
    return f"{words}{name}" if glued else f"{words} {name}"


def magnitudes(text: str, lexicon: Lexicon) -> str:
    """A number and an abbreviated magnitude where no price is: 2,5 Mio. Einwohner."""

    def said(match: re.Match[str]) -> str:
        number = parse(match["number"], lexicon)
        if number is None:
            return match[0]
        words = _magnitude(number, match["name"].rstrip("."), lexicon)
        ends = match[0].endswith(".") and match.end() == len(match.string)
        return f"{words}." if ends else words

    pattern = _magnitudes(lexicon)
    return substitute(pattern, said, text) if pattern else text


@cache
def _magnitudes(lexicon: Lexicon) -> re.Pattern[str] | None:
    """Whole words for a magnitude count as well: they have a gender."""
    table = forms_of(lexicon).magnitudes
    if lexicon.joined or not table:
        return None
    units = _units(lexicon)
    short = "|".join(key for key in table if len(key) > 1 and key not in units) or "(?!)"
    words = "|".join(name for name in lexicon.magnitudes if name not in table) or "(?!)"
    return re.compile(
        rf"(?<![\w.,])(?P<number>{NUMBER})\s?(?P<name>(?:{words})(?!\w)|(?:{short})(?!\w)\.?)"
    )


@cache
def _units(lexicon: Lexicon) -> Mapping[str, str]:
    return {**lexicon.units, **forms_of(lexicon).units}


def measures(text: str, lexicon: Lexicon) -> str:
    """A number with the sign of a unit after it."""

    def said(match: re.Match[str]) -> str:
        number = parse(match["number"], lexicon)
        if number is None:
            return match[0]
        if match["short"] and not _is_unit(match, lexicon):
            return match[0]
        unit = noun(_units(lexicon)[match["long"] or match["short"]])
        return _apart(match, _measure(number, unit, lexicon), lexicon)

    return substitute(_measures(lexicon), said, text)


_DECADE_BEFORE = re.compile(
    r"(?:^|\s)(?:the|in|my|your|his|her|its|our|their|early|mid|late)\s$|['’-]$"
)
_MODEL = re.compile(
    r"(?:(?<=[^.!?:]\s)[^\W\d_a-zß-öø-ÿа-я][^\W\d_]*|[^\W\d_]*[a-z][A-Z]\w*)\s$"
)  # iPhone 5s
_INITIALS = frozenset("enswv")  # 350 W 42nd St, 5 v 5


def _is_unit(match: re.Match[str], lexicon: Lexicon) -> bool:
    """Whether one letter after a number is a unit: not 5G, not 350 W 42nd St, not 5 v 5."""
    text, letter, at = match.string, match["short"], match.start("short")
    written = text.written if isinstance(text, Spelling) else text
    capital = written[at].isupper()
    glued = text[at - 1].isdigit()
    following = written[match.end() :].lstrip(" .")
    before = text[max(0, match.start() - 12) : match.start()]
    if glued and letter == "s":
        decade = _DECADE_BEFORE.search(before) and match["number"].endswith("0")
        return (
            not capital
            and not decade
            and not _MODEL.search(written[max(0, match.start() - 40) : match.start()])
        )
    if glued:
        return letter in "wvl" or not capital
    if letter not in _INITIALS:
        return True
    if letter == "s" and capital and lexicon.language == "en":
        return False
    named = capital and following[:1].isupper() and text[match.end() : match.end() + 1] == " "
    return not following[:1].isdigit() and not named


def _measure(number: Number, unit: Noun, lexicon: Lexicon) -> str:
    """A unit's form may say where the number goes: yüzde {}."""
    if "{}" in unit.forms[0]:
        return unit.forms[0].format(say(number, lexicon))
    return counted(number, unit, lexicon)


@cache
def _measures(lexicon: Lexicon) -> re.Pattern[str]:
    units = sorted(_units(lexicon), key=len, reverse=True)
    careful = forms_of(lexicon).careful_units
    long = "|".join(
        re.escape(unit) + careful.get(unit, "")
        for unit in units
        if len(unit) > 1 or not unit.isalpha()
    )
    letters = [unit for unit in units if len(unit) == 1 and unit.isalpha()]
    short = "|".join(unit + careful.get(unit, "") for unit in letters) or "(?!)"
    # one letter is a unit only after a short number: not 2026 г.
    end = r"(?![a-z0-9/$€£])" if lexicon.joined else r"(?![\w/$€£])"
    return re.compile(
        rf"(?<![\d.,])(?P<number>{NUMBER})(?:\s?(?P<long>{long})|(?<!\d{{4}})\s?(?P<short>{short})){end}(?:\.(?=[,;:)]))?"
    )


def _apart(match: re.Match[str], said: str, lexicon: Lexicon) -> str:
    """`said` is kept from growing together with letters around it: A$5, 5$each."""
    if lexicon.joined:
        return said
    text = match.string
    head = " " if match.start() and text[match.start() - 1].isalnum() else ""
    tail = " " if text[match.end() : match.end() + 1].isalnum() else ""
    return f"{head}{said}{tail}"
