"""A session that a server drives: audio and commands go there, its events and its dialogue come
here."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any

import numpy as np
from voxturn.runtime.errors import (
    EmptyText,
    ForgottenSession,
    InferenceFailed,
    StreamClosed,
    TextTooLong,
    UsageError,
)
from voxturn.runtime.flow.clock import Clock, WallClock, done_by
from voxturn.runtime.flow.handoff import Handoff, Overflow, cancel_all, cancel_and_wait
from voxturn.runtime.messages import Message, PcmChunk, SessionEvent
from voxturn.runtime.remote.contract import LONGEST_PIECE_S, LONGEST_TEXT, NUMBER, OPEN, SESSION
from voxturn.runtime.remote.sessions import (
    AnswerNow,
    Ask,
    Cancel,
    Close,
    Command,
    Pin,
    Played,
    SetMessages,
    check_fact,
    check_length,
    of_command,
    to_change,
)
from voxturn.runtime.remote.tensors import Tensors, to_session_event
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.turn.inbox import Inbox
from voxturn.runtime.turn.interrupt.choose import settings_of
from voxturn.runtime.turn.memory import Dialogue
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.voice_session import VoiceSession

_MODEL = "voice_turn"
_EVENTS_AHEAD = 4
_MOST_FRAMES = round(LONGEST_PIECE_S * 50)
_LEAVE_S = 2.0
"""How long a server has to end a session that is closed, and to tell what its dialogue was."""

Connect = Callable[[], AbstractAsyncContextManager[TritonServer]]


class RemoteSession(VoiceSession):
    """As `Session`; its turns run in the server's `voice_turn`.

    What is pushed is sent as fast as the server takes it: `ahead_s` and `dropped_s` are of what
    waits here. `messages` is a copy, which follows the server's. A session ends with the server's
    first error that is not a turn's, with `ServerDied` or `ServerUnavailable`: its reader gets it.
    """

    def __init__(
        self, connect: Connect, options: SessionOptions, clock: Clock | None = None
    ) -> None:
        self._connect = connect
        self._clock = clock or WallClock()
        self._asked = {SESSION: uuid.uuid4().hex, OPEN: _options(options)}
        self._inbox = Inbox(self._clock, options.ahead_s)
        self._commands: Handoff[Command] = Handoff(1, Overflow.GROW)
        self._events: Handoff[SessionEvent] = Handoff(_EVENTS_AHEAD)
        self._rate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._theirs: list[Message] = []
        self._ours: list[Message] | None = None
        self._sets = 0
        self._answers = 0
        self._all_told = asyncio.Event()
        self._all_told.set()
        self._closing = asyncio.Lock()
        self._closed = False
        self._task = asyncio.create_task(self._run())

    async def opened(self) -> None:
        """Wait until the server has it. Raises what opening raises: `ServerUnavailable`, ..."""
        ends: list[asyncio.Future[Any]] = [self._rate, self._task]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not self._rate.done():
            await anext(self._events, None)  # it failed: this raises why
            raise StreamClosed("the session was closed")

    async def __aiter__(self) -> AsyncGenerator[SessionEvent, None]:
        async for event in self._events:
            self._answers += isinstance(event, PcmChunk) and not event.start
            yield event

    @property
    def rate(self) -> int:
        """The sample rate of what it says, in Hz, once it is open."""
        return self._rate.result()

    @property
    def messages(self) -> list[Message]:
        """The dialogue so far, the system prompt first, as the server told last; set it to change
        it.

        Raises `TextTooLong` for more than a request may have.
        """
        return list(self._theirs if self._ours is None else self._ours)

    @messages.setter
    def messages(self, messages: list[Message]) -> None:
        check_length(messages)
        self._set(SetMessages(tuple(messages)), messages)

    def pin(self, fact: str) -> None:
        """Keep a fact, as "The user's name is Ana.", from the next question on, however long the
        dialogue becomes. Raises `EmptyText`, `TextTooLong`."""
        dialogue = Dialogue()
        dialogue.messages = self.messages
        check_fact(fact, dialogue.messages)
        dialogue.pin(fact)
        self._set(Pin(fact), dialogue.messages)

    def tool_result(self, call_id: str, content: str, failed: bool = False) -> bool:
        """False: a session that a server drives has no tools, and no call is waited for."""
        return False

    def ask(self, text: str) -> None:
        """Put a typed question. Raises `EmptyText`, `TextTooLong`."""
        if not text.strip():
            raise EmptyText("the question has no words; type some")
        if len(text) > LONGEST_TEXT:
            raise TextTooLong(f"a question may have {LONGEST_TEXT} characters, not {len(text)}")
        self._tell(Ask(text.strip()))

    def answer(self) -> None:
        """Take what was pushed so far for the whole question, without waiting for silence."""
        self._check_open()
        self._inbox.ask_answer()

    def cancel(self) -> None:
        """Cut the answer that is made or played; while nothing is answered, nothing happens."""
        self._tell(Cancel())

    def played(self, ms: float) -> None:
        """Tell how much of the last answer the loudspeaker has played. Raises `UsageError`."""
        if not math.isfinite(ms):
            raise UsageError(f"played: must be milliseconds, not {ms}")
        self._tell(Played(ms, self._answers))

    async def aclose(self) -> None:
        """End whatever is under way, and wait until it has ended; no event comes after this."""
        self._closed = True
        async with self._closing:  # one at a time
            self._events.abandon()
            try:
                if self._rate.done() and not self._task.done():
                    self._commands.put_now(Close())
                    await done_by(self._clock, self._task, self._clock.now() + _LEAVE_S)
            finally:
                await cancel_and_wait(self._task)

    async def _run(self) -> None:
        """Open the session and hold it until it ends."""
        try:
            async with (
                self._connect() as server,
                aclosing(server.stream(_MODEL, self._asked, endless=True)) as answers,
            ):
                await self._hold(server, answers)
            self._events.close()
        except Exception as exc:  # noqa: BLE001  it is the reader's
            self._events.fail(exc)
        finally:
            self._inbox.close()

    async def _hold(self, server: TritonServer, answers: AsyncGenerator[Tensors, None]) -> None:
        """Tell what the server says, and send what is said here, until one of both ends."""
        first = await anext(answers, None)
        if first is None:
            raise InferenceFailed("the server did not open the session")
        self._rate.set_result(int(self._change(first)["rate"]))
        reading = asyncio.create_task(self._read(answers))
        tasks = [
            reading,
            asyncio.create_task(self._send(server, self._pieces())),
            asyncio.create_task(self._send(server, self._told())),
        ]
        running = set(tasks)
        try:
            while reading in running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            await cancel_all(tasks)  # all at once: each leaves a call to the server

    async def _read(self, answers: AsyncIterator[Tensors]) -> None:
        """What the server says, to its end. Nobody wants the events of a session that is closed."""
        async for tensors in answers:
            if "answer" in tensors:
                self._change(tensors)
                continue
            event = to_session_event(tensors)
            if not self._closed:
                with suppress(StreamClosed):
                    await self._events.put(event)

    def _change(self, tensors: Tensors) -> dict[str, Any]:
        """Follow the server's dialogue; what it told besides."""
        change, more = to_change(tensors)
        self._theirs[change.kept :] = change.added
        if change.sets == self._sets:  # otherwise it says what was before it was set here
            self._ours = None
        return more

    async def _send(self, server: TritonServer, asked: AsyncGenerator[Tensors, None]) -> None:
        """Send one request after the other."""
        async with server.line(_MODEL) as line, aclosing(asked):
            async for inputs in asked:
                try:
                    await line.ask({SESSION: self._asked[SESSION]} | inputs)
                except ForgottenSession:  # it has ended: its events say why
                    return

    async def _pieces(self) -> AsyncGenerator[Tensors, None]:
        """What was pushed, whatever there is of it in one piece, and where an answer was asked
        for."""
        number = 0
        while True:
            samples, asked = await self._inbox.piece(_MOST_FRAMES)
            if samples.size:
                number += 1
                yield {"audio": samples, NUMBER: np.array([number], np.int64)}
            if asked:
                await self._all_told.wait()  # an answer to what was told before it
                yield of_command(AnswerNow())

    async def _told(self) -> AsyncGenerator[Tensors, None]:
        """What else is told to the session, until it is to end."""
        async for command in self._commands:
            yield of_command(command)
            if isinstance(command, Close):
                return
            if not self._commands.unread:
                self._all_told.set()

    def _set(self, command: Command, messages: list[Message]) -> None:
        """The dialogue is to be this."""
        self._tell(command)
        self._ours = list(messages)
        self._sets += 1

    def _tell(self, command: Command) -> None:
        self._check_open()
        self._all_told.clear()
        self._commands.put_now(command)

    def _check_open(self) -> None:
        if self._closed or self._task.done():
            raise StreamClosed("the session was closed")


class Opening:
    """A session that is being opened: await it, or use it as `async with`, which closes it."""

    def __init__(self, session: Coroutine[Any, Any, VoiceSession]) -> None:
        self._opening = session
        self._session: VoiceSession | None = None

    def __await__(self) -> Generator[Any, None, VoiceSession]:
        return self._opening.__await__()

    async def __aenter__(self) -> VoiceSession:
        self._session = await self._opening
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.aclose()


def _options(options: SessionOptions) -> str:
    """What a server is told of how a session is held. Raises `UsageError` for what it cannot."""
    if options.tools:
        raise UsageError(
            "tools: a session that a server drives has none; "
            "give the client a profile, and they run here"
        )
    if options.on_trace is not SessionOptions().on_trace:
        raise UsageError(
            "on_trace: the traces of turns that a server drives stay there; "
            "give the client a profile, and it drives them here"
        )
    if options.interrupt is None:
        return "{}"
    return json.dumps({"interrupt": asdict(settings_of(options.interrupt))})
