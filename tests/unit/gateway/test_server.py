from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.websockets import WebSocket
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import TextTooLong, UsageError
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway import app
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller, Keys, NoKeys
from voxturn.runtime.gateway.operations import Operation, Socket, whole_body
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.server import Address, check_tls, listening, serving
from voxturn.runtime.gateway.stored_keys import StoredKeys, create, revoke
from voxturn.runtime.gateway.wire import Connections, WireLimits
from voxturn.runtime.gateway.work import Calls
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

LIVE_S = 10.0


class House:
    """A gateway whose clock stands still, with operations that wait until they are let go."""

    def __init__(self, assistant: Assistant, settings: GatewaySettings, keys: Keys) -> None:
        self.clock = ManualClock()
        self.gateway = Gateway(assistant, settings, keys, clock=self.clock)
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def echo(self, gateway: Gateway, request: Request, caller: Caller) -> Response:
        self.begun.set()
        return PlainTextResponse(str(len(await whole_body(request, 1 << 20))))

    async def wait(self, gateway: Gateway, request: Request, caller: Caller) -> Response:
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return PlainTextResponse("done")

    async def flood(self, gateway: Gateway, request: Request, caller: Caller) -> Response:
        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 16)
                    await asyncio.sleep(0)
            finally:
                self.cancelled = True

        return StreamingResponse(endless())

    async def talk(self, gateway: Gateway, connection: WebSocket, caller: Caller) -> None:
        """Turns that take until they are let go; between them, an end as soon as it stops."""
        await connection.accept()
        stop = asyncio.create_task(gateway.draining())
        try:
            while not stop.done():
                hear = asyncio.create_task(connection.receive_text())
                await asyncio.wait([hear, stop], return_when=asyncio.FIRST_COMPLETED)
                if not hear.done():
                    hear.cancel()
                    continue
                with gateway.work.running():
                    self.begun.set()
                    await self.go.wait()
                    await connection.send_text(hear.result())
            await connection.close(1012)
        finally:
            stop.cancel()

    @contextlib.asynccontextmanager
    async def served(self, wire: WireLimits | None = None) -> AsyncIterator[int]:
        async with serving(self.gateway, Address(port=0), wire) as port:
            yield port

    def operations(self) -> tuple[Operation, ...]:
        return (
            *app.OPERATIONS,
            Operation("POST", "/echo", self.echo, "how long it is"),
            Operation("GET", "/wait", self.wait, "when it is let go"),
            Operation("GET", "/flood", self.flood, "without end"),
        )


SETTINGS = GatewaySettings(drain_s=30.0, request_s=60.0, origins=("https://app.example",))


@pytest.fixture
async def assistant(tmp_path: Path) -> AsyncIterator[Assistant]:
    profile = load_profile(write_profile(tmp_path / "fake"))
    async with Assistant.load(profile, Store(tmp_path / "store")) as loaded:
        yield loaded


def open_house(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch, keys: Keys | None = None
) -> House:
    house = House(assistant, SETTINGS, keys or NoKeys())
    monkeypatch.setattr(app, "OPERATIONS", house.operations())
    monkeypatch.setattr(app, "SOCKETS", (Socket("/talk", house.talk, largest=1 << 20),))
    return house


