"""`/ws/voice`: a session of the runtime for browsers and programs (docs/voice-endpoint.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect
from voxturn.runtime.errors import InvalidProfile
from voxturn.runtime.flow.clock import done_by
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller, subprotocol_of
from voxturn.runtime.gateway.operations import Answer, Operation, Socket
from voxturn.runtime.gateway.sessions import no_session
from voxturn.runtime.gateway.store import Kept
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.gateway.voice.asyncapi import document
from voxturn.runtime.gateway.voice.connection import (
    ClientSocket,
    Connection,
    client_message,
    close,
    received_data,
    send_event,
)
from voxturn.runtime.gateway.voice.events import error_of
from voxturn.runtime.gateway.voice.live import LiveSession
from voxturn.runtime.gateway.voice.speaking import Speaking
from voxturn.runtime.messages import Message
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.interrupt.choose import strategy_of
from voxturn.runtime.turn.interrupt.settings import InterruptSettings
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.tools import client_tool
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.turn import Conversation

_FIRST_S = 10.0
"""How long a client has for its first message."""
PROTOCOL = "voxturn.voice"
"""The subprotocol of clients that name one, as browsers do to show their key."""


async def _serve(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """A connection from its handshake to its end; errors are told as events."""
    await socket.accept(subprotocol_of(socket, PROTOCOL))
    async with _errors_told(socket):
        start = await _first(gateway, socket)
        if start is None:
            return
        if start.resume is not None:
            await _resumed(gateway, socket, caller, start, start.resume)
            return
        live = await _opened(gateway, caller, start)
        await Connection(socket, live).serve(0, None, resumed=False)


async def serve_resumed(gateway: Gateway, socket: ClientSocket, live: LiveSession) -> None:
    """A connection to a session of this process that another worker has accepted."""
    async with _errors_told(socket):
        start = await _first(gateway, socket)
        if start is not None and start.resume is not None:
            await _attached(socket, live, start, start.resume)


async def _resumed(
    gateway: Gateway,
    socket: WebSocket,
    caller: Caller,
    start: wire.SessionStart,
    resume: wire.Resume,
) -> None:
    """A connection to a session that there is, here or at another worker. Raises `ApiError`."""
    live = gateway.sessions.find(caller, resume.session)
    if live is not None:
        await _attached(socket, live, start, resume)
        return
    raw = msgspec.json.encode(start).decode()
    with gateway.work.running():  # that worker ends it when the gateway stops
        if not await gateway.peers.relayed(caller.client, resume.session, raw, socket):
            raise no_session()


async def _attached(
    socket: ClientSocket, live: LiveSession, start: wire.SessionStart, resume: wire.Resume
) -> None:
    audio = start.audio if isinstance(start.audio, wire.InputAudio) else None
    await Connection(socket, live).serve(resume.received, audio, resumed=True)


@asynccontextmanager
async def _errors_told(socket: ClientSocket) -> AsyncIterator[None]:
    """Tell a client what goes wrong in the block, and close its connection."""
    try:
        yield
    except WebSocketDisconnect:
        return
    except Exception as exc:  # noqa: BLE001  every error is told
        await send_event(socket, error_of(api_error(exc)))
        await close(socket, 1008)


async def _first(gateway: Gateway, socket: ClientSocket) -> wire.SessionStart | None:
    """The first message; None where the client is gone. Raises `ApiError`."""
    receiving = asyncio.ensure_future(received_data(socket))
    try:
        if not await done_by(gateway.clock, receiving, gateway.clock.now() + _FIRST_S):
            raise ApiError(408, f"no session.start came within {_FIRST_S:g} s", "start_timeout")
        data = receiving.result()
    finally:
        await cancel_and_wait(receiving)
    if data is None:
        return None
    message = client_message(data) if isinstance(data, str) else None
    if not isinstance(message, wire.SessionStart):
        raise ApiError(400, "the first message must be session.start", "start_expected", "type")
    if message.version != wire.VERSION:
        raise ApiError(
            400,
            f"version {message.version}: this server speaks version {wire.VERSION}",
            "unsupported_version",
            "version",
        )
    return message


async def _opened(gateway: Gateway, caller: Caller, start: wire.SessionStart) -> LiveSession:
    """A new session. Raises `ApiError`, also where no place is free, and `VoxturnError`."""
    if start.conversation:
        await gateway.holders.free(caller.key, start.conversation)
    with ExitStack() as place:
        place.enter_context(gateway.limits.session(caller))
        voice = await gateway.voices.chosen(
            start.voice, start.language, start.style, start.speed, key=caller.key
        )
        stages = gateway.voices.stages(voice)
        speaking = Speaking(start.output, voice.rate)
        instructions = gateway.assistant.profile.instructions
        if start.instructions is not None:
            instructions = start.instructions
        tools = [client_tool(each.name, each.description, each.parameters) for each in start.tools]
        conversation = Conversation(stages, gateway.assistant.setup, instructions, tools)
        begin = _begin(conversation, start)
        kept, so_far = await _conversation(gateway, caller, start.conversation)
        if so_far:
            said = [each for each in so_far if each.role != "system"]
            conversation.messages.extend(said)
        return LiveSession(gateway, caller, kept, start, begin, speaking, place.pop_all())
    raise AssertionError("unreachable: nothing suppresses an error here")


async def _conversation(
    gateway: Gateway, caller: Caller, name: str | None
) -> tuple[Kept, list[Message] | None]:
    """The conversation that a client names, with what was said in it, or a new one."""
    if name:
        return await gateway.holders.take(caller.key, name)
    return Kept(gateway.conversations, caller.key, f"conv_{uuid4().hex}"), None


def _begin(
    conversation: Conversation, start: wire.SessionStart
) -> Callable[[Callable[[Trace], None]], Session]:
    """What begins the session, given what gets its traces. Raises `ApiError` for what cuts an
    answer."""
    strategy: Strategy | None = None
    if (chosen := start.interrupt) is not None:
        settings = InterruptSettings(chosen.strategy, chosen.ms, chosen.words, chosen.pause_ms)
        try:
            strategy = strategy_of(settings)
        except InvalidProfile as exc:
            raise ApiError(400, str(exc), "invalid_value", "interrupt") from exc
    return lambda on_trace: Session(
        conversation, SessionOptions(interrupt=strategy, on_trace=on_trace)
    )


async def _document(gateway: Gateway, request: Request, caller: Caller) -> Response:
    return Response(document(), media_type="application/json")


SOCKETS = (Socket("/ws/voice", _serve),)
OPERATIONS = (
    Operation(
        "GET",
        "/asyncapi.json",
        _document,
        "What /ws/voice sends and takes, as an AsyncAPI 3 document",
        Answer("the document"),
        public=True,
    ),
)
