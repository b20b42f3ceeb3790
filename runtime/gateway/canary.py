"""Whether the engines answer: a canary turn, from a typed question to its first audio."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import api_error
from voxturn.runtime.gateway.logs import event
from voxturn.runtime.messages import PcmChunk

_LOG = logging.getLogger(__name__)
_QUESTION = "Say yes."
_PATIENCE_S = 10.0
"""Longer than a turn of somebody else's, whose place it may have to wait for."""


@dataclass(frozen=True)
class Health:
    """What the last canary turn said, `at_s` of the clock. `problem` is a code of `errors`; empty:
    it answered, after `first_audio_s`."""

    at_s: float
    first_audio_s: float = 0.0
    problem: str = ""


class Canary:
    """Runs canary turns, one at a time, whose result holds for `holds_s`. Close it when done.

    Whoever asks while one runs is told its result. It takes its turn at the engines as any client
    does; a turn that takes longer than `patience_s` counts as none.
    """

    def __init__(
        self,
        assistant: Assistant,
        clock: Clock,
        holds_s: float = 15.0,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._assistant = assistant
        self._clock = clock
        self._holds_s = holds_s
        self._patience_s = patience_s
        self._last: Health | None = None
        self._running: asyncio.Task[Health] | None = None

    async def __call__(self) -> Health:
        """The newest result, which is at most `holds_s` old."""
        if self._last is not None and self._clock.now() - self._last.at_s < self._holds_s:
            return self._last
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        await asyncio.wait([self._running])  # whoever asked may leave: it goes on for the others
        if self._running.cancelled():
            return Health(self._clock.now(), problem="stopping")
        return self._running.result()

    async def aclose(self) -> None:
        """Stop what runs."""
        if self._running is not None:
            await cancel_and_wait(self._running)

    async def _run(self) -> Health:
        begin_s = self._clock.now()
        turn = asyncio.create_task(self._turn())
        try:
            in_time = await done_by(self._clock, turn, begin_s + self._patience_s)
            problem = _problem(turn) if in_time else "canary_too_slow"
        finally:
            await cancel_and_wait(turn)
        end_s = self._clock.now()
        self._last = Health(end_s, end_s - begin_s, problem)
        if problem:
            event(_LOG, "canary", logging.WARNING, problem=problem)
        return self._last

    async def _turn(self) -> bool:
        """Whether a question was answered with audio. Nothing is kept of it."""
        CLIENT.set("canary")
        async with self._assistant.conversation().ask(_QUESTION) as turn:
            async for each in turn:
                if isinstance(each, PcmChunk):
                    return True
        return False


def _problem(turn: asyncio.Task[bool]) -> str:
    if turn.cancelled():
        return "cancelled"
    if (error := turn.exception()) is not None:
        return api_error(error).code if isinstance(error, Exception) else "cancelled"
    return "" if turn.result() else "no_audio"
