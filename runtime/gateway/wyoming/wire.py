"""Events on the wire: a line of JSON, then bytes of JSON, then a payload, each of a limited length.

The package's own reader takes whatever length a client names.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from voxturn.runtime.gateway.errors import ApiError
from wyoming.event import Event
from wyoming.version import __version__

LONGEST_LINE, LONGEST_DATA, LONGEST_PAYLOAD = 1 << 16, 1 << 18, 1 << 20
"""Bytes of an event's parts; a second of 16 kHz audio has 32,000."""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None where the client has left.

    `reader` has the limit `LONGEST_LINE`. Raises `ApiError` for what is no event.
    """
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as exc:
        raise _too_large("line", LONGEST_LINE) from exc
    head = _object(line)
    kind, data = head.get("type"), head.get("data", {})
    if not isinstance(kind, str) or not isinstance(data, dict | None):
        raise ApiError(400, "an event needs a type, and its data is an object", "invalid_event")
    sizes = [
        _length(head, "data_length", LONGEST_DATA),
        _length(head, "payload_length", LONGEST_PAYLOAD),
    ]
    try:
        more, payload = [await reader.readexactly(size) for size in sizes]
    except asyncio.IncompleteReadError:
        return None
    return Event(kind, (data or {}) | (_object(more) if more else {}), payload or None)


def encoded(event: Event) -> bytes:
    """An event as it is sent."""
    data = json.dumps(event.data, ensure_ascii=False).encode() if event.data else b""
    head: dict[str, Any] = {"type": event.type, "version": __version__}
    if data:
        head["data_length"] = len(data)
    if event.payload:
        head["payload_length"] = len(event.payload)
    return json.dumps(head).encode() + b"\n" + data + (event.payload or b"")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ApiError(400, "an event is not JSON", "invalid_json") from exc
    if not isinstance(value, dict):
        raise ApiError(400, "an event is no JSON object", "invalid_event")
    return value


def _length(head: dict[str, Any], name: str, most: int) -> int:
    value = head.get(name) or 0
    if not isinstance(value, int) or value < 0:
        raise ApiError(400, f"{name}: is no length", "invalid_event", name)
    if value > most:
        raise _too_large(name, most)
    return value


def _too_large(what: str, most: int) -> ApiError:
    return ApiError(413, f"an event's {what} has more than {most} bytes", "event_too_large")
