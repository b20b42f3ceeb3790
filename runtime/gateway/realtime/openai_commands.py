"""What OpenAI's client events ask of a dialogue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import UNSET
from voxturn.runtime.errors import TextTooLong
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.realtime import openai_events as wire
from voxturn.runtime.gateway.realtime.buffer import LONGEST_S
from voxturn.runtime.gateway.realtime.driver import Driver
from voxturn.runtime.gateway.realtime.formats import Decoder
from voxturn.runtime.gateway.realtime.items import CALL, RESULT, Item, new_id
from voxturn.runtime.gateway.realtime.manner import Wish
from voxturn.runtime.gateway.realtime.openai_session import SessionObject, tools_of
from voxturn.runtime.messages import Samples, ToolCall

_LONG_BYTES = 1 << 18
"""Of audio at once: it is resampled in a thread."""


class Commands:
    """Does what the client with a key wants. `tell` is given what is neither an item nor an answer; `spoke` says
    whether audio was sent."""

    def __init__(
        self,
        gateway: Gateway,
        key: str,
        session: SessionObject,
        driver: Driver,
        tell: Callable[[dict[str, Any]], None],
        spoke: Callable[[], bool],
    ) -> None:
        self._gateway = gateway
        self._key = key
        self._driver = driver
        self._tell = tell
        self._spoke = spoke
        self.session = session
        self._decoder = Decoder(session.heard)

    async def __call__(self, event: wire.AnyClientEvent) -> None:
        """Raises `ApiError`, and what `api_error` translates."""
        driver = self._driver
        match event:
            case wire.Append():
                await driver.hear(await _heard(self._decoder, event.audio))
            case wire.UpdateSession():
                await self._update(event.session)
            case wire.Commit():
                driver.commit()
            case wire.Clear():
                driver.clear()
            case wire.CreateItem():
                await self._create(event.item, event.previous_item_id)
            case wire.RetrieveItem():
                driver.retrieve(event.item_id)
            case wire.DeleteItem():
                driver.delete(event.item_id)
            case wire.TruncateItem():
                driver.truncate(event.item_id, event.audio_end_ms)
            case wire.CreateResponse():
                driver.respond(await self._wish(event.response or wire.ResponseBody()))
            case wire.CancelResponse():
                driver.cancel(event.response_id)

    async def _update(self, update: wire.SessionUpdate) -> None:
        session = self.session.updated(update, self._spoke())
        self._driver.change(await session.manner(self._key))
        if session.heard is not self.session.heard:
            self._decoder = Decoder(session.heard)
        self.session = session
        self._tell({"type": "session.updated", "session": session.to_dict()})

    async def _create(self, body: wire.ItemBody, after: str | None) -> None:
        if body.type == "item_reference":
            raise ApiError(400, "an item cannot be created by reference", "invalid_value", "item")
        item = item_of_body(body, self._gateway.settings.longest_text * 8)
        audio = b"".join(part.audio for part in body.content if part.audio)
        form, samples = self.session.heard, None
        if len(audio) > LONGEST_S * form.rate * form.width:
            what = f"item: its audio may have {LONGEST_S} s"
            raise ApiError(413, what, "audio_too_long", "item.content")
        if audio:
            samples = await _heard(Decoder(form), audio)
        if samples is not None and not samples.size:
            samples = np.zeros(1, np.float32)
        self._driver.add(item, after, None if item.text else samples)

    async def _wish(self, body: wire.ResponseBody) -> Wish:
        voice, name = None, ""
        output = body.audio.output if body.audio else None
        given = output.voice if output else None
        if given:
            name = given if isinstance(given, str) else given.id
            voice = await self._gateway.voices.chosen(name, key=self._key)
        most = body.max_output_tokens
        modalities = body.output_modalities
        tools = None
        if body.tools is not UNSET or body.tool_choice is not UNSET:
            tools = self._tools(body)
        return Wish(
            beside=body.conversation == "none",
            instructions=None if body.instructions is UNSET else body.instructions,
            tools=tools,
            aloud=None if not modalities else "audio" in modalities,
            voice=voice,
            voice_name=name,
            max_tokens=0 if most == "inf" else most or None,
            items=None if not isinstance(body.input, list) else self._input(body.input),
            metadata={k: v for k, v in (body.metadata or {}).items() if v is not None},
        )

    def _tools(self, body: wire.ResponseBody) -> Any:
        """The tools of one answer: its own, or the session's; by its own choice."""
        settings = self.session.to_dict()
        tools = settings.get("tools", []) if body.tools is UNSET else body.tools or []
        return tools_of(tools, None if body.tool_choice is UNSET else body.tool_choice)

    def _input(self, bodies: list[wire.ItemBody]) -> list[Item]:
        longest = self._gateway.settings.longest_text * 8
        return [
            self._driver.items.find(body.id or "", param="response.input")
            if body.type == "item_reference"
            else item_of_body(body, longest)
            for body in bodies
        ]


async def _heard(decoder: Decoder, raw: bytes) -> Samples:
    """Audio as samples; much of it in a thread. Raises `AudioError`."""
    if len(raw) > _LONG_BYTES:
        return await asyncio.to_thread(decoder.push, raw)
    return decoder.push(raw)


def item_of_body(body: wire.ItemBody, longest: int) -> Item:
    """The item that a client describes. Raises `ApiError`, `TextTooLong`."""
    item = Item(id=body.id or new_id("item"), type=body.type)
    if body.type == "message":
        texts = [part.text or part.transcript or "" for part in body.content]
        item.text = " ".join(filter(None, texts))
        item.role = body.role
        item.spoken = body.role == "user" and any(part.audio for part in body.content)
    elif body.type == RESULT:
        item.text = body.output
        item.call_id = body.call_id
    elif body.type == CALL:
        item.call_id = body.call_id or new_id("call")
        item.call = ToolCall(item.call_id, body.name, _arguments(body.arguments))
    if len(item.text) > longest:
        raise TextTooLong(f"item: a text of {len(item.text)} characters; it may have {longest}")
    return item


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ApiError(400, "arguments must be a JSON object", "invalid_value", "item.arguments")
    return arguments
