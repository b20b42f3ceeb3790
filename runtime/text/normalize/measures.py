"""Prices and measures in words, on lower-cased text with ASCII digits."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize.lexicon import Lexicon, money, noun
from voxturn.runtime.text.normalize.numbers import NUMBER, Number, counted, form_of, parse, say
from voxturn.runtime.text.normalize.spelling import substitute

_SIGNS = {
    "us$": "USD", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR",
    "₽": "RUB", "₺": "TRY", "₩": "KRW",
}  # fmt: skip
_MILLION = Number("1000000")


def prices(text: str, lexicon: Lexicon) -> str:
    """A number with the sign or the code of a currency before or after it."""

    def said(match: re.Match[str]) -> str:
        number = parse(match["number"], lexicon)
        if number is None:
            return match[0]
        currency = _signs(lexicon)[match["sign"] or match["glued"]]
        return _apart(match, _price(number, currency, match["magnitude"], lexicon), lexicon)

    before, after = _prices(lexicon)
    return substitute(after, said, substitute(before, said, text))


@cache
def _signs(lexicon: Lexicon) -> dict[str, str]:
    codes = {code.lower(): code for code in lexicon.currencies}
    signs = {sign: code for sign, code in _SIGNS.items() if code in lexicon.currencies}
    return {**codes, **signs, **lexicon.signs}


@cache
def _prices(lexicon: Lexicon) -> tuple[re.Pattern[str], re.Pattern[str]]:
    known = sorted(_signs(lexicon), key=len, reverse=True)
    sign = "|".join(map(re.escape, known))
    magnitudes = "|".join(map(re.escape, sorted(lexicon.magnitudes, key=len, reverse=True)))
    magnitude = rf"(?:\s?(?P<magnitude>{magnitudes}){_end(lexicon)})?"
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
            rf"(?<![\d.,]){number}{magnitude}\s?{of}(?:(?P<sign>{sign})|(?P<glued>(?!))){_end(lexicon)}"
        ),
    )


def _end(lexicon: Lexicon) -> str:
    # a sign is followed by no letter; where words are not set apart, by no Latin one
    return "(?![a-z0-9])" if lexicon.joined else r"(?!\w)"


def _price(number: Number, currency: str, magnitude: str | None, lexicon: Lexicon) -> str:
    whole, part = money(lexicon.currencies[currency])
    if magnitude:
        space = "" if lexicon.joined else " "
        form = form_of(_MILLION, whole, lexicon)
        return space.join(filter(None, [say(number, lexicon), magnitude, lexicon.of, form]))
    fraction = (number.fraction or "").rstrip("0")
    if not fraction:
        return counted(Number(number.whole), whole, lexicon)
    if len(fraction) > 2 or part is None:
        return counted(number, whole, lexicon)
    cents = counted(Number(str(int(fraction.ljust(2, "0")))), part, lexicon)
    if not number.whole.strip("0"):
        return cents
    return f"{counted(Number(number.whole), whole, lexicon)}{lexicon.cents}{cents}"


def measures(text: str, lexicon: Lexicon) -> str:
    """A number with the sign of a unit after it."""

    def said(match: re.Match[str]) -> str:
        number = parse(match["number"], lexicon)
        if number is None:
            return match[0]
        return _apart(
            match,
            counted(number, noun(lexicon.units[match["long"] or match["short"]]), lexicon),
            lexicon,
        )

    return substitute(_measures(lexicon), said, text)


@cache
def _measures(lexicon: Lexicon) -> re.Pattern[str]:
    units = sorted(lexicon.units, key=len, reverse=True)
    long = "|".join(re.escape(unit) for unit in units if len(unit) > 1)
    short = "|".join(re.escape(unit) for unit in units if len(unit) == 1) or "(?!)"
    # one letter is a unit only after a space and a short number: not 5G, not 2026 г.
    end = r"(?![a-z0-9/$€£])" if lexicon.joined else r"(?![\w/$€£])"
    return re.compile(
        rf"(?<![\d.,])(?P<number>{NUMBER})(?:\s?(?P<long>{long})|(?<!\d{{4}})\s(?P<short>{short})){end}"
    )


def _apart(match: re.Match[str], said: str, lexicon: Lexicon) -> str:
    """`said` is kept from growing together with letters around it: A$5, 5$each."""
    if lexicon.joined:
        return said
    text = match.string
    head = " " if match.start() and text[match.start() - 1].isalnum() else ""
    tail = " " if text[match.end() : match.end() + 1].isalnum() else ""
    return f"{head}{said}{tail}"
