"""What is seen of each request and each WebSocket: its id, log line, metrics, span and
`Server-Timing`."""

from __future__ import annotations

import logging
import re
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from voxturn.runtime.flow.observe import OBSERVER
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.logs import begin_log_context, current_ids, event
from voxturn.runtime.gateway.operations import Operation, Socket
from voxturn.runtime.gateway.timing import Timings

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FOR_NOW = (429, 503)
"""Statuses that say that something is not possible now."""


async def answered(operation: Operation, gateway: Gateway, request: Request) -> Response:
    """The answer to a request. Handlers find its `Timings` as `request.state.timings`."""
    timings = request.state.timings = Timings(gateway.clock)
    OBSERVER.set(timings)
    request_id = request_id_of(request.headers.get("x-request-id", ""))
    begin_log_context(request=request_id)
    with gateway.telemetry.request(request, operation.path) as span:
        response = await operation.answered(gateway, request)
        span.answered(response.status_code)
    seconds, status = timings.since_begin_s(), response.status_code
    response.headers["x-request-id"] = request_id
    if "server-timing" not in response.headers:
        response.headers["server-timing"] = timings.header
    gateway.metrics.request.labels(operation.path).observe(seconds)
    event(
        _LOG,
        "request",
        logging.DEBUG if operation.public else logging.INFO,
        method=operation.method,
        path=operation.path,
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
    if ids.status in _FOR_NOW:
        gateway.metrics.refusals.labels(ids.error).inc()
    return {"code": ids.error} if ids.error else {}


def request_id_of(wanted: str) -> str:
    """A client's own id for a request, where it is one that a log can hold, or a new one."""
    return wanted if _REQUEST_ID.fullmatch(wanted) else f"req_{uuid.uuid4().hex[:16]}"
