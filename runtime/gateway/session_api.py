"""What an owner may ask of sessions and of conversations that outlive them, by HTTP."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation
from voxturn.runtime.gateway.sessions import SessionInfo, no_session


class SessionList(msgspec.Struct, frozen=True):
    """Sessions of one key."""

    data: list[SessionInfo]
    object: str = "list"


class Deleted(msgspec.Struct, frozen=True):
    """It is gone."""

    id: str
    object: str
    deleted: bool = True


class ConversationMessage(msgspec.Struct, frozen=True):
    """What was said, by whom: system, user, assistant or tool."""

    role: str
    text: str


class ConversationInfo(msgspec.Struct, frozen=True):
    """A conversation that is kept."""

    id: str
    messages: list[ConversationMessage]
    object: str = "conversation"


async def _list(gateway: Gateway, request: Request, caller: Caller) -> Response:
    own = [each.info() for each in gateway.sessions.owned(caller)]
    return _json(SessionList([*own, *await gateway.peers.sessions(caller.key)]))


async def _end(gateway: Gateway, request: Request, caller: Caller) -> Response:
    name = request.path_params["id"]
    session = gateway.sessions.find(caller, name)
    if session is not None:
        await session.end("deleted")
    elif not await gateway.peers.end(caller.key, name):
        raise no_session()
    return _json(Deleted(name, "session"))


async def _conversation(gateway: Gateway, request: Request, caller: Caller) -> Response:
    name = request.path_params["id"]
    messages = await gateway.conversations.load(caller.key, name)
    if messages is None:
        raise _no_conversation()
    said = [ConversationMessage(each.role, each.text) for each in messages]
    return _json(ConversationInfo(name, said))


def _no_conversation() -> ApiError:
    return ApiError(404, "there is no such conversation (any more)", "conversation_not_found")


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


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
        Answer("it has ended", body=Deleted),
    ),
    Operation(
        "GET",
        "/v1/conversations/{id}",
        _conversation,
        "What was said in a conversation",
        Answer("the conversation", body=ConversationInfo),
    ),
)
