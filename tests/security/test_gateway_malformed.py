"""A thousand malformed requests: each is answered or ended, none with a stack, and none ends the
gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import httpx2
from voxturn.bench.gateway_clients import REQUESTS, mangled

from tests.security.gateways import house

_COUNT, _AT_ONCE = 1000, 16
_ANSWER_S = 5.0
_LIVE_S = 120.0
HONEST = (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", *REQUESTS)
"""Requests that something is done to."""


async def ended(port: int, sent: bytes) -> bytes:
    """What was answered once our half of the connection was closed. Raises `TimeoutError`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        async with asyncio.timeout(_ANSWER_S):
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                writer.write_eof()
                while data := await reader.read(1 << 16):
                    received += data
    finally:
        writer.close()
    return received


async def test_a_thousand_malformed_requests(tmp_path: Path) -> None:
    dice = random.Random(21)
    requests = [mangled(dice, HONEST) for _ in range(_COUNT)]
    async with asyncio.timeout(_LIVE_S), house(tmp_path, keys=False) as served:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(sent: bytes) -> bytes:
            async with gate:
                return await ended(served.port, sent)

        answers = await asyncio.gather(*(one(sent) for sent in requests))
        assert not [a for a in answers if b"Traceback" in a or b'File "' in a]
        assert not [a for a in answers if a.startswith(b"HTTP/1.1 500")]
        assert sum(a.startswith(b"HTTP/1.1 4") for a in answers) > _COUNT / 3
        async with httpx2.AsyncClient(base_url=served.url) as http:
            assert (await http.get("/healthz")).status_code == 200
        assert served.gateway.work.count == 0
