"""How much may be asked for: requests by time, and conversations at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.places import OwnPlaces, Places
from voxturn.runtime.gateway_settings import GatewaySettings

_LOG = logging.getLogger(__name__)
_RETRY_S = 5.0
"""When someone who found the house full may ask again: about the length of a turn."""


class Limits:
    """Counts what each caller asks for. `slots`: conversations that the engines have places for.

    `storage` and `places`, those for conversations, are those of several processes, where there are
    more than this one.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        slots: int,
        storage: Storage | None = None,
        places: Places | None = None,
    ) -> None:
        self._rate = settings.requests_per_minute
        self._limiter = MovingWindowRateLimiter(storage or MemoryStorage())
        self._places = places or OwnPlaces(most_sessions(settings, slots))
        self.most = self._places.most
        self._most_of_key = settings.sessions_of_key or self.most

    @property
    def sessions(self) -> int:
        """How many conversations there are."""
        return self._places.taken()

    async def request(self, caller: Caller) -> None:
        """Count a request. Raises `ApiError` 429 where there are too many, and 503 where they cannot
        be counted."""
        note(key=caller.key)
        rate = RateLimitItemPerMinute(caller.rate or self._rate)
        with _reached():
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
        seconds all are. Raises `ApiError` 503."""
        rate = RateLimitItemPerMinute(caller.rate or self._rate)
        with _reached():
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


@contextmanager
def _reached() -> Iterator[None]:
    """Raise `ApiError` 503 where Redis cannot be reached."""
    try:
        yield
    except StorageError as exc:
        _LOG.warning("requests cannot be counted: %s", type(exc.storage_error).__name__)
        raise ApiError(
            503, "requests cannot be counted now", "limits_unavailable", retry_after_s=_RETRY_S
        ) from exc
