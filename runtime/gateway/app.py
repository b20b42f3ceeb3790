"""The gateway as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
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
    conversions,
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
from voxturn.runtime.gateway.observed import answered, refused, served
from voxturn.runtime.gateway.operations import Operation, Socket
from voxturn.runtime.gateway.realtime import api as realtime
from voxturn.runtime.gateway.streams import api as streams
from voxturn.runtime.gateway.twilio import endpoint as twilio
from voxturn.runtime.gateway.voice import endpoint as voice
from voxturn.runtime.gateway.work import Tracked

_OPERATIONS: tuple[Operation, ...] = (
    *audio_voices.OPERATIONS,
    *chat.OPERATIONS,
    *conversations.OPERATIONS,
    *conversions.OPERATIONS,
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
        exception_handlers={
            404: _refusing(gateway, _not_found),
            405: _refusing(gateway, _wrong_method),
        },
    )


def _route(gateway: Gateway, operation: Operation) -> Route:
    async def answer(request: Request) -> Response:
        return await answered(operation, gateway, request)

    return Route(operation.path, answer, methods=[operation.method], name=operation.name)


def _socket_route(gateway: Gateway, socket: Socket) -> WebSocketRoute:
    async def serve(connection: WebSocket) -> None:
        await served(socket, gateway, connection)

    return WebSocketRoute(socket.path, serve)


def _refusing(
    gateway: Gateway, error: Callable[[Request], ApiError]
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What answers requests that no operation takes."""

    async def answer(request: Request, exc: Exception) -> Response:
        response = await refused(gateway, request, error(request))
        response.headers.update(getattr(exc, "headers", None) or {})  # of 405: what it takes
        return response

    return answer


def _not_found(request: Request) -> ApiError:
    return ApiError(404, "there is no such address", "unknown_url")


def _wrong_method(request: Request) -> ApiError:
    return ApiError(405, f"this address takes no {request.method}", "wrong_method")