@pytest.fixture
def house(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> House:
    return open_house(assistant, monkeypatch)


def client(port: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIVE_S)


async def until(condition: Callable[[], bool]) -> None:
    """Return once something is so that nobody tells."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def raw(port: int, sent: bytes) -> bytes:
    """What comes for what is sent, until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                received += data
        return received
    finally:
        writer.close()


async def test_running_work_ends_before_the_gateway_does(house: House) -> None:
    stopped = asyncio.Event()

    async def run() -> None:
        async with house.served() as number:
            port.set_result(number)
            await stopped.wait()

    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(LIVE_S):
        task = asyncio.create_task(run())
        number = await port
        async with client(number) as http, connect(f"ws://127.0.0.1:{number}/talk") as talk:
            request = asyncio.create_task(http.get("/wait"))
            await house.begun.wait()
            house.begun.clear()
            await talk.send("turn")
            await house.begun.wait()
            stopped.set()
            await house.gateway.stopping.wait()
            refused = await http.get("/wait")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
            assert refused.headers["retry-after"] == "1"
            with pytest.raises(InvalidStatus) as denied:
                await connect(f"ws://127.0.0.1:{number}/talk")
            assert denied.value.response.status_code == 503
            assert house.gateway.work.count == 2
            assert not task.done()
            house.go.set()
            assert (await request).text == "done"
            assert await talk.recv() == "turn"
            with pytest.raises(ConnectionClosed) as closed:
                await talk.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        await task
    assert not house.cancelled


async def test_what_takes_longer_than_it_may_is_cancelled(house: House) -> None:
    async with asyncio.timeout(LIVE_S), contextlib.AsyncExitStack() as stack:
        number = await stack.enter_async_context(house.served())
        http = await stack.enter_async_context(client(number))
        talk = await connect(f"ws://127.0.0.1:{number}/talk")
        request = asyncio.create_task(http.get("/wait"))
        await house.begun.wait()
        await talk.send("turn")
        leaving = asyncio.create_task(stack.aclose())
        await house.gateway.stopping.wait()
        await until(
            lambda: house.clock.waiting > 2
        )  # the watch over keys, the sweep, the end of the drain
        house.clock.advance(SETTINGS.drain_s)
        with pytest.raises(ConnectionClosed) as closed:
            await talk.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        with contextlib.suppress(httpx2.TransportError):
            assert (await request).status_code == 503
        await leaving
    assert house.cancelled


async def test_a_body_that_comes_too_slowly_is_refused(house: House) -> None:
    async with asyncio.timeout(LIVE_S), house.served() as port:
        head = b"POST /echo HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n"
        request = asyncio.create_task(raw(port, head + b"12345"))
        await house.begun.wait()
        await until(lambda: house.clock.waiting > 2)
        house.clock.advance(SETTINGS.request_s)
        reader = await request
        assert reader.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in reader


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /echo HTTP/1.1\r\nhost: 127.0.0.1\r\n",
        b"\r\n\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n12345",
        b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nPOST /ec",
    ],
    ids=["nothing", "half a head", "blank lines", "half a body", "half a second head"],
)
async def test_a_client_that_sends_too_slowly_is_dropped(house: House, sent: bytes) -> None:
    wire = WireLimits(head_s=0.1, body_s=0.1)
    async with asyncio.timeout(LIVE_S), house.served(wire) as port:
        await raw(port, sent)


