"""How many texts are spoken at once, beside the conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.places import Places

_RETRY_S = 2.0
_LOOK_S = 0.25
"""How often it is looked whether another process has left a place."""


class Speeches:
    """The places of texts that are spoken: so many in all, and of one caller."""

    def __init__(self, places: Places, most_of_key: int) -> None:
        self._places = places
        self._most_of_key = min(most_of_key or places.most, places.most)
        self._left = Event()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Hold one while the block runs. Raises `ApiError` 429 where none is free."""
        place = self.take(caller)
        try:
            yield
        finally:
            self.leave(place)

    def take(self, caller: Caller) -> int:
        """The number of the place that was taken. Raises `ApiError` 429 where none is free."""
        place = self._places.take(caller.client, self._most_of_key)
        if isinstance(place, int):
            return place
        full = {
            "all": f"all {self._places.most} places for texts are taken",
            "key": f"{self._most_of_key} texts of this key are being spoken already",
        }
        raise ApiError(429, full[place], "too_many_requests", retry_after_s=_RETRY_S)

    async def wait(self, caller: Caller, clock: Clock) -> int:
        """As `take`, as soon as one is free. Of what other processes leave nobody tells: it is
        looked after."""
        while True:
            place = self._places.take(caller.client, self._most_of_key)
            if isinstance(place, int):
                return place
            self._left.clear()
            left = asyncio.ensure_future(self._left.wait())
            try:
                await done_by(clock, left, clock.now() + _LOOK_S)
            finally:
                await cancel_and_wait(left)

    def leave(self, place: int) -> None:
        """Leave one that was taken."""
        self._places.leave(place)
        self._left.set()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._places.taken()


class PlaceOfText:
    """The place of a text that comes in pieces: taken for a sentence, left once all that have come
    are spoken. Leave it at the text's end."""

    def __init__(self, speeches: Speeches, caller: Caller, clock: Clock) -> None:
        self._speeches = speeches
        self._caller = caller
        self._clock = clock
        self._begun = False
        self._place: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is taken."""
        return self._place is not None

    async def take(self) -> None:
        """A sentence is to be spoken. Raises `ApiError` 429 where the text's first finds no place;
        later ones wait for it: a text is not ended in the middle."""
        if self._place is not None:
            return
        if self._begun:
            self._place = await self._speeches.wait(self._caller, self._clock)
        else:
            self._place = self._speeches.take(self._caller)
        self._begun = True

    def leave(self) -> None:
        """Nothing is to be spoken. Safe to call twice."""
        place, self._place = self._place, None
        if place is not None:
            self._speeches.leave(place)
