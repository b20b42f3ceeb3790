"""What the plugins tell a gateway, and how its audio frames are read. Pure."""

from __future__ import annotations

import json
import struct
from typing import Any
from urllib.parse import urlsplit

from voxturn.runtime.errors import ServerDied, UsageError

VERSION = 1
_HEADER = struct.Struct("<BBHIIIQ")
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def address_of(url: str, path: str) -> str:
    """A gateway's address with a path, as `ws://localhost:8080/ws/say`. Raises `UsageError`."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise UsageError(f"{url}: a gateway's address is as http://localhost:8080")
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}"


def headers_of(key: str) -> dict[str, str]:
    """What shows a key."""
    return {"authorization": f"Bearer {key}"} if key else {}


def told(kind: str, **fields: Any) -> str:
    """A message; fields that are empty are left out."""
    kept = {name: value for name, value in fields.items() if value not in (None, "")}
    return json.dumps({"type": kind, **kept})


def audio_of(frame: bytes) -> tuple[int, bytes]:
    """The number of the text that a binary frame is of, and its PCM. Raises `ServerDied`."""
    if len(frame) < _HEADER.size or frame[0] != VERSION:
        raise ServerDied("the gateway sent audio that this plugin cannot read")
    return _HEADER.unpack_from(frame)[4], frame[_HEADER.size :]
