"""`/ws/twilio`: telephone calls as Twilio's Media Streams bring them (docs/telephony.md)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from starlette.websockets import WebSocket, WebSocketDisconnect
from voxturn.runtime.flow.clock import done_by
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller, secret_of
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.operations import Socket, decoded
from voxturn.runtime.gateway.realtime.items import new_id
from voxturn.runtime.gateway.realtime.manner import Manner, by_meaning
from voxturn.runtime.gateway.realtime.openai_events import SessionUpdate
from voxturn.runtime.gateway.realtime.openai_session import SessionObject
from voxturn.runtime.gateway.twilio import messages as wire
from voxturn.runtime.gateway.twilio.call import Call
from voxturn.runtime.text.language import codes_of

FIRST_S = 10.0
"""How long a client has for its `start`."""
_MOST_BEFORE = 8
"""Messages before it."""


async def introduced(gateway: Gateway, socket: WebSocket) -> str:
    """The key that `start` has: Twilio sends no headers, and takes no query. Raises `ApiError`."""
    return (await _start(gateway, socket)).custom_parameters.api_key


async def _serve(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """A call from its `start` to its end. Raises `ApiError`, and what `Voices.chosen` raises."""
    with gateway.limits.session(caller):
        start = await _start(gateway, socket)
        wire.check_format(start.media_format)
        manner = await _manner(gateway, socket, caller, start.custom_parameters)
        note(session=new_id("call"))
        gauge = gateway.metrics.sessions.labels("twilio")
        gauge.inc()
        try:
            await Call(gateway, socket, start.stream_sid).serve(manner)
        finally:
            gauge.dec()


async def _manner(
    gateway: Gateway, socket: WebSocket, caller: Caller, given: wire.Parameters
) -> Manner:
    """How the dialogue is held: as the stream's parameters say, then as an ephemeral key's session
    does. An ephemeral key is used up. Raises `ApiError`, `UnsupportedLanguage`, and what
    `Voices.chosen` raises."""
    session = SessionObject(gateway, gateway.assistant.profile.name, False)
    if caller.session:
        session = session.updated(decoded(caller.session, SessionUpdate), False)
        if not await gateway.secrets.spend(secret_of(socket) or given.api_key):
            raise ApiError(401, "the key was used already", "invalid_api_key")
    manner = await session.manner(caller.key)
    voice = manner.voice
    if given.voice or given.language:
        voice = await gateway.voices.chosen(given.voice, given.language, key=caller.key)
    return replace(
        manner,
        voice=voice,
        voice_name=given.voice or manner.voice_name,
        instructions=given.instructions or manner.instructions,
        language=codes_of(given.language)[-1] if given.language else manner.language,
        taking=by_meaning(gateway.assistant.stages.listen.options, "auto"),
        tools=(),  # nobody at the phone's side runs them
        aloud=True,
        writes=False,
        answers=True,
    )


async def _start(gateway: Gateway, socket: WebSocket) -> wire.StartBody:
    """What the call is, once it was told: the connection is accepted for it. Raises `ApiError`."""
    known: wire.StartBody | None = getattr(socket.state, "start", None)
    if known is not None:
        return known
    await socket.accept()
    receiving = asyncio.create_task(_received(socket))
    try:
        by_s = gateway.clock.now() + FIRST_S
        if not await done_by(gateway.clock, receiving, by_s):
            raise ApiError(408, f"no start came within {FIRST_S:g} s", "start_timeout")
        socket.state.start = receiving.result()
    finally:
        await cancel_and_wait(receiving)
    started: wire.StartBody = socket.state.start
    return started


async def _received(socket: WebSocket) -> wire.StartBody:
    """`start`, which only `connected` and what is unknown may precede. Raises `ApiError`, and
    `WebSocketDisconnect` where the client is gone."""
    for _ in range(_MOST_BEFORE):
        message = await socket.receive()
        if message["type"] != "websocket.receive":
            raise WebSocketDisconnect(message.get("code", 1005))
        told = wire.phone_message(message.get("text") or message.get("bytes") or b"")
        if isinstance(told, wire.Start):
            return told.start
        if not (told is None or isinstance(told, wire.Connected)):
            break
    raise ApiError(
        400, "the first message after connected must be start", "start_expected", "event"
    )


SOCKETS = (
    Socket(
        "/ws/twilio",
        _serve,
        largest=4 * wire.LONGEST,  # bytes of so many characters
        ephemeral=True,
        introduced=introduced,
    ),
)
