"""Written texts as the clauses that are said of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.text.clauses import SpokenClauses
from voxturn.runtime.text.spoken import SpokenText, spoken_text

from tests.scaling import in_proportion


def cut(pieces: list[str], language: str = "en", *, in_thought: bool = False) -> list[SpokenText]:
    clauses = SpokenClauses(language=language, in_thought=in_thought)
    return [clause for piece in pieces for clause in clauses.push(piece)] + clauses.flush()


TEXTS = st.lists(
    st.sampled_from(
        ["**", "Dr. ", "Silva ", "No. ", "he ", "Then ", "`x` ", "\n", "- ", "1. ", "www.a.b/c ", "🍕", "</think>", "<think>", "[THINK]", "[/THINK]", "◁think▷", "◁/think▷", "... ", "U.S. "]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(text=TEXTS, size=st.integers(1, 9), in_thought=st.booleans())
def test_how_a_text_is_cut_into_pieces_changes_nothing(
    text: str, size: int, in_thought: bool
) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert cut(pieces, in_thought=in_thought) == cut([text], in_thought=in_thought)


def test_clauses_are_marked_as_clean() -> None:
    clauses = cut(["**Hi** there. <b>You</b>, too."])
    assert clauses == ["Hi there.", "You, too."]
    assert all(isinstance(clause, SpokenText) for clause in clauses)
    assert spoken_text(clauses[0]) is clauses[0]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Let me see. It is 5.\n</think>\n\nIt is five.", ["It is five."]),
        ("Hm.</thinking >Yes.", ["Yes."]),
        ("No end of it", []),
        ("Hm.</think>One. <think>Hm.</think>Two.", ["One.", "Two."]),
    ],
)
def test_a_reply_that_begins_inside_a_thought_is_said_from_its_end_on(
    reply: str, said: list[str]
) -> None:
    assert cut([reply], in_thought=True) == said
    assert cut(list(reply), in_thought=True) == said


THOUGHTS = [
    ("<think>", "</think>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
]


@pytest.mark.parametrize(("begin", "end"), THOUGHTS)
@pytest.mark.parametrize("line", ["", "\n"])
def test_no_thought_is_said_however_it_is_marked(begin: str, end: str, line: str) -> None:
    said = ["One.", "Two."]
    inside = f"Let me [see] <b>it</b>.{line}{end}{line}One. Two."
    for reply in (inside, f"{inside}{begin}More."):
        assert cut([reply], in_thought=True) == said
        assert cut(list(reply), in_thought=True) == said
    for reply in (f"{begin}{line}{inside}", f"One. {begin}Hm.{end}{line}Two."):
        assert cut([reply]) == said
        assert cut(list(reply)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A [think](http://a.b) here.", "A think here."),
        ("A [thin] one, [THIN and ◁ so.", "A [thin] one, [THIN and so."),
        ("All [/THINK]is said.", "All is said."),
    ],
)
def test_what_only_looks_like_a_thought_is_said(text: str, said: str) -> None:
    assert cut([text]) == [said]
    assert cut(list(text)) == [said]


def test_a_long_text_takes_time_in_proportion_to_its_length() -> None:
    sentence = "**Dr.** Silva met `him` on St. James St. at 5 p.m. Then they left. "

    def work(copies: int) -> None:
        assert len(cut([sentence * copies])) == 2 * copies

    assert in_proportion(work, 50)
