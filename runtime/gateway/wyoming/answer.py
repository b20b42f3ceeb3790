"""The conversation agent: what was said in, the model's answer out, sentence by sentence."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from voxturn.runtime.families.silent import SilentVoice
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.store import Kept
from voxturn.runtime.gateway.wyoming.speak import check_length
from voxturn.runtime.messages import Sentence, TurnDone
from voxturn.runtime.turn.turn import Conversation, Turn
from wyoming.handle import Handled, HandledChunk, HandledStart, HandledStop, NotHandled

_LONGEST_ID = 128
_LOGGED = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Home Assistant's ids; whatever else a client calls a conversation is not for the log."""
Send = Callable[..., Awaitable[None]]


class Agent:
    """Answers questions, each in its conversation, which the client names. Two questions of one
    conversation are answered one after the other."""

    def __init__(self, gateway: Gateway, caller: Caller) -> None:
        self._gateway = gateway
        self._caller = caller
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(self, text: str, context: dict[str, Any] | None, send: Send) -> None:
        """Send the answer: `handled-start`, a chunk for each sentence, the whole as `handled`,
        `handled-stop`. Raises `TextTooLong`, and what the engines raise."""
        check_length(len(text), self._gateway.settings.longest_text)
        if not text.strip():
            await send(NotHandled(context=context))
            return
        name = _name(context)
        lock = self._locks.setdefault(name, asyncio.Lock()) if name else asyncio.Lock()
        async with lock:
            conversation, kept = await self._conversation(name)
            await send(HandledStart(context))
            async with conversation.ask(text) as turn:
                reply = await _tell(turn, send)
            self._gateway.metrics.turn(turn.trace)
            if kept is not None:
                await kept.save(conversation.messages)
        await send(Handled(reply, context))
        await send(HandledStop())

    async def _conversation(self, name: str) -> tuple[Conversation, Kept | None]:
        """One that answers in text alone, with what was said in it before."""
        assistant = self._gateway.assistant
        stages = replace(assistant.stages, voice=SilentVoice(assistant.stages.voice))
        conversation = Conversation(stages, assistant.setup, assistant.profile.instructions)
        if not name:
            return conversation, None
        note(session=name if _LOGGED.fullmatch(name) else "other")
        kept = Kept(self._gateway.conversations, self._caller.key, name)
        so_far = await kept.take()
        if so_far:
            conversation.messages[:] = so_far
        return conversation, kept


async def _tell(turn: Turn, send: Send) -> str:
    """Send a turn's sentences; the whole answer."""
    first, reply = True, ""
    async for event in turn:
        match event:
            case Sentence(filler=False):
                await send(HandledChunk(event.text if first else f" {event.text}"))
                first = False
            case TurnDone():
                reply = event.reply
    return reply


def _name(context: dict[str, Any] | None) -> str:
    """The conversation that a client names; empty: none that can be kept."""
    name = (context or {}).get("conversation_id")
    return name if isinstance(name, str) and len(name) <= _LONGEST_ID else ""
