"""A client of the voice endpoint, as programs write one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import Clock, ManualClock, WallClock
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.voice.messages import AudioHeader
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TONE = (8000 * np.sin(np.arange(16_000) * 0.3)).astype("<i2").tobytes()
SILENCE = bytes(96_000)
QUESTION = TONE + SILENCE
ANSWER_SAMPLES = 50_400
"""Of what the fake voice says, at 24 kHz."""


class Client:
    """One connection: what it has received, and what it is to do."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.audio: list[tuple[AudioHeader, bytes]] = []
        self.received = 0
        """The number of the last message."""

    async def tell(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def start(self, **fields: Any) -> dict[str, Any]:
        await self.tell("session.start", **({"version": 1} | fields))
        return await self.next()

    async def next(self) -> dict[str, Any]:
        """The next message; of audio its header."""
        async with asyncio.timeout(10):
            data = await self.socket.recv()
        if isinstance(data, bytes):
            header = AudioHeader.unpack(data)
            self._number(header.seq)
            self.audio.append((header, data[AudioHeader.SIZE :]))
            return {"type": "audio", "seq": header.seq}
        event: dict[str, Any] = json.loads(data)
        if event["seq"]:
            self._number(event["seq"])
        self.events.append(event)
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        while (event := await self.next())["type"] != kind:
            assert event["type"] != "error" or kind == "error", event
        return event

    async def closed(self) -> int:
        """Read to the end; how it was closed."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code or 0

    @property
    def sound(self) -> bytes:
        return b"".join(payload for _, payload in self.audio)

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def _number(self, seq: int) -> None:
        assert seq == self.received + 1, "lost or repeated"
        self.received = seq


MakeGateway = Callable[..., AbstractAsyncContextManager[Gateway]]
Dial = Callable[..., AbstractAsyncContextManager[Client]]


def places(gateway: Gateway, count: int) -> None:
    """Let a gateway that holds none yet hold so many sessions."""
    gateway.limits = Limits(replace(gateway.settings, sessions=count), count)


@asynccontextmanager
async def dialling(
    port: int, received: int = 0, key: str = "", **options: Any
) -> AsyncGenerator[Client, None]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    address = f"ws://127.0.0.1:{port}/ws/voice"
    options = {"close_timeout": 0.1} | options  # what is not read holds up its answer
    async with connect(address, additional_headers=headers, **options) as socket:
        client = Client(socket)
        client.received = received
        yield client


@pytest.fixture
def dial(port: int) -> Dial:
    """Connects to the voice endpoint. `received`: of a session that goes on."""

    return partial(dialling, port)


@pytest.fixture
def make_gateway(tmp_path: Path) -> MakeGateway:
    """Makes gateways, one after the other, each on fakes of its own."""

    @asynccontextmanager
    async def making(clock: Clock | None = None) -> AsyncGenerator[Gateway, None]:
        folder = tmp_path / uuid4().hex
        profile = load_profile(write_profile(folder))
        async with Assistant.load(profile, Store(folder / "store"), clock=clock) as assistant:
            yield Gateway(assistant, profile.gateway, clock=clock or WallClock())

    return making


@pytest.fixture
async def manual(make_gateway: MakeGateway) -> AsyncGenerator[Gateway, None]:
    """A gateway whose clock stands still."""
    async with make_gateway(ManualClock(1000.0)) as gateway:
        yield gateway


@pytest.fixture
async def manual_dial(manual: Gateway) -> AsyncGenerator[Dial, None]:
    """Connects to the gateway whose clock stands still."""
    async with serving(manual, Address(port=0)) as port:
        yield partial(dialling, port)
