"""Text in words for voices that read their language's own letters."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.text.abbreviations import abbreviations
from voxturn.runtime.text.normalize import LANGUAGES, in_words, normalize, numbers
from voxturn.runtime.text.normalize.characters import compatible
from voxturn.runtime.text.normalize.forms import forms
from voxturn.runtime.text.normalize.lexicon import lexicon

from tests.scaling import in_proportion

SENTENCES = [
    ("en", "It costs $3.50 at 8:30, Dr. Smith said.",
     "It costs three dollars, fifty cents at eight thirty, doctor Smith said."),
    ("en-us", "NASA paid €1,250 on 3 March 2021.",
     "NASA paid one thousand, two hundred and fifty euro on the third of march twenty twenty-one."),
    ("en", "World War II", "World War two"),
    ("en", "“Really” — so… 50%! (+5) A&B, \"-5\"", "“Really” — so… fifty percent! (plus five) A and B, \"minus five\""),
    ("EN_GB", "Call No. 5: 5–10 km, x², USA-5\n\n The 21st, ’60s ", "Call number five: five to ten kilometers, x two, USA-five\n\n The twenty-first, sixties "),
    ("ar", "دفع 250 دولار، قالت NASA في ٣ مارس ٢٠٢١.",
     "دفع مئتان و خمسون دولار، قالت NASA في ثلاثة مارس ألفان و واحد و عشرون."),
    ("de", "Am 3. März zahlte Frau Müller 3,50 € an Dr. Weiß (NASA).",
     "Am dritten märz zahlte Frau Müller drei Euro und fünfzig Cent an doktor Weiß (NASA)."),
    ("fr", "À 14h30, Zoé paie 3,50 € à l’ONU — « oui » !",
     "À quatorze heures trente, Zoé paie trois euros et cinquante centimes à l’ONU — « oui » !"),
    ("ru", "США купили 21 км за 5%.", "США купили двадцать один километр за пять процентов."),
    ("hi", "डॉ. शर्मा ने ₹250 दिए।", "डॉक्टर शर्मा ने दो सौ पचास रुपये दिए।"),
    ("zh", "他在2021年3月4日付了$3.50（约50%），NASA说。", "他在二零二一年三月四日付了三点五零美元（约百分之五十），NASA说。"),
    ("cmn", "我有3个。", "我有三个。"),
    ("ja", "2021年3月4日に500円、50%です。NASA", "二千二十一年三月四日に五百円、五十パーセントです。NASA"),
    ("ko", "3시 30분에 500원, NASA에서 50% 할인.", "세 시 삼십분에 오백원, NASA에서 오십 퍼센트 할인."),
    ("tr", "IŞIK İstanbul'da 5 KM.", "IŞIK İstanbul'da beş kilometre."),
    ("pt-br", "O Sr. João pagou R$ 3,50.", "O senhor João pagou três reais e cinquenta centavos."),
    ("en", "The price of 1\u00a0250 ﬁles; the cafe\u0301 has 2.", "The price of one thousand, two hundred and fifty files; the café has two."),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "expected"), SENTENCES)
def test_a_sentence_is_in_words_and_keeps_its_case_marks_spaces_and_letters(
    language: str, text: str, expected: str
) -> None:
    assert in_words(text, language) == expected
    assert in_words(expected, language) == expected


@pytest.mark.parametrize("language", ["fi", "sw", "en1", "", "-", "x-pig-latin"])
def test_a_language_without_rules_leaves_the_text_alone(language: str) -> None:
    assert in_words("Dr. Smith paid $3.50.", language) == "Dr. Smith paid $3.50."


def test_a_missing_library_is_an_error_only_where_a_number_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers._words.cache_clear()
    monkeypatch.setitem(sys.modules, "num2words", None)
    assert in_words("Dr. Smith", "en") == "doctor Smith"
    with pytest.raises(ExecutorUnavailable, match=r"voxturn\[xtts\]"):
        in_words("Dr. Smith has 3.", "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_library_of_romanisation_is_needed(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("pypinyin", "cutlet", "ko_speech_tools"):
        monkeypatch.setitem(sys.modules, library, None)
    in_words("5 词 ことば 단어 word.", language)


SIGNS = {sign for language in LANGUAGES for sign in lexicon(language).symbols} | set("№+=×℃℉﷼")
KEYS = {key.lower() for language in LANGUAGES for key in abbreviations(language).table}
UNDOTTED = {word for language in LANGUAGES for word in abbreviations(language).undotted}
MONTHS = {
    name for language in LANGUAGES for names in forms(language).months for name in names.split("|")
}
LETTERS_AND_MARKS = st.text(
    st.one_of(
        st.characters(categories=("L", "M", "P"), exclude_characters="".join(SIGNS)),
        st.sampled_from(" \n\u00a0.,!?“”’—…"),
    ),
    max_size=60,
).map(lambda text: "".join(map(compatible, text)))
WORDS = st.text("abcDEFxyzßéÉÄИя", min_size=3, max_size=8).filter(
    lambda word: not word.isupper() and word.lower() not in MONTHS and word not in UNDOTTED
)
VALUES = st.sampled_from(
    ["12", "1,250", "3.5", "14:30", "2026-11-24", "24/11/2026", "$5", "7 €", "50%", "½", "٣", "５", "№ 3", "5–10", "&", "3rd"]
)  # fmt: skip
PIECES = st.sampled_from(
    ["12", "1,250", "3.5", "14:30", "2026-11-24", "24/11/2026", "$", "€ ", "km", "°C", "%", "-", "–", "1st", "3.", "№", ", ",
     ". ", "Word ", "Слово ", "كلمة ", "词", "ことば", "단어 ", "शब्द ", "٣", "½", "👍", "\u200d", "\n", "E.g. ", "İ", "z. b", "Dr.",
     "Mr", "&", "+", "＋", "(", ")", "\"", "\u0301"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=40).map("".join)
EXAMPLES = settings(max_examples=200)


def _abbreviated(text: str) -> bool:
    lower = "".join(text.lower().split())
    dotted = any(f"{key}." in lower or ("." in key and key in lower) for key in KEYS)
    return dotted or any(word in text for word in UNDOTTED)


def _shouted(text: str) -> bool:
    """Two words in capitals, which are written as a sentence."""
    return sum(word.isupper() for word in text.split()) > 1


@EXAMPLES
@given(text=LETTERS_AND_MARKS.filter(lambda text: not _abbreviated(text) and not _shouted(text)))
def test_letters_and_marks_come_back_as_they_were_in_every_language(text: str) -> None:
    for language in LANGUAGES:
        assert in_words(text, language) == text


@EXAMPLES
@given(text=TEXTS, language=st.sampled_from(LANGUAGES))
def test_words_are_final_and_no_digit_is_left(text: str, language: str) -> None:
    words = in_words(text, language)
    assert in_words(words, language) == words
    assert not any(char.isdecimal() or unicodedata.category(char) == "Nd" for char in words)


@EXAMPLES
@given(
    items=st.lists(st.one_of(WORDS, VALUES), max_size=20),
    language=st.sampled_from([name for name in LANGUAGES if not lexicon(name).joined]),
)
def test_words_beside_numbers_keep_their_case_and_order(items: list[str], language: str) -> None:
    untouched = [item for item in items if item.isalpha()]
    rest = iter(in_words(" ".join(items), language).split())
    assert all(word in rest for word in untouched)


@pytest.mark.slow
def test_a_long_text_takes_time_in_proportion_to_its_length() -> None:
    sentence = "It costs $3.50 at 8:30 on 2021-03-04 or 2021.03.04, Dr. Smith said: NASA & 50%. "
    assert in_proportion(lambda copies: in_words(sentence * copies, "en"), 200)


def test_the_text_of_the_vocabulary_keeps_what_its_capitals_say() -> None:
    assert normalize("5G is new, 350 W 42nd St", "en").startswith("five g is new, three hundred")
    assert "seconds" not in normalize("120 S Main St.", "en")
