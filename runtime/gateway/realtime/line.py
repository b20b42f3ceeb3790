"""A WebSocket on which a dialogue is held, from its acceptance to its end, in whatever dialect."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.decoding import message
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.realtime.driver import Driver
from voxturn.runtime.gateway.realtime.items import new_id
from voxturn.runtime.gateway.realtime.outbox import Outbox

T = TypeVar("T")
_MOST_UNSENT = 64


@dataclass(frozen=True)
class End:
    """Why a connection ends. `code` of the WebSocket's close; `reason`: a dialect's word for it."""

    code: int
    error: ApiError | None = None
    reason: str = ""


class Line(ABC):
    """One client that was accepted. What a dialect does is up to its subclass."""

    def __init__(self, gateway: Gateway, socket: WebSocket) -> None:
        self._gateway = gateway
        self._socket = socket
        self._outbox: Outbox[str] = Outbox(_MOST_UNSENT)
        self._driver: Driver | None = None
        self._used_s = self._began_s = gateway.clock.now()

    async def _serve(self) -> None:
        """Serve it to its end."""
        tasks: list[asyncio.Task[Any]] = []
        end = End(1011)
        try:
            self._open()
            works = (
                self._read(),
                self._drive(),
                self._watch(),
                self._drain(),
                *self._works(),
                self._write(),
            )
            tasks = [asyncio.create_task(work) for work in works]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            end = next((task.result() for task in tasks if task in done), end)
        finally:
            try:
                try:
                    await cancel_all(tasks[:-1])
                finally:
                    if self._driver is not None:
                        await self._driver.aclose()
                        await self._closed()
            finally:
                await self._close(end, tasks[-1] if tasks else None)

    # what a dialect does

    @abstractmethod
    def _open(self) -> None:
        """Before anything is read."""

    @abstractmethod
    async def _take(self, raw: str | bytes) -> End | None:
        """Do what a message says, and tell what is wrong with it. Whether all ends, and how."""

    async def _closed(self) -> None:
        """The driver was closed: its items are as they were heard until then."""
        return

    def _works(self) -> tuple[Coroutine[Any, Any, End], ...]:
        """What else runs beside."""
        return ()

    @abstractmethod
    def _tell_end(self, end: End) -> bool:
        """Tell why it ends; whether there is anything to tell."""

    # what runs side by side; the first to end says how all end

    async def _read(self) -> End:
        """Take what comes."""
        while True:
            message = await self._socket.receive()
            if message["type"] != "websocket.receive":
                return End(1000)
            self._used_s = self._gateway.clock.now()
            raw = message.get("text")
            await self._outbox.room()
            end = await self._take(raw if raw is not None else message.get("bytes") or b"")
            if end is not None:
                return end

    async def _drive(self) -> End:
        """Tell what happens in the dialogue."""
        assert self._driver is not None
        try:
            await self._driver.run()
        except Exception as exc:  # noqa: BLE001  it is told
            return End(1011, api_error(exc))
        return End(1000)

    async def _watch(self) -> End:
        """End it once nothing has come for too long, or it is too long."""
        clock, settings = self._gateway.clock, self._gateway.settings
        while True:
            now_s = clock.now()
            if now_s - self._began_s >= settings.longest_session_s:
                limit = f"a session may last {settings.longest_session_s:g} s"
                return End(1001, ApiError(400, limit, "session_expired"), "expired")
            if now_s - self._used_s >= settings.idle_s:
                limit = f"nothing came for {settings.idle_s:g} s"
                return End(1001, ApiError(400, limit, "session_expired"), "expired")
            ends = self._began_s + settings.longest_session_s, self._used_s + settings.idle_s
            await clock.sleep_until(min(ends))

    async def _drain(self) -> End:
        """Let what is made end while the gateway stops."""
        await self._gateway.draining()
        if self._driver is not None:
            await self._driver.finished()
        return End(1012)

    async def _write(self) -> End:
        """Send what there is to tell. A client that does not read is dropped (`wire`)."""
        while (text := await self._outbox.next()) is not None:
            try:
                await self._socket.send({"type": "websocket.send", "text": text})
            except (WebSocketDisconnect, RuntimeError, OSError):
                return End(1000)
        return End(1000)

    async def _close(self, end: End, writer: asyncio.Task[Any] | None) -> None:
        """Tell why, send what is left where that goes fast, and close."""
        told = self._tell_end(end)
        self._outbox.close()
        try:
            if writer is not None:
                if told:
                    await asyncio.wait([writer], timeout=1.0)
                await cancel_and_wait(writer)
        finally:
            if self._socket.application_state is WebSocketState.CONNECTED:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                    await self._socket.close(end.code, end.error.code if end.error else None)

    def _tell(self, told: dict[str, Any]) -> None:
        """Put an event among those to be sent, with an id of its own."""
        told.setdefault("event_id", new_id("event"))
        self._outbox.put(msgspec.json.encode(told).decode("utf-8"))


def read(raw: str | bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """A client's event. Raises `ApiError` 400 that names the field."""
    try:
        return message(raw, decoder)
    except ApiError as exc:
        if exc.code == "invalid_value" and exc.param in ("", "type"):
            raise ApiError(400, str(exc), "unknown_event", exc.param) from exc
        raise


def event_id_of(raw: str | bytes) -> str | None:
    """The id of an event that is none of ours."""
    try:
        told = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    given = told.get("event_id") if isinstance(told, dict) else None
    return given[:512] if isinstance(given, str) else None
