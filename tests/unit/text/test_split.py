"""The clause splitter and the split stage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import UsageError
from voxturn.runtime.messages import ReplyToken, Sentence
from voxturn.runtime.text.filter import Filtered, PassAll
from voxturn.runtime.text.split import ClauseSplitter
from voxturn.runtime.turn.split import Split

texts = st.text(st.sampled_from("abcIV Dr1. .,!?;:—…\"')(\n\t。！，、」؟،؛étü\u00a0"), max_size=120)
languages = st.sampled_from(["", "de", "cs", "tr"])
pieces_of = st.lists(st.integers(1, 9), min_size=1, max_size=40)


def clauses(pieces: Sequence[str], language: str = "", **limits: int) -> list[str]:
    splitter = ClauseSplitter(language=language, **limits)
    return [clause for piece in pieces for clause in splitter.push(piece)] + splitter.flush()


def test_a_pause_ends_a_clause_until_the_voice_has_something_in_hand() -> None:
    text = "That is a good question. Let me think of it for a moment, and tell you then. If you like, I go on, too, of course."
    assert clauses([text]) == [
        "That is a good question.",
        "Let me think of it for a moment,",
        "and tell you then.",
        "If you like, I go on, too, of course.",
    ]
    assert clauses([text], soon_chars=1)[1] == "Let me think of it for a moment, and tell you then."


def cut(text: str, sizes: Sequence[int]) -> list[str]:
    pieces, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


def letters(text: str) -> str:
    return "".join(char for char in text if not char.isspace())


@pytest.mark.slow
@given(
    text=texts,
    sizes=pieces_of,
    longest=st.integers(1, 60),
    first=st.integers(0, 20),
    least=st.integers(0, 4),
    language=languages,
)
@example(text="Hi. " + " " * 9 + "abcdefgh", sizes=[4], longest=10, first=16, least=2, language="")
@example(text="你好。」再见。", sizes=[1], longest=20, first=16, least=2, language="")
@example(text="am 30. Mai war es", sizes=[2], longest=9, first=16, least=2, language="de")
@settings(max_examples=500)
def test_nothing_is_lost_none_is_too_long_and_the_pieces_do_not_matter(
    text: str, sizes: list[int], longest: int, first: int, least: int, language: str
) -> None:
    limits = {"first_chars": first, "min_chars": least, "max_chars": longest}
    whole = clauses([text], language, **limits)
    assert letters("".join(whole)) == letters(text)
    assert all(0 < len(clause) <= longest and clause == clause.strip() for clause in whole)
    assert clauses(cut(text, sizes), language, **limits) == whole
    assert clauses(list(text), language, **limits) == whole


@given(text=texts, more=texts, longest=st.integers(1, 60), language=languages)
def test_a_clause_once_given_is_certain_whatever_follows(
    text: str, more: str, longest: int, language: str
) -> None:
    given_so_far = ClauseSplitter(max_chars=longest, language=language).push(text)
    assert clauses([text + more], language, max_chars=longest)[: len(given_so_far)] == given_so_far


@given(st.text(max_size=300))
def test_any_text_passes_whole(text: str) -> None:
    whole = clauses([text], max_chars=40)
    assert letters("".join(whole)) == letters(text)
    assert clauses(list(text), max_chars=40) == whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("Ask Dr. Smith or Mrs. Jones. They know.", ["Ask Dr. Smith or Mrs. Jones.", "They know."]),
        ("Fruit, e.g. apples. Good, i.e. tasty.", ["Fruit, e.g. apples.", "Good, i.e. tasty."]),
        ("It is 3.14 or so. At 10:30 we go.", ["It is 3.14 or so.", "At 10:30 we go."]),
        ("Meet at 5 p.m. sharp. Bye now.", ["Meet at 5 p.m. sharp.", "Bye now."]),
        ("By J. K. Rowling. A book.", ["By J. K. Rowling.", "A book."]),
        ("So am I. Then go.", ["So am I.", "Then go."]),
        ("Well... maybe not. Hmm… sure.", ["Well...", "maybe not.", "Hmm…", "sure."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        ("(Really?) Yes, really!", ["(Really?)", "Yes, really!"]),
        ("What?! No way!!! Yes.", ["What?!", "No way!!!", "Yes."]),
        ("See www.example.com for more. Bye.", ["See www.example.com for more.", "Bye."]),
        ("one\ntwo\n\nthree", ["one", "two", "three"]),
        ("كيف حالك؟ أنا بخير۔ شكرا", ["كيف حالك؟", "أنا بخير۔", "شكرا"]),
        ("你好。你是谁？我很好！再见", ["你好。", "你是谁？", "我很好！", "再见"]),
        ("他说「你好。」然后走了。", ["他说「你好。」", "然后走了。"]),
        ("नमस्ते। कैसे हो?", ["नमस्ते।", "कैसे हो?"]),
        ("", []),
        (" \n ", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert clauses([text]) == expected
    assert clauses(list(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "The weather is fine today, so we walk, and then rest. Well, that is all, bye.",
            ["The weather is fine today,", "so we walk, and then rest.", "Well, that is all, bye."],
        ),
        ("Yes, the weather is very fine: go on.", ["Yes, the weather is very fine:", "go on."]),
        (
            "The price is about 1,000,000 dollars, no less.",
            ["The price is about 1,000,000 dollars,", "no less."],
        ),
        (
            "الطقس جميل جدا اليوم، لذلك نمشي، ثم نعود.",
            ["الطقس جميل جدا اليوم،", "لذلك نمشي، ثم نعود."],
        ),
        ("الطقس جميل جدا اليوم؛ لذلك نمشي.", ["الطقس جميل جدا اليوم؛", "لذلك نمشي."]),
        (
            "今天天气非常好我们一起去公园散步吧，好吗，走。",
            ["今天天气非常好我们一起去公园散步吧，", "好吗，走。"],
        ),
    ],
)
def test_only_the_first_clause_may_end_at_a_pause(text: str, expected: list[str]) -> None:
    assert clauses([text]) == expected
    assert clauses(list(text)) == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Wir sehen uns am 21. Juni. Bis dann.", ["Wir sehen uns am 21. Juni.", "Bis dann."]),
        ("de", "Montag, 13. Mai oder später. Gut.", ["Montag, 13. Mai oder später.", "Gut."]),
        ("de", "Es war im 19. Jahrhundert. Ja.", ["Es war im 19. Jahrhundert.", "Ja."]),
        ("de-AT", "Am 24. 12. 2026 ist es so. Ja.", ["Am 24. 12. 2026 ist es so.", "Ja."]),
        (
            "de",
            "Ich bin 30. Und du? Seit 2024. Dann",
            ["Ich bin 30.", "Und du?", "Seit 2024.", "Dann"],
        ),
        (
            "de",
            "Ludwig XIV. war im II. Weltkrieg tot. Ja.",
            ["Ludwig XIV. war im II. Weltkrieg tot.", "Ja."],
        ),
        ("cs", "Sejdeme se 21. června. Ahoj.", ["Sejdeme se 21. června.", "Ahoj."]),
        ("hu", "A 2026. év 12. napja. Igen.", ["A 2026. év 12. napja.", "Igen."]),
        ("tr", "Bu 21. Yüzyıl Okulu. Evet.", ["Bu 21. Yüzyıl Okulu.", "Evet."]),
        ("tr", "Yıl 2026. Evet.", ["Yıl 2026.", "Evet."]),
        ("en", "He is 30. She is 28. 5 came.", ["He is 30.", "She is 28.", "5 came."]),
        ("", "Den er 21. juni. Ja.", ["Den er 21. juni.", "Ja."]),
        ("", "It is 30.\nand so on", ["It is 30.", "and so on"]),
    ],
)
def test_the_full_stop_of_an_ordinal_ends_nothing(
    language: str, text: str, expected: list[str]
) -> None:
    assert clauses([text], language) == expected
    assert clauses(list(text), language) == expected


def test_the_full_stop_of_a_number_waits_for_one_character_or_where_months_have_capitals_for_a_word() -> (
    None
):
    english, german = ClauseSplitter(language="en"), ClauseSplitter(language="de")
    assert english.push("I am 30. ") == []
    assert english.push("Y") == ["I am 30."]
    assert english.push("ou are 28.\n") == ["You are 28."]
    assert german.push("Ich bin 30. U") == []
    assert german.push("nd ") == ["Ich bin 30."]


def test_a_clause_comes_as_soon_as_what_follows_its_end_is_known() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("It is 3.") == []
    assert splitter.push("5 now.") == []
    assert splitter.push('"') == []
    assert splitter.push(" ") == []
    assert splitter.push("N") == ['It is 3.5 now."']
    assert splitter.push("ext\n") == ["Next"]
    assert splitter.push("你好。") == []
    assert splitter.push("再") == ["你好。"]
    assert splitter.flush() == ["再"]
    assert splitter.flush() == []


def test_what_cannot_be_spoken_waits_for_what_can() -> None:
    assert clauses(["... ! Go on."]) == ["... ! Go on."]


def test_text_without_punctuation_is_cut_at_spaces() -> None:
    words = " ".join(f"word{i}" for i in range(200))
    parts = clauses([words], max_chars=50)
    assert " ".join(parts) == words
    assert all(40 < len(part) <= 50 for part in parts[:-1])


def test_text_without_spaces_is_cut_anywhere() -> None:
    assert clauses(["x" * 25], max_chars=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_long_sentence_is_cut_at_its_last_pause() -> None:
    text = "aaaa bbbb cccc. Dddd eeee ffff, gggg hhhh, iiii jjjj kkkk"
    assert clauses([text], first_chars=99, max_chars=30) == [
        "aaaa bbbb cccc.",
        "Dddd eeee ffff, gggg hhhh,",
        "iiii jjjj kkkk",
    ]


@pytest.mark.parametrize("number", ["3.14159", "10:30:15", "1,000,000"])
def test_a_long_sentence_is_not_cut_inside_a_number(number: str) -> None:
    parts = clauses([f"this goes on and on until {number} comes up again"], max_chars=30)
    assert any(number in part for part in parts)
    assert len(parts) > 1


def test_a_length_that_holds_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="max_chars") as caught:
        ClauseSplitter(max_chars=0)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


class Tokens:
    """Reply tokens that know whether they were closed."""

    def __init__(self, *pieces: str) -> None:
        self.pieces, self.closed = pieces, False

    async def stream(self) -> AsyncGenerator[ReplyToken, None]:
        try:
            for piece in self.pieces:
                yield ReplyToken(piece)
        finally:
            self.closed = True


class NoApples:
    """Takes "apple" out."""

    name = "no apples"

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        clean = text.replace("apple", "…")
        return Filtered(clean, (f"{direction}: removed",) if clean != text else ())


async def sentences(
    *pieces: str,
    content_filter: PassAll | NoApples | None = None,
    max_chars: int = 220,
    language: str = "",
) -> list[Sentence]:
    stage = Split(content_filter or PassAll(), max_chars, language)
    return [sentence async for sentence in stage(Tokens(*pieces).stream())]


async def test_the_stage_numbers_its_sentences() -> None:
    assert await sentences("Hello ", "there. How", " are you?") == [
        Sentence("Hello there.", 0),
        Sentence("How are you?", 1),
    ]


async def test_markup_is_not_spoken_and_what_has_no_sound_is_dropped() -> None:
    got = await sentences(
        "# **Title**\n", "***\n", "- `code` here\n", "🎉\n", "!!!\n", "End ``", "`py\nx = 1"
    )
    assert got == [Sentence("Title.", 0), Sentence("code here.", 1), Sentence("!!!\nEnd", 2)]


async def test_thoughts_are_not_spoken() -> None:
    got = await sentences(
        "<", "think", ">", "\nHm. Let me", " see.\n", "</", "think", ">", "\n\n", "Yes", "."
    )
    assert got == [Sentence("Yes.", 0)]


async def test_the_stage_knows_the_ordinals_of_its_language() -> None:
    pieces = ("Am ", "21", ".", " Juni", ".", " Ja", ".")
    assert [s.text for s in await sentences(*pieces, language="de")] == ["Am 21. Juni.", "Ja."]
    assert [s.text for s in await sentences(*pieces)] == ["Am 21.", "Juni.", "Ja."]


async def test_every_clause_passes_the_filter_and_its_actions_are_kept() -> None:
    got = await sentences("An apple fell. It hurt. An apple!", content_filter=NoApples())
    assert got == [
        Sentence("An … fell.", 0, ("out: removed",)),
        Sentence("It hurt.", 1),
        Sentence("An …!", 2, ("out: removed",)),
    ]


async def test_a_word_that_tokens_split_is_seen_whole_by_the_filter() -> None:
    got = await sentences("An ap", "ple", " fell.", content_filter=NoApples())
    assert got == [Sentence("An … fell.", 0, ("out: removed",))]


async def test_the_voice_s_limit_is_kept() -> None:
    got = await sentences("word " * 50, max_chars=30)
    assert max(len(s.text) for s in got) <= 30
    assert " ".join(s.text for s in got) == ("word " * 50).strip()
    assert [s.index for s in got] == list(range(len(got)))


async def test_closing_the_stage_closes_the_tokens() -> None:
    tokens = Tokens("One. ", "Two. ", "Three. ")
    stream = Split(PassAll(), 220)(tokens.stream())
    assert (await anext(stream)).text == "One."
    assert not tokens.closed
    await stream.aclose()
    assert tokens.closed


async def test_an_error_of_the_tokens_passes_after_what_was_certain() -> None:
    async def broken() -> AsyncGenerator[ReplyToken, None]:
        yield ReplyToken("One. Two")
        raise RuntimeError("the model died")

    stream = Split(PassAll(), 220)(broken())
    assert (await anext(stream)).text == "One."
    with pytest.raises(RuntimeError, match="the model died"):
        await anext(stream)
