"""How much may be asked for: requests by time, and conversations at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway_settings import GatewaySettings

_RETRY_S = 5.0
"""When someone who found the house full may ask again: about the length of a turn."""


class SharedPlaces(Protocol):
    """The places for conversations that other processes count as well (`Leases`)."""

    @property
    def most(self) -> int:
        """How many there are."""
        ...

    def taken(self, key: str | None = None) -> int:
        """How many are taken by anyone, or by a key."""
        ...

    def take(self, key: str, most_of_key: int) -> int | str:
        """The number of the place that was taken; else what is full: "all" or "key"."""
        ...

    def leave(self, place: int) -> None:
        """Free a place."""
        ...


class OwnPlaces:
    """The `most` places of a single process."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._keys: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._next = 0

    def taken(self, key: str | None = None) -> int:
        """How many are taken by anyone, or by a key."""
        return len(self._keys) if key is None else self._counts[key]

    def take(self, key: str, most_of_key: int) -> int | str:
        """The number of the place that was taken; else what is full: "all" or "key"."""
        if len(self._keys) >= self.most:
            return "all"
        if self._counts[key] >= most_of_key:
            return "key"
        self._next += 1
        self._keys[self._next] = key
        self._counts[key] += 1
        return self._next

    def leave(self, place: int) -> None:
        """Free a place."""
        key = self._keys.pop(place)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


class Limits:
    """Counts what each caller asks for. `slots`: conversations that the engines have places for.

    `storage` and `leases` are those of several processes, where there are more than this one.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        slots: int,
        storage: Storage | None = None,
        leases: SharedPlaces | None = None,
    ) -> None:
        self._rate = settings.requests_per_minute
        self._limiter = MovingWindowRateLimiter(storage or MemoryStorage())
        self._places = leases or OwnPlaces(most_sessions(settings, slots))
        self.most = self._places.most
        self._most_of_key = settings.sessions_of_key or self.most

    @property
    def sessions(self) -> int:
        """How many conversations there are."""
        return self._places.taken()

    async def request(self, caller: Caller) -> None:
        """Count a request. Raises `ApiError` 429 where there are too many."""
        note(key=caller.key)
        rate = RateLimitItemPerMinute(caller.rate or self._rate)
        if await self._limiter.hit(rate, caller.client):
            return
        window = await self._limiter.get_window_stats(rate, caller.client)
        raise ApiError(
            429,
            f"more than {rate.amount} requests a minute",
            "rate_limit_exceeded",
            retry_after_s=max(1.0, window.reset_time - time.time()),
        )

    async def window(self, caller: Caller) -> tuple[int, int, float]:
        """How many requests a caller may make a minute, how many of them are left, and in how many
        seconds all are."""
        rate = RateLimitItemPerMinute(caller.rate or self._rate)
        window = await self._limiter.get_window_stats(rate, caller.client)
        return rate.amount, window.remaining, max(0.0, window.reset_time - time.time())

    @contextmanager
    def session(self, caller: Caller) -> Iterator[None]:
        """Hold a place for a conversation. Raises `ApiError` 429 where none is free."""
        most_of_key = caller.sessions or self._most_of_key
        place = self._places.take(caller.client, most_of_key)
        if isinstance(place, str):
            full = {
                "all": f"all {self.most} places for conversations are taken",
                "key": f"this key has {most_of_key} conversations already",
            }
            raise ApiError(429, full[place], "session_limit_reached", retry_after_s=_RETRY_S)
        try:
            yield
        finally:
            self._places.leave(place)


def most_sessions(settings: GatewaySettings, slots: int) -> int:
    """How many conversations there may be at once."""
    return settings.sessions or slots
