"""Ephemeral keys: a page gets one from its server, opens one session with it, and never sees a
lasting key."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller

PREFIX = "ek_"
MOST, MOST_OF_KEY = 10_000, 256
"""Of unused keys, in all and of one lasting key."""


class Secrets(Protocol):
    """Keeps ephemeral keys until they were used, or their time is over."""

    async def mint(self, caller: Caller, session: str, seconds: float) -> tuple[str, int]:
        """A new key of a caller for one session with these settings (JSON), and when it expires, in
        seconds of Unix time. Raises `ApiError` 429 where there are too many."""
        ...

    async def caller(self, secret: str) -> Caller | None:
        """Whose key it is, with the session's settings; None where it is of no use (any more)."""
        ...

    async def spend(self, secret: str) -> bool:
        """Use a key up; whether it was still of use."""
        ...


def too_many() -> ApiError:
    """What is told where too many are unused."""
    return ApiError(429, "too many keys are unused", "too_many_secrets", retry_after_s=60.0)


@dataclass(frozen=True)
class _Grant:
    caller: Caller
    until_s: float


class SecretsInMemory:
    """`Secrets` of one process. `wall`: seconds since 1970."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._grants: OrderedDict[str, _Grant] = OrderedDict()

    async def mint(self, caller: Caller, session: str, seconds: float) -> tuple[str, int]:
        """A new key. Raises `ApiError` 429."""
        now_s = self._wall()
        for secret in [s for s, grant in self._grants.items() if grant.until_s <= now_s]:
            del self._grants[secret]
        own = sum(grant.caller.key == caller.key for grant in self._grants.values())
        if len(self._grants) >= MOST or own >= MOST_OF_KEY:
            raise too_many()
        secret = PREFIX + secrets.token_urlsafe(32)
        self._grants[secret] = _Grant(replace(caller, session=session), now_s + seconds)
        return secret, int(now_s + seconds)

    async def caller(self, secret: str) -> Caller | None:
        """Whose key it is."""
        grant = self._grants.get(secret)
        return grant.caller if grant is not None and grant.until_s > self._wall() else None

    async def spend(self, secret: str) -> bool:
        """Use a key up."""
        known = await self.caller(secret) is not None
        self._grants.pop(secret, None)
        return known
