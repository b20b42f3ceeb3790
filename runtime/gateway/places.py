"""How many long requests run at once, beside the conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller

_RETRY_S = 2.0


class Places:
    """How many texts are spoken at once: so many in all and of one key."""

    def __init__(self, most: int, most_of_key: int) -> None:
        self._most = most
        self._most_of_key = min(most_of_key or most, most)
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Hold one. Raises `ApiError` 429 where none is free."""
        if self._taken.total() >= self._most or self._taken[caller.key] >= self._most_of_key:
            raise ApiError(
                429,
                f"{self._taken[caller.key]} texts of this key are being spoken already",
                "too_many_requests",
                retry_after_s=_RETRY_S,
            )
        self._taken[caller.key] += 1
        try:
            yield
        finally:
            self._taken[caller.key] -= 1
            if not self._taken[caller.key]:
                del self._taken[caller.key]

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken.total()
