from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.flow.event import Event

STEPS = st.lists(
    st.sampled_from(["wait", "set", "clear", "cancel the first", "cancel the last", "let run"]),
    max_size=30,
)


async def course(event: Event | asyncio.Event, steps: list[str]) -> list[object]:
    """What becomes of those who wait, after each step."""
    tasks: list[asyncio.Task[object]] = []
    told: list[object] = []

    async def waits() -> None:
        await event.wait()

    for step in steps:
        if step == "wait":
            tasks.append(asyncio.create_task(waits()))
        elif step == "set":
            event.set()
        elif step == "clear":
            event.clear()
        elif step == "let run":
            for _ in range(3):
                await asyncio.sleep(0)
        elif tasks:
            tasks[0 if step == "cancel the first" else -1].cancel()
        told.append((event.is_set(), [(t.done(), t.done() and t.cancelled()) for t in tasks]))
    event.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    return [*told, [task.cancelled() for task in tasks]]


@settings(max_examples=200)
@given(STEPS)
def test_it_is_asyncio_s(steps: list[str]) -> None:
    async def both() -> None:
        assert await course(Event(), steps) == await course(asyncio.Event(), steps)

    asyncio.run(both())


async def test_who_no_longer_waits_is_forgotten() -> None:
    event = Event()
    task = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert event._waiters == []
