"""Lanes: one call at a time, urgent ones first, and every stream ends in done, error or cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context

import pytest
from voxturn.runtime.errors import InferenceFailed, StreamClosed
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.observe import observing
from voxturn.runtime.flow.scheduling import Gate


async def until(true: Callable[[], bool]) -> None:
    """Return as soon as something is true."""
    for _ in range(30_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never came true")


class Blocker:
    """A call that runs until it is released."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> bool:
        self.running.set()
        return self.release.wait(10)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.running.wait, 10)


class Spans(list[tuple[str, float, float]]):
    """An observer that keeps the calls."""

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        self.append((lane, begin_s, end_s))

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        raise AssertionError("a lane has no prompts")


async def test_lane_runs_one_call_at_a_time_and_tells_the_observer() -> None:
    spans, clock = Spans(), ManualClock(5.0)
    lane = Lane("work", clock=clock)

    def call(seconds: float) -> float:
        clock.advance(seconds)
        return seconds

    async def three() -> list[float]:
        streamed = [item async for item in lane.stream(lambda: map(call, [4.0]))]
        return [*await asyncio.gather(lane.run(call, 1.0), lane.run(call, 2.0)), *streamed]

    task = asyncio.create_task(three(), context=observing(spans))
    assert await task == [1.0, 2.0, 4.0]
    await lane.run(call, 8.0)  # of someone else
    assert spans == [
        ("work", 5.0, 9.0),
        ("work", 9.0, 9.0),  # which found the stream's end
        ("work", 9.0, 10.0),
        ("work", 10.0, 12.0),
    ]
    lane.close()


async def test_a_cancelled_caller_leaves_at_once_and_the_lane_goes_on() -> None:
    lane = Lane("work")
    blocker = Blocker()
    task = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)
    blocker.release.set()
    assert await asyncio.wait_for(lane.run(int, 7), 2) == 7
    lane.close()


async def test_lane_stream_gives_all_items_then_ends() -> None:
    lane = Lane("work")
    assert await _collect(lane.stream(lambda: iter(range(50)), ahead=3)) == list(range(50))
    lane.close()


async def test_lane_stream_carries_the_error_of_its_thread() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise InferenceFailed("engine died")

    lane = Lane("work")
    stream = lane.stream(broken)
    assert await stream.__anext__() == 1
    with pytest.raises(InferenceFailed, match="engine died"):
        await stream.__anext__()
    lane.close()


async def test_closing_a_lane_stream_closes_the_iterator_in_the_thread() -> None:
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    lane = Lane("work")
    stream = lane.stream(endless, ahead=2)
    assert await stream.__anext__() == 1
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, 2)
    assert await asyncio.wait_for(lane.run(int, 3), 2) == 3
    lane.close()


async def _collect(source: AsyncIterator[int]) -> list[int]:
    return [item async for item in source]


async def test_a_call_that_is_cancelled_while_it_waits_is_no_longer_wanted() -> None:
    lane = Lane("worker")
    blocker = Blocker()
    busy = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    assert not lane.wanted
    waiting = asyncio.create_task(lane.run(int))
    await until(lambda: lane.wanted)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not lane.wanted
    blocker.release.set()
    await busy
    lane.close()


async def test_a_lane_whose_call_does_not_return_is_left_behind() -> None:
    lane, blocker = Lane("reader"), Blocker()
    reading = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    lane.close(0.05)  # it does not wait for the call, which still runs
    assert not reading.done()
    blocker.release.set()
    assert await asyncio.wait_for(reading, 5)
    lane.close()


async def test_an_urgent_call_goes_before_those_that_wait_even_when_it_comes_late() -> None:
    """Which call is made is decided when the turn has come, not when it was asked for."""
    gate, order = Gate(), list[str]()
    lane = Lane("work", turn=lambda urgent: gate.turn(0 if urgent else 1))
    with gate.turn(0):
        calls = [asyncio.create_task(lane.run(order.append, name)) for name in ("first", "second")]
        await until(lambda: gate.waiting == 1)  # the first now waits at the gate
        gone = asyncio.create_task(lane.run_first(order.append, "gone"))
        await asyncio.sleep(0)
        gone.cancel()
        calls.append(asyncio.create_task(lane.run_first(order.append, "urgent")))
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*calls), 10)
    assert order == ["urgent", "first", "second"]
    lane.close()


def asked(lane: Lane, order: list[str], client: str, urgent: bool = False) -> asyncio.Task[None]:
    """A client's call, which notes its name."""
    context = copy_context()
    context.run(CLIENT.set, client)
    run = lane.run_first if urgent else lane.run
    return asyncio.create_task(run(order.append, f"{client}{'!' * urgent}"), context=context)


