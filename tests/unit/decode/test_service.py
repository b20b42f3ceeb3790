"""The engine behind many readers at once: every stream ends, and frees what it held."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.errors import InferenceFailed, PromptTooLong, StreamClosed
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.observe import observing
from voxturn.runtime.flow.scheduling import Gate

T = TypeVar("T")
VOCABULARY = 50


def following(ids: Sequence[int]) -> int:
    return (31 * sum(ids) + 7 * len(ids)) % VOCABULARY


def expected(prompt: Sequence[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(following(ids))
    return ids[len(prompt) :]


@pytest.fixture
def service() -> Iterator[DecodeService]:
    lane = Lane("tokens")
    yield DecodeService(
        DecodeEngine(FakeDecoder(following, VOCABULARY, slots=3, seconds=0.0005)), lane
    )
    lane.close()


async def read(service: DecodeService, prompt: Sequence[int], count: int) -> list[int]:
    return [step.token async for step in service.stream(Request(prompt, max_tokens=count))]


async def until(true: Callable[[], bool]) -> None:
    """Return as soon as something is true."""
    for _ in range(30_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never came true")


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, float]] = []
        self.prompts: list[tuple[str, int, int]] = []

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        self.calls.append((lane, begin_s, end_s))

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        self.prompts.append((lane, computed, reused))


async def settled(service: DecodeService) -> None:
    for _ in range(400):
        if not service.engine.busy and not any(slot.busy for slot in service.engine.cache.slots):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("a slot is still held")


async def test_many_readers_get_their_own_tokens(service: DecodeService) -> None:
    prompts = [[i, i + 1] for i in range(9)]
    got = await asyncio.wait_for(asyncio.gather(*(read(service, p, 20) for p in prompts)), 20)
    assert got == [expected(p, 20) for p in prompts]
    assert isinstance(service.engine.executor, FakeDecoder)
    assert max(service.engine.executor.batches) == 3
    await settled(service)


async def test_closing_a_stream_frees_its_slot_and_leaves_the_others(
    service: DecodeService,
) -> None:
    long = asyncio.create_task(read(service, [1], 120))
    stream = service.stream(Request([2], max_tokens=200))
    first = [await anext(stream), await anext(stream)]
    await stream.aclose()
    assert [s.token for s in first] == expected([2], 2)
    assert await asyncio.wait_for(long, 20) == expected([1], 120)
    await settled(service)


async def test_a_hundred_streams_cancelled_at_random_moments_leave_nothing(
    service: DecodeService,
) -> None:
    random = np.random.default_rng(5)

    async def some(number: int) -> None:
        with_timeout = read(service, [number % 7, 3], 100)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(with_timeout, float(random.uniform(0.0, 0.03)))

    await asyncio.gather(*(some(i) for i in range(100)))
    await settled(service)
    assert len(asyncio.all_tasks()) == 1
    assert not service._readers
    assert await read(service, [1, 2], 5) == expected([1, 2], 5)


async def test_a_reader_that_does_not_read_pauses_only_itself(service: DecodeService) -> None:
    slow = service.stream(Request([4], max_tokens=50), ahead=3)
    first = await anext(slow)
    assert await asyncio.wait_for(read(service, [5], 60), 20) == expected([5], 60)
    rest = [step.token async for step in slow]
    assert [first.token, *rest] == expected([4], 50)


async def test_the_error_of_a_batched_step_reaches_every_reader(
    service: DecodeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = service.engine.executor.run

    def dies_at_two(
        first: int, ids: np.ndarray, pasts: Sequence[int], rows: object = None
    ) -> object:
        if len(ids) == 2 and max(pasts) > 20:
            raise InferenceFailed("the machine died")
        return run(first, ids, pasts)

    monkeypatch.setattr(service.engine.executor, "run", dies_at_two)
    results = await asyncio.wait_for(
        asyncio.gather(read(service, [1], 90), read(service, [2], 90), return_exceptions=True), 20
    )
    assert [str(r) for r in results] == ["the machine died", "the machine died"]
    await settled(service)
    assert await read(service, [1, 2], 5) == expected([1, 2], 5)


async def test_a_prompt_that_is_too_long_is_refused_at_once(service: DecodeService) -> None:
    with pytest.raises(PromptTooLong):
        await read(service, [1] * 256, 5)
    assert not service._readers


async def test_a_closed_lane_ends_streams_with_an_error() -> None:
    lane = Lane("tokens")
    service = DecodeService(DecodeEngine(FakeDecoder(following, VOCABULARY, seconds=0.002)), lane)
    stream = service.stream(Request([1], max_tokens=200), ahead=4)
    await anext(stream)
    await asyncio.to_thread(lane.close)
    with pytest.raises(StreamClosed):
        async with asyncio.timeout(10):
            async for _ in stream:
                pass
    with pytest.raises(StreamClosed):
        await read(service, [2], 3)


async def test_what_else_the_engine_is_asked_is_done_between_steps(service: DecodeService) -> None:
    reading = asyncio.create_task(read(service, [1], 150))
    await until(lambda: service.engine.counts.generated > 3)
    await asyncio.wait_for(service.keep(Request([7, 8, 9])), 10)
    assert await reading == expected([1], 150)
    assert await read(service, [7, 8, 9, 1], 4) == expected([7, 8, 9, 1], 4)
    assert service.engine.counts.reused >= 3


async def test_the_first_tokens_of_an_urgent_request_come_before_other_work(
    service: DecodeService,
) -> None:
    """Its steps hold the turn together: what waits for the cores comes after them."""
    gate, order = Gate(), list[str]()
    lane = Lane("tokens", turn=lambda urgent: gate.turn(0 if urgent else 2))
    decoder = FakeDecoder(following, VOCABULARY, slots=3, seconds=0.005)
    urgent = DecodeService(DecodeEngine(decoder), lane)

    def other() -> None:
        with gate.turn(1):
            order.append("other")

    with gate.turn(0):
        stream = urgent.stream(Request([1], max_tokens=12, urgent=5))
        reading = asyncio.create_task(anext(stream))
        await until(lambda: gate.waiting == 1)
        waiting = asyncio.create_task(asyncio.to_thread(other))
        await until(lambda: gate.waiting == 2)
    await asyncio.wait_for(waiting, 10)
    assert 5 <= next(iter(urgent.engine.running)).given < 12 or not urgent.engine.running
    await asyncio.wait_for(reading, 10)
    await stream.aclose()
    lane.close()


def observed(told: Told, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose observer is `told`."""
    return asyncio.create_task(work, context=observing(told))


