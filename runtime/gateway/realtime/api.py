"""The addresses of OpenAI's Realtime API and Live API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation, Socket, json_body
from voxturn.runtime.gateway.realtime.connection import realtime
from voxturn.runtime.gateway.realtime.live_connection import live
from voxturn.runtime.gateway.realtime.openai_events import SessionUpdate
from voxturn.runtime.gateway.realtime.openai_session import SessionObject

_LARGEST = 16 << 20
"""Bytes of a message: OpenAI's clients may send 15 MiB of base64."""
_LONGEST = 32_768
"""Characters of a key's settings as JSON: they are kept until it is used."""


class ExpiresAfter(Struct):
    """When a key expires: so many seconds after it was made."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600


class SecretRequest(Struct):
    """What a key is for."""

    expires_after: ExpiresAfter = field(default_factory=ExpiresAfter)
    session: SessionUpdate = field(default_factory=SessionUpdate)


class SecretAnswer(Struct):
    """An ephemeral key, when it expires (Unix time), and the session that it opens."""

    value: str
    expires_at: int
    session: dict[str, Any]


async def client_secrets(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Make a key that opens one session."""
    body = await json_body(request, SecretRequest)
    update = body.session
    model = update.model if isinstance(update.model, str) else gateway.assistant.profile.name
    session = SessionObject(gateway, model, update.type == "transcription")
    session = session.updated(update, False)
    await session.manner(caller.key)  # what is wrong with it is said now
    settings = msgspec.json.encode(update).decode("utf-8")
    if len(settings) > _LONGEST:
        raise ApiError(
            413, f"session: more than {_LONGEST} characters", "session_too_large", "session"
        )
    value, expires_at = await gateway.secrets.mint(caller, settings, body.expires_after.seconds)
    told = session.to_dict() | {"expires_at": 0}
    return JSONResponse({"value": value, "expires_at": expires_at, "session": told})


OPERATIONS = (
    Operation(
        "POST",
        "/v1/realtime/client_secrets",
        client_secrets,
        "Make an ephemeral key, with which a page opens one realtime session",
        Answer("the key", body=SecretAnswer),
        body=SecretRequest,
    ),
)

SOCKETS = (
    Socket(
        "/v1/realtime",
        realtime,
        largest=_LARGEST,
        ephemeral=True,
    ),
    Socket(
        "/v1/live/sessions",
        live,
        largest=_LARGEST,
        ephemeral=True,
    ),
)
