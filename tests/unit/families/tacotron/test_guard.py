"""The guard of a Tacotron's attention, on scripted ones: sentences run to their end, what follows a
missed stop does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from voxturn.runtime.families.tacotron.guard import AttentionGuard

SYMBOLS, STEP_S = 40, 0.02
AFTER, STILL = 75, 250
"""Steps of 1.5 and of 5 seconds."""


def ended_at(places: Iterable[int], symbols: int = SYMBOLS) -> int | None:
    """The step that the guard ends a sentence with whose steps look at these symbols."""
    guard = AttentionGuard(symbols, STEP_S)
    for step, place in enumerate(places):
        if guard.ends(np.eye(symbols, dtype=np.float32)[place]):
            return step
    return None


def read(symbols: int = SYMBOLS, steps: int = 4) -> list[int]:
    """A text that is read from its beginning to its end, `steps` for each symbol."""
    return [place for place in range(symbols) for _ in range(steps)]


def endless(place: int) -> Iterator[int]:
    for _ in range(10_000):
        yield place


def then(first: list[int], rest: Iterable[int]) -> Iterator[int]:
    yield from first
    yield from rest


@pytest.mark.parametrize("steps", [2, 4, 12])
def test_a_text_is_read_to_its_end_at_any_pace(steps: int) -> None:
    assert ended_at([*read(steps=steps), *[SYMBOLS - 1] * 20]) is None


@pytest.mark.parametrize("place", [SYMBOLS - 1, SYMBOLS - 3, 0, SYMBOLS // 2])
def test_after_the_end_nothing_more_is_wanted_wherever_it_looks(place: int) -> None:
    """It stands still at the end, or jumps back and stays there."""
    ended = ended_at(then(read(), endless(place)))
    assert ended is not None
    assert len(read()) < ended <= len(read()) + AFTER


def test_a_text_that_is_read_once_more_is_not_said_twice() -> None:
    ended = ended_at(read() * 2)
    assert ended is not None
    assert ended <= len(read()) + AFTER


def test_an_attention_that_comes_no_further_ends() -> None:
    ended = ended_at(then(read()[:40], endless(9)))
    assert ended is not None
    assert STILL < ended <= 40 + STILL


def test_a_pause_within_a_sentence_is_none() -> None:
    pause = [20] * (STILL - 10)
    assert ended_at([*read()[:80], *pause, *read()[80:]]) is None


def test_steps_that_look_elsewhere_do_not_count() -> None:
    """Single ones, and the first ones, which look at the end in many voices."""
    places = [SYMBOLS - 1] * 6 + read()
    places[60], places[90] = SYMBOLS - 1, 0
    assert ended_at(places) is None


@pytest.mark.parametrize("symbols", [1, 2, 3])
def test_a_short_text_has_time_to_end(symbols: int) -> None:
    ended = ended_at(endless(0), symbols)
    assert ended is not None
    assert ended >= AFTER
