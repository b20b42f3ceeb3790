"""Clients of a gateway that may go wrong: honest ones, ones that vanish, ones that send nonsense."""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

ANSWER_S = 5.0
"""Within this every client has to be answered."""
KINDS = ("realtime", "voice", "speech")
TEXT = "Please remember to close the windows before you leave the house tonight."
_SIZES = (1, 2, 10, 50)
_SPLICES = (b"\r\n", b"\0", b"content-length: 5\r\n", b"%00", b"\xff" * 9, b"chunked", b"[" * 200)
_BODY = json.dumps({"input": TEXT, "voice": "alloy", "response_format": "pcm"}).encode()
SPEECH = (
    b"POST /v1/audio/speech HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
REQUESTS = (
    b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"DELETE /v1/conversations/abc?api_key=x HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: a\r\n\r\n",
    SPEECH,
    b"POST /v1/audio/speech HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    b'5\r\n{"inp\r\n8\r\nut": ""}\r\n0\r\n\r\n',
    b"GET /v1/realtime HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
)
"""Requests that something is done to."""
REALTIME = (
    b'{"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}',
    b'{"type": "input_audio_buffer.append", "audio": "AAAAAAAAAAAAAAAA"}',
    b'{"type": "conversation.item.create", "item": {"type": "message", "role": "user", '
    b'"content": [{"type": "input_text", "text": "Hello."}]}}',
    b'{"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, '
    b'"audio_end_ms": 10}',
)
VOICE = (
    b'{"type": "audio.start", "audio": {"format": "pcm", "rate": 16000}}',
    b'{"type": "played", "ms": 10.5}',
    b'{"type": "tool.result", "call_id": "a", "content": "b", "failed": true}',
    b'{"type": "ack", "received": 0}',
)


def mangled(dice: random.Random, honest: Sequence[bytes]) -> bytes:
    """One of these with some of its bytes changed, left out, repeated or mixed with another's."""
    data = bytearray(dice.choice(honest))
    for _ in range(dice.randint(1, 4)):
        at, size = dice.randrange(len(data) or 1), dice.choice(_SIZES)
        match dice.randrange(5):
            case 0:
                data[at : at + size] = dice.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size] * dice.choice((1, 3, 200))
            case 3:
                data[at:] = dice.choice(honest)[dice.randrange(30) :]
            case 4:
                data[at:at] = dice.choice(_SPLICES)
    return bytes(data)


