"""What is kept of conversations, and how it is deleted."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation


async def delete(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Forget a conversation of the caller's."""
    name = request.path_params["id"]
    if not await gateway.conversations.delete(caller.key, name):
        raise ApiError(404, "there is no such conversation", "conversation_not_found")
    return JSONResponse({"id": name, "object": "conversation.deleted", "deleted": True})


async def delete_all(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Forget all conversations of the caller's."""
    deleted = await gateway.conversations.delete_all(caller.key)
    return JSONResponse({"object": "conversations.deleted", "deleted": deleted})


OPERATIONS = (
    Operation(
        "DELETE",
        "/v1/conversations/{id}",
        delete,
        "Forget a conversation",
        Answer("its id"),
    ),
    Operation(
        "DELETE",
        "/v1/conversations",
        delete_all,
        "Forget all conversations of this key",
        Answer("how many there were"),
    ),
)
