"""What a worker does for the others of its machine (`peers`)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.websockets import WebSocketDisconnect, WebSocketState
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.logs import begin_log_context, note
from voxturn.runtime.gateway.observed import request_id_of
from voxturn.runtime.gateway.peers import Ask, LocalPeers
from voxturn.runtime.gateway.voice.endpoint import serve_resumed
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed


@asynccontextmanager
async def answering_peers(gateway: Gateway, peers: LocalPeers) -> AsyncIterator[None]:
    """Answer other workers while the block runs."""

    async def answer(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await _answer(gateway, connection)

    peers.own.unlink(missing_ok=True)  # of a process that had this number before
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "max_size": None}
    try:
        async with unix_serve(answer, str(peers.own), **options):
            yield
    finally:
        peers.own.unlink(missing_ok=True)


async def _answer(gateway: Gateway, connection: ServerConnection) -> None:
    begin_log_context(request_id_of(""))
    ask = msgspec.json.decode(await connection.recv(), type=Ask)
    caller = Caller(ask.key)
    note(key=ask.key)
    found = gateway.sessions.find(caller, ask.id)
    match ask.do:
        case "list":
            own = [each.info() for each in gateway.sessions.owned(caller)]
            await _send(connection, own)
        case "end":
            if found is not None:
                await found.end("deleted")
            await _send(connection, found is not None)
        case "let_go":
            await gateway.holders.let_go(ask.key, ask.id)
            await _send(connection, True)
        case "resume":
            await _send(connection, found is not None)
            if found is not None:
                await serve_resumed(gateway, RelayedSocket(connection), found)


async def _send(connection: ServerConnection, answer: Any) -> None:
    await connection.send(msgspec.json.encode(answer))


class RelayedSocket:
    """A client's WebSocket that another worker has accepted, and passes on."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self.application_state = WebSocketState.CONNECTED

    async def receive(self) -> dict[str, Any]:
        """The next message, as ASGI has it."""
        try:
            data = await self._connection.recv()
        except ConnectionClosed:
            return {"type": "websocket.disconnect", "code": 1006}
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}

    async def send_text(self, data: str) -> None:
        """Send it. Raises `WebSocketDisconnect`."""
        await self._sent(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send it. Raises `WebSocketDisconnect`."""
        await self._sent(data)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close it, and the client's with it."""
        self.application_state = WebSocketState.DISCONNECTED
        await self._connection.close(code, reason or "")

    async def _sent(self, data: str | bytes) -> None:
        try:
            await self._connection.send(data)
        except ConnectionClosed as exc:
            raise WebSocketDisconnect(1006) from exc
