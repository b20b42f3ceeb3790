"""The AsyncAPI 3 document of `/ws/voice`, from the structs of `messages.py`."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.gateway.voice.messages import AudioHeader, ClientMessage, ServerEvent

_REFERENCE = "#/components/schemas/{name}"


def client_kinds() -> tuple[type[msgspec.Struct], ...]:
    """The messages of clients."""
    return get_args(ClientMessage)


def server_kinds() -> tuple[type[msgspec.Struct], ...]:
    """The events of the server."""
    return get_args(ServerEvent)


def _key(side: str, kind: type[msgspec.Struct]) -> str:
    return f"{side}.{kind.__struct_config__.tag}"


def _messages(side: str, kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    """The messages of one side, by name, and its binary one."""
    schemas, _ = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    messages = {
        _key(side, kind): {
            "name": kind.__struct_config__.tag,
            "contentType": "application/json",
            "description": " ".join((kind.__doc__ or "").split()),
            "payload": schema,
        }
        for kind, schema in zip(kinds, schemas, strict=True)
    }
    about = (
        "A piece of the stream that `audio` declares, cut anywhere; 1 MiB at most."
        if side == "client"
        else " ".join((AudioHeader.__doc__ or "").split())
    )
    messages[f"{side}.audio"] = {
        "name": "audio",
        "contentType": "application/octet-stream",
        "description": about,
        "payload": {"type": "string", "format": "binary"},
    }
    return messages


@cache
def document() -> bytes:
    """The document as JSON."""
    sides = {"client": client_kinds(), "server": server_kinds()}
    messages: dict[str, Any] = {}
    for side, kinds in sides.items():
        messages |= _messages(side, kinds)
    _, schemas = msgspec.json.schema_components(
        [kind for kinds in sides.values() for kind in kinds], ref_template=_REFERENCE
    )
    references = {key: {"$ref": f"#/components/messages/{key}"} for key in messages}
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "voxturn: the voice endpoint",
                "version": str(wire.VERSION),
                "description": "Audio in, events and audio out; resumable.",
            },
            "channels": {
                "voice": {
                    "address": "/ws/voice",
                    "messages": references,
                    "bindings": {"ws": {"method": "GET"}},
                }
            },
            "operations": {
                side: {
                    "action": "receive" if side == "client" else "send",
                    "channel": {"$ref": "#/channels/voice"},
                    "messages": [
                        {"$ref": f"#/channels/voice/messages/{key}"}
                        for key in messages
                        if key.startswith(f"{side}.")
                    ],
                }
                for side in sides
            },
            "components": {"messages": messages, "schemas": schemas},
        }
    )
