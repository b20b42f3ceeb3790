"""The other workers of this machine, asked for what is theirs: sessions, and who goes on with which
conversation. Each listens at a socket in a folder that its user alone may enter."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.sessions import SessionInfo
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

_ANSWER_S = 10.0
"""How long another worker may take to answer."""
_QUEUE = 4
"""Messages on their way from one worker to another, beyond which the sender waits."""
_NO_WORD, _LOST = 1006, 1011
"""How a connection ends without a word, and how its client is told so."""


class Ask(msgspec.Struct, frozen=True):
    """What one worker asks another: `list` a key's sessions, `end` one of them, `resume` one of
    them by what is sent from here on, `let_go` of a conversation. `id` is a session's, or a
    conversation's."""

    do: Literal["list", "end", "resume", "let_go"]
    key: str
    id: str = ""


class Peers(Protocol):
    """The other workers."""

    async def sessions(self, key: str) -> list[SessionInfo]:
        """A key's sessions at the others."""
        ...

    async def end(self, key: str, session: str) -> bool:
        """End a session at whichever has it; whether one had."""
        ...

    async def let_go(self, key: str, conversation: str) -> None:
        """End whatever goes on with a conversation at the others."""
        ...

    async def relayed(self, key: str, session: str, start: str, socket: WebSocket) -> bool:
        """Let the worker that has a session serve a client's connection, which began with `start`,
        to its end; whether one had it."""
        ...


class NoPeers:
    """A single process."""

    async def sessions(self, key: str) -> list[SessionInfo]:
        """None."""
        return []

    async def end(self, key: str, session: str) -> bool:
        """There is no such session."""
        return False

    async def let_go(self, key: str, conversation: str) -> None:
        """Nobody has it."""

    async def relayed(self, key: str, session: str, start: str, socket: WebSocket) -> bool:
        """There is no such session."""
        return False


class LocalPeers:
    """Workers whose sockets are in `folder`; `own` is that of this one."""

    def __init__(self, folder: Path, own: Path) -> None:
        self._folder = folder
        self.own = own

    async def sessions(self, key: str) -> list[SessionInfo]:
        """A key's sessions at the others."""
        lists = await self._all(Ask("list", key))
        return [each for raw in lists for each in msgspec.json.decode(raw, type=list[SessionInfo])]

    async def end(self, key: str, session: str) -> bool:
        """End a session at whichever has it; whether one had."""
        return any(map(msgspec.json.decode, await self._all(Ask("end", key, session))))

    async def let_go(self, key: str, conversation: str) -> None:
        """End whatever goes on with a conversation at the others."""
        await self._all(Ask("let_go", key, conversation))

    async def relayed(self, key: str, session: str, start: str, socket: WebSocket) -> bool:
        """Let the worker that has a session serve a client's connection to its end."""
        for path in self._others():
            async with _connected(path) as peer:
                if peer is None or not await _yes(peer, Ask("resume", key, session)):
                    continue
                await peer.send(start)
                await _relay(socket, peer)
                return True
        return False

    def _others(self) -> list[Path]:
        return [path for path in sorted(self._folder.glob("*.sock")) if path != self.own]

    async def _all(self, ask: Ask) -> list[str | bytes]:
        """What each of the others answers, but for those that have ended, or hang."""
        answers = await asyncio.gather(*(_answer(path, ask) for path in self._others()))
        return [each for each in answers if each is not None]


async def _answer(path: Path, ask: Ask) -> str | bytes | None:
    async with _connected(path) as peer:
        if peer is None:
            return None
        return await _asked(peer, ask)


async def _yes(peer: ClientConnection, ask: Ask) -> bool:
    answer = await _asked(peer, ask)
    return answer is not None and bool(msgspec.json.decode(answer))


async def _asked(peer: ClientConnection, ask: Ask) -> str | bytes | None:
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(_ANSWER_S):
            await peer.send(msgspec.json.encode(ask))
            return await peer.recv()
    return None


@asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[ClientConnection | None]:
    """A connection to a worker; None where it has ended."""
    try:
        peer = await unix_connect(
            str(path),
            "ws://worker/",
            compression=None,
            ping_interval=None,
            max_size=None,
            max_queue=_QUEUE,
            open_timeout=_ANSWER_S,
            proxy=None,
        )
    except (OSError, InvalidHandshake):  # a time that is over is an OSError
        yield None
        return
    async with peer:
        yield peer


async def _relay(socket: WebSocket, peer: ClientConnection) -> None:
    """Pass messages on, both ways, until one of both ends."""
    coming = asyncio.create_task(_pass_on(socket, peer))
    try:
        with contextlib.suppress(ConnectionClosed):
            while True:
                data = await peer.recv()
                await (socket.send_text(data) if isinstance(data, str) else socket.send_bytes(data))
        code = peer.close_code or _NO_WORD
        await socket.close(_LOST if code == _NO_WORD else code, peer.close_reason)
    except (WebSocketDisconnect, RuntimeError):
        return  # the client is gone
    finally:
        await cancel_and_wait(coming)


async def _pass_on(socket: WebSocket, peer: ClientConnection) -> None:
    """What the client sends, to the worker; it is told when the client has gone."""
    with contextlib.suppress(ConnectionClosed):
        while (message := await socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            await peer.send(text if text is not None else message.get("bytes") or b"")
        await peer.close()
