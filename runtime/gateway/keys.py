"""Who calls: API keys, and what a key may do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from starlette.requests import HTTPConnection
from voxturn.runtime.gateway.errors import ApiError

_SUBPROTOCOL = "openai-insecure-api-key."


@dataclass(frozen=True)
class Caller:
    """Whoever showed a key. `key` is the key's id: what he owns is his alone; empty where no key
    is needed. `address`: where he calls from, where that is all that is known of him.

    `session`: the settings of the one session that an ephemeral key is for. `sessions` at once and
    `rate`, requests a minute, are the key's own limits; 0: as the profile says.
    """

    key: str
    name: str = ""
    session: str = ""
    sessions: int = 0
    rate: int = 0
    address: str = ""

    @property
    def client(self) -> str:
        """Among whom places, rates and the engines' time are shared: keys or, without any,
        machines."""
        return self.key or self.address

    def calling_from(self, connection: HTTPConnection) -> Caller:
        """The same with his address, where no key tells who he is."""
        if self.key or connection.client is None:
            return self
        return replace(self, address=connection.client.host)


ANYONE = Caller("", "anyone")
"""Whoever calls a gateway that needs no key."""


class Keys(Protocol):
    """Tells keys from other words."""

    async def caller(self, secret: str) -> Caller | None:
        """Whose key it is; None where it is nobody's. Empty: none was shown."""
        ...

    async def valid(self, key: str) -> bool:
        """Whether the key of this id still is one: what it opened ends with it."""
        ...


class NoKeys:
    """A gateway without keys: callers differ by their addresses alone."""

    async def caller(self, secret: str) -> Caller | None:
        """Nobody in particular."""
        return ANYONE

    async def valid(self, key: str) -> bool:
        """There is nothing to revoke."""
        return True


def secret_of(connection: HTTPConnection) -> str:
    """The key that a request or a WebSocket shows; empty where it shows none.

    In the header `Authorization: Bearer …` or `X-API-Key`, in the query `api_key`, or in the
    subprotocol that browsers use.
    """
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    if secret := connection.headers.get("x-api-key", ""):
        return secret
    for name in _offered(connection):
        if name.startswith(_SUBPROTOCOL):
            return name.removeprefix(_SUBPROTOCOL)
    return connection.query_params.get("api_key", "")


def subprotocol_of(connection: HTTPConnection, *spoken: str) -> str | None:
    """Which of the subprotocols that a client offers is accepted, as `realtime`: the first that is
    `spoken`. A browser ends a connection whose offers were all passed over.

    The one that carries the key is never repeated to it.
    """
    return next((name for name in _offered(connection) if name in spoken), None)


def _offered(connection: HTTPConnection) -> list[str]:
    headers = connection.headers.getlist("sec-websocket-protocol")
    return [name.strip() for header in headers for name in header.split(",")]


async def caller_of(keys: Keys, connection: HTTPConnection) -> Caller:
    """Who calls. Raises `ApiError` 401."""
    return await owner_of(keys, secret_of(connection))


async def owner_of(keys: Keys, secret: str) -> Caller:
    """Whose key it is. Raises `ApiError` 401."""
    caller = await keys.caller(secret)
    if caller is None:
        what = "is not valid" if secret else "is missing; send it as Authorization: Bearer KEY"
        raise ApiError(401, f"the API key {what}", "invalid_api_key")
    return caller
