"""The passes over a text that need no more than the lexicon: ranges, signs, and the numbers that
are left."""

from __future__ import annotations

import re
from functools import cache, partial

from voxturn.runtime.text.normalize import chinese, japanese, korean
from voxturn.runtime.text.normalize.agreement import agreeing, counted_nouns
from voxturn.runtime.text.normalize.forms import Rules, forms_of, rewritten, ruled
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
_ROUND_GROUPS = re.compile(
    r"(?<![\d.,/:-])(?<!\d )[1-9]\d{0,2}(?: \d{3})* [05]00(?![\d.,/:-]\d|\d| \d)"
)
_BARE_FRACTION = re.compile(r"(?<![^\s($€£-])\.(?=\d)")  # .5
_END = r"\d+(?:[.,:]\d+)*"  # of a range: a number or a time
_SIGN = r"((?:(?:us|ca?|au?|mx|r)?[$]|[€£¥₹₽₺₩])\s?|)"
_RANGE = re.compile(rf"(?<![\w.,:/-]){_SIGN}({_END})-{_SIGN}({_END})(?![\d/-])")
_RANGE_JOINED = re.compile(rf"(?<![\da-z.,:/-]){_SIGN}({_END})-{_SIGN}({_END})(?![\d/-])")
_NEGATIVE = re.compile(r'(?<![^\s(\["“„«])-(?=[$€£¥₹]?\d)')
_NEGATIVE_JOINED = re.compile(r"(?<![\da-z)-])-(?=[$€£¥₹]?\d)")
_PLUS = re.compile(r"\+(?=\s?\d)")
_EQUALS = re.compile(r"(?<=\d)\s?=\s?")
_EQUALS_AFTER_VOWEL = re.compile(r"(?<=[2459])\s?=\s?")
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
    """1 234 567 without its spaces, where numbers are written so; .5 with its zero."""
    if lexicon.group == ",":
        text = substitute(_BARE_FRACTION, "0.", text)
    if lexicon.joined:
        return text
    if not lexicon.space_groups:
        return substitute(_ROUND_GROUPS, lambda m: m[0].replace(" ", ""), text)
    return substitute(_SPACED_GROUPS, lambda m: m[0].replace(" ", ""), text)


def ranges(text: str, lexicon: Lexicon) -> str:
    """Hyphens and signs between and before numbers: 5-10, -5, 3 x 4 = 12."""

    def said(match: re.Match[str]) -> str:
        first, last = match[2], match[4]
        if not _ascending(first, last):
            return match[0]
        sign = match[3] or match[1]  # $3-5 million: three to five million dollars
        same = match[1] in ("", sign)
        head = "" if same else match[1]
        return f"{head}{first}{_around(lexicon.to, lexicon)}{sign}{last}"

    text = substitute(_RANGE_JOINED if lexicon.joined else _RANGE, said, text)
    minus = _NEGATIVE_JOINED if lexicon.joined else _NEGATIVE
    text = substitute(minus, _after(lexicon.minus, lexicon), text)
    text = substitute(_PLUS, _around(lexicon.plus, lexicon), text)
    text = substitute(_TIMES, _around(lexicon.times, lexicon), text)
    if lexicon.language == "ko":  # the particle after two, four, five and nine has another form
        text = substitute(_EQUALS_AFTER_VOWEL, _around("는", lexicon), text)
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
    if lexicon.language == "ja":
        text = japanese.counted(text)
    if lexicon.ordinal or lexicon.dot_ordinal:
        text = substitute(_ordinals(lexicon), lambda m: _ordinal(m, lexicon), text)
    if years := _ordinal_years(lexicon):
        text = substitute(years, lambda m: _ordinal_year(m, lexicon), text)
    if counted := counted_nouns(lexicon):
        text = substitute(counted, lambda m: agreeing(m, lexicon), text)
    if not lexicon.joined:
        text = substitute(_GLUED, " ", text)
    return substitute(_NUMBER, lambda m: _number(m[0], lexicon), text)


def _telephone(written: str, lexicon: Lexicon) -> str:
    """Group by group; a range, where the language says none between its numbers, stays."""
    parts = written.split("-")
    if len(parts) == 2 and _ascending(*parts):
        return written
    return (" " if lexicon.joined else ", ").join(one_by_one(part, lexicon) for part in parts)


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
    endings = "|".join(filter(None, [*forms_of(lexicon).ordinals, lexicon.ordinal]))
    if endings:
        marks.append(rf"(?P<ending>{endings})" + ("" if lexicon.joined else r"(?!\w)"))
    if lexicon.dot_ordinal:
        marks.append(r"\.(?=\s+\w)")  # at the end of the text a full stop is a full stop
    return re.compile(rf"(?<![\d.,])(\d+)(?:{'|'.join(marks)})")


