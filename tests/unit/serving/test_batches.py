"""Calls that come while a graph runs are made together, and each gets its own rows."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import InferenceFailed, StreamClosed
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.serving.batches import Batches

Tensors = dict[str, np.ndarray[Any, Any]]
_TICKS = 5


class Graph:
    """Doubles its input in `_TICKS` rounds of the event loop; fails for a length of 13."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    async def run(self, inputs: Tensors) -> Tensors:
        self.calls.append(inputs["x"].shape)
        for _ in range(_TICKS):
            await asyncio.sleep(0)
        if inputs["x"].shape[1] == 13:
            raise InferenceFailed("thirteen")
        return {"y": 2 * inputs["x"]}


def call(number: int, rows: int, length: int) -> Tensors:
    return {"x": np.full((rows, length), number, np.float32)}


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=20
    )
)
def test_everyone_gets_their_own(shapes: list[tuple[int, int, int]]) -> None:
    graph = Graph()

    async def one(batches: Batches, number: int, rows: int, length: int, later: int) -> None:
        for _ in range(later):
            await asyncio.sleep(0)
        made = await batches.run(call(number, rows, length))
        np.testing.assert_array_equal(made["y"], np.full((rows, length), 2 * number, np.float32))

    async def all_of_them() -> None:
        batches = Batches(graph.run, 4, 1 << 20)
        await asyncio.gather(*(one(batches, number, *shape) for number, shape in enumerate(shapes)))

    asyncio.run(all_of_them())
    assert all(rows <= 4 for rows, _ in graph.calls)
    assert sum(rows for rows, _ in graph.calls) == sum(rows for rows, _, _ in shapes)


async def test_those_of_one_shape_that_come_at_once_are_one_call() -> None:
    graph = Graph()
    batches = Batches(graph.run, 8, 1 << 20)
    await asyncio.gather(*(batches.run(call(n, 1, 5 + n % 2)) for n in range(8)))
    assert graph.calls == [(4, 5), (4, 6)]


async def test_a_client_that_asks_for_more_waits_for_the_others_between_its_calls() -> None:
    graph = Graph()
    batches = Batches(graph.run, 1, 1 << 20)

    def asked(client: str, length: int) -> asyncio.Task[Tensors]:
        context = copy_context()
        context.run(CLIENT.set, client)
        return asyncio.create_task(batches.run(call(1, 1, length)), context=context)

    await asyncio.gather(*(asked("greedy", 1) for _ in range(4)), asked("a", 2), asked("b", 3))
    assert [length for _, length in graph.calls] == [1, 2, 3, 1, 1, 1]


async def test_a_failure_is_that_of_its_batch_alone() -> None:
    graph = Graph()
    batches = Batches(graph.run, 8, 1 << 20)
    found = await asyncio.gather(
        *(batches.run(call(1, 1, n)) for n in (13, 2, 13)), return_exceptions=True
    )
    assert [isinstance(each, InferenceFailed) for each in found] == [True, False, True]
    assert (await batches.run(call(3, 1, 2)))["y"][0, 0] == 6


async def test_whoever_left_is_not_computed() -> None:
    graph = Graph()
    batches = Batches(graph.run, 8, 1 << 20)
    tasks = [asyncio.create_task(batches.run(call(n, 1, 4))) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert graph.calls == [(2, 4)]
    with pytest.raises(asyncio.CancelledError):
        tasks[1].result()


async def test_too_many_numbers_are_another_call() -> None:
    graph = Graph()
    batches = Batches(graph.run, 8, 25)
    await asyncio.gather(*(batches.run(call(n, 1, 10)) for n in range(5)))
    assert graph.calls == [(2, 10), (2, 10), (1, 10)]


async def test_nobody_waits_for_a_graph_that_was_closed() -> None:
    async def closed(_: Tensors) -> Tensors:
        raise asyncio.CancelledError

    batches = Batches(closed, 8, 1 << 20)
    found = await asyncio.gather(
        *(batches.run(call(1, 1, n)) for n in (4, 5, 4)), return_exceptions=True
    )
    assert [type(each) for each in found] == [StreamClosed] * 3  # those of another batch as well
