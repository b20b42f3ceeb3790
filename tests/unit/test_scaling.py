"""The tests' own judge of how work grows."""

from __future__ import annotations

from tests.scaling import in_proportion


def test_a_line_is_in_proportion_and_a_square_is_not() -> None:
    assert in_proportion(lambda size: sum(range(size * 300)), 500)
    assert not in_proportion(lambda size: sum(range(size * size)), 500)
