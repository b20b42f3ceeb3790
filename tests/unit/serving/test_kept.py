"""What is kept for clients: how long, for how many, and who makes room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import TooManyStreams
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.serving.kept import Kept


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@contextmanager
def asked_by(client: str) -> Iterator[None]:
    """A request of a client."""
    token = CLIENT.set(client)
    try:
        yield
    finally:
        CLIENT.reset(token)


def used(kept: Kept[list[int]], name: str, client: str = "") -> list[int]:
    """What is kept under a name, in a request of a client."""
    with asked_by(client), kept.use(name) as entry:
        return entry


def has(kept: Kept[list[int]], name: str, client: str) -> bool:
    with asked_by(client):
        return name in kept


def test_what_nobody_asks_for_is_forgotten(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 8, clock=clock)
    used(kept, "a").append(1)
    used(kept, "").append(9)
    assert (used(kept, "a"), used(kept, ""), used(kept, "b")) == ([1], [], [])
    clock.advance(599.0)
    assert used(kept, "a") == [1]
    clock.advance(101.0)
    assert "b" not in kept
    clock.advance(500.0)
    assert used(kept, "a") == []


def test_what_is_in_use_stays_however_long_that_takes(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 8, clock=clock)
    with kept.use("a") as entry:
        entry.append(1)
        clock.advance(1000.0)
        assert "a" in kept
    clock.advance(599.0)
    assert used(kept, "a") == [1]


def test_a_newcomer_without_a_place_is_refused_and_nobody_loses_one(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 4, clock=clock)
    for client in "vwxy":
        used(kept, "a", client).append(1)
    with pytest.raises(TooManyStreams, match="all 4 lists are in use"):
        used(kept, "a", "z")
    assert [used(kept, "a", client) for client in "vwxy"] == [[1]] * 4
    clock.advance(601.0)
    assert used(kept, "a", "z") == []


def test_clients_may_choose_the_same_name(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 4, clock=clock)
    used(kept, "a", "me").append(1)
    assert used(kept, "a", "you") == []
    assert used(kept, "a") == []
    with asked_by("you"):
        kept.forget("a")
    assert (has(kept, "a", "me"), has(kept, "a", "you")) == (True, False)
    assert used(kept, "a", "me") == [1]


def test_whoever_has_more_than_his_share_makes_room_for_others(clock: ManualClock) -> None:
    """As long as he has more than they; what he uses now stays."""
    kept = Kept("lists", list[int], 8, clock=clock)
    for number in range(4):
        used(kept, str(number), "greedy")
        clock.advance(1.0)
        used(kept, str(number), f"other {number}")
    with asked_by("greedy"), kept.use("0"):
        used(kept, "0", "new")
        used(kept, "1", "new")
        with pytest.raises(TooManyStreams, match="all 8 lists are in use"):
            used(kept, "2", "new")
        assert [has(kept, str(number), "greedy") for number in range(4)] == [True, False, False, True]  # fmt: skip
    assert all(has(kept, str(number), f"other {number}") for number in range(4))
    assert all(has(kept, str(number), "new") for number in range(2))


@given(requests=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=30))
def test_nobody_loses_a_place_to_one_who_has_more(requests: list[tuple[str, int]]) -> None:
    clock = ManualClock()
    kept = Kept("lists", list[int], 4, clock=clock)

    def held() -> dict[str, int]:
        return {c: sum(has(kept, str(number), c) for number in range(4)) for c in "abcd"}

    for client, number in requests:
        before = held()
        clock.advance(1.0)
        try:
            used(kept, str(number), client)
        except TooManyStreams:
            assert held() == before
            assert before[client] == 2 or max(before.values()) <= before[client] + 1
        after = held()
        assert sum(after.values()) <= 4
        for other, count in after.items():
            assert count <= 2
            if count < before[other]:
                assert count >= after[client]


def test_one_client_has_half_of_the_places(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 4, clock=clock)
    for name in ("a", "b"):
        used(kept, name, "greedy")
    with pytest.raises(TooManyStreams, match="a client may have 2 lists at once"):
        used(kept, "c", "greedy")
    assert used(kept, "c", "modest") == []
    with asked_by("greedy"):
        kept.forget("a")
    assert used(kept, "d", "greedy") == []


def test_clients_without_a_name_have_half_of_the_places_together(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 4, clock=clock)
    for name in ("a", "b"):
        used(kept, name)
    with pytest.raises(TooManyStreams, match="without a name have 2 lists; name yours by 'client'"):
        used(kept, "c")
    assert used(kept, "c", "named") == []


def test_what_is_idle_makes_room_where_it_is_needed(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 4, idle_s=10.0, clock=clock)
    with kept.use("busy"):
        clock.advance(5.0)
        used(kept, "idle")
        clock.advance(9.0)
        with pytest.raises(TooManyStreams):
            used(kept, "new")
        clock.advance(2.0)
        used(kept, "new")
        assert ("busy" in kept, "idle" in kept, "new" in kept) == (True, False, True)
