"""The sessions of this process that can be connected to again, and whose they are."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller

_ID_BYTES = 24
ENDS = Literal["client", "idle", "too_long", "stopping", "deleted", "taken_over", "error"]


class SessionInfo(msgspec.Struct, frozen=True):
    """A session as it is listed. `state`: connected, or waiting for its client to come back.
    Times in seconds."""

    id: str
    object: str
    state: str
    conversation: str
    age_s: float
    idle_s: float
    turns: int


class Held(Protocol):
    """A session that can be connected to again."""

    id: str
    owner: str

    def info(self) -> SessionInfo: ...

    async def end(self, reason: ENDS) -> None:
        """End it, keep its conversation, and leave the registry."""
        ...


class Sessions:
    """Sessions by id. An id cannot be guessed, and is nothing to whoever has another key."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    @staticmethod
    def new_id() -> str:
        """An id that nobody can guess."""
        return f"sess_{secrets.token_urlsafe(_ID_BYTES)}"

    def add(self, session: Held) -> None:
        """Have it found."""
        self._held[session.id] = session

    def remove(self, session: Held) -> None:
        """It has ended. Safe to call twice."""
        self._held.pop(session.id, None)

    def find(self, caller: Caller, session_id: str) -> Any:
        """A session of the caller's that this process has; None, also for one of somebody else."""
        session = self._held.get(session_id)
        return session if session is not None and session.owner == caller.client else None

    def owned(self, caller: Caller) -> Iterator[Any]:
        """All sessions of the caller's, oldest first."""
        return (each for each in list(self._held.values()) if each.owner == caller.client)

    def __len__(self) -> int:
        return len(self._held)

    async def aclose(self) -> None:
        """End all of them: the gateway stops."""
        ends = [each.end("stopping") for each in list(self._held.values())]
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


def no_session() -> ApiError:
    """What is told where there is none, or it is somebody else's."""
    return ApiError(404, "there is no such session (any more)", "session_not_found")
