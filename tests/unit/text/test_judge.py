"""Which language a clause is in, and where one text goes over into another."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from voxturn.runtime.text import detect
from voxturn.runtime.text.clauses import SpokenClauses
from voxturn.runtime.text.detect import Detector, detector_of
from voxturn.runtime.text.judge import LanguageJudge, judge_of
from voxturn.runtime.text.language import Languages
from voxturn.runtime.text.mixed import words_of
from voxturn.runtime.text.split import ClauseSplitter

ARABIC_ENGLISH = LanguageJudge(["ar", "en"])


def cut(text: str, judge: LanguageJudge, before: str = "") -> list[tuple[str, str]]:
    clauses = SpokenClauses(language=before, judge=judge)
    return [(str(each), each.language) for each in (*clauses.push(text), *clauses.flush())]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Hello! مرحبا بك في خدمتنا. How are you?",
         [("Hello!", "en"), ("مرحبا بك في خدمتنا.", "ar"), ("How are you?", "en")]),
        ("In Arabic you say: السلام عليكم ورحمة الله.",
         [("In Arabic you say:", "en"), ("السلام عليكم ورحمة الله.", "ar")]),
        ('You say "السلام عليكم" to greet people.',
         [("You say", "en"), ('"السلام عليكم"', "ar"), ("to greet people.", "en")]),
        ("Welcome to our new service مرحبا بكم في خدمتنا",
         [("Welcome to our new service", "en"), ("مرحبا بكم في خدمتنا", "ar")]),
        ("Hello.مرحبا بك", [("Hello.", "en"), ("مرحبا بك", "ar")]),
        ("Paris هي عاصمة فرنسا.", [("Paris هي عاصمة فرنسا.", "ar")]),
        ("استخدم Visual Studio Code لكتابة البرامج.",
         [("استخدم Visual Studio Code لكتابة البرامج.", "ar")]),
        ("Visual Studio Code هو محرر نصوص جيد.", [("Visual Studio Code هو محرر نصوص جيد.", "ar")]),
        ("The word سلام means peace.", [("The word سلام means peace.", "en")]),
        ("Dr. Smith تكلم مع د. أحمد عن الموضوع.", [("Dr. Smith تكلم مع د. أحمد عن الموضوع.", "ar")]),
        ("حسنا. 12.5 Yes, of course.", [("حسنا.", "ar"), ("12.5 Yes, of course.", "en")]),
    ],
)  # fmt: skip
def test_a_clause_ends_where_the_language_does_but_not_at_a_name(
    text: str, clauses: list[tuple[str, str]]
) -> None:
    assert cut(text, ARABIC_ENGLISH) == clauses


@pytest.mark.parametrize("before", ["ar", "en"])
def test_what_has_no_letters_is_in_the_language_before(before: str) -> None:
    assert ARABIC_ENGLISH.language_of("12.5", before) == before
    assert ARABIC_ENGLISH.language_of("Привет.", before) == before
    assert ARABIC_ENGLISH.language_of("12.5", "sv") == "ar"  # the first, where it is none of them


@pytest.mark.parametrize(
    ("text", "before", "language"),
    [
        ("こんにちは。", "zh", "ja"),
        ("これは本です。", "zh", "ja"),
        ("你好。", "zh", "zh"),
        ("안녕하세요.", "zh", "ko"),
        ("我喜欢Python编程。", "en", "zh"),
        ("Say hello.", "ja", "en"),
    ],
)
def test_scripts_that_languages_share_are_told_by_the_others(
    text: str, before: str, language: str
) -> None:
    judge = LanguageJudge(["zh", "ja", "ko", "en"], lambda tags: None)
    assert judge.language_of(text, before) == language


def test_a_model_s_code_and_a_region_are_the_tag_of_the_set() -> None:
    judge = LanguageJudge(["pt-BR", "zh-cn"])
    assert judge.language_of("12", "pt") == "pt-BR"
    assert judge.language_of("12", "zh") == "zh-cn"
    assert judge.language_of("你好", "pt") == "zh-cn"


def test_of_one_language_there_is_nothing_to_judge() -> None:
    assert judge_of(Languages.of("en"), ["en", "ar"]) is None
    assert judge_of(Languages.of("auto"), ["en"]) is None
    auto, several = (
        judge_of(Languages.of("auto"), ["en", "ar"]),
        judge_of(Languages.of("ar,en"), ()),
    )
    assert auto is not None
    assert several is not None
    assert auto.languages.tags == ("en", "ar")
    assert several.languages.tags == ("ar", "en")


class Frequencies:
    """A detector that is sure of words it knows, and notes for which languages it was made."""

    def __init__(self) -> None:
        self.made: list[Sequence[str]] = []

    def __call__(self, tags: Sequence[str]) -> Detector:
        self.made.append(tuple(tags))
        return self.chances

    def chances(self, text: str) -> Mapping[str, float]:
        if "nicht" in text:
            return {"de": 0.9, "en": 0.1}
        return {"de": 0.6, "en": 0.4}


def test_a_detector_tells_languages_of_one_script_and_a_change_needs_evidence() -> None:
    detector = Frequencies()
    judge = LanguageJudge(["ar", "en", "de"], detector)
    assert detector.made == [("de", "en")]
    assert judge.language_of("Das ist nicht gut.", "en") == "de"
    assert judge.language_of("Paris.", "en") == "en"
    assert judge.language_of("Paris.", "ar") == "de"
    assert judge.language_of("مرحبا nicht يا صديقي", "en") == "ar"


SHORT = [
    ("en", "I don't know."), ("en", "See you tomorrow."), ("en", "The train leaves from platform four."),
    ("de", "Das weiß ich nicht."), ("de", "Um neun Uhr."), ("de", "Der Zug fährt von Gleis vier."),
    ("fr", "Je ne sais pas."), ("fr", "À demain !"), ("fr", "Il ouvre à neuf heures."),
    ("es", "No lo sé."), ("es", "Buenos días."), ("es", "Cuesta doce euros."),
]  # fmt: skip


def test_short_clauses_of_four_languages_are_told_apart() -> None:
    judge = LanguageJudge(["en", "de", "fr", "es"])
    assert [judge.language_of(text, language) for language, text in SHORT] == [
        language for language, _ in SHORT
    ]
    changed = [
        judge.language_of(text, "en" if language != "en" else "de") for language, text in SHORT
    ]
    assert sum(a == b for a, (b, _) in zip(changed, SHORT, strict=True)) >= 11


def test_without_the_library_the_language_before_decides_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    detect._model.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    try:
        judge = LanguageJudge(["ar", "en", "de"])
        assert judge.language_of("Das ist nicht gut.", "en") == "en"
        assert judge.language_of("That is good.", "ar") == "en"
        assert "voxturn[languages]" in caplog.text
        assert "de, en" in caplog.text
    finally:
        detect._model.cache_clear()


def test_languages_that_the_library_does_not_know_are_not_told_apart() -> None:
    assert detector_of(["gn", "yo"]) is None


MIXED = st.lists(
    st.sampled_from(
        ["Hello my dear friend ", "Hello ", "my ", "Paris ", "أهلا وسهلا بكم معنا ", "你好世界很高兴", "say: ", "Dr. ", "friend. ", "مرحبا ", "بك ", "في ", "د. ", "خدمتنا. ", "؟ ", "، ", ", ", "\n", '"', "3.5 ", "你好", "。", "世界 ", "3. ", "Mai ", "iPhone", "! ", ": ", "(", ")", "и "]
    ),
    max_size=20,
).map("".join)  # fmt: skip
JUDGES = [
    ARABIC_ENGLISH,
    LanguageJudge(["en", "de", "ar", "zh"]),
    LanguageJudge(["ku", "ar", "en"]),
]


def letters(text: str) -> str:
    return "".join(char for char in text if not char.isspace())


@given(
    text=MIXED,
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    longest=st.integers(8, 70),
    judge=st.sampled_from(JUDGES),
    before=st.sampled_from(["", "ar", "en"]),
)
@example("Hello my dear friend أهلا وسهلا بكم معنا. Hello. ", [1], 60, JUDGES[0], "")
@example("Hello my dear friend أهلا وسهلا بكم معنا. Hello. ", [1], 22, JUDGES[0], "")
@settings(max_examples=60)
def test_no_letter_is_lost_and_the_pieces_do_not_matter(
    text: str, sizes: list[int], longest: int, judge: LanguageJudge, before: str
) -> None:
    def clauses(pieces: Sequence[str]) -> list[tuple[str, str]]:
        splitter = ClauseSplitter(max_chars=longest, language=before, judge=judge)
        given = [each for piece in pieces for each in splitter.push(piece)]
        return [(str(each), each.language) for each in (*given, *splitter.flush())]

    pieces, at = [], 0
    while at < len(text):
        pieces.append(text[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    whole = clauses([text])
    assert letters("".join(clause for clause, _ in whole)) == letters(text)
    assert all(0 < len(clause) <= longest for clause, _ in whole)
    assert all(language in judge.languages.tags for _, language in whole)
    assert clauses(pieces) == whole
    assert clauses(list(text)) == whole


@given(text=MIXED)
def test_words_lie_in_the_text_in_order(text: str) -> None:
    end = 0
    for word in words_of(text):
        assert end <= word.begin < word.end <= len(text)
        assert any(char.isalpha() for char in text[word.begin : word.end])
        end = word.end
