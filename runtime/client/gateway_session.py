"""A session that a gateway drives, over a WebSocket that may break: it is connected again, and
nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.client.gateway_wire import VERSION, Reading, error_of
from voxturn.runtime.errors import (
    EmptyText,
    ExecutorUnavailable,
    ServerDied,
    ServerUnavailable,
    StreamClosed,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.flow.clock import Clock, WallClock, done_by
from voxturn.runtime.flow.handoff import Handoff, cancel_all, cancel_and_wait
from voxturn.runtime.messages import Message, SessionEvent
from voxturn.runtime.turn.inbox import Inbox
from voxturn.runtime.turn.interrupt.choose import settings_of
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.voice_session import VoiceSession

_EVENTS_AHEAD = 4
_MOST_UNACKNOWLEDGED = 200
_MOST_FRAMES = 25
_ACK_EVERY = 25
_LEAVE_S = 2.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.1, 2.0
_TAKEN_OVER = 4009


class GatewaySession(VoiceSession):
    """As `Session`; its turns run in a gateway.

    A connection that breaks is made again for as long as the gateway keeps the session; then its
    reader gets `ServerDied`. `ahead_s` and `dropped_s` are of what waits here. `messages` is a copy
    of what was said in this session.
    """

    def __init__(
        self,
        address: str,
        key: str,
        options: SessionOptions,
        start: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._address = address
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._clock = clock or WallClock()
        self._start = {"type": "session.start", "version": VERSION} | _options(options)
        self._start |= dict(start or {})
        self._inbox = Inbox(self._clock, options.ahead_s)
        self._outbox = _Outbox()
        self._events: Handoff[SessionEvent] = Handoff(_EVENTS_AHEAD)
        self._reading = Reading()
        self._opened = asyncio.Event()
        self._received = 0
        self._session = ""
        self._grace_s = 0.0
        self._said: list[Message] = []
        self.turns_done = 0
        self._over = False
        self._closing = asyncio.Lock()
        self._closed = False
        self._task = asyncio.create_task(self._run())

    async def opened(self) -> None:
        """Wait until the gateway has it. Raises what opening raises: `ServerUnavailable`, ..."""
        opened = asyncio.ensure_future(self._opened.wait())
        try:
            await asyncio.wait([opened, self._task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if not self._opened.is_set():
            await anext(self._events, None)  # it failed: this raises why
            raise StreamClosed("the session was closed")

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self._events

    @property
    def rate(self) -> int:
        """The sample rate of what it says, in Hz, once it is open."""
        return self._reading.rate

    @property
    def messages(self) -> list[Message]:
        """What was said in this session. It cannot be set: `conversation` names a dialogue."""
        return list(self._said)

    @messages.setter
    def messages(self, messages: list[Message]) -> None:
        raise UsageError("messages: a gateway keeps them; open a session with its `conversation`")

    def pin(self, fact: str) -> None:
        """Keep a fact from the next question on, for as long as this session is. Raises
        `EmptyText`."""
        if not fact.strip():
            raise EmptyText("the fact has no words")
        self._tell("pin", fact=fact.strip())

    def tool_result(self, call_id: str, content: str, failed: bool = False) -> bool:
        """Give the result of a `ToolCall`. True: whether it is still waited for, events tell."""
        self._tell("tool.result", call_id=call_id, content=content, failed=failed)
        return True

    def ask(self, text: str) -> None:
        """Put a typed question. Raises `EmptyText`."""
        if not text.strip():
            raise EmptyText("the question has no words; type some")
        self._tell("text.ask", text=text.strip())

    def answer(self) -> None:
        """Take what was pushed so far for the whole question, without waiting for silence."""
        self._check_open()
        self._inbox.ask_answer()

    def cancel(self) -> None:
        """Cut the answer that is made or played; while nothing is answered, nothing happens."""
        self._tell("cancel")

    def played(self, ms: float) -> None:
        """Tell how much of the last answer the loudspeaker has played. Raises `UsageError`."""
        if not math.isfinite(ms) or ms < 0:
            raise UsageError(f"played: must be milliseconds, not {ms}")
        self._tell("played", ms=ms)

    async def aclose(self) -> None:
        """End it in the gateway as well, and wait until it has ended; no event comes after this."""
        self._closed = True
        async with self._closing:  # one at a time
            self._events.abandon()
            try:
                if self._opened.is_set() and not self._task.done():
                    self._outbox.put_now(json.dumps({"type": "session.end"}))
                    await done_by(self._clock, self._task, self._clock.now() + _LEAVE_S)
            finally:
                await cancel_and_wait(self._task)

    # connections

    async def _run(self) -> None:
        """Be connected until the session ends."""
        pieces = asyncio.create_task(self._pieces())
        try:
            await self._connected()
            self._events.close()
        except Exception as exc:  # noqa: BLE001  it is the reader's
            self._over = True
            self._events.fail(exc)
        finally:
            self._inbox.close()
            await cancel_and_wait(pieces)

    async def _connected(self) -> None:
        """Hold one connection after the other."""
        lost_s, wait_s = self._clock.now(), 0.0
        while not self._over:
            before = self._received, self._outbox.acknowledged
            try:
                await self._connection()
            except (OSError, ServerUnavailable) as exc:
                if not self._opened.is_set():
                    raise self._unavailable(exc) from exc
            if (self._received, self._outbox.acknowledged) != before:
                lost_s, wait_s = self._clock.now(), 0.0
            if not self._over:
                if self._clock.now() > lost_s + self._grace_s:
                    raise ServerDied(f"{self._address}: the connection was lost and did not return")
                await self._clock.sleep_until(self._clock.now() + wait_s)
                wait_s = min(_LONGEST_RETRY_S, max(_FIRST_RETRY_S, 2 * wait_s))

    async def _connection(self) -> None:
        """One connection, until it breaks or the session ends."""
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
        except ImportError as exc:
            raise ExecutorUnavailable(
                "a gateway is spoken to by websockets; pip install 'voxturn[gateway]'"
            ) from exc
        address = f"{self._address}/ws/voice"
        try:
            async with connect(
                address, additional_headers=self._headers, max_size=None, compression=None
            ) as socket:
                await self._hold(socket)
        except InvalidStatus as exc:
            raise _refusal(exc) from exc
        except (InvalidHandshake, TimeoutError) as exc:
            raise ServerUnavailable(f"{self._address}: is no gateway ({exc})") from exc
        except ConnectionClosed as exc:
            if exc.rcvd is not None and exc.rcvd.code == _TAKEN_OVER:
                raise ServerDied("another connection took the session over") from exc

    async def _hold(self, socket: Any) -> None:
        """Speak over a connection."""
        start = dict(self._start)
        if self._session:
            start["resume"] = {"session": self._session, "received": self._received}
        await socket.send(json.dumps(start))
        told = json.loads(await socket.recv())
        if told["type"] == "error":
            raise error_of(told)
        self._begun(told)
        tasks = [asyncio.create_task(each) for each in (self._read(socket), self._send(socket))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel_all(tasks)

    def _begun(self, told: Mapping[str, Any]) -> None:
        """The gateway has the session."""
        self._session = told["session"]
        self._grace_s = told["grace_s"]
        self._reading.rate = told["rate"]
        self._outbox.rewind(told["received"])
        self._opened.set()

    async def _read(self, socket: Any) -> None:
        """What the gateway says, to the session's end."""
        acknowledged = self._received
        async for data in socket:
            if isinstance(data, bytes):
                seq, event = self._reading.audio(data)
                await self._put(seq, event)
            else:
                told = json.loads(data)
                if told["type"] in ("ack", "pong"):
                    self._outbox.acknowledge(told["received"])
                    continue
                self._follow(told)
                await self._put(told["seq"], self._reading.event(told))
                if told["type"] == "session.ended":
                    self._over = True
                    return
            if self._received >= acknowledged + _ACK_EVERY:
                acknowledged = self._received
                await socket.send(json.dumps({"type": "ack", "received": acknowledged}))

    async def _put(self, seq: int, event: SessionEvent | None) -> None:
        """Give an event on. It counts as received before: nobody gives it twice."""
        if seq and seq != self._received + 1:
            raise ServerDied(f"the gateway lost what came before its message {seq}")
        self._received = max(self._received, seq)
        if event is not None and not self._closed:
            await asyncio.shield(asyncio.ensure_future(self._given(event)))

    async def _given(self, event: SessionEvent) -> None:
        try:
            await self._events.put(event)
        except StreamClosed:
            return

    def _follow(self, told: Mapping[str, Any]) -> None:
        """Keep what was said."""
        if told["type"] == "transcript" and told["text"]:
            self._said.append(Message("user", told["text"]))
        elif told["type"] == "turn.done":
            self.turns_done += 1
            if told["heard"]:
                self._said.append(Message("assistant", told["heard"]))

    async def _send(self, socket: Any) -> None:
        """What was told here and not received there."""
        while True:
            await socket.send(await self._outbox.next())

    async def _pieces(self) -> None:
        """What was pushed, whatever there is of it in one piece, and where an answer was asked
        for."""
        while True:
            samples, asked = await self._inbox.piece(_MOST_FRAMES)
            if samples.size:
                await self._outbox.put(to_int16(samples))
            if asked:
                self._outbox.put_now(json.dumps({"type": "answer"}))

    def _tell(self, kind: str, **fields: Any) -> None:
        self._check_open()
        self._outbox.put_now(json.dumps({"type": kind, **fields}))

    def _unavailable(self, exc: Exception) -> VoxturnError:
        if isinstance(exc, VoxturnError):
            return exc
        return ServerUnavailable(f"{self._address}: no gateway answers there")

    def _check_open(self) -> None:
        if self._closed or self._over or self._task.done():
            raise StreamClosed("the session was closed")