async def test_a_client_that_does_not_read_is_dropped(house: House) -> None:
    async with asyncio.timeout(LIVE_S), house.served(WireLimits(stall_s=0.1)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET /flood HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await until(lambda: house.cancelled)
        writer.close()


async def test_a_websocket_s_client_that_does_not_read_is_dropped(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def flood(gateway: Gateway, connection: WebSocket, caller: Caller) -> None:
        await connection.accept()
        try:
            while True:
                await connection.send_bytes(bytes(1 << 16))
        finally:
            house.cancelled = True

    monkeypatch.setattr(app, "SOCKETS", (Socket("/flood", flood),))
    async with asyncio.timeout(LIVE_S), house.served(WireLimits(stall_s=0.1)) as port:
        talk = await connect(f"ws://127.0.0.1:{port}/flood", max_queue=1)
        await until(lambda: house.cancelled)
        talk.transport.abort()


async def test_a_request_is_told_that_its_key_was_revoked(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Database(tmp_path / "a") as database:
        key, secret = create(database, "ana")
        house = open_house(assistant, monkeypatch)
        house.gateway = Gateway(
            assistant, SETTINGS, StoredKeys(database, clock=house.clock), clock=house.clock
        )
        async with asyncio.timeout(LIVE_S), house.served() as port, client(port) as http:
            request = asyncio.create_task(http.get("/wait", headers={"x-api-key": secret}))
            await house.begun.wait()
            revoke(database, key.id)
            house.clock.advance(1.0)
            answer = await request
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert house.cancelled
            assert not house.gateway.calls.counts


async def test_what_no_operation_takes_is_seen_like_any_request(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(LIVE_S), house.served() as port, client(port) as http:
        with caplog.at_level("INFO", "voxturn.runtime.gateway.observed"):
            missing = await http.get("/of/mine", headers={"x-request-id": "mine"})
            wrong = await http.delete("/echo")
        assert (missing.status_code, wrong.status_code) == (404, 405)
        assert missing.headers["x-request-id"] == "mine"
        assert wrong.headers["x-request-id"].startswith("req_")
        assert wrong.headers["allow"] == "POST"
        told = [getattr(each, "voxturn_fields", {}) for each in caplog.records]
        assert [(each["path"], each["status"], each["code"]) for each in told] == [
            ("unknown", 404, "unknown_url"),
            ("unknown", 405, "wrong_method"),
        ]
        text = (await http.get("/metrics")).text
        assert 'voxturn_requests_total{path="unknown",status="404"} 1.0' in text
        assert "mine" not in text


async def test_a_head_has_its_limit(house: House) -> None:
    async with asyncio.timeout(LIVE_S), house.served(WireLimits(head=4096)) as port:
        begin = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        for many in (b"a: " + b"b" * 5000, b"a: b\r\n" * 900):
            answer = await raw(port, begin + many)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"head_too_large" in answer
        whole = begin + b"connection: close\r\na: " + b"b" * 3000 + b"\r\n\r\n"
        assert (await raw(port, whole)).startswith(b"HTTP/1.1 200 ")


async def test_connections_have_their_number(house: House) -> None:
    house.go.set()
    async with asyncio.timeout(LIVE_S), house.served(WireLimits(Connections(OwnPlaces(2)))) as port:
        async with (
            connect(f"ws://127.0.0.1:{port}/talk") as first,
            connect(f"ws://127.0.0.1:{port}/talk"),
        ):
            answer = await raw(port, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"too_many_connections" in answer
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{port}/talk")
            await first.close()
        async with client(port) as http:
            assert (await http.get("/healthz")).status_code == 200


async def test_a_message_has_its_size_and_its_pieces(house: House) -> None:
    house.go.set()
    wire = WireLimits(pieces=8)
    async with asyncio.timeout(LIVE_S), house.served(wire) as port:
        async with connect(f"ws://127.0.0.1:{port}/talk") as talk:
            await talk.send(["a"] * 7)  # and an empty one that ends it
            assert await talk.recv() == "a" * 7
            with contextlib.suppress(ConnectionClosed):
                await talk.send(["a"] + [""] * 100)
                await talk.recv()
            assert talk.close_code == 1009
        async with connect(f"ws://127.0.0.1:{port}/talk", max_size=None) as talk:
            with contextlib.suppress(ConnectionClosed):
                await talk.send("a" * ((1 << 20) + 1))
                await talk.recv()
            assert talk.close_code == 1009


async def test_what_is_too_large_is_refused_by_its_head(house: House) -> None:
    """A client that announces a large frame is not waited for."""
    house.go.set()
    head = bytes([0x82, 0xFF]) + (1 << 30).to_bytes(8, "big") + bytes(4)
    async with (
        asyncio.timeout(LIVE_S),
        house.served() as port,
        connect(f"ws://127.0.0.1:{port}/talk") as talk,
    ):
        talk.transport.write(head)
        await talk.wait_closed()
        assert talk.close_code == 1009


async def test_every_socket_says_how_large_a_message_may_be(gateway: Gateway) -> None:
    largest = {
        "/v1/realtime": 16 << 20,
        "/v1/live/sessions": 16 << 20,
        "/ws/hear": 2 << 20,
        "/ws/say": 2 << 20,
        "/ws/twilio": 256 << 10,
        "/ws/voice": 2 << 20,
    }
    assert {each.path: each.largest for each in app.SOCKETS} == largest
    async with asyncio.timeout(LIVE_S), serving(gateway, Address(port=0)) as port:
        for path in ("/ws/twilio", "/ws/voice"):  # they are accepted before anything is said
            async with connect(f"ws://127.0.0.1:{port}{path}") as socket:
                with contextlib.suppress(ConnectionClosed):
                    await socket.send("a" * (largest[path] + 1))
                    await socket.recv()
                assert socket.close_code == 1009


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ValueError("a path of ours"), 1011, "internal_error"),
        (ApiError(429, "no place is free", "session_limit_reached"), 1013, "session_limit_reached"),
        (ApiError(400, "no such event", "invalid_value"), 1008, "invalid_value"),
        (TextTooLong("too long"), 1008, "text_too_long"),
    ],
    ids=repr,
)
async def test_what_a_socket_raises_closes_it(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, reason: str
) -> None:
    async def fail(gateway: Gateway, connection: WebSocket, caller: Caller) -> None:
        await connection.accept()
        await connection.receive_text()
        raise error

    monkeypatch.setattr(app, "SOCKETS", (Socket("/fail", fail),))
    async with (
        asyncio.timeout(LIVE_S),
        house.served() as port,
        connect(f"ws://127.0.0.1:{port}/fail") as talk,
    ):
        await talk.send("go on")
        with pytest.raises(ConnectionClosed) as closed:
            await talk.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)


async def test_a_client_that_left_is_no_error(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def careless(gateway: Gateway, connection: WebSocket, caller: Caller) -> None:
        await connection.accept()
        try:
            while True:
                await connection.receive()
        finally:
            house.begun.set()

    monkeypatch.setattr(app, "SOCKETS", (Socket("/careless", careless),))
    async with asyncio.timeout(LIVE_S), house.served() as port:
        talk = await connect(f"ws://127.0.0.1:{port}/careless")
        talk.transport.abort()
        await house.begun.wait()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_session_ends_with_its_key(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Database(tmp_path / "a") as database, Database(tmp_path / "a") as elsewhere:
        keys = [create(database, name) for name in ("ana", "bo")]
        house = open_house(assistant, monkeypatch)
        house.gateway = Gateway(
            assistant, SETTINGS, StoredKeys(database, clock=house.clock), clock=house.clock
        )
        async with asyncio.timeout(LIVE_S), house.served() as port:
            ana, bo = [
                await connect(
                    f"ws://127.0.0.1:{port}/talk",
                    additional_headers={"authorization": f"Bearer {secret}"},
                )
                for _, secret in keys
            ]
            assert house.gateway.calls.counts == {key.id: 1 for key, _ in keys}
            revoke(elsewhere, keys[0][0].id)
            house.clock.advance(1.0)
            with pytest.raises(ConnectionClosed) as closed:
                await ana.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            house.go.set()
            await bo.send("still here")
            assert await bo.recv() == "still here"
            await bo.close()


async def test_a_key_has_its_number_of_requests_at_once(house: House) -> None:
    house.gateway.calls = Calls(house.gateway.keys, house.clock, 2)
    async with asyncio.timeout(LIVE_S), house.served() as port, client(port) as http:
        async with connect(f"ws://127.0.0.1:{port}/talk"):
            request = asyncio.create_task(http.get("/wait"))
            await house.begun.wait()
            assert house.gateway.calls.counts == {"127.0.0.1": 2}
            answer = await http.get("/wait")
            assert (answer.status_code, answer.json()["error"]["code"]) == (
                429,
                "too_many_connections",
            )
            assert (await http.get("/healthz")).status_code == 200
            house.go.set()
            assert (await request).status_code == 200
        await until(lambda: not house.gateway.calls.counts)


async def test_a_stream_ends_with_its_key(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Database(tmp_path / "a") as database:
        key, secret = create(database, "ana")
        house = open_house(assistant, monkeypatch)
        house.gateway = Gateway(
            assistant, SETTINGS, StoredKeys(database, clock=house.clock), clock=house.clock
        )
        shown = {"x-api-key": secret}
        async with asyncio.timeout(LIVE_S), house.served() as port, client(port) as http:
            with pytest.raises(httpx2.RemoteProtocolError):
                async with http.stream("GET", "/flood", headers=shown) as answer:
                    assert answer.status_code == 200
                    revoke(database, key.id)
                    house.clock.advance(1.0)
                    async for _ in answer.aiter_raw():
                        pass
            assert house.cancelled
            assert not house.gateway.calls.counts


async def test_pages_of_allowed_origins_may_ask(house: House) -> None:
    async with asyncio.timeout(LIVE_S), house.served() as port, client(port) as http:
        wish = {"access-control-request-method": "POST", "access-control-request-headers": "x-a"}
        allowed = {"origin": "https://app.example"}
        preflight = await http.options("/echo", headers=allowed | wish)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        answer = await http.post("/echo", content=b"123", headers=allowed)
        assert (answer.status_code, answer.text) == (200, "3")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        strange = {"origin": "https://evil.example"}
        preflight = await http.options("/echo", headers=strange | wish)
        assert preflight.status_code == 400
        answer = await http.post("/echo", content=b"123", headers=strange)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert answer.json()["error"]["code"] == "origin_not_allowed"


def test_an_address_that_is_taken_is_told() -> None:
    with listening(Address(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match="cannot listen there"):
            listening(Address(port=port))


def test_files_that_tls_cannot_use_are_told(tmp_path: Path) -> None:
    check_tls(Address())
    text = tmp_path / "text"
    text.write_text("no certificate")
    with pytest.raises(UsageError, match="are no certificate") as caught:
        check_tls(Address(certificate=str(text), key=str(text)))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        check_tls(Address(certificate=str(tmp_path / "none"), key=str(text)))
