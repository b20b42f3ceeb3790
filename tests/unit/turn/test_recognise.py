"""What is shown of an utterance while it is spoken: filtered, and never taken back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.messages import Partial, Samples, Speaking, Transcript
from voxturn.runtime.text.filter import Filtered, WordListFilter
from voxturn.runtime.turn.recognise import FilteredRecogniser

SPEAKING = Speaking((np.zeros(1, np.float32),), 16_000, 0)
FILTER = WordListFilter("en", ["big black cat"])


class Scripted:
    """Hears stable and unstable words one after the other."""

    def __init__(self, *heard: tuple[str, str], language: str = "en") -> None:
        self._heard = iter(heard)
        self._language = language

    def hear(self, prior: str = "") -> Scripted:
        return self

    async def warm(self) -> None: ...

    async def partial(self, speaking: Speaking) -> Partial:
        return Partial(*next(self._heard), self._language, speaking.start)

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        return Transcript(next(self._heard)[0], self._language)


async def shown(*heard: tuple[str, str], language: str = "en") -> list[tuple[str, str]]:
    hearing = FilteredRecogniser(Scripted(*heard, language=language), FILTER).hear()
    partials = [await hearing.partial(SPEAKING) for _ in heard]
    return [(p.stable, p.unstable) for p in partials if p is not None]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([("You", " bast"), ("You bastard", " now")], [("You", " bast"), ("You …", " now")]),
        ([("You", " bastard"), ("You bastard,", "")], [("You", " …"), ("You …,", "")]),
        ([("You bast", ""), ("You bastard", " now")], [("You bast", ""), ("You bast…", " now")]),
        ([("b a s", " t"), ("b a s t a r d", "")], [("b a s", " t"), ("b a s…", "")]),
        ([("a big", ""), ("a big black cat", "")], [("a big", ""), ("a big…", "")]),
        ([("You bast", "ard now")], [("You bast", "… now")]),
        (
            [("x bast", ""), ("x bastard", ""), ("x bastard and", "")],
            [("x bast", ""), ("x bast…", ""), ("x bast… and", "")],
        ),
        ([("", " Hello")], [("", "Hello")]),
    ],
)
async def test_words_that_come_in_pieces(
    heard: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    assert await shown(*heard) == expected


async def test_partials_have_the_list_of_their_language() -> None:
    assert await shown(("Merde", " alors"), language="fr") == [("…", " alors")]
    assert await shown(("Merde", " alors"), language="en") == [("Merde", " alors")]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 40))
async def test_what_is_stable_only_grows_and_no_word_slips_through(
    cuts: list[int], ahead: int
) -> None:
    text = "oh you bastard, a big black cat b.u.l.l.s.h.i.t piece of shit"
    ends = sorted(cuts)
    partials = await shown(*((text[:end], text[end : end + ahead]) for end in ends))
    for (before, _), (stable, _) in pairwise(partials):
        assert stable.startswith(before)
    for stable, unstable in partials:
        assert not {"bastard", "big black cat"} & set((stable + unstable).split(","))
        assert FILTER.check(stable + unstable, "in") == Filtered(stable + unstable)


async def test_a_final_transcript_has_the_list_of_its_language() -> None:
    recogniser = FilteredRecogniser(Scripted(("Merde alors", ""), language="fr"), FILTER)
    transcript = await recogniser.transcribe(np.zeros(1, np.float32))
    assert transcript.text == "… alors"
    assert transcript.filtered == ("in: removed 5 letters (mask, fr)",)
