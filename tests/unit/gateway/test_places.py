from __future__ import annotations

import asyncio

import pytest
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.places import PlaceOfText, Places

ANA, BO = Caller("ana"), Caller("bo")


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_refusal_names_the_limit_that_was_met() -> None:
    places = Places(2, 1)
    with places.place(ANA):
        with pytest.raises(ApiError, match="1 texts of this key") as caught:
            places.take(ANA)
        assert (caught.value.status, caught.value.code) == (429, "too_many_requests")
        with places.place(BO), pytest.raises(ApiError, match="all 2 places"):
            places.take(Caller("cy"))
        assert places.taken == 1
    assert places.taken == 0


async def test_whoever_waits_gets_a_place_once_one_is_left() -> None:
    places = Places(1, 1)
    places.take(ANA)
    waiting = [asyncio.create_task(places.wait(each)) for each in (BO, Caller("cy"))]
    await settled()
    assert not any(task.done() for task in waiting)
    places.leave(ANA)
    await settled()
    assert [task.done() for task in waiting] == [True, False]
    await cancel_and_wait(waiting[1])
    places.leave(BO)
    assert places.taken == 0


async def test_a_text_s_first_sentence_is_refused_and_later_ones_wait() -> None:
    places = Places(1, 1)
    text = PlaceOfText(places, ANA)
    with places.place(BO), pytest.raises(ApiError):
        await text.take()
    await text.take()
    await text.take()
    assert (text.held, places.taken) == (True, 1)
    text.leave()
    text.leave()
    assert (text.held, places.taken) == (False, 0)
    with places.place(BO):
        again = asyncio.create_task(text.take())
        await settled()
        assert not again.done()
    async with asyncio.timeout(10):
        await again
    assert places.taken == 1
