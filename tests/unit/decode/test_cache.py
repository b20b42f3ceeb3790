"""The prefix cache: which slot a prompt takes and what of it stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.decode.cache import Placement, PrefixCache, common_prefix

prompts = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def ended(cache: PrefixCache, prompt: list[int]) -> Placement:
    """Place a prompt, compute all of it and end."""
    placement = cache.place(prompt)
    assert placement is not None
    placement.slot.ids = list(prompt)
    cache.release(placement.slot)
    return placement


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_the_common_prefix_is_the_longest(a: list[int], b: list[int]) -> None:
    n = common_prefix(a, b)
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


def test_an_empty_cache_keeps_nothing() -> None:
    placement = PrefixCache(2).place([1, 2, 3])
    assert placement is not None
    assert (placement.length, placement.donor, placement.slot.ids) == (0, None, [])


def test_the_same_prompt_leaves_its_last_token_to_compute() -> None:
    cache = PrefixCache(1)
    ended(cache, [1, 2, 3])
    assert ended(cache, [1, 2, 3]).length == 2


def test_a_longer_dialogue_goes_on_in_its_slot_without_a_copy() -> None:
    cache = PrefixCache(3)
    first = ended(cache, [1, 2, 3])
    second = ended(cache, [1, 2, 3, 4, 5])
    assert second.slot is first.slot
    assert (second.length, second.donor) == (3, None)


def test_another_dialogue_takes_an_unused_slot_and_copies_what_it_shares() -> None:
    cache = PrefixCache(2)
    first = ended(cache, [9, 9, 1, 2, 3])
    second = ended(cache, [9, 9, 7])
    assert second.slot is not first.slot
    assert (second.length, second.donor) == (2, first.slot)
    assert first.slot.ids == [9, 9, 1, 2, 3]


def test_a_busy_slot_may_give_but_not_be_taken() -> None:
    cache = PrefixCache(2)
    busy = cache.place([1, 2, 3, 4])
    assert busy is not None
    busy.slot.ids = [1, 2, 3, 4]
    other = cache.place([1, 2, 3, 4, 5])
    assert other is not None
    assert (other.slot is busy.slot, other.length, other.donor) == (False, 4, busy.slot)
    assert cache.place([1]) is None
    cache.release(busy.slot)
    again = cache.place([1])
    assert again is not None
    assert again.slot is busy.slot


def test_with_every_slot_used_the_least_is_lost() -> None:
    cache = PrefixCache(2)
    long, short = ended(cache, [1] * 9), ended(cache, [2] * 3)
    assert ended(cache, [3, 3]).slot is short.slot
    assert long.slot.ids == [1] * 9


def test_among_equals_the_longest_unused_is_lost() -> None:
    cache = PrefixCache(2)
    older, newer = ended(cache, [1, 1]), ended(cache, [2, 2])
    assert ended(cache, [3, 3]).slot is older.slot
    assert ended(cache, [4, 4]).slot is newer.slot


@given(st.integers(1, 3), st.lists(prompts, min_size=1, max_size=12))
def test_what_is_kept_is_the_best_of_all_slots_and_always_the_prompt_s_own(
    slots: int, sequence: list[list[int]]
) -> None:
    cache = PrefixCache(slots)
    for prompt in sequence:
        best = max(common_prefix(slot.ids, prompt[:-1]) for slot in cache.slots)
        before = {slot.index: list(slot.ids) for slot in cache.slots}
        placement = cache.place(prompt)
        assert placement is not None
        assert placement.length == best < len(prompt)
        assert placement.slot.ids == prompt[: placement.length]
        source = placement.donor or placement.slot
        assert before[source.index][: placement.length] == prompt[: placement.length]
        placement.slot.ids = list(prompt)
        cache.release(placement.slot)
