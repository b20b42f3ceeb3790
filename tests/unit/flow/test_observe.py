"""Observers belong to the tasks of a context, whoever runs beside them."""

from __future__ import annotations

import asyncio

from voxturn.runtime.flow.observe import OBSERVER, Observer, observing


class Nothing:
    """An observer that keeps nothing."""

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        return None

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        return None


async def _mine() -> Observer | None:
    await asyncio.sleep(0)
    return OBSERVER.get()


async def test_every_task_has_the_observer_of_its_own_context() -> None:
    first, second = Nothing(), Nothing()
    tasks = [
        asyncio.create_task(_mine(), context=observing(first)),
        asyncio.create_task(_mine(), context=observing(second)),
        asyncio.create_task(_mine()),
    ]
    assert await asyncio.gather(*tasks) == [first, second, None]
