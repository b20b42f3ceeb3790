from __future__ import annotations

import asyncio

import pytest
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.speeches import PlaceOfText, Speeches

ANA, BO, CY = Caller("ana"), Caller("bo"), Caller("cy")


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_refusal_names_the_limit_that_was_met() -> None:
    speeches = Speeches(OwnPlaces(2), 1)
    with speeches.place(ANA):
        with pytest.raises(ApiError, match="1 texts of this key") as caught:
            speeches.take(ANA)
        assert (caught.value.status, caught.value.code) == (429, "too_many_requests")
        with speeches.place(BO), pytest.raises(ApiError, match="all 2 places"):
            speeches.take(CY)
        assert speeches.taken == 1
    assert speeches.taken == 0


async def test_whoever_waits_gets_a_place_once_one_is_left() -> None:
    speeches, clock = Speeches(OwnPlaces(1), 1), ManualClock()
    place = speeches.take(ANA)
    waiting = [asyncio.create_task(speeches.wait(each, clock)) for each in (BO, CY)]
    await settled()
    assert not any(task.done() for task in waiting)
    speeches.leave(place)
    await settled()
    assert [task.done() for task in waiting] == [True, False]
    await cancel_and_wait(waiting[1])
    speeches.leave(waiting[0].result())
    assert (speeches.taken, clock.waiting) == (0, 0)


async def test_a_place_that_another_process_leaves_is_found() -> None:
    shared, clock = OwnPlaces(1), ManualClock()
    here = Speeches(shared, 1)
    place = shared.take("ana", 1)
    assert isinstance(place, int)
    waiting = asyncio.create_task(here.wait(BO, clock))
    await settled()
    shared.leave(place)
    await settled()
    assert not waiting.done()
    clock.advance(1.0)
    async with asyncio.timeout(10):
        here.leave(await waiting)
    assert here.taken == 0


async def test_a_text_s_first_sentence_is_refused_and_later_ones_wait() -> None:
    speeches = Speeches(OwnPlaces(1), 1)
    text = PlaceOfText(speeches, ANA, ManualClock())
    with speeches.place(BO), pytest.raises(ApiError):
        await text.take()
    await text.take()
    await text.take()
    assert (text.held, speeches.taken) == (True, 1)
    text.leave()
    text.leave()
    assert (text.held, speeches.taken) == (False, 0)
    with speeches.place(BO):
        again = asyncio.create_task(text.take())
        await settled()
        assert not again.done()
    async with asyncio.timeout(10):
        await again
    assert speeches.taken == 1
