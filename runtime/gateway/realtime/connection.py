"""One client of OpenAI's Realtime API, from the handshake to the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.websockets import WebSocket
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller, secret_of, subprotocol_of
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.operations import decoded
from voxturn.runtime.gateway.realtime.driver import Driver
from voxturn.runtime.gateway.realtime.events import AudioDelta, Happening
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
from voxturn.runtime.gateway.store import Kept
from voxturn.runtime.messages import Message

_LONGEST_ID = 128


async def realtime(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """Serve one client. Before it is accepted, errors are raised: `ApiError` 400, 401, 429."""
    kept = socket.query_params.get("conversation", "")
    if len(kept) > _LONGEST_ID:
        raise ApiError(400, "conversation: too long", "invalid_value", "conversation")
    with gateway.limits.session(caller):
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
        connection = Connection(gateway, socket, caller, session, kept)
        manner = await session.manner(caller.key)
        messages = await gateway.conversations.load(caller.key, kept) if kept else None
        await socket.accept(subprotocol_of(socket, "realtime"))
        gauge = gateway.metrics.sessions.labels("realtime")
        gauge.inc()
        try:
            await connection.serve(manner, messages)
        finally:
            gauge.dec()


class Connection(Line):
    """One client that was accepted. `kept`: the id of the conversation that outlives it, if any."""

    def __init__(
        self,
        gateway: Gateway,
        socket: WebSocket,
        caller: Caller,
        session: SessionObject,
        kept: str,
    ) -> None:
        super().__init__(gateway, socket)
        self._caller = caller
        self._session = session
        self._name = kept
        self._kept: Kept | None = None
        self._events = ServerEvents(self._said, kept or new_id("conv"))
        self._spoke = False
        self._commands: Commands | None = None
        self._messages: Sequence[Message] = ()

    async def serve(self, manner: Manner, messages: Sequence[Message] | None) -> None:
        """Serve it to its end. `messages` were kept; None: there was no such conversation."""
        if self._name:
            there = messages is not None
            self._kept = Kept(self._gateway.conversations, self._caller.key, self._name, there)
        driver = Driver(self._gateway, manner, self._happened, self._outbox.room, self._ended)
        self._driver = driver
        self._messages = messages or ()
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
            self._driver.load(list(self._messages))
        self._tell({"type": "session.created", "session": self._session.to_dict()})

    def _tell_end(self, end: End) -> bool:
        if end.error is not None:
            self._tell(problem(end.error))
        return end.error is not None

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
        self._spoke = self._spoke or isinstance(event, AudioDelta)
        for told in self._events(event):
            self._tell(told)

    def _said(self) -> Any:
        session = self._commands.session if self._commands is not None else self._session
        return session.said

    async def _ended(self, reply: Reply) -> None:
        """Before an answer is told to be done: what was said outlives the process."""
        most, left, reset_s = await self._gateway.limits.window(self._caller)
        limits = {"name": "requests", "limit": most, "remaining": left, "reset_seconds": reset_s}
        self._events.limits([limits])
        if reply.items is not None:
            await self._keep()

    async def _keep(self) -> None:
        """Keep what was said, as it was heard. Raises `ResourceError`."""
        if self._kept is not None and self._driver is not None:
            messages = messages_of(list(self._driver.items))
            kept = messages[-self._gateway.settings.keep_messages :]
            await self._kept.save(kept)
