"""Fractions in words: one half, three quarters, two and a half."""

from __future__ import annotations

import re

from voxturn.runtime.text.normalize.forms import FractionWords, forms_of, ruled
from voxturn.runtime.text.normalize.lexicon import Lexicon, noun
from voxturn.runtime.text.normalize.numbers import Number, cardinal, counted
from voxturn.runtime.text.normalize.spelling import substitute

_FRACTION = re.compile(
    r"(?<![\w.,:/-])(?:(?P<whole>\d{1,6}) )?(?P<part>\d{1,3})/(?P<of>\d{1,4})(?![\w/-]|[.,:]\d)"
)
_FRACTION_JOINED = re.compile(
    r"(?<![\da-z.,:/-]) ?(?:(?P<whole>\d{1,6}) )?(?P<part>\d{1,3})/(?P<of>\d{1,4})"
    r"(?![\da-z/-]|[.,:]\d)(?: (?![가-힣]))?"
)
_ROUND = frozenset({12, 16, 20, 32, 50, 64, 100, 1000})
"""Denominators above ten; 9/11 is rather a day."""


def fractions(text: str, lexicon: Lexicon) -> str:
    """1/2, 2 3/4; two numbers that are no fraction (24/7) are said one after the other."""
    if "/" not in text:
        return text
    words = forms_of(lexicon).fractions

    def said(match: re.Match[str]) -> str:
        part, whole = int(match["part"]), int(match["of"])
        before = f"{match['whole']} " if match["whole"] else ""
        leading = any(len(n) > 1 and n[0] == "0" for n in (match["part"], match["of"]))
        if leading or not 0 < part < whole or not (whole <= 10 or whole in _ROUND):
            return match[0] if lexicon.joined else f"{before}{match['part']} {match['of']}"
        noun_after = re.match(r"\s([^\W\d_]+)", match.string[match.end() : match.end() + 32])
        gender = ruled(forms_of(lexicon).agreement.one, noun_after[1]) if noun_after else None
        fraction = _fraction(part, whole, gender, words, lexicon)
        if not before:
            return _apart(fraction, match, lexicon)
        name = f"{part}/{whole}"
        mixed = words.after_whole.get(f"{before}{name}") or words.after_whole.get(name, words.mixed)
        mixed = mixed.format(w=cardinal(match["whole"], lexicon), f=fraction)
        return _apart(mixed, match, lexicon)

    return substitute(_FRACTION_JOINED if lexicon.joined else _FRACTION, said, text)


def _apart(words: str, match: re.Match[str], lexicon: Lexicon) -> str:
    following = match.string[match.end() : match.end() + 1]
    return f"{words} " if following.isalnum() and not lexicon.joined else words


def _fraction(
    part: int, whole: int, following: str | None, words: FractionWords, lexicon: Lexicon
) -> str:
    """`following` is the gender of the noun after it."""
    name = f"{part}/{whole}"
    if name in words.whole:
        masculine, _, feminine = words.whole[name].partition("|")
        return feminine if feminine and following == "f" else masculine
    if str(whole) in words.parts:
        return counted(Number(str(part)), noun(words.parts[str(whole)]), lexicon)
    return words.over.format(n=cardinal(str(part), lexicon), d=cardinal(str(whole), lexicon))
