"""Words out of tokens, with their marks and bytes, and their times."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.families.whisper.words import timed, words_of
from voxturn.runtime.messages import Word


class Pieces:
    """A token an entry; bytes that are no character alone decode to a replacement character."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self._pieces[i] for i in ids).decode(errors="replace")

    def id_of(self, token: str) -> int | None:
        return None


SPACED = Pieces(b" Turn", b" it", b" a", b"round", b",", " é".encode()[:2], " é".encode()[2:], b"!")
UNSPACED = Pieces("我".encode(), "想".encode()[:2], "想".encode()[2:], "。".encode())


def test_a_word_keeps_its_pieces_and_its_marks() -> None:
    words = words_of(range(8), SPACED, "en")
    assert [SPACED.decode(w) for w in words] == [" Turn", " it", " around,", " é!"]


def test_where_there_are_no_spaces_a_character_is_a_word() -> None:
    words = words_of(range(4), UNSPACED, "zh")
    assert [UNSPACED.decode(w) for w in words] == ["我", "想。"]


@given(st.lists(st.integers(0, 7)))
def test_joined_they_are_the_tokens(ids: list[int]) -> None:
    for language in ("en", "zh"):
        assert [i for word in words_of(ids, SPACED, language) for i in word] == ids


def test_a_word_lasts_from_its_first_token_to_the_next_word() -> None:
    words = words_of([0, 2, 3, 4], SPACED, "en")
    assert timed(words, [0.1, 0.5, 0.7, 0.9, 1.2], SPACED) == (
        Word("Turn", 0.1, 0.5),
        Word("around,", 0.5, 1.2),
    )


def test_no_tokens_no_words() -> None:
    assert words_of([], SPACED, "en") == []
    assert timed([], [0.0], SPACED) == ()
