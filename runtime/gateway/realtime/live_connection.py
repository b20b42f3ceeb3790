"""One client of OpenAI's Live API, from the handshake to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
from msgspec.structs import replace
from starlette.websockets import WebSocket
from voxturn.runtime.flow.event import Event
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller, secret_of, subprotocol_of
from voxturn.runtime.gateway.operations import decoded
from voxturn.runtime.gateway.realtime import live_events as wire
from voxturn.runtime.gateway.realtime.driver import Driver
from voxturn.runtime.gateway.realtime.events import Happening
from voxturn.runtime.gateway.realtime.formats import Decoder
from voxturn.runtime.gateway.realtime.items import Item
from voxturn.runtime.gateway.realtime.line import End, Line, event_id_of, read
from voxturn.runtime.gateway.realtime.live import LiveEvents, problem
from voxturn.runtime.gateway.realtime.live_session import LiveSession
from voxturn.runtime.gateway.realtime.manner import Wish
from voxturn.runtime.gateway.realtime.openai_events import SessionUpdate
from voxturn.runtime.gateway.realtime.reply import Reply
from voxturn.runtime.messages import Samples

FIRST_S = 10.0
"""How long a client has to start its session."""

_LONG_BYTES = 1 << 18
"""Of audio at once: it is resampled in a thread."""

_MOST_CONTEXT = 65_536
"""Letters that may be appended in a session."""

_APPENDED = {
    wire.Instructions: "session.instructions.appended",
    wire.Thinking: "session.thinking.appended",
    wire.Commentary: "session.commentary.appended",
}


async def live(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """Serve one client. Before it is accepted, errors are raised: `ApiError` 401, 429."""
    with gateway.limits.session(caller):
        granted = SessionUpdate()
        if caller.session:
            granted = decoded(caller.session, SessionUpdate)
            if not await gateway.secrets.spend(secret_of(socket)):
                raise ApiError(401, "the key was used already", "invalid_api_key")
        await socket.accept(subprotocol_of(socket, "realtime"))
        gauge = gateway.metrics.sessions.labels("live")
        gauge.inc()
        try:
            await LiveConnection(gateway, socket, caller.key, granted).serve()
        finally:
            gauge.dec()


class LiveConnection(Line):
    """One client that was accepted, with a key. `granted`: the settings of an ephemeral key, whose instructions
    hold where the client gives none."""

    def __init__(
        self, gateway: Gateway, socket: WebSocket, key: str, granted: SessionUpdate
    ) -> None:
        super().__init__(gateway, socket)
        self._key = key
        self._granted = granted
        self._started = Event()
        self._session: LiveSession | None = None
        self._events: LiveEvents | None = None
        self._decoder: Decoder | None = None
        self._muted = False
        self._letters = 0
        self._comments: list[str] = []
        self._commented = Event()

    async def serve(self) -> None:
        """Serve it to its end."""
        await self._serve()

    def _open(self) -> None:
        """The client speaks first."""

    def _works(self) -> tuple[Coroutine[Any, Any, End], ...]:
        return self._expect(), self._pace(), self._comment()

    def _tell_end(self, end: End) -> bool:
        if end.error is not None:
            self._tell(problem(end.error))
        if self._session is not None and self._events is not None:
            self._tell(
                {
                    "type": "session.closed",
                    "reason": end.reason or "connection_lost",
                    "session": self._session.to_dict(),
                    "usage": self._events.usage(),
                }
            )
        return True

    # what runs beside

    async def _expect(self) -> End:
        """End it where the session is not started in time."""
        clock = self._gateway.clock
        await clock.sleep_until(self._began_s + FIRST_S)
        if not self._started.is_set():
            late = f"session.start did not come within {FIRST_S:g} s"
            return End(1008, ApiError(400, late, "session_start_timeout"))
        never: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        return await never

    async def _drive(self) -> End:
        await self._started.wait()
        return await super()._drive()

    async def _drain(self) -> End:
        await self._gateway.draining()
        if self._driver is not None and self._events is not None:
            await self._driver.finished()
            await self._events.pacer.empty()
        return End(1012)

    async def _pace(self) -> End:
        """Let go of what is said."""
        await self._started.wait()
        assert self._events is not None
        await self._events.pacer.run()
        return End(1000)

    async def _comment(self) -> End:
        """Have told what is to be told, once nothing else is said."""
        while True:
            await self._commented.wait()
            self._commented.clear()
            driver, events = self._driver, self._events
            if driver is None or events is None:
                continue
            await driver.idle()
            await events.pacer.empty()
            while driver.answering:  # since then
                await driver.idle()
                await events.pacer.empty()
            comments, self._comments = self._comments, []
            if not comments:  # told with the ones before
                continue
            text = "\n".join([driver.manner.instructions, *comments]).strip()
            try:
                driver.respond(Wish(instructions=text))
            except Exception as exc:  # noqa: BLE001  it is told
                self._tell(problem(api_error(exc)))

    # what comes

    async def _take(self, raw: str | bytes) -> End | None:
        event: wire.AnyLiveEvent | None = None
        try:
            event = read(raw, wire.LIVE_DECODER)
            return await self._do(event)
        except Exception as exc:  # noqa: BLE001  every error is told
            event_id = event.event_id if event is not None else event_id_of(raw)
            self._tell(problem(api_error(exc), event_id))
            return None

    async def _do(self, event: wire.AnyLiveEvent) -> End | None:
        """Raises `ApiError`, and what `api_error` translates."""
        if isinstance(event, wire.Start):
            await self._start(event)
            return None
        session, driver = self._session, self._driver
        if session is None or driver is None:
            raise ApiError(400, "session.start comes first", "session_not_started", "type")
        match event:
            case wire.Append():
                samples = await self._heard(event.audio)
                await driver.hear(np.zeros_like(samples) if self._muted else samples)
            case wire.Mute() | wire.Unmute():
                self._muted = isinstance(event, wire.Mute)
                name = "muted" if self._muted else "unmuted"
                self._acknowledge(event, f"session.input_audio.{name}")
            case wire.Instructions() | wire.Thinking() | wire.Commentary():
                self._append(event, driver)
            case wire.Update():
                session.update(event.session)
                self._acknowledge(event, "session.updated", session=session.to_dict())
            case wire.Close():
                return End(1000, reason="close_requested")
            case _:
                raise ApiError(400, "this event is not served", "unsupported", "type")
        return None

    async def _start(self, event: wire.Start) -> None:
        if self._session is not None:
            raise ApiError(400, "the session has started", "session_already_started", "type")
        config = event.session
        if not (config.instructions or "").strip() and self._granted.instructions:
            config = replace(config, instructions=self._granted.instructions)
        session = LiveSession(self._gateway, config)
        manner = await session.manner(self._key)
        longest = self._gateway.settings.longest_text * 8
        if any(len(item.text) > longest for item in session.items()):
            raise ApiError(
                413, f"a text may have {longest} letters", "text_too_long", "session.input"
            )
        driver = Driver(self._gateway, manner, self._happened, self._room, self._ended)
        self._driver = driver
        self._events = LiveEvents(
            self._gateway.clock,
            session.form,
            self._tell,
            self._outbox.room,
            lambda: driver.buffer.ms,
        )
        for item in session.items():  # no more than there may be
            driver.add(item)
        self._decoder = Decoder(session.form)
        self._session = session
        self._acknowledge(event, "session.started", session=session.to_dict())
        self._started.set()

    async def _heard(self, raw: bytes) -> Samples:
        assert self._decoder is not None
        if len(raw) > _LONG_BYTES:
            return await asyncio.to_thread(self._decoder.push, raw)
        return self._decoder.push(raw)

    def _append(
        self, event: wire.Instructions | wire.Thinking | wire.Commentary, driver: Driver
    ) -> None:
        """The model is to know something, and to tell it where it is commentary."""
        if event.delegation_id is not None:
            raise ApiError(
                404, "there is no such delegation", "delegation_not_found", "delegation_id"
            )
        self._letters += len(event.content)
        if self._letters > _MOST_CONTEXT:
            self._letters -= len(event.content)
            raise ApiError(
                400, f"a session's context has {_MOST_CONTEXT} letters", "context_full", "content"
            )
        driver.add(Item(role="system", text=event.content))
        at_ms = self._events.now_ms if self._events is not None else 0
        self._acknowledge(event, _APPENDED[type(event)], start_ms=at_ms, end_ms=at_ms)
        if isinstance(event, wire.Commentary):
            self._comments.append(event.content)
            self._commented.set()

    def _acknowledge(self, event: wire.AnyLiveEvent, kind: str, **about: Any) -> None:
        if event.event_id is not None:
            about["client_event_id"] = event.event_id
        self._tell({"type": kind} | about)

    # what happens

    def _happened(self, event: Happening) -> None:
        if self._events is not None:
            self._events(event)

    async def _room(self) -> None:
        await self._outbox.room()
        if self._events is not None:
            await self._events.pacer.has_room()

    async def _ended(self, reply: Reply) -> None:
        """Nothing outlives the session."""
