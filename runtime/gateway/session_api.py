"""The sessions that a caller has, and their end, by HTTP."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation, json_answer
from voxturn.runtime.gateway.sessions import SessionInfo, no_session


class SessionList(msgspec.Struct, frozen=True):
    """Sessions of one key."""

    data: list[SessionInfo]
    object: str = "list"


class SessionEnded(msgspec.Struct, frozen=True):
    """A session that has ended."""

    id: str
    object: str = "session"
    deleted: bool = True


async def _list(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The sessions of the caller."""
    own = [each.info() for each in gateway.sessions.owned(caller)]
    return json_answer(SessionList([*own, *await gateway.peers.sessions(caller.client)]))


async def _end(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """End a session of the caller's."""
    name = request.path_params["id"]
    session = gateway.sessions.find(caller, name)
    if session is not None:
        await session.end("deleted")
    elif not await gateway.peers.end(caller.client, name):
        raise no_session()
    return json_answer(SessionEnded(name))


OPERATIONS = (
    Operation(
        "GET",
        "/v1/sessions",
        _list,
        "The sessions of this key",
        Answer("the sessions", body=SessionList),
    ),
    Operation(
        "DELETE",
        "/v1/sessions/{id}",
        _end,
        "End a session; its conversation is kept",
        Answer("it has ended", body=SessionEnded),
    ),
)
