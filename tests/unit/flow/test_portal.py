"""Event loops in threads, and async generators as iterators: everything begun ends, and no thread
is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import CancelledError

import pytest
from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.flow.portal import Iterated, Portal


class Source:
    """Numbers, and what became of the generator."""

    def __init__(self, count: int, fail_at: int = -1) -> None:
        self.count, self.fail_at = count, fail_at
        self.given = 0
        self.closed = threading.Event()

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for i in range(self.count):
                if i == self.fail_at:
                    raise LookupError("broken")
                self.given += 1
                yield i
        finally:
            await asyncio.sleep(0)
            self.closed.set()


def until(true: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(30_000):
        if true():
            return
        done.wait(0.001)
    raise AssertionError("never came true")


def threads() -> int:
    return sum(thread.name == "voxturn-iterated" for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_everything_comes_in_order_and_the_thread_ends(count: int) -> None:
    source = Source(count)
    assert list(Iterated(source, 4)) == list(range(count))
    assert source.closed.is_set()
    assert threads() == 0


def test_it_stays_at_its_end() -> None:
    items = Iterated(Source(1), 4)
    assert next(items) == 0
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(items)


def test_what_came_before_an_error_is_given_then_the_error_then_the_end() -> None:
    source = Source(9, fail_at=2)
    items = Iterated(source, 4)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(LookupError, match="broken"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)
    assert source.closed.is_set()
    assert threads() == 0


def test_an_error_while_the_generator_is_made_is_the_readers() -> None:
    def make() -> AsyncGenerator[int, None]:
        raise LookupError("not made")

    with pytest.raises(LookupError, match="not made"):
        next(Iterated(make, 4))


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_it_runs_ahead_only_so_far(ahead: int) -> None:
    source = Source(1000)
    items = Iterated(source, ahead)
    until(lambda: source.given >= ahead)
    assert next(items) == 0
    until(lambda: source.given >= ahead + 1)
    threading.Event().wait(0.05)
    assert source.given <= ahead + 2
    items.close()
    assert threads() == 0


@pytest.mark.parametrize("read", [0, 1, 10])
def test_closing_early_closes_the_generator_and_waits(read: int) -> None:
    source = Source(1000)
    items = Iterated(source, 4)
    assert [next(items) for _ in range(read)] == list(range(read))
    items.close()
    assert source.closed.is_set() or not source.given  # what never began has nothing to close
    assert source.given < 1000
    assert threads() == 0
    with pytest.raises(StopIteration):
        next(items)
    items.close()


def test_closing_what_has_ended_or_failed_does_nothing() -> None:
    for source in (Source(2), Source(2, fail_at=0)):
        items = Iterated(source, 4)
        until(lambda source=source: source.closed.is_set())  # type: ignore[misc]
        items.close()
        assert threads() == 0


def test_two_at_once_do_not_disturb_each_other() -> None:
    first, second = Iterated(Source(300), 3), Iterated(Source(300), 3)
    for i in range(300):
        assert (next(first), next(second)) == (i, i)
    for items in (first, second):
        with pytest.raises(StopIteration):
            next(items)


def test_dropping_it_closes_the_generator_and_ends_the_thread() -> None:
    source = Source(1000)
    items = Iterated(source, 4)
    assert next(items) == 0
    del items
    until(lambda: source.closed.is_set() and threads() == 0)


def test_closing_does_not_wait_for_a_source_that_gives_nothing() -> None:
    closed = threading.Event()

    async def stuck() -> AsyncGenerator[int, None]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            closed.set()

    items = Iterated(stuck, 4)
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert threads() == 0


async def _value() -> int:
    return 7


async def test_a_portal_works_for_threads_and_for_other_event_loops() -> None:
    portal = Portal("voxturn-test")
    assert await asyncio.to_thread(portal.run, _value()) == 7
    assert await portal.arun(_value()) == 7
    portal.close()


async def test_cancelling_who_waits_cancels_what_is_awaited() -> None:
    portal, ended = Portal("voxturn-test"), threading.Event()
    waiting = asyncio.create_task(portal.arun(_for_ever(ended)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(ended.wait, 10)
    portal.close()


async def _for_ever(ended: threading.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


def test_closing_a_portal_ends_all_that_was_begun_in_it() -> None:
    portal, ends = Portal("voxturn-test"), [threading.Event() for _ in range(3)]
    waiting = threading.Thread(target=_cancelled, args=(portal, ends[0]))
    waiting.start()
    portal.start(lambda: _for_ever(ends[1]))
    portal.call(lambda: portal.start(lambda: _for_ever(ends[2])))
    until(lambda: len(_tasks(portal)) == 3)
    portal.close()
    portal.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert all(end.is_set() for end in ends)


def _tasks(portal: Portal) -> list[str]:
    async def others() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]

    return portal.run(others())


def _cancelled(portal: Portal, ended: threading.Event) -> None:
    with pytest.raises(CancelledError):
        portal.run(_for_ever(ended))


async def test_a_closed_portal_says_so() -> None:
    portal = Portal("voxturn-test")
    portal.close()
    assert not portal.open
    with pytest.raises(StreamClosed, match="voxturn-test was closed"):
        portal.run(_value())
    with pytest.raises(StreamClosed):
        await portal.arun(_value())
    with pytest.raises(StreamClosed):
        portal.call(print)
    portal.start(_value)  # which is left alone


def test_whatever_is_asked_while_a_portal_closes_gets_an_end() -> None:
    for _ in range(20):
        portal, ends = Portal("voxturn-test"), list[object]()

        def ask(portal: Portal = portal, ends: list[object] = ends) -> None:
            while True:
                try:
                    portal.run(_value())
                except (StreamClosed, CancelledError) as exc:
                    ends.append(exc)
                    return

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        portal.close()
        for thread in threads:
            thread.join(10)
        assert len(ends) == 3
