"""Tags of styles in written texts: what is one, what it changes, and that none is ever said."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import UsageError
from voxturn.runtime.text import spoken
from voxturn.runtime.text.clauses import SpokenClauses
from voxturn.runtime.text.spoken import Spoken, SpokenText, escaped, spoken_text, styled_parts
from voxturn.runtime.text.styles import style_name

KNOWN = ("happy", "sad")
SENTENCES = ("That is great!", "It is 5 p.m. in Paris.", "Dr. Silva, a friend, said so.", "“No.”")
TAGS = {"[happy] ": "happy", "[Sad] ": "sad", "[excited] ": "excited", "[default]": "", "[happy]": "happy", "[excited][sad] ": "sad"}  # fmt: skip
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=9)


def pieces(text: str, sizes: list[int]) -> list[str]:
    found, at = [], 0
    while at < len(text):
        size = sizes[len(found) % len(sizes)]
        found.append(text[at : at + size])
        at += size
    return found


def clauses(text: list[str], known: tuple[str, ...] = KNOWN) -> list[tuple[str, str]]:
    """Clauses and their styles."""
    splitter = SpokenClauses(styles=known)
    found = [clause for piece in text for clause in splitter.push(piece)] + splitter.flush()
    return [(str(clause), clause.style) for clause in found]


def runs(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is said in each style, one after the other."""
    grouped = groupby(found, key=lambda each: each[1])
    return [(" ".join(text for text, _ in group), style) for style, group in grouped]


@given(
    parts=st.lists(
        st.tuples(st.sampled_from([*TAGS, ""]), st.sampled_from(SENTENCES)), min_size=1, max_size=8
    ),
    sizes=cuts,
    between=st.sampled_from([" ", "\n", "\n\n"]),
)
def test_no_tag_is_said_and_each_sentence_has_the_style_of_the_last_one(
    parts: list[tuple[str, str]], sizes: list[int], between: str
) -> None:
    text = between.join(tag + sentence for tag, sentence in parts)
    expected, style = [], ""
    for tag, sentence in parts:
        style = TAGS.get(tag, style)
        expected.append((sentence, style))
    assert runs(clauses(pieces(text, sizes))) == runs(expected)
    assert clauses(pieces(text, sizes)) == clauses([text])
    if "[Sad]" not in text:  # in capitals: of the voice's alone
        assert runs(clauses([text], ())) == runs(expected)


BRACKETED = (
    "[1]", "[^1]", "[sic]", "[Sic]", "[Note]", "[", "]", "[T]he", "[two words]", "[a b](http://c.d/e)", "[word](u)", "[citation]",
    "(No)", "A", "word", ". ", ", ", " ", "\n", "- ", "[x] ", "**", "`[happy]`", "[THINK]", "[/THINK]", "\\[", "[]", "[ happy ]",
)  # fmt: skip


@given(
    text=st.lists(st.sampled_from(BRACKETED), max_size=20).map(" ".join),
    sizes=cuts,
)
def test_a_text_without_tags_is_said_as_if_there_were_none(text: str, sizes: list[int]) -> None:
    def said(known: tuple[str, ...]) -> str:
        reader = Spoken(styles=known)
        return "".join([*map(reader.push, pieces(text, sizes)), reader.flush()])

    constructs = spoken._CONSTRUCTS["["]
    with pytest.MonkeyPatch.context() as patch:
        without = tuple(each for each in constructs if each.fits is None)
        assert len(without) == len(constructs) - 1
        patch.setitem(spoken._CONSTRUCTS, "[", without)
        expected = said(())
    assert said(KNOWN) == said(()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, [happy] hello there.", [("Well,", ""), ("hello there.", "happy")]),
        ("Well, [excited] hello there.", [("Well, [excited] hello there.", "")]),
        ("Great.[sad]Oh no", [("Great.", ""), ("Oh no", "sad")]),
        ("[happy] One. [happy] Two. Three.", [("One.", "happy"), ("Two.", "happy"), ("Three.", "happy")]),
        ("One [happy] two [HAPPY] three.", [("One", ""), ("two three.", "happy")]),
        ("- [happy] one\n- [excited] two", [("one.", "happy"), ("two.", "excited")]),
        ("**[happy]** One *[sad] two*", [("One", "happy"), ("two", "sad")]),
        ("[happy](u) and [happy][1]", [("happy and", ""), ("[1]", "happy")]),
        ("<think>[happy] Hm.</think>One.", [("One.", "")]),
        ("```\n[happy]\n```\nOne.", [("One.", "")]),
        ("He said “No.” [bored] So?", [("He said “No.”", ""), ("So?", "bored")]),
        ("[سعيد] نعم.", [("نعم.", "سعيد")]),
        ("[开心]太好了。", [("太好了。", "开心")]),
        ("[kind]ness, [name]'s and [name].", [("[kind]ness, [name]'s and [name].", "")]),
        ("One. And [happy", [("One.", ""), ("And [happy", "")]),
        ("One. [happy]", [("One.", "")]),
        ("[happy] [sad]", []),
    ],
)  # fmt: skip
def test_what_is_a_tag_and_where(text: str, expected: list[tuple[str, str]]) -> None:
    assert clauses([text]) == expected
    assert clauses(list(text)) == expected


def test_a_whole_text_has_a_part_for_each_change_or_the_style_that_it_begins_in() -> None:
    text = "[happy] One. [sad] Two. [sad] Three."
    assert [(part, part.style) for part in styled_parts(text, KNOWN)] == [
        ("One.", "happy"),
        (" Two. Three.", "sad"),
    ]
    whole = spoken_text(text, KNOWN)
    assert (whole, whole.style) == ("One. Two. Three.", "happy")
    assert spoken_text(whole) is whole
    assert spoken_text("One. [sad] Two.", KNOWN).style == spoken_text("", KNOWN).style == ""


@pytest.mark.parametrize("text", ["[name] goes on", "One. [happy] two, [sic]", "[Happy] & [a]"])
def test_what_is_said_though_it_looks_like_a_tag_can_be_escaped(text: str) -> None:
    assert spoken_text(text, KNOWN) != text
    assert spoken_text(escaped(SpokenText(text)), KNOWN) == text


@pytest.mark.parametrize("name", ["Happy", "calm-2", "very_sad", "سعيد"])
def test_names_of_styles_are_kept_in_small_letters(name: str) -> None:
    assert style_name(name) == name.lower()


@pytest.mark.parametrize(
    "name", ["", "x", "two words", "1st", "a/b", "a+b", "a:b", "../up", "x" * 33, "default", "sic", "think", "-rf", "a\n", ".."]
)  # fmt: skip
def test_what_is_no_name_of_a_style(name: str) -> None:
    with pytest.raises(UsageError, match=r"^style ") as caught:
        style_name(name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
