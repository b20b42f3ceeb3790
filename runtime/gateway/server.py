"""Runs the gateway: uvicorn on one address, until a signal comes and running turns have ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from voxturn.runtime.errors import UsageError
from voxturn.runtime.gateway import app
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.wire import Connections, WireConfig, WireLimits

_PING_S, _PONG_S = 20.0, 20.0
"""How often a WebSocket is asked whether someone is there, and how long it may take to answer."""
_IDLE_S = 5.0
"""How long a connection of HTTP may wait for its next request."""
_LAST_S = 1
"""What running work gets to end by itself once its time is over: it is cancelled then."""


@dataclass(frozen=True)
class Address:
    """Where it listens. `certificate` and `key` are files of TLS."""

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: str = ""
    key: str = ""


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the command has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(address: Address) -> socket.socket:
    """A socket that listens. Raises `UsageError` where that is not possible."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(1024)
    except OSError as exc:
        listener.close()
        raise UsageError(
            f"{address.host}:{address.port}: cannot listen there ({exc.strerror}); "
            "give another --port"
        ) from exc
    return listener


def check_tls(address: Address) -> None:
    """Raise `UsageError` for files that TLS cannot use."""
    if not address.certificate:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            address.certificate, address.key, password=_no_password
        )
    except ssl.SSLError as exc:
        raise UsageError(
            f"--certificate {address.certificate}, --key {address.key}: are no certificate and "
            f"its private key, as PEM ({exc.reason or exc})"
        ) from exc
    except OSError as exc:
        raise UsageError(
            f"--certificate {address.certificate}, --key {address.key}: cannot be read "
            f"({exc.strerror})"
        ) from exc


def _no_password() -> str:
    raise UsageError("--key: is encrypted; give one without a password")


@asynccontextmanager
async def serving(
    gateway: Gateway,
    address: Address,
    wire: WireLimits | None = None,
    listener: socket.socket | None = None,
) -> AsyncIterator[int]:
    """Serve while the block runs; the value is the port.

    Afterwards no new work is taken, running work may end within `drain_s`, and what is connected
    then is closed (WebSockets with 1012). `listener`: a socket that listens already; it is closed.
    """
    listener = listener or listening(address)
    wire = wire or wire_limits(gateway)
    config = WireConfig(
        wire,
        {socket.path: socket.largest for socket in app.SOCKETS},
        app=app.application(gateway),
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PONG_S,
        timeout_keep_alive=min(_IDLE_S, wire.head_s),
        loop="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=address.certificate or None,
        ssl_keyfile=address.key or None,
        timeout_graceful_shutdown=_LAST_S,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110  it tells nobody else
            await asyncio.sleep(0.005)
        if task.done():
            task.result()
            raise UsageError("the gateway did not start; its log says why")
        yield listener.getsockname()[1]
    finally:
        gateway.stopping.set()
        if not task.done():
            await gateway.drained()
        server.should_exit = True
        try:
            await task
        finally:
            listener.close()


def wire_limits(gateway: Gateway) -> WireLimits:
    """What the profile's settings allow a connection."""
    # the application has its own word for a body that comes too slowly: it may say it first
    connections = Connections(gateway.connections)
    return WireLimits(connections, body_s=gateway.settings.request_s + 5.0)
