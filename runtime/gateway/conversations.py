"""What is kept of conversations: how it is read, and how it is deleted."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation, json_answer


class ConversationMessage(msgspec.Struct, frozen=True):
    """What was said, by whom: system, user, assistant or tool."""

    role: str
    text: str


class ConversationInfo(msgspec.Struct, frozen=True):
    """A conversation that is kept."""

    id: str
    messages: list[ConversationMessage]
    object: str = "conversation"


class ConversationDeleted(msgspec.Struct, frozen=True):
    """A conversation that is gone."""

    id: str
    object: str = "conversation.deleted"
    deleted: bool = True


class ConversationsDeleted(msgspec.Struct, frozen=True):
    """How many conversations are gone."""

    deleted: int
    object: str = "conversations.deleted"


async def show(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What was said in a conversation of the caller's."""
    name = request.path_params["id"]
    messages = await gateway.conversations.load(caller.key, name)
    if messages is None:
        raise _none()
    said = [ConversationMessage(each.role, each.text) for each in messages]
    return json_answer(ConversationInfo(name, said))


async def delete(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Forget a conversation of the caller's."""
    name = request.path_params["id"]
    if not await gateway.conversations.delete(caller.key, name):
        raise _none()
    return json_answer(ConversationDeleted(name))


async def delete_all(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Forget all conversations of the caller's."""
    return json_answer(ConversationsDeleted(await gateway.conversations.delete_all(caller.key)))


def _none() -> ApiError:
    return ApiError(404, "there is no such conversation (any more)", "conversation_not_found")


OPERATIONS = (
    Operation(
        "GET",
        "/v1/conversations/{id}",
        show,
        "What was said in a conversation",
        Answer("the conversation", body=ConversationInfo),
    ),
    Operation(
        "DELETE",
        "/v1/conversations/{id}",
        delete,
        "Forget a conversation",
        Answer("its id", body=ConversationDeleted),
    ),
    Operation(
        "DELETE",
        "/v1/conversations",
        delete_all,
        "Forget all conversations of this key",
        Answer("how many there were", body=ConversationsDeleted),
    ),
)