def _ordinal(match: re.Match[str], lexicon: Lexicon) -> str:
    """An ordinal in the form that its ending shows: 3ª tercera."""
    words = ordinal(match[1], lexicon)
    if words and (ending := match.groupdict().get("ending")):
        words = rewritten(_inflection(ending, lexicon), words)
        words = _before_noun(words, match, lexicon)
    else:
        words = _beside_noun(words, match, lexicon)
    before = match.string[max(0, match.start() - 12) : match.start()].split()
    if before and before[-1] in lexicon.date.oblique_after and not match.groupdict().get("ending"):
        words = words.removesuffix("n") + "n"  # im zweiten Stock, im zwanzigsten Jahrhundert
    following = match.string[match.end() : match.end() + 1]
    return f"{words} " if following.isalnum() and not lexicon.joined else words


def _before_noun(words: str, match: re.Match[str], lexicon: Lexicon) -> str:
    """El primer piso, but el primero."""
    table = forms_of(lexicon)
    if not table.ordinal_before_noun:
        return words
    noun = re.match(r"\s([^\W\d_]+)", match.string[match.end() : match.end() + 32])
    masculine = noun and ruled(table.agreement.one, noun[1]) == "m"
    return rewritten(table.ordinal_before_noun, words) if masculine else words


def _beside_noun(words: str, match: re.Match[str], lexicon: Lexicon) -> str:
    """The ordinal in the form of the noun after it, where that is known: ve dvacátém století."""
    roman = forms_of(lexicon).roman
    name = re.search(r"([^\W\d_]*)\s$", match.string[max(0, match.start() - 24) : match.start()])
    noun = re.match(r"\s+([^\W\d_]+)", match.string[match.end() : match.end() + 32])
    if not noun or not (ending := ruled(roman.ordinal_before, noun[1])):
        return words
    both = f"{name[1] if name else ''} {noun[1]}"
    return rewritten(roman.endings.get(ruled(roman.before_words, both) or ending, ()), words)


@cache
def _ordinal_years(lexicon: Lexicon) -> re.Pattern[str] | None:
    """A year whose noun makes it an ordinal: в 1999 году, w 1999 r."""
    words = "|".join(pattern.strip("^$") for pattern, _ in forms_of(lexicon).years)
    return re.compile(rf"(?<![\w.,-])((?:1\d|20)\d\d)\s?({words})(?!\w)") if words else None


def _ordinal_year(match: re.Match[str], lexicon: Lexicon) -> str:
    table = forms_of(lexicon)
    before = re.search(r"([^\W\d_]+)\s$", match.string[max(0, match.start() - 24) : match.start()])
    noun = match[2]
    ending = ruled(table.roman.before_words, f"{before[1] if before else ''} {noun}")
    ending = ending or ruled(table.years, noun) or ""
    words = rewritten(table.roman.endings[ending], ordinal(match[1], lexicon))
    if noun.endswith("."):  # an abbreviation
        full = {"m_gen": "года", "m_loc": "году"} if noun[0] == "г" else {}
        noun = full.get(ending, "roku") + ("." if match.end() == len(match.string) else "")
    return f"{words} {noun}"


@cache
def _inflection(ending: str, lexicon: Lexicon) -> Rules:
    table = forms_of(lexicon).ordinals
    return next((rules for key, rules in table.items() if re.fullmatch(key, ending)), ())


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


def _expanded(replacement: str, match: re.Match[str]) -> str:
    return match.expand(replacement)


def rewrites(text: str, lexicon: Lexicon) -> str:
    """Rarer notations as the usual ones: № 7, 5'6"."""
    return _by_rules(forms_of(lexicon).rewrites, text)


def joins(text: str, lexicon: Lexicon) -> str:
    """Endings that were written beside a number's digits, on its words."""
    return _by_rules(forms_of(lexicon).joins, text)


def _by_rules(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = substitute(re.compile(pattern), partial(_expanded, replacement), text)
    return text


def symbols(text: str, lexicon: Lexicon) -> str:
    """Signs that have a name."""
    for sign, name in lexicon.symbols.items():
        words = name if lexicon.joined and lexicon.language != "ko" else f" {name} "
        text = substitute(re.compile(re.escape(sign)), words, text)
    return text
