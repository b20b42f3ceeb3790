"""One WebSocket of a session: reads what the client sends, and writes what the session has for
it."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Protocol

from starlette.websockets import WebSocketDisconnect, WebSocketState
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.decoding import message
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.gateway.voice.events import error_of
from voxturn.runtime.gateway.voice.live import LiveSession

MOST_TEXT, _MOST_BINARY = 1 << 18, 1 << 20
"""Characters of a message, and bytes of a binary frame."""
_MOST_ERRORS = 50
"""Messages of one connection that cannot be read, after which it is closed."""
_ACK_EVERY = 25


class ClientSocket(Protocol):
    """A WebSocket that was accepted, here or by another worker."""

    application_state: WebSocketState

    async def receive(self) -> MutableMapping[str, Any]: ...

    async def send_text(self, data: str) -> None: ...

    async def send_bytes(self, data: bytes) -> None: ...

    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...


class Connection:
    """A connection to a session, from when it is attached until one of both ends."""

    def __init__(self, socket: ClientSocket, live: LiveSession) -> None:
        self._socket = socket
        self._live = live
        self._dropped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._detached = Event()
        self._errors = 0

    async def serve(self, received: int, audio: wire.InputAudio | None, resumed: bool) -> None:
        """Serve it to its end. Raises `ApiError` where it cannot be attached."""
        code: int | None = None
        try:
            await self._live.attach(self, received, audio)
            await send_event(self._socket, self._live.started(resumed))
            code = await self._serve()
        finally:
            self._live.detach(self)
            self._detached.set()
        if code is not None:
            await close(self._socket, code)

    async def drop(self, code: int) -> None:
        """End it, and wait until the session is detached from it."""
        if not self._dropped.done():
            self._dropped.set_result(code)
        await self._detached.wait()

    async def _serve(self) -> int | None:
        """Read and write until one of both ends; how it is to be closed, None where it is gone."""
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write())
        ends: list[asyncio.Future[Any]] = [reading, writing, self._dropped]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._dropped.done():
                return self._dropped.result()
            if reading.done():
                return reading.result()
            return writing.result()
        except (WebSocketDisconnect, ConnectionError):
            return None
        finally:
            try:
                await cancel_and_wait(reading)
            finally:
                await cancel_and_wait(writing)

    async def _write(self) -> int:
        """Send what the session has, to its end."""
        while (data := await self._live.outgoing.next()) is not None:
            if isinstance(data, str):
                await self._socket.send_text(data)
            else:
                await self._socket.send_bytes(data)
        return self._live.close_code

    async def _read(self) -> int | None:
        """Take what the client sends."""
        acknowledged = self._live.received
        while (data := await received_data(self._socket)) is not None:
            error = await self._take(data)
            if error is not None:
                self._errors += 1
                self._live.outgoing.put_now(error_of(error))
                if self._errors > _MOST_ERRORS:
                    return 1008
            if self._live.received >= acknowledged + _ACK_EVERY:
                acknowledged = self._live.received
                await send_event(self._socket, wire.AckEvent(received=acknowledged))
        return None

    async def _take(self, data: str | bytes) -> ApiError | None:
        """Do what a message says; why it cannot be done."""
        try:
            try:
                told = check_size(data) if isinstance(data, bytes) else client_message(data)
            except ApiError:
                self._live.received += 1
                raise
            if isinstance(told, bytes):
                await self._live.hear(told)
            elif isinstance(told, wire.Ping):
                answer = wire.PongEvent(id=told.id, received=self._live.received)
                await send_event(self._socket, answer)
            else:
                await self._live.command(told)
        except (WebSocketDisconnect, ConnectionError):
            raise
        except Exception as exc:  # noqa: BLE001  every error is told
            return api_error(exc)
        return None


async def received_data(socket: ClientSocket) -> str | bytes | None:
    """The next message; None where the client is gone."""
    received = await socket.receive()
    if received["type"] == "websocket.disconnect":
        return None
    data: bytes | None = received.get("bytes")
    if data is not None:
        return data
    text: str = received.get("text") or ""
    return text


def check_size(data: bytes) -> bytes:
    """A binary frame. Raises `ApiError` 413 where it is too large."""
    if len(data) > _MOST_BINARY:
        raise ApiError(413, f"a binary frame may have {_MOST_BINARY} bytes", "message_too_large")
    return data


def client_message(data: str) -> wire.ClientMessage:
    """A message of text. Raises `ApiError` that names the field."""
    return message(data, wire.client_messages, MOST_TEXT)


async def send_event(socket: ClientSocket, event: wire.ServerEvent) -> None:
    """Send an event that is not numbered."""
    await socket.send_text(wire.encode(event).decode())


async def close(socket: ClientSocket, code: int) -> None:
    """Close a socket, if it is still open."""
    if socket.application_state is WebSocketState.CONNECTED:
        try:
            await socket.close(code, wire.CLOSE_CODES[code])
        except (WebSocketDisconnect, RuntimeError, ConnectionError):
            return
