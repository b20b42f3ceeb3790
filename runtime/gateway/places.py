"""How many texts are spoken at once, beside the conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from voxturn.runtime.flow.event import Event
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller

_RETRY_S = 2.0


class Places:
    """Places for texts: so many in all, and of one caller."""

    def __init__(self, most: int, most_of_key: int) -> None:
        self._most = most
        self._most_of_key = min(most_of_key or most, most)
        self._taken: Counter[str] = Counter()
        self._left = Event()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Hold one while the block runs. Raises `ApiError` 429 where none is free."""
        self.take(caller)
        try:
            yield
        finally:
            self.leave(caller)

    def take(self, caller: Caller) -> None:
        """Take one. Raises `ApiError` 429 where none is free."""
        if full := self._full(caller):
            raise ApiError(429, full, "too_many_requests", retry_after_s=_RETRY_S)
        self._taken[caller.client] += 1

    async def wait(self, caller: Caller) -> None:
        """Take one as soon as one is free."""
        while self._full(caller):
            self._left.clear()
            await self._left.wait()
        self.take(caller)

    def leave(self, caller: Caller) -> None:
        """Leave one that was taken."""
        self._taken[caller.client] -= 1
        if not self._taken[caller.client]:
            del self._taken[caller.client]
        self._left.set()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken.total()

    def _full(self, caller: Caller) -> str:
        """Which limit a further text would pass; empty: none."""
        if self._taken[caller.client] >= self._most_of_key:
            return f"{self._most_of_key} texts of this key are being spoken already"
        if self._taken.total() >= self._most:
            return f"all {self._most} places for texts are taken"
        return ""


class PlaceOfText:
    """The place of a text that comes in pieces: taken for a sentence, left once all that have come
    are spoken. Leave it at the text's end."""

    def __init__(self, places: Places, caller: Caller) -> None:
        self._places = places
        self._caller = caller
        self._begun = False
        self.held = False

    async def take(self) -> None:
        """A sentence is to be spoken. Raises `ApiError` 429 where the text's first finds no place;
        later ones wait for it: a text is not ended in the middle."""
        if self.held:
            return
        if self._begun:
            await self._places.wait(self._caller)
        else:
            self._places.take(self._caller)
        self._begun = self.held = True

    def leave(self) -> None:
        """Nothing is to be spoken. Safe to call twice."""
        if self.held:
            self.held = False
            self._places.leave(self._caller)