class _Outbox:
    """Messages to the gateway, kept until it says that they have come."""

    def __init__(self) -> None:
        self._kept: deque[str | bytes] = deque()
        self._sent = 0
        """How many of the kept ones were sent over this connection."""
        self.acknowledged = 0
        self._changed = asyncio.Event()

    async def put(self, data: str | bytes) -> None:
        """Add a message; wait while too many are on their way."""
        while len(self._kept) >= _MOST_UNACKNOWLEDGED:
            await self._wait()
        self.put_now(data)

    def put_now(self, data: str | bytes) -> None:
        """Add a message."""
        self._kept.append(data)
        self._changed.set()

    async def next(self) -> str | bytes:
        """The next message to be sent."""
        while self._sent >= len(self._kept):
            await self._wait()
        self._sent += 1
        return self._kept[self._sent - 1]

    def acknowledge(self, count: int) -> None:
        """So many have come since the session began."""
        while self.acknowledged < count and self._kept:
            self._kept.popleft()
            self._sent = max(0, self._sent - 1)
            self.acknowledged += 1
        self._changed.set()

    def rewind(self, count: int) -> None:
        """So many have come; those after them are sent again."""
        self.acknowledge(count)
        self._sent = 0
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _refusal(exc: Any) -> VoxturnError:
    """What a gateway answered in place of a WebSocket."""
    status = exc.response.status_code
    try:
        told = json.loads(exc.response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        told = {"message": f"the server refused the connection with status {status}"}
    return error_of(told, status)


def _options(options: SessionOptions) -> dict[str, Any]:
    """What a gateway is told of how a session is held. Raises `UsageError` for what it cannot."""
    if options.on_trace is not SessionOptions().on_trace:
        raise UsageError("on_trace: the traces of turns that a gateway drives stay there")
    if any(tool.call is not None for tool in options.tools):
        raise UsageError(
            "tools: a gateway's calls come as events; leave a tool's `call` out, "
            "and give its result by `tool_result`"
        )
    told: dict[str, Any] = {}
    if options.tools:
        told["tools"] = [
            {
                "name": each.name,
                "description": each.description,
                "parameters": dict(each.parameters),
            }
            for each in options.tools
        ]
    if options.interrupt is not None:
        told["interrupt"] = asdict(settings_of(options.interrupt))
    return told
