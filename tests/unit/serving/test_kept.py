"""What is kept for clients: how long, for how many, and who makes room."""

from __future__ import annotations

import pytest
from voxturn.runtime.errors import TooManyStreams
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.serving.kept import Kept


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def used(kept: Kept[list[int]], name: str, client: str = "") -> list[int]:
    """What is kept under a name, in a request of a client."""
    token = CLIENT.set(client)
    try:
        with kept.use(name) as entry:
            return entry
    finally:
        CLIENT.reset(token)


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
    for client in "xy":
        for number in range(2):
            used(kept, f"{client}{number}", client).append(number)
    with pytest.raises(TooManyStreams, match="all 4 lists are in use"):
        used(kept, "z0", "z")
    assert [used(kept, f"{client}1", client) for client in "xy"] == [[1], [1]]
    clock.advance(601.0)
    assert used(kept, "z0", "z") == []


def test_one_client_has_half_of_the_places(clock: ManualClock) -> None:
    kept = Kept("lists", list[int], 4, clock=clock)
    for name in ("a", "b"):
        used(kept, name, "greedy")
    with pytest.raises(TooManyStreams, match="a client may have 2 lists at once"):
        used(kept, "c", "greedy")
    assert used(kept, "c", "modest") == []
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
