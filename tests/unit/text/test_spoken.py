"""What is said of a written reply."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.text.spoken import Spoken, escaped, spoken_text

MARKUP = (
    "**", "*", "_", "`", "``", "```", "~~~", "~", "\n", "\n\n", "# ", "#", "- ", "1. ", "2) ", "3.", "|", " | ", "---", "[",
    "](", "](u)", "(", ")", "]", "[^1]", "!", "<think>", "</think>", "<b>", "<br/>", "</", "<", ">", "<!--", "-->", "&amp;",
    "&", "👍", "👩‍👧", "\u200d", "\ufe0f", "https://a.b/c", "http", "s://", "www.", "w", "$", "$$", "\\(", "\\)", "\\[",
    "\\]", "\\", " ", "word", "x", "3", "12", "ह", "न्", "\u200c", "。", ".", ",", ":", "->", "=", "→", "•", "é", "{", "^2",
    "\\frac{1}{2}", "[calm]", "<a href='x'>", "<|x|>", "\r\n", "\t", "\u00a0", "€",
)  # fmt: skip
replies = st.lists(st.sampled_from(MARKUP), max_size=40).map("".join)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=20)
prose = st.lists(
    st.sampled_from(
        ["He", "said", "it’s", "über", "well-known", "3.5", "你好", "نعم", "हिन्दी", "(no)"]
    ),
    min_size=1,
)


def said(pieces: Iterable[str]) -> str:
    spoken = Spoken()
    return "".join([*map(spoken.push, pieces), spoken.flush()])


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces, at = [], 0
    while at < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[at : at + size])
        at += size
    return pieces


@pytest.mark.slow
@given(text=replies, sizes=cuts)
@settings(max_examples=500)
def test_how_a_reply_is_cut_changes_nothing(text: str, sizes: list[int]) -> None:
    whole = said([text])
    assert said(cut(text, sizes)) == whole
    assert said(text) == whole


@given(text=st.text(max_size=200), sizes=cuts)
def test_any_text_is_taken(text: str, sizes: list[int]) -> None:
    assert said(cut(text, sizes)) == said([text])


@given(prose)
def test_words_pass_unchanged_and_at_once(words: list[str]) -> None:
    spoken, given_so_far = Spoken(), ""
    for i, word in enumerate(words):
        given_so_far += spoken.push(f" {word}" if i else f"So {word}")
        assert given_so_far.rstrip(")") == f"So {' '.join(words[: i + 1])}".rstrip(")")
    assert given_so_far + spoken.flush() == f"So {' '.join(words)}"


def both(text: str, expected: str) -> None:
    assert said([text]) == expected
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Bold**, *it*, ***both***, __x__, _y_, ~~old~~.", "Bold, it, both, x, y, old."),
        ("是**重点**内容，*这*个", "是重点内容，这个"),
        (
            "2 * 3 = 6, 2*3, x*y, 2**3, **2*3**, (a+b)*(c)",
            "2 * 3 = 6, 2*3, x*y, 2**3, 2*3, (a+b)*(c)",
        ),
        ("snake_case, __init__, a ____ b, price* and C#", "snake_case, init, a b, price and C#"),
        ("#tag, item #5, ~5 minutes, 10~20분", "tag, item #5, 5 minutes, 10~20분"),
        ("a\\*b and 5 < 6 > 4", "a*b and 5 < 6 > 4"),
        ("A | B and a|b", "A, B and a|b"),
    ],
)
def test_emphasis_is_dropped_and_arithmetic_and_names_stay(text: str, expected: str) -> None:
    both(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\nText", "Title.\nText"),
        ("## What now? ##\r\n\r\nText", "What now?\nText"),
        ("Title\n=====\nText", "Title\nText"),
        ("> quoted\n> > twice\n>5 people", "quoted\ntwice\n>5 people"),
        (
            "- one\n* two!\n+ three:\n  • four\n- [x] **five**\n–",
            "one.\ntwo!\nthree:\nfour.\nfive.\n",
        ),
        ("- ✅ Done\n- ❌ Not", "Done.\nNot."),
        ("-5 degrees\n+49 30", "-5 degrees\n+49 30"),
        ("1. One\n2) Two\n   - inner\n3. Three.", "1: One.\n2: Two.\ninner.\n3: Three."),
        ("**1. One** here\n**2.** Two", "1: One here.\n2: Two."),
        ("3. Mai ist ein Feiertag.", "3. Mai ist ein Feiertag."),
        ("2026. What a year", "2026. What a year"),
        ("One\n\n---\n* * *\n___\nTwo", "One\nTwo"),
        ("| a | b |\n|---|:-:|\n| 1 | **2** |\n| | c |\nEnd", "a, b.\n1, 2.\nc.\nEnd"),
        ("a | b\n--|--\n1 | 2", "a, b\n1, 2"),
        ("+---+\n| x |\n+---+", "x.\n"),
    ],
)
def test_lines_lose_their_marks_and_blocks_end_as_clauses(text: str, expected: str) -> None:
    both(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Call `print()` on `user_id`.", "Call print on user_id."),
        ("Use `std::vector<int>&`, or ``a`b`` here", "Use, or here"),
        ("an `unclosed one", "an unclosed one"),
        ("So:\n```python\nx = 1\n```\nDone.", "So:\nDone."),
        ("So: ```py\nx = `1`\n```\nDone.", "So:\nDone."),
        ("- item\n  ```\n  x\n  ```\n- next", "item.\nnext."),
        ("````md\n```\nx\n```\n````\nDone.", "Done."),
        ("~~~\nx\n~~~\nDone, byee~~~", "Done, byee"),
        ("Half\n```py\nx = 1\n``", "Half\n"),
        ("Half\n```py", "Half\n"),
        ("In ```one line``` it stays", "In one line it stays"),
    ],
)
def test_code_is_said_only_where_it_reads_as_words(text: str, expected: str) -> None:
    both(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See [the **site**](https://a.b/c_(d) 'x') and [that][1][^2].", "See the site and that."),
        ("![a cat](cat.png) [![logo](a.png)](b) ![](c.png) [sic] [", "a cat logo [sic] ["),
        (
            "Go to https://www.example.com/a?b=c. Or (http://foo.org/x_(y)), www.bar.com!",
            "Go to example.com. Or (foo.org), bar.com!",
        ),
        ("**https://a.b:80/c**，https://a.b谢谢", "a.b，a.b谢谢"),
        ("<https://a.b/c> or <me@a.b> or you@a.b", "a.b or me@a.b or you@a.b"),
        ("http www. How", "http www. How"),
    ],
)
def test_links_are_their_texts_and_addresses_their_hosts(text: str, expected: str) -> None:
    both(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<b>Hi</b> <a href='x'>you</a><br>H<sub>2</sub>O <!-- no -->&amp; x &lt;3&nbsp;y",
            "Hi you\nH2O & x <3\u00a0y",
        ),
        ("if a<b and c>d, I <3 AT&T", "if a<b and c>d, I <3 AT&T"),
        ("<think>\nno\n\n```\n</think>\n\n# Yes", "Yes."),
        ("A <thinking>no</thinking>b.</think>", "A b."),
        ("<think>never </thin", ""),
        ("Bye.<|im_end|>", "Bye."),
    ],
)
def test_tags_and_thoughts_are_not_said(text: str, expected: str) -> None:
    both(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"So \(x^2 + \frac{1}{2}\), $E = mc^3$, $$a \times b$$", "So x² + 1/2, E = mc³, a × b"),
        ("\\[\n\\alpha \\le 30\\% \n\\] and \\(x", "alpha ≤ 30% and x"),
        ("$2x=4$ but $5, $10 and 5$ or $HOME", "2x=4 but $5, $10 and 5$ or $HOME"),
        (r"C:\Users\me", r"C:\Users\me"),
    ],
)
def test_formulas_lose_their_delimiters_and_prices_stay(text: str, expected: str) -> None:
    both(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Great job 🎉! I ❤️ you 👨‍👩‍👧‍👦👍🏽, flags 🇩🇪🏴󠁧󠁢󠁥󠁮󠁧󠁿 and 🫨.", "Great job! I you, flags and."),
        ("1️⃣ First, #️⃣ Hi👋there", "1 First, Hi there"),
        ("Settings → Privacy -> Security • Here!", "Settings, Privacy, Security, Here!"),
        ("┌──┐ │a│ █ ▶ ♪ ⠿ \ue000\x07", "a"),
        (
            "20% of €5 = £4 + $1 & 30°C, №1, 21℃, ㎡, ½, ² @x",
            "20% of €5 = £4 + $1 & 30°C, №1, 21℃, ㎡, ½, ² @x",
        ),
        (
            "क्\u200dष न्\u200c می\u200cخواهم \u200fשלום ﷺ",
            "क्\u200dष न्\u200c می\u200cخواهم \u200fשלום ﷺ",
        ),
    ],
)
def test_pictures_are_dropped_and_signs_with_a_meaning_stay(text: str, expected: str) -> None:
    both(text, expected)


def test_what_waits_waits_for_no_more_than_it_needs() -> None:
    spoken = Spoken()
    assert spoken.push("It costs $5.") == "It costs"
    assert spoken.push(" ") == " $5."
    assert spoken.push("2 *") == " 2"
    assert spoken.push(" 3") == " * 3"
    assert spoken.push("\n") == "\n"
    assert spoken.push("- an") == "an"
    assert spoken.push(" [item]") == ""
    assert spoken.push(" is") == " [item] is"
    assert spoken.push(" `x") == ""
    assert spoken.push("`") == ""
    assert spoken.push(" and <b") == " x and"
    assert spoken.push(" 5") == ""
    assert spoken.flush() == " <b 5."


@pytest.mark.parametrize("opening", ["[", "`", "<a ", "\\(", "\\[", "$x", "$$"])
def test_a_construct_that_never_ends_does_not_hold_the_reply_back(opening: str) -> None:
    spoken = Spoken()
    given_so_far = spoken.push(f"So {opening}" + "word " * 100)
    assert given_so_far.count("word") == 100


WRITTEN = [piece for piece in MARKUP if not set("[]()!/\\\n") & set(piece)]


@given(
    st.lists(
        st.sampled_from([*WRITTEN, "\\*", "\\_", "\\<", "&lt;", "&amp;", "2. "]), max_size=20
    ).map("".join)
)
def test_what_was_said_and_is_escaped_is_said_again_as_it_was(text: str) -> None:
    first = spoken_text(f"So {text}").strip()
    assert spoken_text(escaped(first)).strip() == first


@pytest.mark.parametrize(
    "text", ["Write *this* & <b> here.", "2 * 3 < 5", "- 1. #5 `x` $5 C:\\me", "1. Mai", "a_b|c ~5"]
)
def test_any_line_can_be_escaped(text: str) -> None:
    assert spoken_text(escaped(text)) == text
