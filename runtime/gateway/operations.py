"""What the gateway does, declared: from one declaration come the route, its checks, and its part of
the OpenAPI document."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.gateway.access import admitted, seen
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error, invalid_value
from voxturn.runtime.gateway.keys import ANYONE, Caller, owner_of, secret_of
from voxturn.runtime.gateway.realtime.secrets import PREFIX
from voxturn.runtime.gateway.work import arriving, until_sent

T = TypeVar("T")
Handler = Callable[[Gateway, Request, Caller], Awaitable[Response]]
SocketHandler = Callable[[Gateway, WebSocket, Caller], Awaitable[None]]
Introduction = Callable[[Gateway, WebSocket], Awaitable[str]]
_MOST_JSON = 4 << 20


@dataclass(frozen=True)
class Answer:
    """What an operation answers: its media types, and of JSON the `msgspec.Struct`.

    `events`: the struct, or the union of structs, of each event of a `text/event-stream`.
    """

    what: str
    media: Sequence[str] = ("application/json",)
    body: Any = None
    events: Any = None


@dataclass(frozen=True)
class Operation:
    """A request of HTTP. `body` is the `msgspec.Struct` of its JSON; `form`: it comes as
    multipart/form-data, of which `files` are files, and of `file_lists` there may be none or several. `public`: without a key, and uncounted; its
    `errors` are the statuses that not every public one may answer."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Answer = field(default_factory=lambda: Answer("done"))
    body: Any = None
    query: Any = None
    form: bool = False
    files: Sequence[str] = ()
    file_lists: Sequence[str] = ()
    public: bool = False
    errors: Sequence[int] = ()

    @property
    def name(self) -> str:
        """As `post_v1_audio_speech`."""
        words = self.path.replace("{", "").replace("}", "").replace("-", "_").split("/")
        return "_".join([self.method.lower(), *(word for word in words if word)]) or "root"

    async def answered(self, gateway: Gateway, request: Request) -> Response:
        """The answer to a request; an error as JSON."""
        status = 500
        try:
            response = await self._answer(gateway, request)
            status = response.status_code
        except ClientDisconnect:
            status = 499
            return Response(status_code=status)
        except Exception as exc:  # noqa: BLE001  every error is told
            response = error_response(api_error(exc))
            status = response.status_code
        finally:
            gateway.metrics.requests.labels(self.path, str(status)).inc()
        return response

    async def _answer(self, gateway: Gateway, request: Request) -> Response:
        if self.public:
            await seen(gateway.keys, gateway.settings, request)
            return await self.handler(gateway, request, ANYONE)
        if gateway.stopping.is_set():
            raise _stopping()
        caller = await admitted(gateway.keys, gateway.settings, request)
        caller = caller.calling_from(request)
        cut = await until_sent(request.scope, gateway.calls.call(caller))
        await gateway.limits.request(caller)
        CLIENT.set(caller.client)
        by = gateway.clock.now() + gateway.settings.request_s
        timed = Request(request.scope, arriving(request.receive, gateway.clock, by))
        try:
            return await self.handler(gateway, timed, caller)
        except asyncio.CancelledError:
            if cut.expired():
                raise ApiError(
                    401, "the API key is not valid any more", "invalid_api_key"
                ) from None
            if gateway.stopping.is_set():  # its time to end by itself is over
                raise _stopping() from None
            raise


