"""The value of every number can be read back from what is said, in every language."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.text.normalize import LANGUAGES, in_words

from tests.number_words import read, read_decimal

EXAMPLES = settings(max_examples=120)
LANGUAGE = st.sampled_from(LANGUAGES)
POINT = dict.fromkeys(("en", "zh-cn", "ja", "ko", "ar", "hi"), ".")
"""Elsewhere a comma is before the fraction."""

SAMPLES = [
    *range(131), 200, 300, 999, 1000, 1001, 1100, 2000, 2001, 10_000, 21_000, 100_000, 521_753, 1_000_000, 2_000_000
]  # fmt: skip


PERCENT = re.compile("百分之|por ciento|per cento|pour cent|por cento|percent")
"""Words for percent that have a hundred in them."""


def _digits(text: str, language: str) -> str:
    """What is said digit by digit, or in groups of digits."""
    return "".join(map(str, read(text, language)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_small_and_round_cardinals(language: str) -> None:
    # in Chinese a long number without a noun is a code, and read as one
    samples = [value for value in SAMPLES if language != "zh-cn" or value < 1000]
    assert [read(in_words(str(value), language), language) for value in samples] == [
        [value] for value in samples
    ]


@EXAMPLES
@given(language=LANGUAGE, value=st.integers(0, 99_999_999))
def test_cardinals(language: str, value: int) -> None:
    if language == "zh-cn":
        assert read(in_words(f"{value}人", language), language)[0] == value
    else:
        assert read(in_words(str(value), language), language) == [value]


@EXAMPLES
@given(
    language=LANGUAGE,
    whole=st.integers(0, 999),
    fraction=st.from_regex(r"\A[0-9]{1,2}\Z").filter(lambda text: text.strip("0")),
    sign=st.sampled_from(["", "%"]),
)
def test_decimals_and_percentages(language: str, whole: int, fraction: str, sign: str) -> None:
    said = in_words(f"{whole}{POINT.get(language, ',')}{fraction}{sign}", language)
    said = PERCENT.sub("", said)
    assert Decimal(read_decimal(said, language)) == Decimal(f"{whole}.{fraction}")


@EXAMPLES
@given(language=LANGUAGE, value=st.integers(1, 999))
def test_whole_percentages(language: str, value: int) -> None:
    said = in_words(f"{value}%", language)
    assert read(PERCENT.sub("", said), language) == [value]


@EXAMPLES
@given(
    language=LANGUAGE,
    whole=st.integers(1, 9999),
    cents=st.integers(0, 99),
    sign=st.sampled_from(["$", "€"]),
)
def test_money(language: str, whole: int, cents: int, sign: str) -> None:
    written = f"{whole}{POINT.get(language, ',')}{cents:02d}"
    said = in_words(f"{sign}{written}", language)
    if language == "zh-cn":  # thirty-five point five
        numbers = read_decimal(said, language) if cents else f"{read(said, language)[0]}"
        assert Decimal(numbers.rstrip(".")) == Decimal(f"{whole}.{cents:02d}")
    elif language == "ar" and (whole < 3 or cents in (1, 2)):
        assert not re.search(r"\d", said)  # one and two are in the noun itself
    else:
        coins = re.sub(r" cents?$", "", said)  # which is a hundred in French
        assert read(coins, language) == ([whole, cents] if cents else [whole])


@EXAMPLES
@given(language=LANGUAGE, whole=st.integers(1000, 999_999))
def test_thousands_of_dollars_in_either_notation(language: str, whole: int) -> None:
    assert read(in_words(f"${whole:,}", language), language) == [whole]


@EXAMPLES
@given(language=LANGUAGE, year=st.integers(1100, 2099))
def test_years(language: str, year: int) -> None:
    before = {"en": "in ", "de": "im Jahr ", "nl": "sinds "}.get(language, "")
    after = "年" if language == "zh-cn" else ""
    said = in_words(f"{before}{year}{after}", language)
    numbers = read(said, language)
    assert numbers == [year] or "".join(map(str, numbers)) == str(year), said


HOURS_IN_WORDS = frozenset({"pl", "ko", "ar"})
"""Hours are ordinals in Polish and Arabic, and native numbers in Korean."""


@EXAMPLES
@given(
    language=LANGUAGE.filter(lambda name: name not in HOURS_IN_WORDS),
    hour=st.integers(1, 23),
    minute=st.integers(1, 59),
)
def test_times(language: str, hour: int, minute: int) -> None:
    said = in_words(f"{hour}:{minute:02d}", language)
    if language in ("es", "it", "pt"):  # y and e are between hour and minute, too
        before = 2 if language == "pt" and hour > 20 else 1  # vinte e uma e trinta
        parts = re.split(" [ye] ", said)
        conjunction = " y " if language == "es" else " e "
        said = f"{conjunction.join(parts[:before])}, {conjunction.join(parts[before:])}"
    numbers = read(said, language)
    assert [number for number in numbers if number] == [hour, minute]


@EXAMPLES
@given(
    language=st.sampled_from(sorted(HOURS_IN_WORDS)),
    hours=st.lists(st.integers(1, 12), min_size=2, max_size=2, unique=True),
    minute=st.integers(11, 59),
)
def test_minutes_and_different_hours(language: str, hours: list[int], minute: int) -> None:
    first, second = (in_words(f"{hour}:{minute}", language) for hour in hours)
    assert first != second
    assert read(first, language)[-1] == minute


GROUPS = st.lists(st.from_regex(r"\A[0-9]{3,4}\Z"), min_size=2, max_size=3)


@EXAMPLES
@given(
    language=LANGUAGE,
    groups=GROUPS,
    mark=st.sampled_from([" ", "-"]),
    start=st.sampled_from(["+4", "06", "030"]),
)
def test_telephone_numbers(language: str, groups: list[str], mark: str, start: str) -> None:
    number = mark.join([start, *groups])
    assert _digits(in_words(number, language), language) == re.sub(r"\D", "", number)


WRITTEN = {
    "en": "1-800-555-0199", "ru": "8 (495) 123-45-67", "es": "+34 912 345 678", "nl": "06 12345678", "de": "0171 1234567", "zh-cn": "010-12345678",
    "fr": "06 12 34 56 78", "it": "347 123 4567", "pt": "(11) 91234-5678", "pl": "+48 123 456 789", "cs": "601 234 567", "tr": "0532 123 45 67",
    "hu": "06 30 123 4567", "ar": "0501234567", "hi": "98765 43210", "ja": "090-1234-5678", "ko": "010-1234-5678",
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_telephone_numbers_as_they_are_written_there(language: str) -> None:
    number = WRITTEN[language]
    assert _digits(in_words(number, language), language) == re.sub(r"\D", "", number)


DENOMINATORS = {
    "en": "half third quarter fifth sixth seventh eighth ninth tenth",
    "de": "halb drittel viertel fünftel sechstel siebtel achtel neuntel zehntel",
    "fr": "demi tiers quart cinquième sixième septième huitième neuvième dixième",
    "es": "medi terci cuart quint sext séptim octav noven décim",
    "it": "mezz terz quart quint sest settim ottav non decim",
    "pt": "mei terç quart quint sext sétim oitav non décim",
    "pl": "drug trzeci czwart piąt szóst siódm ósm dziewiąt dziesiąt",
    "ru": "втор трет четвёрт пят шест седьм восьм девят десят",
    "nl": "half derde vierde|kwart vijfde zesde zevende achtste negende tiende",
    "cs": "polovin třetin čtvrtin pětin šestin sedmin osmin devítin desetin",
    "hu": "fél harmad negyed ötöd hatod heted nyolcad kilenced tized",
    "ar": "نصف|أنصاف ثلث|أثلاث ربع|أرباع خمس|أخماس سدس|أسداس سبع|أسباع ثمن|أثمان تسع|أتساع عشر|أعشار",
}  # fmt: skip
"""Beginnings of the words for halves to tenths; the other languages say two cardinals."""

ORDER = dict.fromkeys(("zh-cn", "ja", "ko"), -1)


@pytest.mark.parametrize("language", DENOMINATORS)
def test_fractions_with_a_noun(language: str) -> None:
    for of, stems in enumerate(DENOMINATORS[language].split(), start=2):
        for part in range(1, of):
            said = in_words(f"{part}/{of}", language)
            *before, name = said.split()
            assert re.match(stems, name), said
            numbers = read(" ".join(before), language)
            dual = language == "ar" and part < 3
            assert numbers == ([] if dual else [part]) or (part == 1 and not numbers), said


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name not in DENOMINATORS])
def test_fractions_of_two_numbers(language: str) -> None:
    named = {"hi": {(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4)}, "tr": {(1, 2), (1, 4), (3, 4)}}
    for of in (2, 3, 4, 5, 7, 10, 16):
        for part in range(1, of):
            if (part, of) not in named.get(language, set()):
                said = in_words(f"{part}/{of}", language)
                assert read(said, language)[:: ORDER.get(language, 1)] == [part, of], said
