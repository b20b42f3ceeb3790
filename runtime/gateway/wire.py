"""What a connection may do before and beside what the application sees: uvicorn's protocols, with
an end to what they would wait for, or keep, without one.

A connection that sends its request's head or body too slowly, or does not read what it asked for,
is dropped. So is one whose head is too long, or whose message comes in too many pieces.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from voxturn.runtime.gateway.places import OwnPlaces, Places
from websockets.frames import Frame
from websockets.http11 import Request

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.WARNING)
"""What uvicorn and websockets tell at lower levels has paths and headers, and so has keys."""


class Connections:
    """Which connections are open, each in one of the `places`."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._open: dict[asyncio.Transport, int] = {}

    def enter(self, transport: asyncio.Transport) -> bool:
        """A connection has come; whether there is a place for it."""
        place = self.places.take("", self.places.most)
        if isinstance(place, str):
            return False
        self._open[transport] = place
        return True

    def leave(self, transport: asyncio.Transport) -> None:
        """It is gone, if it was let in."""
        if (place := self._open.pop(transport, None)) is not None:
            self.places.leave(place)


@dataclass(frozen=True)
class WireLimits:
    """`connections` have the places that there are for them; `head_s` for a request's head and
    `body_s` for its body, since it began; `stall_s` for which a client may not read, over HTTP and
    WebSocket; `head` in bytes; `pieces` of a message."""

    connections: Connections = field(default_factory=lambda: Connections(OwnPlaces(1024)))
    head_s: float = 10.0
    body_s: float = 120.0
    stall_s: float = 20.0
    head: int = 64 << 10
    pieces: int = 4096


class WireConfig(uvicorn.Config):
    """uvicorn's settings with ours. `messages`: the largest message of each WebSocket, in bytes, by
    its path."""

    def __init__(self, wire: WireLimits, messages: Mapping[str, int], **settings: Any) -> None:
        self.wire = wire
        self.messages = messages
        super().__init__(http=HttpProtocol, ws=WebSocketProtocol, **settings)


class _Alarm:
    """Calls once a time is over, unless it is set again or off."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float, transport: asyncio.Transport, why: str = "") -> None:
        """Drop the connection after so many seconds, with what was not sent yet. `why`: for the
        log."""
        self.off()
        self._timer = asyncio.get_running_loop().call_later(seconds, _drop, transport, why)

    def off(self) -> None:
        """Nothing is waited for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def on(self) -> bool:
        """Whether something is waited for."""
        return self._timer is not None


def _drop(transport: asyncio.Transport, why: str) -> None:
    if why:
        _LOG.warning("%s", why)
    transport.abort()


class _Unread(asyncio.Protocol):
    """Drops a client that does not read what it is sent. To be named before uvicorn's protocol."""

    transport: Any
    _wire: WireLimits
    _unread: _Alarm

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        why = f"a client is dropped: it read too little for {self._wire.stall_s:g} s"
        self._unread.set(self._wire.stall_s, self.transport, why)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has read."""
        self._unread.off()
        super().resume_writing()


class HttpProtocol(_Unread, HttpToolsProtocol):
    """HTTP by httptools."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _LOG
        self.access_log = False
        self._wire = cast(WireConfig, self.config).wire
        self._coming, self._unread = _Alarm(), _Alarm()
        self._head: int | None = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it where there are too many."""
        super().connection_made(transport)
        if not self._wire.connections.enter(transport):
            self._refuse(503, "the gateway has as many connections as it may have")
            return
        self._coming.set(self._wire.head_s, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._coming.off()
        self._unread.off()
        self._wire.connections.leave(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is complete."""
        if self._refused:
            return
        if self._head is not None:
            if not self._coming.on:
                self._coming.set(self._wire.head_s, self.transport)
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > self._wire.head:
            self._refuse(431, f"the request's head has more than {self._wire.head} bytes")

    def on_message_begin(self) -> None:
        """A head comes."""
        super().on_message_begin()
        self._head = self._head or 0

    def on_headers_complete(self) -> None:
        """A body comes, if one does."""
        self._head = None
        self._coming.set(self._wire.body_s, self.transport)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Nothing comes until the next head does."""
        self._coming.off()
        self._head = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The other protocol waits for what comes now."""
        self._coming.off()
        super().handle_websocket_upgrade()

    def _refuse(self, status: int, why: str) -> None:
        """Answer without looking at what is asked, and close."""
        self._refused = True
        code = {503: "too_many_connections", 431: "head_too_large"}[status]
        kind = "server_error" if status == 503 else "invalid_request_error"
        error = {"message": why, "type": kind, "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\nretry-after: 5\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self._coming.set(self._wire.stall_s, self.transport)
        self.transport.close()


class WebSocketProtocol(_Unread, WebSocketsSansIOProtocol):
    """WebSocket by websockets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _LOG
        self.conn.logger = _LOG
        self._wire = cast(WireConfig, self.config).wire
        self._unread = _Alarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._unread.off()
        self._wire.connections.leave(self.transport)
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        """The path is known, and so is how large a message may be; none has come before this."""
        super().handle_connect(event)
        if (scope := getattr(self, "scope", None)) is not None:  # there is none of a bad handshake
            messages = cast(WireConfig, self.config).messages
            self.conn.max_message_size = messages.get(scope["path"], 0)

    async def send(self, message: Any) -> None:
        """Send it. A refusal with a body completes the handshake as well: uvicorn would call it an
        error of the application's that it did not."""
        await super().send(message)
        refused = message["type"] == "websocket.http.response.body"
        if refused and not message.get("more_body", False):
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        """A further piece of a message. Its bytes are counted, but pieces may be empty."""
        if len(self.frames) >= self._wire.pieces:
            self.conn.fail(1009, "a message of too many pieces")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer it, unless the answers are not read."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
