"""One telephone call, from its `start` to the end."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

import msgspec
from starlette.websockets import WebSocket
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.realtime import events as happened
from voxturn.runtime.gateway.realtime.driver import Driver
from voxturn.runtime.gateway.realtime.formats import FORMATS, Decoder
from voxturn.runtime.gateway.realtime.items import Item
from voxturn.runtime.gateway.realtime.line import End, Line
from voxturn.runtime.gateway.realtime.manner import Manner, Wish
from voxturn.runtime.gateway.realtime.reply import Reply
from voxturn.runtime.gateway.twilio import messages as wire
from voxturn.runtime.gateway.twilio.keypad import Keypad
from voxturn.runtime.gateway.twilio.speaking import Speaking

_LOG = logging.getLogger(__name__)
MOST_UNKNOWN = 100
"""Messages of kinds that are not known, after which a call is ended."""


class Call(Line):
    """A call on a socket that was accepted. `stream`: its id for the phone's side."""

    def __init__(self, gateway: Gateway, socket: WebSocket, stream: str) -> None:
        super().__init__(gateway, socket)
        self._speaking = Speaking(
            gateway.clock, stream, self._send, self._outbox.room, self._played
        )
        self._decoder = Decoder(FORMATS["audio/pcmu"])
        self._keypad = Keypad(gateway.clock)
        self._unknown = 0

    async def serve(self, manner: Manner) -> None:
        """Serve it to its end."""
        self._driver = Driver(self._gateway, manner, self._happened, self._room, self._ended)
        await self._serve()

    def _open(self) -> None:
        """The phone's side has begun already."""

    def _works(self) -> tuple[Coroutine[Any, Any, End], ...]:
        return self._pace(), self._dial()

    def _tell_end(self, end: End) -> bool:
        """The close's code and reason say it."""
        return False

    async def _pace(self) -> End:
        await self._speaking.pacer.run()
        return End(1000)

    async def _drain(self) -> End:
        await self._gateway.draining()
        if self._driver is not None:
            await self._driver.idle()
            await self._speaking.pacer.empty()
        return End(1012)

    # what comes

    async def _take(self, raw: str | bytes) -> End | None:
        """Do what a message says. One that cannot be read, or done, ends the call: nobody at the
        phone's side would read an error."""
        try:
            return await self._do(wire.phone_message(raw))
        except Exception as exc:  # noqa: BLE001  it is told
            error = api_error(exc)
            return End(1011 if error.status >= 500 else 1008, error)

    async def _do(self, message: wire.PhoneMessage | None) -> End | None:
        """Raises `ApiError`, and what `api_error` translates."""
        assert self._driver is not None
        match message:
            case wire.Media():
                if message.media.track == "inbound":
                    await self._driver.hear(self._decoder.push(message.media.payload))
            case wire.Mark():
                self._speaking.mark(message.mark.name)
            case wire.Dtmf():
                if self._keypad.press(message.dtmf.digit):
                    self._hush(self._driver)
            case wire.Stop():
                return End(1000)
            case wire.Start():
                raise ApiError(400, "the call has started", "already_started", "event")
            case None:
                self._unknown += 1
                if self._unknown > MOST_UNKNOWN:
                    raise ApiError(
                        400, "too many messages of unknown kinds", "unknown_event", "event"
                    )
        return None

    # keys

    async def _dial(self) -> End:
        """What was pressed is the caller's message."""
        while True:
            number = await self._keypad.number()
            driver = self._driver
            assert driver is not None
            await driver.idle()
            try:
                driver.add(Item(role="user", text=number))
                driver.respond(Wish())
            except Exception as exc:  # noqa: BLE001  the call goes on
                _LOG.warning("keys are not answered: %s", api_error(exc).code)

    def _hush(self, driver: Driver) -> None:
        """A key cuts what is said."""
        driver.stop()
        self._speaking.cut()

    # what happens

    def _happened(self, event: happened.Happening) -> None:
        self._speaking(event)
        error: ApiError | None = None
        match event:
            case happened.NotHeard() | happened.Failed():
                error = event.error
            case happened.ReplyDone():
                error = event.reply.error
        if error is not None:
            _LOG.warning("something failed in a call: %s", error.code or error.type)

    def _played(self, reply: Reply, ms: float) -> None:
        if self._driver is not None:
            self._driver.played(reply, ms)

    async def _room(self) -> None:
        await self._outbox.room()
        await self._speaking.pacer.has_room()

    async def _ended(self, reply: Reply) -> None:
        """Nothing outlives the call."""

    def _send(self, message: dict[str, Any]) -> None:
        self._outbox.put(msgspec.json.encode(message).decode("utf-8"))
