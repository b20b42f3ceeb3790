"""A client of the gateway's realtime endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
from voxturn.runtime.families.fake import FakeReplier
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.messages import Message
from websockets.asyncio.client import ClientConnection

Told = dict[str, Any]
Opener = Callable[..., AbstractAsyncContextManager["Client"]]


def tone(seconds: float, level: float = 0.3, rate: int = 24000) -> bytes:
    """What the fakes take for speech, as 16-bit samples."""
    samples = level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)
    return (samples * 32767).astype("<i2").tobytes()


def silence(seconds: float, rate: int = 24000) -> bytes:
    return bytes(2 * round(seconds * rate))


class Client:
    """Sends events, and keeps what comes in `told`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[Told] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def raw(self, text: str | bytes) -> None:
        await self.socket.send(text)

    async def next(self) -> Told:
        async with asyncio.timeout(10):
            text = await self.socket.recv()
        assert isinstance(text, str)
        assert len(text) < 1 << 20
        told: Told = json.loads(text)
        assert told["event_id"]
        self.told.append(told)
        return told

    async def until(self, kind: str, **fields: Any) -> Told:
        """Read on, to the next event of a kind."""
        while True:
            told = await self.next()
            if told["type"] == kind and all(told[name] == value for name, value in fields.items()):
                return told
            assert told["type"] != "error" or kind == "error", told

    async def update(self, **session: Any) -> Told:
        await self.send("session.update", session={"type": "realtime", **session})
        told: Told = (await self.until("session.updated"))["session"]
        return told

    async def say(self, *sounds: bytes) -> None:
        """Append audio in pieces of 100 ms."""
        audio = b"".join(sounds)
        for begin in range(0, len(audio), 4800):
            piece = base64.b64encode(audio[begin : begin + 4800]).decode()
            await self.send("input_audio_buffer.append", audio=piece)

    async def live(self, *sounds: bytes) -> None:
        """As `say`, each piece once the one before was taken."""
        audio = b"".join(sounds)
        for begin in range(0, len(audio), 4800):
            await self.say(audio[begin : begin + 4800])
            await self.settle()

    async def ask_aloud(self) -> None:
        await self.say(tone(1.0), silence(2.0))

    async def manual(self) -> None:
        await self.update(
            audio={"input": {"turn_detection": None, "transcription": {"model": "w"}}}
        )

    async def write(self, text: str, role: str = "user", **fields: Any) -> Told:
        kind = "output_text" if role == "assistant" else "input_text"
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        await self.send("conversation.item.create", item=item, **fields)
        told: Told = (await self.until("conversation.item.done"))["item"]
        return told

    async def respond(self, **response: Any) -> Told:
        """Ask for an answer, and wait for its end."""
        await self.send("response.create", response=response)
        created = await self.until("response.created")
        return await self.ended(created["response"]["id"])

    async def ended(self, response_id: str | None = None) -> Told:
        while True:
            told: Told = (await self.until("response.done"))["response"]
            if response_id in (None, told["id"]):
                return told

    async def settle(self) -> None:
        """Until all that was sent so far was taken."""
        await self.send("conversation.item.retrieve", item_id="none", event_id="settled")
        while (await self.until("error"))["error"]["event_id"] != "settled":
            pass

    def names(self) -> list[str]:
        """The kinds of events in order, each run of one kind once."""
        names = [told["type"] for told in self.told]
        return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]

    def of(self, kind: str) -> list[Told]:
        return [told for told in self.told if told["type"] == kind]


def dialogues(gateway: Gateway) -> list[list[Message]]:
    """What the fake replier was asked, each time."""
    replier = gateway.assistant.stages.replier
    assert isinstance(replier, FakeReplier)
    return replier.dialogues
