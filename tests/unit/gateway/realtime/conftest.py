"""A client of the gateway's realtime endpoint, on the real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.realtime_client import Client, Opener


@pytest.fixture
def opened(port: int) -> Opener:
    """Opens a client: `async with opened("intent=transcription") as client`."""

    @asynccontextmanager
    async def opener(query: str = "model=gpt-realtime", **options: Any) -> AsyncIterator[Client]:
        url = f"ws://127.0.0.1:{port}/v1/realtime?{query}"
        async with connect(url, **options) as socket:
            client = Client(socket)
            created = await client.next()
            assert created["type"] == "session.created"
            yield client

    return opener


@pytest.fixture
async def client(opened: Opener) -> AsyncIterator[Client]:
    async with opened() as client:
        yield client