async def test_every_stream_s_observer_is_told_of_its_own_prompt(service: DecodeService) -> None:
    """With streams at once, slots that others leave, prompts that others share, and what is kept."""
    await read(service, [9, 9, 9], 2)  # of nobody
    keeper, told = Told(), [Told() for _ in range(9)]
    await observed(keeper, service.keep(Request([7, 8, 9])))
    await observed(keeper, service.keep(Request([7, 8, 9])))  # which costs nothing
    assert keeper.prompts == [("tokens", 3, 0)]
    before = service.engine.counts.computed, service.engine.counts.reused
    prompts = [[7, 8, 9, *range(20 + n, 20 + 2 * n), n] for n in range(9)]
    tasks = [
        observed(t, read(service, prompt, 20)) for t, prompt in zip(told, prompts, strict=True)
    ]
    await asyncio.wait_for(asyncio.gather(*tasks), 20)
    for each, prompt in zip(told, prompts, strict=True):
        ((lane, computed, reused),) = each.prompts
        assert lane == "tokens"
        assert computed + reused == len(prompt)
        assert reused >= 3
    after = service.engine.counts.computed, service.engine.counts.reused
    totals = [sum(each.prompts[0][i] for each in told) for i in (1, 2)]
    assert totals == [after[i] - before[i] for i in range(2)]


async def test_a_prompt_that_is_computed_alone_and_one_that_failed_are_told_of(
    service: DecodeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, failing, run = Told(), Told(), service.engine.executor.run
    await observed(alone, service.compute(Request([1, 2, 3, 4], max_tokens=0)))
    assert alone.prompts == [("tokens", 4, 0)]
    assert len(alone.calls) == 1

    def dead(*_: object) -> object:
        raise InferenceFailed("dead")

    monkeypatch.setattr(service.engine.executor, "run", dead)
    with pytest.raises(InferenceFailed):
        await observed(failing, read(service, [1, 2, 3, 4, 5], 3))
    assert failing.prompts == [("tokens", 0, 4)]
    monkeypatch.setattr(service.engine.executor, "run", run)


async def test_a_step_is_told_to_those_alone_that_it_worked_for() -> None:
    """Not to whom it ends, and in seconds of the service's clock."""
    clock, lane = ManualClock(), Lane("tokens")

    def slowly(ids: Sequence[int]) -> int:
        clock.advance(1.0)
        return following(ids)

    service = DecodeService(DecodeEngine(FakeDecoder(slowly, VOCABULARY, slots=3)), lane, clock)
    gone, stays = Told(), Told()

    async def two_steps() -> None:
        stream = service.stream(Request([1], max_tokens=200), ahead=2)
        _ = [await anext(stream), await anext(stream)]
        await stream.aclose()

    await observed(gone, two_steps())
    await observed(stays, read(service, [2, 3], 10))
    lane.close()
    assert 2 <= len(gone.calls) <= 4
    assert len(stays.calls) == 10
    assert not set(gone.calls) & set(stays.calls)
    assert all(earlier[2] <= later[1] for earlier, later in itertools.pairwise(stays.calls))
    assert all(end - begin >= 1.0 for _, begin, end in stays.calls)
