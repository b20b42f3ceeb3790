"""The gateway as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket
from voxturn.runtime.gateway import (
    audio_voices,
    chat,
    conversations,
    coqui,
    health,
    models,
    openapi,
    session_api,
    speech,
    transcriptions,
    web,
    xtts_server,
)
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.observed import answered, served
from voxturn.runtime.gateway.operations import Operation, Socket, error_response
from voxturn.runtime.gateway.realtime import api as realtime
from voxturn.runtime.gateway.streams import api as streams
from voxturn.runtime.gateway.twilio import endpoint as twilio
from voxturn.runtime.gateway.voice import endpoint as voice
from voxturn.runtime.gateway.work import Tracked

_OPERATIONS: tuple[Operation, ...] = (
    *audio_voices.OPERATIONS,
    *chat.OPERATIONS,
    *conversations.OPERATIONS,
    *coqui.OPERATIONS,
    *health.OPERATIONS,
    *models.OPERATIONS,
    *realtime.OPERATIONS,
    *speech.OPERATIONS,
    *transcriptions.OPERATIONS,
    *web.OPERATIONS,
    *xtts_server.OPERATIONS,
    *session_api.OPERATIONS,
    *voice.OPERATIONS,
)

OPERATIONS: tuple[Operation, ...] = (*_OPERATIONS, openapi.described(_OPERATIONS))
"""Every request of HTTP that is answered."""

SOCKETS: tuple[Socket, ...] = (
    *realtime.SOCKETS,
    *streams.SOCKETS,
    *twilio.SOCKETS,
    *voice.SOCKETS,
)
"""Every WebSocket that is served."""


_EXPOSED = ("retry-after", "server-timing", "x-request-id")
"""What pages of allowed origins may read of an answer, beside what every page may."""


def application(gateway: Gateway) -> Starlette:
    """The application around a gateway, whose engines are the caller's to close."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway:
            yield

    routes: list[BaseRoute] = [_route(gateway, each) for each in OPERATIONS]
    routes += [_socket_route(gateway, each) for each in SOCKETS]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(gateway.settings.origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )
    tracked = Middleware(Tracked, gateway.work)
    return Starlette(
        routes=routes,
        middleware=[tracked, *([cors] if gateway.settings.origins else [])],
        lifespan=lifespan,
        exception_handlers={404: _not_found, 405: _wrong_method},
    )


def _route(gateway: Gateway, operation: Operation) -> Route:
    async def answer(request: Request) -> Response:
        return await answered(operation, gateway, request)

    return Route(operation.path, answer, methods=[operation.method], name=operation.name)


def _socket_route(gateway: Gateway, socket: Socket) -> WebSocketRoute:
    async def serve(connection: WebSocket) -> None:
        await served(socket, gateway, connection)

    return WebSocketRoute(socket.path, serve)


async def _not_found(request: Request, exc: Exception) -> Response:
    return error_response(ApiError(404, "there is no such address", "unknown_url"))


async def _wrong_method(request: Request, exc: Exception) -> Response:
    return error_response(ApiError(405, f"this address takes no {request.method}", "wrong_method"))
