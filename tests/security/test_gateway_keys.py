"""What whoever reaches a gateway's port can do without a key, or with another's: nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from voxturn.runtime.gateway.app import OPERATIONS, SOCKETS
from voxturn.runtime.gateway.operations import Operation, Socket
from voxturn.runtime.gateway.work import MOST_UNKNOWN
from voxturn.runtime.messages import Message
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus

from tests.security.gateways import LIVE_S, House, filled, house

PUBLIC = {"/", "/page/{name:path}", "/healthz", "/readyz", "/metrics"}
"""What tells nothing of anyone. The documents of the interface are public as well."""
CLOSED = [each for each in OPERATIONS if not each.public]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[House]:
    async with asyncio.timeout(LIVE_S), house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def http(served: House) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=served.url, timeout=LIVE_S) as client:
        yield client


def guesses(served: House) -> list[str]:
    """What is no key."""
    return [
        "vx_" + secrets.token_urlsafe(32),
        served.ana[:-1],
        served.ana + " " + served.bo,
        served.ids[0],
        "' OR 1=1 --",
        "é",
    ]


def test_only_what_tells_nothing_is_public() -> None:
    public = {each.path for each in OPERATIONS if each.public}
    assert all(path in PUBLIC or path.endswith((".json", ".yaml")) for path in public), public


async def test_what_is_public_is_so_by_any_name(http: httpx2.AsyncClient) -> None:
    for path in ("/", "/healthz", "/metrics"):
        assert (await http.get(path, headers={"host": "voice.example"})).status_code == 200


@pytest.mark.parametrize("operation", CLOSED, ids=lambda each: each.name)
async def test_no_request_is_answered_without_a_key(
    served: House, http: httpx2.AsyncClient, operation: Operation
) -> None:
    path = filled(operation.path)
    answers = [await http.request(operation.method, path)]
    for guess in guesses(served):
        shown = guess.encode()
        answers += [
            await http.request(operation.method, path, headers={"x-api-key": shown}),
            await http.request(
                operation.method, path, headers={"authorization": b"Bearer " + shown}
            ),
            await http.request(operation.method, path, params={"api_key": guess}),
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["error"]["code"] for answer in answers} == {"invalid_api_key"}
    assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers)
    allowed = await http.request(operation.method, path, headers={"x-api-key": served.ana})
    assert allowed.status_code != 401


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda each: each.path)
async def test_no_socket_is_opened_without_a_key(served: House, socket: Socket) -> None:
    url = f"ws://127.0.0.1:{served.port}{filled(socket.path)}"
    none = [""] if socket.introduced is None else []  # that one may show its key later
    for guess in [*none, *guesses(served)[:4]]:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"authorization": f"Bearer {guess}"})
        assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url}?api_key={quote(guess)}")
        assert refused.value.response.status_code == 401


def call(key: str) -> str:
    """The first message of a telephone call."""
    parameters = {"api_key": key} if key else {}
    return json.dumps(
        {"event": "start", "start": {"streamSid": "MZ", "customParameters": parameters}}
    )


async def test_no_call_begins_without_a_key(served: House) -> None:
    """The one endpoint whose key may come after the handshake."""
    assert [each.path for each in SOCKETS if each.introduced] == ["/ws/twilio"]
    url = f"ws://127.0.0.1:{served.port}/ws/twilio"
    for guess in ["", *guesses(served), "ek_" + secrets.token_urlsafe(32)]:
        async with connect(url) as socket:
            await socket.send(call(guess))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "invalid_api_key")
    assert served.gateway.limits.sessions == 0
    async with connect(url) as socket:
        await socket.send(call(served.ana))
        await socket.send('{"event": "stop"}')
        with pytest.raises(ConnectionClosedOK):
            await socket.recv()


async def test_callers_without_a_key_do_not_fill_the_house(served: House) -> None:
    url = f"ws://127.0.0.1:{served.port}/ws/twilio"
    async with AsyncExitStack() as waiting:
        for _ in range(MOST_UNKNOWN):
            await waiting.enter_async_context(connect(url))
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 503
        assert served.gateway.limits.sessions == 0
        async with connect(url, additional_headers={"x-api-key": served.ana}) as socket:
            await socket.send(call(""))
            await socket.send('{"event": "stop"}')
            with pytest.raises(ConnectionClosedOK):
                await socket.recv()


async def test_a_call_by_an_ephemeral_key_is_the_only_one(
    served: House, http: httpx2.AsyncClient
) -> None:
    headers = {"x-api-key": served.ana}
    made = await http.post("/v1/realtime/client_secrets", json={}, headers=headers)
    url = f"ws://127.0.0.1:{served.port}/ws/twilio"
    codes = []
    for _ in range(2):
        async with connect(url) as socket:
            await socket.send(call(made.json()["value"]))
            await socket.send('{"event": "stop"}')
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            codes.append(closed.value.rcvd.code)
    assert codes == [1000, 1008]


async def test_a_conversation_is_out_of_reach_of_another_s_key(
    served: House, http: httpx2.AsyncClient
) -> None:
    messages = [Message("user", "My own.")]
    kept = served.gateway.conversations
    await kept.save(served.ids[0], "mine", messages)
    bo, ana = {"x-api-key": served.bo}, {"x-api-key": served.ana}
    assert (await http.delete("/v1/conversations/mine", headers=bo)).status_code == 404
    assert (await http.delete("/v1/conversations", headers=bo)).json()["deleted"] == 0
    assert await kept.load(served.ids[0], "mine") == messages
    assert await kept.load(served.ids[1], "mine") is None
    assert (await http.delete("/v1/conversations/mine", headers=ana)).json()["deleted"] is True
    assert await kept.load(served.ids[0], "mine") is None


async def test_a_key_s_name_may_be_anything(served: House, http: httpx2.AsyncClient) -> None:
    for name in ("..%2f..%2fetc%2fpasswd", "%00", "'; DROP TABLE keys; --", "a" * 4000):
        answer = await http.delete(f"/v1/conversations/{name}", headers={"x-api-key": served.ana})
        assert answer.status_code in (400, 404)
    assert (
        await http.delete("/v1/conversations", headers={"x-api-key": served.ana})
    ).status_code == 200


async def test_secrets_are_never_logged(
    served: House, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Shown in each of the four places, right or wrong, with every logger at its most talkative."""
    for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "voxturn"):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger("uvicorn.error").setLevel(logging.DEBUG)
    secrets_shown = [served.ana, "vx_" + secrets.token_urlsafe(32)]
    paths = [socket.path for socket in SOCKETS] or ["/v1/realtime"]
    for secret in secrets_shown:
        for line in (
            f"DELETE /v1/conversations HTTP/1.1\r\nauthorization: Bearer {secret}",
            f"DELETE /v1/conversations HTTP/1.1\r\nx-api-key: {secret}",
            f"DELETE /v1/conversations?api_key={secret} HTTP/1.1",
            f"DELETE /v1/conversations?api_key={secret} HTTP/9.9",
            f"GET /nothing?api_key={secret} HTTP/1.1",
            f"GET /healthz?api_key={secret} HTTP/1.1\r\ncontent-length: x",
            *(
                f"GET {path}{query} HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                f"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=={more}"
                for path in (*paths, "/nothing")
                for query, more in (
                    (f"?api_key={secret}", ""),
                    ("", f"\r\nauthorization: Bearer {secret}"),
                    ("", f"\r\nx-api-key: {secret}"),
                    (
                        "",
                        f"\r\nsec-websocket-protocol: realtime, openai-insecure-api-key.{secret}",
                    ),
                    ("", f"\r\nsec-websocket-protocol: (openai-insecure-api-key.{secret}"),
                )
            ),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(f"{line}\r\nhost: 127.0.0.1\r\n\r\n".encode())
            assert await reader.read(1 << 16)
            writer.close()
    printed = capfd.readouterr()
    told = caplog.text + printed.out + printed.err
    assert "DEBUG" in caplog.text  # something was told, so it was looked at
    for secret in secrets_shown:
        assert secret not in told
        assert secret[3:] not in told


async def test_a_wrong_key_is_never_told_back(served: House, http: httpx2.AsyncClient) -> None:
    guess = "vx_" + secrets.token_urlsafe(32)
    answer = await http.delete(f"/v1/conversations?api_key={guess}")
    assert answer.status_code == 401
    assert guess not in answer.text + str(answer.headers)
