"""What looks like a numeral, a telephone, a unit or an address and is none."""

from __future__ import annotations

import pytest
from voxturn.runtime.text.normalize import in_words

from tests.number_words import read

UNCHANGED = [
    ("en", "I have a MIX of CD and DC."),
    ("en", "The chapter I read was long. Charles, I think, and Henry I know."),
    ("en", "An XL shirt, a CV, an MD, vitamin C and plan B."),
    ("en", "NASA, ESA and the EU met the USA."),
    ("en", "It was the end.It was late, i.a. and e.t."),
    ("nl", "De heer ging naar De Bilt."),
    ("fr", "Le chat de Me voici."),
    ("it", "I ragazzi e i gatti."),
    ("pl", "I wtedy poszedł."),
    ("es", "Y CD y DC."),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text"), UNCHANGED)
def test_words_stay_words(language: str, text: str) -> None:
    assert in_words(text, language) == text


AMOUNTS = [
    ("es", "612 345 678 habitantes", [612_345_678]),
    ("pl", "123 456 789 osób", [123_456_789]),
    ("fr", "1 234 567 habitants", [1_234_567]),
    ("de", "1.234.567 Einwohner", [1_234_567]),
    ("en", "1,234,567 people", [1_234_567]),
    ("en", "call 200 people", [200]),
    ("en", "in 5 of 7 cases", [5, 7]),
    ("it", "12 ha vinto", [12]),
    ("es", "el 5 ha llegado", [5]),
    ("nl", "voor 5 u kunt gaan", [5]),
    ("hu", "5 ha kell", [5]),
    ("zh-cn", "2000人", [2000]),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "numbers"), AMOUNTS)
def test_amounts_are_no_telephones_and_words_no_units(
    language: str, text: str, numbers: list[int]
) -> None:
    said = in_words(text, language)
    assert read(said, language) == numbers
    assert said.split()[-1] == text.split()[-1] or language == "zh-cn"


@pytest.mark.parametrize(
    ("written", "plain"),
    [("ﬁles ﬂow", "files flow"), ("Ａｂ", "Ab"), ("𝐀𝐛", "Ab"), ("ﻣﺮﺣﺒﺎ", "مرحبا"), ("ｱｲｽ ｶﾞ", "アイス ガ"), ("™ª", "™ª")],
)  # fmt: skip
def test_other_forms_of_letters_are_the_plain_ones_where_they_mean_the_same(
    written: str, plain: str
) -> None:
    assert in_words(written, "en") == plain
