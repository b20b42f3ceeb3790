"""Whether it lives, whether it can answer, and what it counts."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation


async def healthz(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The process lives."""
    return JSONResponse({"status": "ok"})


async def readyz(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The engines answer: a canary turn gave audio. Raises `ApiError` 503."""
    if gateway.stopping.is_set():
        gateway.metrics.ready.set(0)
        raise ApiError(503, "the gateway is stopping", "stopping", retry_after_s=1.0)
    health = await gateway.canary()
    gateway.metrics.ready.set(0 if health.problem else 1)
    if health.problem:
        raise ApiError(503, "a canary turn was not answered", health.problem, retry_after_s=5.0)
    gateway.metrics.canary.set(health.first_audio_s)
    milliseconds = round(1000 * health.first_audio_s, 1)
    return JSONResponse({"status": "ok", "first_audio_ms": milliseconds})


async def metrics(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What Prometheus reads."""
    gateway.metrics.refresh()
    text = await asyncio.to_thread(gateway.metrics.text)
    return Response(text, media_type=gateway.metrics.media_type)


OPERATIONS = (
    Operation("GET", "/healthz", healthz, "Whether the process lives", public=True),
    Operation(
        "GET",
        "/readyz",
        readyz,
        "Whether the engines answer: a turn of its own, seconds ago at most",
        public=True,
        errors=(503,),
    ),
    Operation(
        "GET",
        "/metrics",
        metrics,
        "What Prometheus reads",
        Answer("all metrics", ("text/plain",)),
        public=True,
    ),
)