@dataclass(frozen=True)
class Socket:
    """A WebSocket. `handler` accepts it; what it raises is told where that is not done.

    `ephemeral`: a key for one session opens it, too. `introduced`: for clients that can show no key
    in the handshake; it accepts a connection without one and returns the key of its first message.
    `largest`: bytes of a message, beyond which the connection is closed (1009) before the rest is
    read.
    """

    path: str
    handler: SocketHandler
    largest: int = 2 << 20
    ephemeral: bool = False
    introduced: Introduction | None = None

    async def served(self, gateway: Gateway, socket: WebSocket) -> None:
        """Serve a connection to its end."""
        try:
            if gateway.stopping.is_set():
                raise _stopping()
            caller = await self._caller(gateway, socket)
            await gateway.limits.request(caller)
            CLIENT.set(caller.client)
            async with gateway.calls.connected(socket, caller):
                await self.handler(gateway, socket, caller)
        except WebSocketDisconnect:
            return
        except Exception as exc:  # noqa: BLE001  every error is told
            left = socket.client_state is WebSocketState.DISCONNECTED
            if left and isinstance(exc, RuntimeError):
                return  # so Starlette calls it if one goes on after a `WebSocketDisconnect`
            error = api_error(exc)
            await _refuse(socket, error)

    async def _caller(self, gateway: Gateway, socket: WebSocket) -> Caller:
        """Who calls. Raises `ApiError` 401, 403 or 421."""
        return (await self._shown(gateway, socket)).calling_from(socket)

    async def _shown(self, gateway: Gateway, socket: WebSocket) -> Caller:
        """Whose key is shown. Raises as `_caller`."""
        secret = secret_of(socket)
        introduced = None if secret else self.introduced
        if introduced is not None and await gateway.keys.caller("") is None:
            with gateway.calls.unknown():
                secret = await introduced(gateway, socket)
            if not secret.startswith(PREFIX):
                return await owner_of(gateway.keys, secret)
        if not (self.ephemeral and secret.startswith(PREFIX)):
            return await admitted(gateway.keys, gateway.settings, socket)
        caller = await gateway.secrets.caller(secret)
        if caller is None:
            raise ApiError(401, "the ephemeral key is not valid (any more)", "invalid_api_key")
        return caller


async def _refuse(socket: WebSocket, error: ApiError) -> None:
    """Tell a client why it is not served, or not any more; one that has left is told nothing."""
    code = 1013 if error.status in (429, 503) else 1011 if error.status >= 500 else 1008
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.close(code, error.code)
        elif "websocket.http.response" in socket.scope.get("extensions", {}):
            await socket.send_denial_response(error_response(error))
        else:
            await socket.close(code, error.code)


def _stopping() -> ApiError:
    return ApiError(503, "the gateway is stopping", "stopping", retry_after_s=1.0)


def error_response(error: ApiError) -> Response:
    """`{"error": {…}}` with its status."""
    return JSONResponse({"error": error.to_dict()}, error.status, error.headers)


def json_answer(value: object) -> Response:
    """A struct, or plain data, as the JSON of an answer."""
    return Response(msgspec.json.encode(value), media_type="application/json")


async def json_body(request: Request, kind: type[T]) -> T:
    """The request's JSON as `kind`. Raises `ApiError` 400 that names the field, 413."""
    return decoded(await whole_body(request, _MOST_JSON), kind)


def decoded(raw: bytes | str, kind: type[T]) -> T:
    """JSON as `kind`. Raises `ApiError` 400 that names the field."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        raise invalid_value(exc) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(400, "the body is not JSON", "invalid_json") from exc


async def whole_body(request: Request, most: int) -> bytes:
    """A request's body of at most so many bytes. Raises `ApiError` 413."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise ApiError(413, f"the body has more than {most} bytes", "request_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


async def form_body(request: Request, most_mb: int) -> FormData:
    """A request's fields and files. Raises `ApiError` 400, 413.

    Close what it returns.
    """
    most, size = (most_mb << 20) + (1 << 16), 0
    receive = request.receive

    async def counted() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise ApiError(413, f"the upload has more than {most_mb} MB", "request_too_large")
        return message

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(400, "the body must be multipart/form-data", "invalid_content_type")
    limited = Request(request.scope, counted)
    try:
        return await limited.form(max_files=32, max_fields=256, max_part_size=1 << 20)
    except ApiError:
        raise
    except Exception as exc:  # starlette and its parser raise several kinds
        if isinstance(exc, ClientDisconnect | asyncio.CancelledError):
            raise
        raise ApiError(400, "the body is not multipart/form-data", "invalid_form") from exc


def converted(values: Mapping[str, Any], kind: type[T]) -> T:
    """Texts of a query or a form as `kind`. Raises `ApiError` 400 that names the field."""
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise invalid_value(exc) from exc
