"""Times of day in words, on lower-cased text with ASCII digits. Pure but for num2words."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize.forms import forms_of, rewritten, ruled
from voxturn.runtime.text.normalize.lexicon import Lexicon, money, noun
from voxturn.runtime.text.normalize.numbers import Number, agree, cardinal, counted, form_of
from voxturn.runtime.text.normalize.spelling import substitute

_OBLIQUE = re.compile(r"(?<=[^\W\d_])a(?= |$)")


def times(text: str, lexicon: Lexicon) -> str:
    """14:30, 2:30 pm, and as it is written there: 14h30, 14.30 Uhr, ore 20.15."""
    if dotted := _dotted(lexicon):
        text = substitute(dotted, lambda m: m[0].replace(".", ":"), text)
    if spaced := _lettered(lexicon):
        text = substitute(spaced, lambda m: f"{m[1]}:{m[2] or '00'}", text)

    def said(match: re.Match[str]) -> str:
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if hour > 24 or minute > 59:
            return match[0]
        mark = match["mark"] or match["before"] or ""
        half = (
            "am" if mark in lexicon.time.am_marks else "pm" if mark in lexicon.time.pm_marks else ""
        )
        words = _time(hour, minute, half, lexicon)
        if mark.endswith(".") and match.end() == len(text):
            words += "."  # the mark's is the sentence's too
        before = match.string[max(0, match.start() - 12) : match.start()].split()
        if before and before[-1] in lexicon.time.oblique_after:
            words = _OBLIQUE.sub("ej", words)  # o czternastej trzydzieści
        clock = forms_of(lexicon).clock
        if before and (case := ruled(clock.cases, before[-1])):
            words = rewritten(clock.endings[case], words)  # с девяти часов
        if match["second"] and int(match["second"]):
            words = f"{words}{'' if lexicon.joined else ' '}{cardinal(str(int(match['second'])), lexicon)}"
        return words

    return substitute(_times(lexicon), said, text)


@cache
def _dotted(lexicon: Lexicon) -> re.Pattern[str] | None:
    """A time with a full stop, which a word beside it tells from a number."""
    words = forms_of(lexicon).clock
    if not words.before and not words.after:
        return None
    before = "|".join(rf"(?<=\b{re.escape(word)}\s)" for word in words.before) or "(?!)"
    after = "|".join(map(re.escape, words.after)) or "(?!)"
    time = r"(?:[01]?\d|2[0-4])\.[0-5]\d(?!\d|[.,:]\d)"
    named = rf"(?=\s?(?:{after})(?!\w))"
    follow = words.end or rf"(?!\s?[%€$£¥°₽₺₩₹]|\s?(?:{_counted(lexicon)}))"
    return re.compile(rf"(?<![\d.,:])(?:(?:{before}){time}{follow}|{time}{named})")


@cache
def _counted(lexicon: Lexicon) -> str:
    """What is counted after an amount: currencies, units, magnitudes, whatever their endings."""
    table = forms_of(lexicon)
    nouns = [noun for text in lexicon.currencies.values() for noun in money(text) if noun]
    nouns += [noun(text) for text in {**lexicon.units, **table.units}.values()]
    nouns += [noun(text) for text in table.magnitudes.values()]
    names = {form.strip().split(" ")[0].lower() for each in nouns for form in each.forms}
    names |= set(lexicon.magnitudes)
    long = {name[: max(4, len(name) - 2)] for name in names if len(name) >= 4 and name.isalpha()}
    times = set(table.clock.after) | {table.clock.letter}
    hours = tuple(filter(str.isalpha, times))
    codes = {*map(str.lower, lexicon.currencies), *lexicon.signs, *table.magnitudes}
    codes |= {*lexicon.units, *table.units} | {name for name in names if len(name) < 4}
    short = {code for code in codes if code[:1].isalpha()} - times
    long = {name for name in long if not name.startswith(hours) or len(name) < 2}
    whole = "|".join(sorted(map(re.escape, short), key=len, reverse=True))
    begun = "|".join(sorted(long))
    return rf"(?:{whole})(?!\w)|(?:{begun})\w*"


@cache
def _lettered(lexicon: Lexicon) -> re.Pattern[str] | None:
    """14 h 30 and 14 h."""
    letter = forms_of(lexicon).clock.letter
    if not letter:
        return None
    whole = "?" if lexicon.time.hours else ""  # elsewhere 1 h is an hour
    return re.compile(
        rf"(?<![\d.,:\w])([01]?\d|2[0-4])\s?{letter}(?:\s?([0-5]\d)(?:\s?min)?){whole}(?![\w/])"
    )


@cache
def _times(lexicon: Lexicon) -> re.Pattern[str]:
    words = lexicon.time
    marks = (
        "|".join(map(re.escape, sorted(words.am_marks + words.pm_marks, key=len, reverse=True)))
        or "(?!)"
    )
    end = "(?![a-z0-9])" if lexicon.joined else r"(?!\w)"
    unit = rf"(?:\s?(?:{words.word}))?" if words.word else ""
    minutes = rf"[{words.separators}](?P<minute>\d\d)(?::(?P<second>[0-5]\d))?(?!\d|[:.,]\d)"
    minutes = rf"(?:{minutes}|(?=\s?(?:{marks}){end}))" if lexicon.language == "en" else minutes
    before = rf"(?:(?P<before>{marks})\s?)?" if lexicon.joined else "(?P<before>(?!))?"
    return re.compile(
        rf"{before}(?<![\d:.,])(?P<hour>\d{{1,2}}){minutes}(?:\s?(?P<mark>{marks}){end})?{unit}"
    )


def _time(hour: int, minute: int, half: str, lexicon: Lexicon) -> str:
    """`half` is am, pm or nothing."""
    words = lexicon.time
    if half and lexicon.language != "en":
        hour = hour % 12 + (12 if half == "pm" else 0)
    if half:
        said_half = words.am if half == "am" else words.pm
    else:  # before one o'clock in the afternoon nobody knows which half was meant
        said_half = words.pm if 13 <= hour <= 23 else words.am if hour == 0 else ""
    name = words.names[hour % len(words.names)] if words.names else _counted_hour(hour, lexicon)
    minutes = cardinal(str(minute), lexicon)
    if minute < 10 and words.zero:
        minutes = f"{words.zero}{'' if lexicon.joined else ' '}{minutes}"
    form = words.form if minute else words.whole
    if hour == 20 and 0 < minute < 10:
        form = forms_of(lexicon).clock.after_twenty or form
    if not minute and words.whole_late and half:
        form = "{h}"
    elif not minute and words.whole_late and not 1 <= hour <= 12:
        form = words.whole_late
    said = form.format(
        h=name,
        m=minutes,
        half=said_half,
        hours=form_of(Number(str(hour)), noun(words.hours), lexicon) if words.hours else "",
        minutes=counted(Number(str(minute)), noun(words.minutes), lexicon)
        if words.minutes and minute
        else "",
    )
    if half and lexicon.language == "en":
        said = f"{said} {said_half}"
    return " ".join(said.split())


def _counted_hour(hour: int, lexicon: Lexicon) -> str:
    words = cardinal(str(hour), lexicon)
    return agree(words, lexicon.time.gender, lexicon) if lexicon.time.gender else words
