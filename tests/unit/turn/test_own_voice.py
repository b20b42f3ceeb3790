"""What was heard is what is being said, as a recogniser writes it, or somebody else's."""

from __future__ import annotations

import pytest
from voxturn.runtime.turn.own_voice import others_words

SPOKEN = "Paris is the capital of France. It lies on the Seine."


@pytest.mark.parametrize(
    "heard",
    [
        "paris is the capital",
        "The capital of France, it lies",
        "Paris is the capitol of friends.",
        "is the capital of France it lice on the sane",
        "Parises the capital",
    ],
)
def test_the_own_voice_is_known_also_where_it_is_misheard(heard: str) -> None:
    assert others_words(heard, SPOKEN) == ()


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        ("Stop!", ("stop",)),
        ("No.", ("no",)),
        ("Wait, what about Rome?", ("wait", "what", "about", "rome")),
        ("It is France, I know the rest", ("it", "i", "know", "the", "rest")),
    ],
)
def test_other_words_are_somebody_else_s(heard: str, words: tuple[str, ...]) -> None:
    assert set(others_words(heard, SPOKEN)) >= set(words) - {"it", "the"}
    assert len(others_words(heard, SPOKEN)) > 0


def test_who_asks_for_what_is_being_said_is_somebody_else() -> None:
    assert others_words("What is the capital of Spain?", "The capital of France is") != ()
    assert others_words("What is the capital of France?", "The capital of") != ()


def test_a_rest_of_the_own_voice_may_be_misheard() -> None:
    assert others_words("the sane", "lies on the Seine.") == ("sane",)
    assert others_words("the sane", "lies on the Seine.", goes_on=True) == ()
    assert others_words("stop it", "lies on the Seine.", goes_on=True) != ()


def test_words_across_those_of_the_answer_are_not_its_own() -> None:
    assert others_words("stop", "the last opera") == ("stop",)


def test_without_an_answer_everything_is_somebody_else_s() -> None:
    assert others_words("Hello there", "") == ("hello", "there")


def test_arabic_and_chinese() -> None:
    assert others_words("باريس هي عاصمة فرنسا", "بَارِيس هِيَ عاصمةُ فَرنسا.") == ()
    assert others_words("لا، توقف", "باريس هي عاصمة فرنسا") == ("لا", "توقف")
    assert others_words("巴黎是首都", "巴黎是法国的首都。") == ()
    assert others_words("停一下", "巴黎是法国的首都。") == ("停", "一", "下")
