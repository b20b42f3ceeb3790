"""What a page of a stranger can do with a gateway on its visitor's machine, where no key is needed:
nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from voxturn.runtime.gateway.app import OPERATIONS, SOCKETS
from voxturn.runtime.gateway.operations import Operation, Socket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.security.gateways import LIVE_S, House, filled, house

STRANGERS = [
    ({"origin": "https://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "http://127.0.0.1:1"}, 403),
    ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "audio"}, 403),
    ({"host": "evil.example", "origin": "http://evil.example"}, 421),
    ({"host": "evil.example", "sec-fetch-site": "same-origin"}, 421),
]
"""What a browser says of such a page; the last two: its name was made to mean this machine."""
CLOSED = [each for each in OPERATIONS if not each.public]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[House]:
    async with asyncio.timeout(LIVE_S), house(tmp_path, keys=False) as opened:
        yield opened


@pytest.mark.parametrize("operation", CLOSED, ids=lambda each: each.name)
async def test_no_request_of_a_stranger_s_page_is_carried_out(
    served: House, operation: Operation
) -> None:
    async with httpx2.AsyncClient(base_url=served.url, timeout=LIVE_S) as http:
        path = filled(operation.path)
        for told, status in STRANGERS:
            simple = told | {"content-type": "text/plain"}
            answer = await http.request(operation.method, path, headers=simple)
            assert answer.status_code == status
            assert not [name for name in answer.headers if name.startswith("access-control")]
        for own in ({}, {"origin": served.url}):
            answer = await http.request(operation.method, path, headers=own)
            assert answer.status_code not in (401, 403, 421)


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda each: each.path)
async def test_no_socket_is_opened_for_a_stranger_s_page(served: House, socket: Socket) -> None:
    for told, status in STRANGERS:
        origin = told.get("origin")
        others = {k: v for k, v in told.items() if k not in ("origin", "host")}
        name = told.get("host", "127.0.0.1")
        with pytest.raises(InvalidStatus) as refused:
            await connect(
                f"ws://{name}:{served.port}{filled(socket.path)}",
                host="127.0.0.1",
                origin=origin,  # type: ignore[arg-type]
                additional_headers=others,
                proxy=None,
            )
        expected = 421 if name != "127.0.0.1" else status
        assert refused.value.response.status_code == expected


async def test_a_made_up_name_reads_nothing_that_is_public(served: House) -> None:
    async with httpx2.AsyncClient(base_url=served.url, timeout=LIVE_S) as http:
        for operation in OPERATIONS:
            if operation.public:
                answer = await http.request(
                    operation.method, filled(operation.path), headers={"host": "evil.example"}
                )
                assert answer.status_code == 421


async def test_a_stranger_s_preflight_is_refused(served: House) -> None:
    async with httpx2.AsyncClient(base_url=served.url, timeout=LIVE_S) as http:
        wish = {"access-control-request-method": "DELETE", "origin": "https://evil.example"}
        answer = await http.options("/v1/conversations", headers=wish)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]