async def test_urgent_calls_do_not_keep_others_waiting_for_ever() -> None:
    clock = ManualClock()
    lane, blocker, order = Lane("work", clock=clock), Blocker(), list[str]()
    running = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    calls = [asked(lane, order, "patient"), asked(lane, order, "hasty", urgent=True)]
    await asyncio.sleep(0)
    clock.advance(0.5)
    calls += [asked(lane, order, "hasty", urgent=True), asked(lane, order, "late")]
    await asyncio.sleep(0)
    blocker.release.set()
    await asyncio.wait_for(asyncio.gather(running, *calls), 10)
    assert order[0] == "patient"
    assert order[-1] == "late"
    lane.close()


async def test_clients_take_turns_whoever_asked_for_more() -> None:
    lane, blocker, order = Lane("work"), Blocker(), list[str]()
    running = asyncio.create_task(lane.run(blocker))
    await blocker.begun()

    calls = [asked(lane, order, "greedy") for _ in range(4)]
    await asyncio.sleep(0)
    calls += [asked(lane, order, name) for name in ("a", "b", "a")]
    calls.append(asked(lane, order, "greedy", urgent=True))
    await asyncio.sleep(0)
    blocker.release.set()
    await asyncio.wait_for(asyncio.gather(running, *calls), 10)
    assert order == ["greedy!", "a", "b", "greedy", "a", "greedy", "greedy", "greedy"]
    lane.close()


async def test_whoever_gives_himself_a_new_name_each_time_comes_no_sooner() -> None:
    lane, order = Lane("work"), list[str]()
    await asked(lane, order, "known")
    await asked(lane, order, "first")
    blocker = Blocker()
    running = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    calls = [asked(lane, order, name) for name in ("new", "newer", "known")]
    await asyncio.sleep(0)
    blocker.release.set()
    await asyncio.wait_for(asyncio.gather(running, *calls), 10)
    assert order == ["known", "first", "known", "new", "newer"]
    lane.close()


async def test_closing_a_lane_ends_every_call_that_waits() -> None:
    lane, blocker = Lane("work"), Blocker()
    running = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    waiting = [asyncio.create_task(lane.run(blocker)) for _ in range(3)]
    await until(lambda: lane.wanted)
    closing = asyncio.create_task(asyncio.to_thread(lane.close))
    await asyncio.wait(waiting, timeout=10)
    blocker.release.set()
    assert await asyncio.wait_for(running, 10)
    for call in waiting:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 10)
    await closing
    with pytest.raises(StreamClosed):
        await lane.run(blocker)


def streamed(lane: Lane, order: list[str], client: str) -> asyncio.Task[list[str]]:
    """A client's stream, which notes its name when its first item is made."""

    def items() -> Iterator[str]:
        order.append(client)
        yield from "abc"

    context = copy_context()
    context.run(CLIENT.set, client)
    return asyncio.create_task(_collect(lane.stream(items)), context=context)


async def test_clients_take_turns_with_whole_streams() -> None:
    clock = ManualClock()
    lane, blocker, order = Lane("work", clock=clock), Blocker(), list[str]()
    running = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    streams = [streamed(lane, order, "greedy") for _ in range(4)]
    await asyncio.sleep(0)
    clock.advance(5.0)  # nobody is urgent: whoever waits for long comes no sooner for that
    streams += [streamed(lane, order, "modest"), streamed(lane, order, "modest")]
    await asyncio.sleep(0)
    call = asked(lane, order, "third")
    await asyncio.sleep(0)
    blocker.release.set()
    assert await asyncio.wait_for(asyncio.gather(running, *streams, call), 10) == [
        True,
        *[["a", "b", "c"]] * 6,
        None,
    ]
    assert order == ["greedy", "modest", "third", "greedy", "modest", "greedy", "greedy"]
    lane.close()


async def test_whoever_is_cancelled_while_he_waits_leaves_the_queue() -> None:
    lane, blocker, order = Lane("work"), Blocker(), list[str]()
    running = asyncio.create_task(lane.run(blocker))
    await blocker.begun()
    waiting = [asyncio.create_task(lane.run(order.append, "call")), streamed(lane, order, "stream")]
    last = streamed(lane, order, "last")
    await until(lambda: len(lane._calls) == 3)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    assert len(lane._calls) == 1
    blocker.release.set()
    await asyncio.wait_for(asyncio.gather(running, last), 10)
    assert order == ["last"]
    assert not lane.wanted
    lane.close()


async def test_a_lane_has_calls_to_make_for_those_who_stay() -> None:
    """Also where another call has been made in the place of one that was cancelled since."""
    lane, order = Lane("work"), list[str]()
    for client in ("known", "first"):
        await asked(lane, order, client)
    first, second = Blocker(), Blocker()
    running = asyncio.create_task(lane.run(first))
    await first.begun()
    gone = asked(lane, order, "gone")
    context = copy_context()
    context.run(CLIENT.set, "known")
    ahead = asyncio.create_task(lane.run(second), context=context)  # made in the place of `gone`
    await asyncio.sleep(0)
    first.release.set()
    await second.begun()
    stays = asked(lane, order, "stays")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    second.release.set()
    await asyncio.wait_for(asyncio.gather(running, ahead, stays), 10)
    assert order == ["known", "first", "stays"]
    await until(lambda: not lane.wanted)
    lane.close()
