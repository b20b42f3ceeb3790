"""The token engine, with a decoder whose next token depends on every token in its slot's buffer."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.decode.engine import DecodeCounts, DecodeEngine, next_piece
from voxturn.runtime.decode.generation import Generation, Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import InferenceFailed, PromptTooLong
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.protocols import DecoderExecutor, Outputs

VOCABULARY = 50
GREEDY = Sampling()


def mixed(ids: Sequence[int]) -> int:
    value = 7
    for i in ids:
        value = (value * 31 + i + 1) % 1_000_003
    return value % VOCABULARY


def engine(slots: int = 2, capacity: int = 64) -> DecodeEngine:
    return DecodeEngine(FakeDecoder(mixed, VOCABULARY, slots, capacity))


def answer(
    e: DecodeEngine, prompt: Sequence[int], max_tokens: int = 8, sampling: Sampling = GREEDY
) -> list[int]:
    return list(e.generate(prompt, sampling, (), max_tokens))


def expected(prompt: Sequence[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(mixed(ids))
    return ids[len(prompt) :]


class Failing(FakeDecoder):
    """Fails at its n-th call of `run` or at a copy."""

    def __init__(self, at: int = -1, copies: bool = False) -> None:
        super().__init__(mixed, VOCABULARY, 2, 64)
        self.at, self.copies, self.calls = at, copies, 0

    def run(
        self,
        first: int,
        ids: npt.NDArray[np.int64],
        pasts: Sequence[int],
        rows: npt.NDArray[np.float32] | None = None,
    ) -> Outputs:
        self.calls += 1
        if self.calls == self.at:
            raise InferenceFailed("the machine died")
        return super().run(first, ids, pasts, rows)

    def copy(self, source: int, target: int, length: int) -> None:
        if self.copies:
            self.copies = False
            raise InferenceFailed("the machine died")
        super().copy(source, target, length)


class Constant(FakeDecoder):
    """Likes 3 best, then 4, then 5; half of each is less than any of them."""

    def __init__(self) -> None:
        super().__init__(mixed, VOCABULARY, 1, 64)

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        logits = np.zeros(VOCABULARY, np.float32)
        logits[3:6] = 10.0, 9.0, 8.0
        return logits


def test_the_fake_keeps_the_protocol() -> None:
    assert isinstance(FakeDecoder(mixed, VOCABULARY), DecoderExecutor)


def test_the_tokens_are_the_model_s() -> None:
    assert answer(engine(), [1, 2, 3], 20) == expected([1, 2, 3], 20)


def test_a_stop_id_ends_the_answer_and_is_not_given() -> None:
    tokens = expected([4, 5], 10)
    stop = tokens[6]
    assert list(engine().generate([4, 5], GREEDY, {stop}, 10)) == tokens[: tokens.index(stop)]


def test_a_turn_pays_only_for_what_is_new() -> None:
    e = engine()
    first = answer(e, range(10), 4)
    assert e.counts == DecodeCounts(computed=10, reused=0, generated=4)
    dialogue = [*range(10), *first, 40, 41, 42]
    assert answer(e, dialogue, 4) == expected(dialogue, 4)
    assert e.counts == DecodeCounts(
        computed=14, reused=13, generated=8
    )  # the last token given was never computed


def test_a_prefilled_beginning_is_reused_by_every_dialogue_that_has_it() -> None:
    e = engine(slots=3)
    system = list(range(20))
    e.keep(Request(system))
    assert e.counts == DecodeCounts(computed=20)
    for user in (30, 31, 32):
        assert answer(e, [*system, user], 3) == expected([*system, user], 3)
    assert (e.counts.computed, e.counts.reused) == (23, 60)


def test_two_dialogues_in_turn_copy_their_beginning_once() -> None:
    e = engine(slots=2)
    system = list(range(20))
    a, b = [*system, 30], [*system, 31]
    a += answer(e, a, 3)
    b += answer(e, b, 3)
    assert (e.counts.computed, e.counts.reused) == (22, 20)
    for _ in range(3):
        a += [33, *answer(e, [*a, 33], 3)]
        b += [34, *answer(e, [*b, 34], 3)]
    assert (
        e.counts.computed == 22 + 12
    )  # each time what was said last, which was never computed, and what is new
    assert a == [*system, 30, *expected([*system, 30], 3), *a[24:]]


def test_a_prompt_is_computed_in_pieces_of_the_lengths_that_are_fast() -> None:
    fake = FakeDecoder(mixed, VOCABULARY, 1, 600, lengths=(4, 8, 64))
    e, prompt = DecodeEngine(fake), list(range(40)) * 13
    spent = []
    for total in (3, 7, 10, 75, 520):
        fake.pieces.clear()
        answer(e, prompt[:total], 1)
        spent.append(list(fake.pieces))
    assert spent == [[3], [4], [4], [64, 4], [64] * 7]
    assert (e.counts.computed, e.counts.reused) == (520, 95)  # what is computed once more was there


@given(
    total=st.integers(1, 700),
    done=st.integers(0, 699),
    lengths=st.sets(st.integers(1, 300)).map(sorted),
)
def test_pieces_cover_the_prompt_and_have_fast_lengths_where_there_is_room(
    total: int, done: int, lengths: list[int]
) -> None:
    done = done % total
    begin, end = next_piece(done, total, lengths)
    assert 0 <= begin <= done < end <= total
    assert end - begin <= 256
    if any(length <= min(end, 256) for length in lengths):
        assert end - begin in lengths
    else:
        assert (begin, end) == (done, min(total, done + 256))


def test_an_interrupted_dialogue_reuses_what_is_left_of_it() -> None:
    e = engine()
    prompt = list(range(12))
    said = answer(e, prompt, 10)
    trimmed = [*prompt, *said[:4], 45, 46]
    computed, reused = e.counts.computed, e.counts.reused
    assert answer(e, trimmed, 5) == expected(trimmed, 5)
    assert e.counts.reused - reused == 16
    assert e.counts.computed - computed == 2


@pytest.mark.parametrize("length", [1, 255, 256, 257, 600])
def test_a_long_prompt_is_computed_in_pieces(length: int) -> None:
    e = engine(capacity=1024)
    prompt = [i % VOCABULARY for i in range(length)]
    assert answer(e, prompt, 3) == expected(prompt, 3)
    assert e.counts.computed == length


def test_closing_early_frees_the_slot_and_keeps_what_was_computed() -> None:
    e = engine(slots=1)
    tokens = e.generate([1, 2, 3], GREEDY, (), 20)
    begun = [next(tokens), next(tokens)]
    assert e.cache.slots[0].busy
    tokens.close()  # type: ignore[attr-defined]
    assert not e.cache.slots[0].busy
    dialogue = [1, 2, 3, *begun, 9]
    assert answer(e, dialogue, 5) == expected(dialogue, 5)
    assert e.counts.reused == 4  # the last token given was never computed


def test_interleaved_answers_do_not_disturb_each_other() -> None:
    e = engine()
    a, b = e.generate([1, 2], GREEDY, (), 9), e.generate([1, 3], GREEDY, (), 9)
    pairs = list(zip(a, b, strict=True))
    assert [x for x, _ in pairs] == expected([1, 2], 9)
    assert [y for _, y in pairs] == expected([1, 3], 9)


def run_all(e: DecodeEngine, *requests: Request) -> list[Generation]:
    """All requests at once, to their ends."""
    going = [e.add(request) for request in requests]
    while e.busy:
        e.step()
    assert all(g.done for g in going)
    return going


def tokens_of(generation: Generation) -> list[int]:
    return [step.token for step in generation.out if not step.stop]


def test_with_all_slots_busy_another_answer_waits_for_its_turn() -> None:
    e = engine(slots=1)
    first, second = run_all(e, Request([1], max_tokens=9), Request([2], max_tokens=2))
    assert tokens_of(first) == expected([1], 9)
    assert tokens_of(second) == expected([2], 2)


@pytest.mark.slow
@given(
    slots=st.integers(1, 4),
    requests=st.lists(
        st.tuples(
            st.integers(0, 12),
            st.lists(st.integers(0, 2), min_size=1, max_size=12),
            st.integers(0, 9),
            st.integers(0, 12),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_requests_that_join_and_leave_at_any_step_get_their_own_tokens(
    slots: int, requests: list[tuple[int, list[int], int, int]]
) -> None:
    """Each request: at which step it joins, its prompt, its most tokens, and after how many steps
    it is cancelled."""
    e = engine(slots, 32)
    going: list[tuple[Generation, list[int], int, int]] = []
    for number in range(200):
        going += [
            (e.add(Request(p, max_tokens=m)), p, m, c) for at, p, m, c in requests if at == number
        ]
        for generation, _, _, cancel_after in going:
            generation.cancelled = generation.cancelled or (generation.given >= cancel_after > 6)
        e.step()
    for generation, prompt, most, cancel_after in going:
        assert generation.done
        got = tokens_of(generation)
        assert got == expected(prompt, most)[: len(got)]
        assert len(got) == most or len(got) >= cancel_after > 6
    assert not any(slot.busy for slot in e.cache.slots)
    assert not e.busy


@pytest.mark.parametrize(
    ("slots", "order"),
    [(1, "greedy a b greedy a greedy greedy"), (2, "a b a greedy greedy greedy greedy")],
)
def test_a_free_slot_goes_to_the_client_that_holds_the_fewest(slots: int, order: str) -> None:
    e, admitted = engine(slots), list[str]()

    def asked(client: str, max_tokens: int = 1) -> Generation:
        context = copy_context()
        context.run(CLIENT.set, client)
        return context.run(e.add, Request([1], max_tokens=max_tokens), 1)

    for _ in range(slots - 1):
        asked("greedy", 50)
        e.step()
    waiting = [asked(client) for client in ("greedy",) * 4 + ("a", "b", "a")]
    while len(admitted) < len(waiting):
        admitted += [s.client for s in e.step() if s in waiting]
    assert admitted == order.split()


def test_a_long_prompt_is_computed_while_others_go_on() -> None:
    e = engine(capacity=2048)
    first = e.add(Request([1], max_tokens=50))
    e.step()
    prompt = [i % VOCABULARY for i in range(1000)]
    long, gone = e.add(Request(prompt, max_tokens=2)), e.add(Request(prompt[1:], max_tokens=2))
    given = []
    while not long.given:
        assert e.busy
        e.step()
        given.append(first.given)
        assert long in e.running
    assert given == [2, 3, 4, 5]  # a token between any two of its pieces
    while not long.done:
        e.step()
    assert [step.token for step in long.out] == expected(prompt, 2)
    e.step()
    assert gone in e.running
    assert not gone.given
    gone.cancelled = True
    assert e.step()[0] is gone
    assert gone not in e.running
    assert answer(e, [7, 8], 3) == expected([7, 8], 3)
    first.cancelled = True
    e.step()
    assert not e.busy


def test_sequences_share_a_batched_step() -> None:
    e = engine(slots=3)
    run_all(e, *(Request([i], max_tokens=12) for i in range(3)))
    assert isinstance(e.executor, FakeDecoder)
    assert max(e.executor.batches) == 3
    assert e.counts.steps <= 14


def test_a_paused_sequence_does_not_hold_up_the_others() -> None:
    e = engine()
    paused, other = e.add(Request([1], max_tokens=9), limit=2), e.add(Request([2], max_tokens=9))
    while e.busy:
        e.step()
    assert (len(paused.out), paused.done, other.done) == (2, False, True)
    paused.limit = 9
    while e.busy:
        e.step()
    assert tokens_of(paused) == expected([1], 9)


def test_equal_ids_of_another_namespace_are_another_prompt() -> None:
    e = engine(slots=1)
    run_all(e, Request([1, 2, 3, 4], max_tokens=2, namespace="a"))
    run_all(e, Request([1, 2, 3, 5], max_tokens=2, namespace="b"))
    assert e.counts.reused == 0
    run_all(e, Request([1, 2, 3, 6], max_tokens=2, namespace="b"))
    assert e.counts.reused == 3


def test_what_is_kept_outlives_the_slots_until_it_is_forgotten() -> None:
    e = engine(slots=1)
    e.keep(Request([1, 2, 3], namespace="voice"))
    run_all(e, Request([9] * 20, max_tokens=2))
    (again,) = run_all(e, Request([1, 2, 3, 4], max_tokens=3, namespace="voice"))
    assert tokens_of(again) == expected([1, 2, 3, 4], 3)
    assert e.counts.reused == 3
    e.forget("voice")
    run_all(
        e, Request([9] * 20, max_tokens=2), Request([1, 2, 3, 4], max_tokens=3, namespace="voice")
    )
    assert e.counts.reused == 3


def test_a_request_s_ids_history_watch_and_script_are_its_own() -> None:
    e = engine()
    request = Request(
        [1, 2],
        Sampling(repetition_penalty=2.0),
        {3},
        4,
        history=[7, 7],
        follow=lambda t, n: 10 * n,
        watch=5,
        forced=[4, 4, 3],
    )
    (generation,) = run_all(e, request)
    assert [(s.token, s.stop) for s in generation.out] == [(4, False), (4, False), (3, True)]
    assert generation.history == [7, 7, 4, 4]
    assert e.cache.slots[0].ids == [1, 2, 10, 20]
    assert all(0 < s.watched < 1 for s in generation.out)
    assert [float(s.hidden[0]) for s in generation.out] == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("length", [16, 17])
def test_a_prompt_that_leaves_no_room_is_refused_and_takes_no_slot(length: int) -> None:
    e = engine(slots=1, capacity=16)
    with pytest.raises(PromptTooLong, match=f"{length} tokens.*16") as caught:
        answer(e, [1] * length)
    with pytest.raises(PromptTooLong):
        e.keep(Request([1] * length))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert not e.cache.slots[0].busy


def test_the_answer_ends_with_the_buffers() -> None:
    e = engine(capacity=16)
    assert answer(e, [1] * 12, 100) == expected([1] * 12, 4)
    assert answer(e, [1] * 15, 100) == expected([1] * 15, 1)


@pytest.mark.parametrize("most", [0, 1, 5])
def test_the_answer_ends_after_max_tokens(most: int) -> None:
    e = engine()
    assert answer(e, [1, 2], most) == expected([1, 2], most)
    assert e.counts.generated == most


@pytest.mark.parametrize("at", [1, 2, 4])
def test_an_executor_s_error_passes_and_frees_the_slot(at: int) -> None:
    e = DecodeEngine(Failing(at))
    with pytest.raises(InferenceFailed, match="the machine died"):
        answer(e, [1, 2, 3])
    assert not any(slot.busy for slot in e.cache.slots)
    assert answer(e, [1, 2, 3]) == expected([1, 2, 3], 8)


def test_a_copy_that_fails_frees_the_slot_and_is_not_taken_for_done() -> None:
    e = DecodeEngine(Failing(copies=True))
    answer(e, [1, 2, 3, 4, 5])
    with pytest.raises(InferenceFailed, match="the machine died"):
        answer(e, [1, 2, 3, 9])
    assert not any(slot.busy for slot in e.cache.slots)
    assert answer(e, [1, 2, 3, 9]) == expected([1, 2, 3, 9], 8)


def test_a_piece_that_fails_leaves_what_was_there_and_not_what_it_may_have_changed() -> None:
    class Dying(FakeDecoder):
        dies = False

        def run(self, first: int, ids: Any, pasts: Sequence[int], rows: Any = None) -> Outputs:
            if self.dies:
                self._buffers[first, pasts[0] :] = -1
                raise InferenceFailed("the machine died")
            return super().run(first, ids, pasts, rows)

    fake = Dying(mixed, VOCABULARY, 1, 64, lengths=(4,))
    e, prompt = DecodeEngine(fake), list(range(8))
    assert answer(e, prompt, 2) == expected(prompt, 2)
    fake.dies = True
    with pytest.raises(InferenceFailed, match="died"):
        answer(e, [*prompt[:6], 20], 1)  # the last of four positions, three of which were there
    assert e.cache.slots[0].ids == prompt[:3]
    fake.dies = False
    assert answer(e, prompt, 3) == expected(prompt, 3)


def test_a_prefill_that_fails_frees_the_slot() -> None:
    e = DecodeEngine(Failing(1))
    with pytest.raises(InferenceFailed, match="the machine died"):
        e.keep(Request([1, 2, 3]))
    assert not any(slot.busy for slot in e.cache.slots)


def test_the_same_seed_gives_the_same_answer_whatever_was_in_the_slots() -> None:
    warm = Sampling(temperature=5.0, seed=3)
    fresh = answer(engine(), [1, 2, 3], 20, warm)
    used = engine()
    answer(used, [1, 2], 9)
    assert answer(used, [1, 2, 3], 20, warm) == fresh
    assert answer(used, [1, 2, 3], 20, warm.with_seed(4)) != fresh


def test_the_prompt_counts_as_history_for_the_penalty() -> None:
    punished = Sampling(repetition_penalty=2.0)
    assert answer(DecodeEngine(Constant()), [0], 3) == [3, 3, 3]
    assert answer(DecodeEngine(Constant()), [0], 3, punished) == [3, 4, 5]
    assert answer(DecodeEngine(Constant()), [4, 3], 3, punished) == [5, 3, 3]


@pytest.mark.slow
@given(
    slots=st.integers(1, 3),
    lengths=st.sets(st.integers(1, 24)).map(sorted),
    prompts=st.lists(
        st.tuples(
            st.lists(st.integers(0, 2), min_size=1, max_size=20), st.integers(0, 6), st.booleans()
        ),
        min_size=1,
        max_size=10,
    ),
)
def test_any_sequence_of_prompts_gives_what_a_fresh_engine_gives(
    slots: int, lengths: list[int], prompts: list[tuple[list[int], int, bool]]
) -> None:
    e = DecodeEngine(FakeDecoder(mixed, VOCABULARY, slots, 32, lengths=lengths))
    for prompt, count, prefilled in prompts:
        if prefilled:
            e.keep(Request(prompt))
        tokens = e.generate(prompt, GREEDY, (), 30)
        got = [token for token, _ in zip(tokens, range(count), strict=False)]
        tokens.close()  # type: ignore[attr-defined]
        assert got == expected(prompt, 30)[:count]
        assert not any(slot.busy for slot in e.cache.slots)


def test_what_is_kept_is_bounded_and_the_longest_unused_goes() -> None:
    e = engine(slots=1)
    for voice in range(17):
        e.keep(Request([1, 2, voice], namespace=str(voice)))
        e.keep(Request([1, 2, 0], namespace="0"))
    run_all(e, Request([9] * 20, max_tokens=1), Request([1, 2, 0, 5], max_tokens=1, namespace="0"))
    assert e.counts.reused == 3  # kept: it was used again and again
    run_all(e, Request([9] * 20, max_tokens=1), Request([1, 2, 1, 5], max_tokens=1, namespace="1"))
    assert e.counts.reused == 3  # dropped for the seventeenth


def test_what_cannot_be_kept_now_is_left_to_whoever_needs_it() -> None:
    e = engine(slots=1)
    running = e.add(Request([1], max_tokens=9))
    e.step()
    e.keep(Request([5, 6, 7], namespace="voice"))
    while e.busy:
        e.step()
    assert tokens_of(running) == expected([1], 9)
    (later,) = run_all(e, Request([5, 6, 7, 8], max_tokens=3, namespace="voice"))
    assert tokens_of(later) == expected([5, 6, 7, 8], 3)
