"""The phone's side of a call, as Twilio's Media Streams are, without a network."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import numpy as np
from starlette.applications import Starlette
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.realtime.formats import FORMATS

Told = dict[str, Any]
Dialler = Callable[..., AbstractAsyncContextManager["Phone"]]
RATE = 8000
FRAME = RATE // 50
STREAM = "MZ0123456789"
_TURNS = 100
"""Of the event loop, until nothing goes on without time going on."""


def tone(seconds: float) -> bytes:
    """What the fakes take for speech, as µ-law."""
    samples = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)
    return FORMATS["audio/pcmu"].raw(samples.astype(np.float32))


def silence(seconds: float) -> bytes:
    return b"\xff" * round(seconds * RATE)


class Phone:
    """Sends messages, and keeps what comes in `told`. It echoes marks at once where `echoes`.

    `closed`: the code and the reason, once it was.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.told: list[Told] = []
        self.echoes = True
        self.closed: tuple[int, str] | None = None
        self.accepted = False
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._waits = False
        self._numbers = 0
        self._incoming.put_nowait({"type": "websocket.connect"})

    # what the server calls

    async def receive(self) -> dict[str, Any]:
        self._waits = True
        try:
            return await self._incoming.get()
        finally:
            self._waits = False

    async def reply(self, message: Any) -> None:
        match message["type"]:
            case "websocket.accept":
                self.accepted = True
            case "websocket.close":
                self.closed = message["code"], message["reason"]
            case "websocket.send":
                told: Told = json.loads(message["text"])
                assert told["streamSid"] == STREAM
                self.told.append(told)
                if self.echoes and told["event"] == "mark":
                    self.mark(told["mark"]["name"])

    # what a test does

    def raw(self, text: str | bytes) -> None:
        kind = "text" if isinstance(text, str) else "bytes"
        self._incoming.put_nowait({"type": "websocket.receive", kind: text})

    def send(self, event: str, **fields: Any) -> None:
        self.raw(json.dumps({"event": event, **fields}))

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def start(self, parameters: Told | None = None, **form: Any) -> None:
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1} | form
        body = {
            "streamSid": STREAM,
            "accountSid": "AC0",
            "callSid": "CA0",
            "tracks": ["inbound"],
            "mediaFormat": media_format,
            "customParameters": parameters or {},
        }
        self.send("connected", protocol="Call", version="1.0.0")
        self.send("start", sequenceNumber="1", start=body, streamSid=STREAM)

    def media(self, payload: str, **fields: Any) -> None:
        self._numbers += 1
        media = {"track": "inbound", "chunk": str(self._numbers), "payload": payload} | fields
        self.send("media", sequenceNumber=str(self._numbers), media=media)

    def mark(self, name: str) -> None:
        self.send("mark", streamSid=STREAM, mark={"name": name})

    def press(self, digits: str) -> None:
        for digit in digits:
            self.send("dtmf", streamSid=STREAM, dtmf={"track": "inbound", "digit": digit})

    async def settle(self) -> None:
        """Until all that was sent was taken, and nothing goes on without time going on."""
        async with asyncio.timeout(10):
            while self.closed is None and not (self._incoming.empty() and self._waits):  # noqa: ASYNC110  nobody is told of it
                await asyncio.sleep(0)
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def say(self, *sounds: bytes) -> None:
        """Media of 20 ms, as time goes on."""
        audio = b"".join(sounds)
        for begin in range(0, len(audio), FRAME):
            self.media(base64.b64encode(audio[begin : begin + FRAME]).decode())
            self.clock.advance(0.02)
            await self.settle()

    async def ask(self) -> None:
        """Ask a question, and wait until something is said."""
        before = len(self.audio)
        await self.say(tone(1.0))
        for _ in range(50):
            await self.say(silence(0.1))
            if len(self.audio) > before:
                return
        raise AssertionError("nothing is said")

    async def listen(self, seconds: float) -> None:
        """Say nothing for a time."""
        await self.say(silence(seconds))

    async def listen_out(self) -> None:
        """Say nothing until nothing is said."""
        size = -1
        while len(self.audio) > size:
            size = len(self.audio)
            await self.listen(0.6)

    def of(self, event: str) -> list[Told]:
        return [told for told in self.told if told["event"] == event]

    @property
    def audio(self) -> bytes:
        return b"".join(base64.b64decode(told["media"]["payload"]) for told in self.of("media"))


@asynccontextmanager
async def dialled(
    app: Starlette, clock: ManualClock, query: str = "", **headers: str
) -> AsyncIterator[Phone]:
    """A phone that is connected and has said nothing."""
    phone = Phone(clock)
    told = {"host": "127.0.0.1"} | headers
    scope = {
        "type": "websocket",
        "path": "/ws/twilio",
        "raw_path": b"/ws/twilio",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "subprotocols": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "ws",
    }
    serving = asyncio.create_task(app(scope, phone.receive, phone.reply))
    try:
        yield phone
        phone.hang_up()
        async with asyncio.timeout(10):
            await serving
    finally:
        await cancel_and_wait(serving)
