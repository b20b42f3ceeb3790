"""One client of OpenAI's Realtime API, from the handshake to the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from starlette.websockets import WebSocket
from voxturn.runtime.errors import ResourceError
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller, secret_of, subprotocol_of
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.operations import decoded
from voxturn.runtime.gateway.realtime.driver import Driver
from voxturn.runtime.gateway.realtime.events import AudioDelta, Happening
from voxturn.runtime.gateway.realtime.formats import Format
from voxturn.runtime.gateway.realtime.items import messages_of, new_id
from voxturn.runtime.gateway.realtime.line import End, Line, event_id_of, read
from voxturn.runtime.gateway.realtime.manner import Manner
from voxturn.runtime.gateway.realtime.openai import ServerEvents, problem
from voxturn.runtime.gateway.realtime.openai_commands import Commands
from voxturn.runtime.gateway.realtime.openai_events import (
    DECODER,
    AnyClientEvent,
    CreateItem,
    DeleteItem,
    SessionUpdate,
    TruncateItem,
)
from voxturn.runtime.gateway.realtime.openai_session import SessionObject
from voxturn.runtime.gateway.realtime.reply import Reply
from voxturn.runtime.gateway.sessions import ENDS
from voxturn.runtime.gateway.store import Kept, TakenOver
from voxturn.runtime.messages import Message

_LOG = logging.getLogger(__name__)
_LONGEST_ID = 128
_TAKEN_OVER = 4009
"""How a WebSocket is closed once another connection goes on with its conversation."""


async def realtime(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """Serve one client. Before it is accepted, errors are raised: `ApiError` 400, 401, 429."""
    name = socket.query_params.get("conversation", "")
    if len(name) > _LONGEST_ID:
        raise ApiError(400, "conversation: too long", "invalid_value", "conversation")
    if name:
        await gateway.holders.free(caller.key, name)
    with ExitStack() as place:
        place.enter_context(gateway.limits.session(caller))
        session = SessionObject(
            gateway,
            socket.query_params.get("model", "")[:_LONGEST_ID] or gateway.assistant.profile.name,
            socket.query_params.get("intent") == "transcription",
        )
        note(session=session.id)
        if caller.session:
            session = session.updated(decoded(caller.session, SessionUpdate), False)
            if not await gateway.secrets.spend(secret_of(socket)):
                raise ApiError(401, "the key was used already", "invalid_api_key")
        connection = Connection(gateway, socket, caller, session, name, place)
        manner = await session.manner(caller.key)
        gauge = gateway.metrics.sessions.labels("realtime")
        async with connection.conversing() as messages:
            await socket.accept(subprotocol_of(socket, "realtime"))
            gauge.inc()
            try:
                await connection.serve(manner, messages)
            finally:
                gauge.dec()


class Connection(Line):
    """One client. `name`: the id of the conversation that outlives it, if any. `place` is closed
    at the dialogue's end."""

    def __init__(
        self,
        gateway: Gateway,
        socket: WebSocket,
        caller: Caller,
        session: SessionObject,
        name: str,
        place: ExitStack,
    ) -> None:
        super().__init__(gateway, socket)
        self._caller = caller
        self._session = session
        self._name = name
        self._place = place
        self._kept: Kept | None = None
        self._taken_over = asyncio.Event()
        self._left = asyncio.Event()
        self._events = ServerEvents(
            self._said, lambda: self._settings.tells_pauses, name or new_id("conv")
        )
        self._spoke = False
        self._commands: Commands | None = None
        self._messages: Sequence[Message] = ()

    @asynccontextmanager
    async def conversing(self) -> AsyncIterator[Sequence[Message]]:
        """Go on with its conversation in the block; the value is what was said in it so far."""
        if not self._name:
            yield ()
            return
        holders, key = self._gateway.holders, self._caller.key
        self._kept, messages = await holders.take(key, self._name)
        holders.hold(key, self._name, self)
        try:
            yield messages or ()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Let whoever takes its conversation over go on with it, in its place. Safe to call
        twice."""
        self._place.close()
        self._gateway.holders.leave(self._caller.key, self._name, self)
        self._left.set()

    async def end(self, reason: ENDS) -> None:
        """Someone else goes on with its conversation. Returns once nothing more of it is kept."""
        self._taken_over.set()
        await self._left.wait()

    async def serve(self, manner: Manner, messages: Sequence[Message]) -> None:
        """Serve it to its end. `messages` were said before."""
        driver = Driver(self._gateway, manner, self._happened, self._outbox.room, self._ended)
        self._driver = driver
        self._messages = messages
        self._commands = Commands(
            self._gateway,
            self._caller.key,
            self._session,
            driver,
            self._tell,
            lambda: self._spoke,
        )
        await self._serve()

    def _open(self) -> None:
        if self._driver is not None:
            answer = self._gateway.last_answers.take(self._caller.key, self._name)
            self._driver.load(list(self._messages), answer)
        self._tell({"type": "session.created", "session": self._session.to_dict()})

    def _works(self) -> tuple[Coroutine[Any, Any, End], ...]:
        return (self._until_taken_over(),)

    async def _until_taken_over(self) -> End:
        await self._taken_over.wait()
        return End(_TAKEN_OVER, TakenOver(), "taken_over")

    def _tell_end(self, end: End) -> bool:
        if end.error is not None:
            self._tell(problem(end.error))
        return end.error is not None

    async def _closed(self) -> None:
        """Keep the dialogue: its client may come back to it."""
        if self._driver is None or self._kept is None or not len(self._driver.items):
            return
        try:
            await self._keep()
        except ResourceError as exc:
            _LOG.warning("a conversation is not kept: %s", type(exc).__name__)
        answer = self._driver.last_answer
        self._gateway.last_answers.put(self._caller.key, self._name, answer)

    async def _close(self, end: End, writer: asyncio.Task[Any] | None) -> None:
        self._leave()  # a client that does not read may hold up the rest
        await super()._close(end, writer)

    # what comes

    async def _take(self, raw: str | bytes) -> End | None:
        """Do what a message says; an error is told, with the message's own id."""
        event: AnyClientEvent | None = None
        try:
            event = read(raw, DECODER)
            if self._commands is not None:
                await self._commands(event)
                if isinstance(event, CreateItem | DeleteItem | TruncateItem):
                    await self._keep()  # no answer may follow
        except Exception as exc:  # noqa: BLE001  every error is told
            event_id = event.event_id if event is not None else event_id_of(raw)
            self._tell(problem(api_error(exc), event_id))
        return None

    # what happens

    def _happened(self, event: Happening) -> None:
        if self._taken_over.is_set():  # what is told to be done is kept, and this cannot be
            return
        self._spoke = self._spoke or isinstance(event, AudioDelta)
        for told in self._events(event):
            self._tell(told)

    @property
    def _settings(self) -> SessionObject:
        return self._commands.session if self._commands is not None else self._session

    def _said(self) -> Format:
        return self._settings.said

    async def _ended(self, reply: Reply) -> None:
        """Before an answer is told to be done: what was said outlives the process."""
        if reply.items is not None:
            await self._keep()
        most, left, reset_s = await self._gateway.limits.window(self._caller)
        limits = {"name": "requests", "limit": most, "remaining": left, "reset_seconds": reset_s}
        self._events.limits([limits])

    async def _keep(self) -> None:
        """Keep what was said, as it was heard, or end where someone else goes on with it. Raises
        `ResourceError`."""
        if self._kept is None or self._driver is None:
            return
        try:
            await self._kept.save(messages_of(list(self._driver.items)))
        except TakenOver:
            self._taken_over.set()
