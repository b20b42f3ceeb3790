"""Roman numerals in words, where their neighbours say that they are some: kings, chapters, wars.

Letters alone never do: I is a pronoun, MIX a word, CD and DC are read as letters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from voxturn.runtime.text.abbreviations.table import abbreviations
from voxturn.runtime.text.normalize.forms import RomanWords, forms_of, rewritten, ruled
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.numbers import cardinal, ordinal
from voxturn.runtime.text.normalize.spelling import Spelling, substitute

_VALID = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_NO_NUMERALS = frozenset(
    [
        "MIX",
        "CD",
        "DC",
        "MC",
        "MD",
        "CV",
        "DI",
        "MI",
        "LI",
        "CI",
        "CM",
        "MM",
        "ML",
        "DL",
        "CL",
        "DM",
        "CC",
    ]
)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_LONGEST_ROW = 16  # numerals to either side
_SIGN = "ⅰ-ⅿ"  # numerals that are characters of their own
_BEFORE = re.compile(r"([^\s.,;:!?()\"]+)(\.?)[ \u00a0]$")
_CONTRACTION = r"(?!['’](?:m|ve|ll|d|re)(?!\w))"  # I'm is no first
_ENDS = re.compile(r"\s*(?:$|[.,;:!?)\]…–—]|['’]s(?!\w)| of(?!\w))")
_AFTER = re.compile(r"\.?[ \u00a0]([^\W\d_][\w’'-]*)")


def romans(text: Spelling, lexicon: Lexicon) -> Spelling:
    """`text` with its Roman numerals in words."""
    words = forms_of(lexicon).roman

    def reading(match: re.Match[str]) -> str:
        written = text.written[match.start(1) : match.end(1)]
        sign = match[1][0] >= "ⅰ"
        numeral = unicodedata.normalize("NFKC", written).upper() if sign else written
        if not numeral.isupper() or not _VALID.fullmatch(numeral) or numeral in _NO_NUMERALS:
            return match[0]
        said = _read(numeral, sign, match, text.written, words, lexicon)
        return match[0] if said is None else _apart(said, match) if sign else said

    result = substitute(_numerals(lexicon), reading, text)
    assert isinstance(result, Spelling)
    return result


def _apart(words: str, match: re.Match[str]) -> str:
    """A numeral that is a sign may touch letters and digits; its words do not."""
    text = match.string
    head = (
        " "
        if match.start() and text[match.start() - 1].isascii() and text[match.start() - 1].isalnum()
        else ""
    )
    following = text[match.end() : match.end() + 1]
    return f"{head}{words}" + (" " if following.isascii() and following.isalnum() else "")


@cache
def _numerals(lexicon: Lexicon) -> re.Pattern[str]:
    suffix = forms_of(lexicon).roman.suffix or "(?!)"
    start, end = (
        ("(?<![a-z0-9])", "(?![a-z0-9])")
        if lexicon.joined
        else (r"(?<!\w)", rf"(?!\w){_CONTRACTION}")
    )
    letters = rf"{start}[ivxlcdmı]{{1,9}}(?=(?:{suffix})?{end})"
    return re.compile(rf"({letters}|[{_SIGN}]{{1,6}})({suffix})?\.?")


def value(numeral: str) -> int:
    """What a Roman numeral in capitals is worth."""
    amounts = [_VALUES[letter] for letter in numeral]
    return sum(
        -amount if amount < following else amount
        for amount, following in zip(amounts, [*amounts[1:], 0], strict=True)
    )


def _read(
    numeral: str,
    sign: bool,
    match: re.Match[str],
    written: str,
    words: RomanWords,
    lexicon: Lexicon,
) -> str | None:
    """The numeral in words, with its full stop; None where it may be something else."""
    number = str(value(numeral))
    if len(numeral) == 1 and not sign and numeral not in "IVX":
        return None  # degrees C; the article De
    if match[2]:
        return f"{number}{match[2]}" + ("." if match[0].endswith(".") else "")
    start, end = _row(match, written, words)
    if numeral == "I" and start != match.start(1):
        return None  # Louis XIV and I: a row begins with one
    before = _BEFORE.search(written, max(0, start - 40), start)
    beyond = _AFTER.match(written, end)
    after = _AFTER.match(written, match.end(1))
    known_words = abbreviations(lexicon.language)
    sentence_ends = before and before[2] and not known_words.find(before[1])
    name = before[1] if before and not sentence_ends else ""
    following = beyond[1].lower() if beyond else ""
    dot = "." if match[0].endswith(".") else ""
    if ending := ruled(words.ordinal_before, following):
        ending = ruled(words.before_words, f"{name.lower()} {following}") or ending
        return _ordinal(number, ending, words, lexicon)
    if len(numeral) == 1 and not sign:
        pronoun = words.verbs and numeral == "I" and not name[:1].isupper()
        if pronoun or following in words.verbs:
            return None
        initial = (
            dot and after and after[1][0].isupper() and after[1].lower() not in known_words.starters
        )
        if initial and not words.dotted:
            return None  # William V. Roth
    kept = "" if dot and words.dotted and after and after[1][0].islower() else dot
    if ending := ruled(words.ordinal_after, name.lower()):
        if numeral == "I" and words.titles and not _is_ruler(match, before, written, words):
            return None  # I told James I agree
        if int(number) <= words.ordinal_up_to:
            return _ordinal(number, ending, words, lexicon) + kept
        return cardinal(number, lexicon) + kept
    numbered = re.match(r"\.[ \u00a0]\d", written[match.end(1) : match.end(1) + 3])
    if words.leading and dot and (after or numbered) and (sign or len(numeral) > 1):
        return _ordinal(number, "", words, lexicon)
    known = any(re.search(pattern, name.lower()) for pattern in words.cardinal_after)
    named = name[:1].isupper() and name.lower() not in known_words.starters
    guessed = named and len(numeral) > 1 and not set(numeral) - set("IVX")
    return cardinal(number, lexicon) + dot if sign or known or guessed else None


def _row(match: re.Match[str], written: str, words: RomanWords) -> tuple[int, int]:
    """Where the row of numerals that this one belongs to begins and ends: siglos XV y XVI."""
    start, end = match.span(1)
    if not words.between:
        return start, end
    numeral = "[IVXLCDM]{1,9}"
    for _ in range(_LONGEST_ROW):
        earlier = written[max(0, start - 24) : start]
        left = re.search(rf"(?<!\w)({numeral})\.?(?:{words.between})$", earlier)
        start -= len(left[0]) if left else 0
        right = re.match(rf"\.?(?:{words.between}){numeral}(?!\w)", written[end : end + 24])
        end += len(right[0]) if right else 0
        if not left and not right:
            break
    return start, end


def _is_ruler(
    match: re.Match[str], before: re.Match[str] | None, written: str, words: RomanWords
) -> bool:
    """Whether the I after a name is a number where it is a pronoun as well: King James I, James I
    of Scotland.
    """
    if _ENDS.match(written, match.end(1)):
        return True
    names = written[max(0, match.start() - 48) : before.start() if before else 0].lower()
    if not names.strip() or names.rstrip()[-1] in ".!?":
        return True  # a name that begins the sentence is its subject
    return bool(re.search(rf"(?<!\w)(?:{words.titles})\s(?:[^\W\d_]+\s)?$", names))


def _ordinal(number: str, ending: str, words: RomanWords, lexicon: Lexicon) -> str:
    return rewritten(words.endings.get(ending, ()), ordinal(number, lexicon))
