"""Conversations of a gateway that is killed or stopped in their midst, as its clients see it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime.families.fake import write_profile
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.security.test_gateway_process import Started, started

_KILLS, _LIVE_S = 5, 20.0
_TURNS = 40  # in each life; after 250 a conversation that is gone on with forgets the oldest
_ANSWER = "Yes."
Said = list[tuple[str, str]]
Told = dict[str, Any]


async def until(socket: ClientConnection, kind: str) -> Told:
    """The next event of a kind. Audio and others are passed over."""
    async with asyncio.timeout(_LIVE_S):
        while True:
            data = await socket.recv()
            if isinstance(data, bytes):
                continue
            told: Told = json.loads(data)
            assert told["type"] != "error", told
            if told["type"] == kind:
                return told


async def tell(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


@asynccontextmanager
async def voice(port: str) -> AsyncGenerator[ClientConnection, None]:
    """A session of /ws/voice, which goes on with what was said."""
    async with connect(f"ws://127.0.0.1:{port}/ws/voice", close_timeout=0.1) as socket:
        await tell(socket, "session.start", version=1, conversation="ours")
        await until(socket, "session.started")
        yield socket


async def voice_ask(socket: ClientConnection, question: str) -> None:
    """Begin a turn."""
    await tell(socket, "text.ask", text=question)
    await until(socket, "transcript")


async def voice_done(socket: ClientConnection) -> None:
    """The turn is acknowledged."""
    done = await until(socket, "turn.done")
    assert (done["outcome"], done["heard"]) == ("done", _ANSWER)


@asynccontextmanager
async def realtime(port: str) -> AsyncGenerator[ClientConnection, None]:
    """A connection of the realtime protocol to the same conversation."""
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=voxturn&conversation=ours"
    async with connect(url, close_timeout=0.1) as socket:
        await until(socket, "session.created")
        yield socket


async def realtime_ask(socket: ClientConnection, question: str) -> None:
    """Begin a turn."""
    content = [{"type": "input_text", "text": question}]
    item = {"type": "message", "role": "user", "content": content}
    await tell(socket, "conversation.item.create", item=item)
    await tell(socket, "response.create")
    await until(socket, "response.created")


async def realtime_done(socket: ClientConnection) -> None:
    """The turn is acknowledged."""
    done = await until(socket, "response.done")
    assert done["response"]["status"] == "completed"


@dataclass(frozen=True)
class Road:
    """One of the ways to hold a conversation."""

    dial: Callable[[str], AbstractAsyncContextManager[ClientConnection]]
    ask: Callable[[ClientConnection, str], Coroutine[Any, Any, None]]
    done: Callable[[ClientConnection], Coroutine[Any, Any, None]]

    async def turn(self, socket: ClientConnection, question: str) -> None:
        await self.ask(socket, question)
        await self.done(socket)


ROADS = pytest.mark.parametrize(
    "road",
    [Road(voice, voice_ask, voice_done), Road(realtime, realtime_ask, realtime_done)],
    ids=["voice", "realtime"],
)


def port_of(gateway: Started) -> str:
    return gateway.url.rsplit(":", 1)[1]


def kept(gateway: Started) -> Said:
    """The conversation as its owner may read it."""
    status, body = gateway.ask("GET", "/v1/conversations/ours")
    assert status in (200, 404)
    said = body.get("messages", [])
    return [(each["role"], each["text"]) for each in said if each["role"] != "system"]


def quick(folder: Path) -> None:
    """A profile whose answers are short."""
    with write_profile(folder / "fake", answer=_ANSWER).open("a", encoding="utf-8") as file:
        file.write("\n[gateway]\ndrain_s = 10.0\n")


async def killed(gateway: Started, road: Road, dice: random.Random, no: int) -> Said:
    """What was acknowledged until the gateway was killed in the midst of something."""
    acknowledged: Said = []

    async def talk() -> None:
        async with road.dial(port_of(gateway)) as socket:
            for number in range(_TURNS):
                question = f"Question {no}.{number}?"
                await road.turn(socket, question)
                acknowledged.extend([("user", question), ("assistant", _ANSWER)])
            async for _ in socket:  # a fast machine has put all questions before the end
                pass

    talking = asyncio.create_task(talk())
    async with asyncio.timeout(_LIVE_S):
        while not acknowledged and not talking.done():  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.01)
    await asyncio.sleep(dice.uniform(0.0, 0.5))
    gateway.process.send_signal(signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        await talking
    return acknowledged


@ROADS
async def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, road: Road) -> None:
    quick(tmp_path)
    dice = random.Random(21)
    known: Said = []
    for number in range(_KILLS):
        with started(tmp_path) as gateway:
            known += await killed(gateway, road, dice, number)
        with started(tmp_path) as gateway:
            said = kept(gateway)
            # what was said last may have been kept, and its acknowledgement be lost
            assert said[: len(known)] == known
            assert len(said) <= len(known) + 2
            known = said
    with started(tmp_path) as gateway:
        async with road.dial(port_of(gateway)) as socket:
            await road.turn(socket, "And now?")
        assert kept(gateway) == [*known, ("user", "And now?"), ("assistant", _ANSWER)]
        assert gateway.end() == 0


@ROADS
async def test_a_running_turn_ends_before_the_gateway_does(tmp_path: Path, road: Road) -> None:
    quick(tmp_path)
    with started(tmp_path) as gateway:
        async with road.dial(port_of(gateway)) as socket:
            await road.ask(socket, "Do you stop?")
            gateway.process.send_signal(signal.SIGTERM)
            await road.done(socket)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await asyncio.wait_for(socket.recv(), _LIVE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert await asyncio.to_thread(gateway.process.wait, _LIVE_S) == 0
    with started(tmp_path) as gateway:
        assert kept(gateway) == [("user", "Do you stop?"), ("assistant", _ANSWER)]
