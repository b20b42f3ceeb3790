"""A client of `/ws/hear` and `/ws/say`, as programs write one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.gateway.voice.messages import AudioHeader
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TONE = (8000 * np.sin(np.arange(16_000) * 0.3)).astype("<i2").tobytes()
SILENCE = bytes(96_000)


class Client:
    """One connection, and what it has received. `audio`: headers and PCM."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.audio: list[tuple[AudioHeader, bytes]] = []

    async def tell(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            data = await self.socket.recv()
        if isinstance(data, bytes):
            self.audio.append((AudioHeader.unpack(data), data[AudioHeader.SIZE :]))
            return {"type": "audio"}
        event: dict[str, Any] = json.loads(data)
        self.events.append(event)
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        while (event := await self.next())["type"] != kind:
            assert event["type"] not in ("error", "say.failed"), event
        return event

    async def closed(self) -> int:
        """Read to the end; how it was closed."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code or 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


Dial = Callable[[str], AbstractAsyncContextManager[Client]]


@pytest.fixture
def dial(port: int) -> Dial:
    """Connects to an address of the gateway."""

    @asynccontextmanager
    async def dialling(path: str) -> AsyncGenerator[Client, None]:
        async with connect(f"ws://127.0.0.1:{port}{path}", close_timeout=0.1) as socket:
            yield Client(socket)

    return dialling