def webm() -> bytes:
    """A second of a tone, as a browser records it."""
    import av

    sink = io.BytesIO()
    with av.open(sink, "w", format="webm", container_options={"live": "1"}) as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        tone = (0.3 * np.sin(np.arange(48_000) * 0.05)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.getvalue()


class Answers:
    """When clients were answered, in ms, and what went wrong: nobody answered in time, or the
    server failed inside (500, a stack)."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.unanswered = 0
        self.internal = 0

    @asynccontextmanager
    async def awaited(self, strict: bool = False) -> AsyncIterator[None]:
        """The block ends with the answer. A connection that is closed is one, too, unless `strict`;
        one that nobody takes is none."""
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_S):
                yield
        except (TimeoutError, ConnectionRefusedError):
            self.unanswered += 1
        except _gone() as exc:
            self.unanswered += strict
            self.internal += _failed(exc)
        self.ms.append(1000 * (time.perf_counter() - begin))

    def look_at(self, data: str | bytes) -> None:
        """Count an answer that tells of a fault inside."""
        raw = data.encode() if isinstance(data, str) else data
        signs = (b"Traceback", b'"internal_error"', b"HTTP/1.1 500")
        self.internal += any(sign in raw for sign in signs)


def _failed(error: Exception) -> bool:
    """Whether a WebSocket ended by a fault of the server: without a word, or with 1011."""
    from websockets.exceptions import ConnectionClosed

    if not isinstance(error, ConnectionClosed):
        return False
    return error.rcvd is None or error.rcvd.code == 1011


def _gone() -> tuple[type[Exception], ...]:
    from websockets.exceptions import WebSocketException

    return (WebSocketException, OSError, EOFError)


@asynccontextmanager
async def dialled(port: int, kind: str, **start: Any) -> AsyncIterator[Any]:
    """A WebSocket whose session has begun; `start` is of /ws/voice, `conversation` of both."""
    from websockets.asyncio.client import connect

    options: dict[str, Any] = {"compression": None, "max_size": 1 << 24, "close_timeout": 0.2}
    if kind == "realtime":
        name = start.get("conversation", "")
        query = f"?model=voxturn&conversation={name}" if name else "?model=voxturn"
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime{query}", **options) as socket:
            await until(socket, ("session.created",))
            yield socket
        return
    async with connect(f"ws://127.0.0.1:{port}/ws/voice", **options) as socket:
        await socket.send(json.dumps({"type": "session.start", "version": 1, **start}))
        await until(socket, ("session.started", "error"))
        yield socket


async def until(
    socket: Any, kinds: Sequence[str], look: Callable[[str | bytes], None] | None = None
) -> dict[str, Any]:
    """The next event of one of these kinds."""
    while True:
        data = await socket.recv()
        if look is not None:
            look(data)
        if isinstance(data, bytes):
            continue
        told: dict[str, Any] = json.loads(data)
        if told["type"] in kinds:
            return told


async def ask(socket: Any, kind: str, question: str) -> None:
    """Put a typed question."""
    if kind == "voice":
        await socket.send(json.dumps({"type": "text.ask", "text": question}))
        return
    content = [{"type": "input_text", "text": question}]
    item = {"type": "message", "role": "user", "content": content}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create"}))


async def turn(socket: Any, kind: str, question: str) -> bool:
    """A typed question until its answer is acknowledged: it is kept then; whether it went well."""
    await ask(socket, kind, question)
    if kind == "voice":
        return bool((await until(socket, ("turn.done",)))["outcome"] == "done")
    done = await until(socket, ("response.done",))
    return bool(done["response"]["status"] == "completed")


async def vanishing(port: int, kind: str, after_s: float, found: Answers) -> None:
    """A client that begins something, and whose connection breaks without a word."""
    aborts: list[Callable[[], None]] = []

    async def speech() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        aborts.append(writer.transport.abort)
        writer.write(SPEECH)
        while await reader.read(1 << 12):
            pass

    async def session() -> None:
        async with dialled(port, kind) as socket:
            aborts.append(socket.transport.abort)
            await ask(socket, kind, TEXT)
            while True:
                found.look_at(await socket.recv())

    task = asyncio.create_task(speech() if kind == "speech" else session())
    await asyncio.wait([task], timeout=after_s)
    for abort in aborts:
        abort()
    task.cancel()
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, _gone()):
        raise error


async def malformed_request(port: int, sent: bytes, found: Answers) -> None:
    """A request of HTTP that is none, until the connection is closed."""
    async with found.awaited():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            writer.write_eof()
            first = await reader.read(1 << 16)
            found.look_at(first)
            while await reader.read(1 << 16):
                pass
        finally:
            writer.transport.abort()


async def malformed_message(
    port: int, kind: str, sent: bytes, binary: bool, found: Answers
) -> None:
    """A message that is none, then one that has to be answered, unless the connection was closed."""
    start = {"audio": {"format": "webm"}} if binary and kind == "voice" else {}
    async with found.awaited(), dialled(port, kind, **start) as socket:
        await socket.send(sent if binary else sent.decode(errors="replace"))
        if kind == "voice":
            await socket.send('{"type": "ping", "id": "honest"}')
            await until(socket, ("pong",), found.look_at)
            return
        honest = {"type": "conversation.item.retrieve", "item_id": "no", "event_id": "honest"}
        await socket.send(json.dumps(honest))
        while True:
            told = await until(socket, ("error",), found.look_at)
            if told["error"]["event_id"] == "honest":
                return


async def honest(port: int, found: Answers) -> None:
    """One that asks for little, again and again, while others go wrong."""
    number = 0
    while True:
        async with found.awaited(strict=True):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(REQUESTS[0].replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
                answer = await reader.read()
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise ConnectionError("it was refused")
            finally:
                writer.close()
        async with found.awaited(strict=True), dialled(port, KINDS[number % 2]):
            pass
        number += 1
        await asyncio.sleep(0.1)
