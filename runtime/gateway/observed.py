"""What is seen of each request and each WebSocket: its id, log line, metrics, span and
`Server-Timing`."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from voxturn.runtime.flow.observe import OBSERVER
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.logs import begin_log_context, current_ids, event
from voxturn.runtime.gateway.operations import Operation, Socket, error_response
from voxturn.runtime.gateway.timing import Timings

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
NOWHERE = "unknown"
"""The path of requests that nothing answers, in logs and metrics: theirs are a client's words."""


async def answered(operation: Operation, gateway: Gateway, request: Request) -> Response:
    """The answer to a request."""
    level = logging.DEBUG if operation.public else logging.INFO
    answering = operation.answered(gateway, request)
    return await _observed(gateway, request, operation.path, answering, level)


async def refused(gateway: Gateway, request: Request, error: ApiError) -> Response:
    """The answer to a request that no operation takes."""

    async def answering() -> Response:
        gateway.metrics.requests.labels(NOWHERE, str(error.status)).inc()
        return error_response(api_error(error))

    return await _observed(gateway, request, NOWHERE, answering(), logging.INFO)


async def _observed(
    gateway: Gateway,
    request: Request,
    path: str,
    answering: Coroutine[Any, Any, Response],
    level: int,
) -> Response:
    timings = Timings(gateway.clock)
    OBSERVER.set(timings)
    request_id = request_id_of(request.headers.get("x-request-id", ""))
    begin_log_context(request=request_id)
    with gateway.telemetry.request(request, path) as span:
        response = await answering
        span.answered(response.status_code)
    seconds, status = timings.since_begin_s(), response.status_code
    response.headers["x-request-id"] = request_id
    if "server-timing" not in response.headers:
        response.headers["server-timing"] = timings.header
    gateway.metrics.request.labels(path).observe(seconds)
    event(
        _LOG,
        "request",
        level,
        method=request.method,
        path=path,
        status=status,
        ms=round(1000 * seconds, 1),
        **_error(gateway),
    )
    return response


async def served(socket: Socket, gateway: Gateway, connection: WebSocket) -> None:
    """Serve a WebSocket to its end."""
    began_s = gateway.clock.now()
    begin_log_context(request=request_id_of(connection.headers.get("x-request-id", "")))
    with gateway.telemetry.request(connection, socket.path):
        event(_LOG, "connected", path=socket.path)
        try:
            await socket.served(gateway, connection)
        finally:
            seconds = round(gateway.clock.now() - began_s, 3)
            event(_LOG, "disconnected", path=socket.path, seconds=seconds, **_error(gateway))


def _error(gateway: Gateway) -> dict[str, Any]:
    """The code of the error that was told last, for the log; refusals are counted."""
    ids = current_ids()
    gateway.metrics.refused(ids.status, ids.error)
    return {"code": ids.error} if ids.error else {}


def request_id_of(wanted: str) -> str:
    """A client's own id for a request, where it is one that a log can hold, or a new one."""
    return wanted if _REQUEST_ID.fullmatch(wanted) else f"req_{uuid.uuid4().hex[:16]}"
