"""A session that lives longer than the connections to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Protocol

from voxturn.runtime import messages as turn
from voxturn.runtime.errors import StreamClosed, TextTooLong, VoxturnError
from voxturn.runtime.flow.clock import done_by
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import Handoff, Overflow, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.sessions import ENDS, SessionInfo
from voxturn.runtime.gateway.store import Kept, TakenOver
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.gateway.voice.events import error_of, event_of, turn_done
from voxturn.runtime.gateway.voice.incoming import Incoming, incoming
from voxturn.runtime.gateway.voice.outgoing import SLOW_S, Audio, Outbound, Outgoing
from voxturn.runtime.gateway.voice.speaking import Speaking
from voxturn.runtime.messages import AudioFrame, Samples
from voxturn.runtime.turn.listen import RATE
from voxturn.runtime.turn.session import Session
from voxturn.runtime.turn.trace import Trace

_LOG = logging.getLogger(__name__)
_LOOK_S = 10.0
"""How often it is looked after a client that may not read."""
_MOST_PINNED = 32_768
"""Characters of facts that a client pins: as many as instructions may have."""
_WAITING_FRAMES = 8


class Connection(Protocol):
    """What a session is connected by."""

    async def drop(self, code: int) -> None:
        """End the connection, and wait until the session is detached from it."""
        ...


class LiveSession:
    """A `Session` with its input, its output, and its place among the sessions.

    It is connected to by one connection at a time, and lives for `grace_s` without one. It ends
    once: by its client, its owner, a limit of time, an error, or with the gateway.
    """

    def __init__(
        self,
        gateway: Gateway,
        caller: Caller,
        conversation: Kept,
        start: wire.SessionStart,
        open_session: Callable[[Callable[[Trace], None]], Session],
        speaking: Speaking,
        place: ExitStack,
    ) -> None:
        """Call it in the event loop; it is ready when this returns. `place` is closed at its
        end."""
        self.id = gateway.sessions.new_id()
        note(session=self.id)
        self.owner = caller.client
        self._key = caller.key
        self.conversation = conversation.id
        self._kept = conversation
        self.received = 0
        self.turns = 0
        self._pinned = 0
        self._gateway = gateway
        self._clock = gateway.clock
        self._traces: Handoff[Trace] = Handoff(1, Overflow.GROW)
        self.session = open_session(self._traces.put_now)
        self._saved = self.session.messages
        self.speaking = speaking
        self.format = start.output.format
        self._place = place
        self.outgoing = Outgoing(self._clock)
        self._audio = start.audio if isinstance(start.audio, wire.InputAudio) else wire.InputAudio()
        self._waiting: Handoff[AudioFrame] = Handoff(1, Overflow.GROW)
        self._fed = Event()
        self._all_fed = True
        self._input: Incoming | None = self._new_input()
        self._closing: set[asyncio.Task[None]] = set()
        self._connection: Connection | None = None
        self._opened_s = self._active_s = self._detached_s = self._clock.now()
        self._changed = Event()
        self._all_told = Event()
        self._cut = False
        self._running: Trace | None = None
        self._idle = Event()
        self._idle.set()
        self._ending: asyncio.Future[None] | None = None
        self.close_code = wire.ENDED
        """How connections are closed once all that it sends was sent."""
        self._tasks = [
            asyncio.create_task(each)
            for each in (
                self._pump(),
                self._finish_turns(),
                self._feed(),
                self._watch(),
                self._drain(),
            )
        ]
        gateway.sessions.add(self)
        gateway.holders.hold(self._key, self.conversation, self)
        gateway.metrics.sessions.labels("voice").inc()

    def info(self) -> SessionInfo:
        """As it is listed."""
        now = self._clock.now()
        return SessionInfo(
            self.id,
            "session",
            "connected" if self._connection is not None else "waiting",
            self.conversation,
            round(now - self._opened_s, 1),
            round(now - self._active_s, 1),
            self.turns,
        )

    def started(self, resumed: bool) -> wire.SessionStarted:
        """What a connection is told first."""
        return wire.SessionStarted(
            session=self.id,
            conversation=self.conversation,
            rate=self.speaking.rate,
            format=self.format,
            grace_s=self._gateway.settings.grace_s,
            resumed=resumed,
            received=self.received,
        )

    # connections

    async def attach(
        self, connection: Connection, received: int, audio: wire.InputAudio | None
    ) -> None:
        """Be connected; a connection that there still is, is dropped. Raises `ApiError` 409 where
        what came after `received` is not kept any more."""
        while self._connection is not None:
            await self._connection.drop(wire.TAKEN_OVER)
        if self._ending is not None:
            raise ApiError(404, "there is no such session (any more)", "session_not_found")
        try:
            self.outgoing.rewind(received)
        except ValueError as exc:
            raise ApiError(409, f"resume.received: {exc}", "resume_impossible") from exc
        self._connection = connection
        note(session=self.id)
        self._changed.set()
        if audio is not None:
            await self._begin_audio(audio)

    def detach(self, connection: Connection) -> None:
        """The connection is gone; not that of somebody else."""
        if self._connection is connection:
            self._connection = None
            self._detached_s = self._clock.now()
            self._changed.set()

    # what clients send

    async def hear(self, data: bytes) -> None:
        """Audio of the client. Waits for room, then takes it: where this is cancelled it was not
        received."""
        if self._audio.overflow == "wait":
            await self._room()
        try:
            if self._input is not None:
                await self._input.write(data)
        except VoxturnError as exc:
            self._deafen(exc)
        self.received += 1

    async def command(self, message: wire.ClientMessage) -> None:
        """Do what a message says. It counts as received once it is done. Raises `ApiError`,
        `VoxturnError`."""
        self._active_s = self._clock.now()
        counted = not isinstance(message, wire.UNCOUNTED)
        try:
            await self._do(message)
        except StreamClosed:
            return  # it ends; `session.ended` says so
        except Exception:
            self.received += counted
            raise
        self.received += counted

    async def _do(self, message: wire.ClientMessage) -> None:
        match message:
            case wire.AudioStart(audio):
                await self._begin_audio(audio)
            case wire.TextAsk(text):
                self.session.ask(text)
            case wire.AnswerNow():
                if self._input is not None:
                    await self._input.drained()
                await self._room(0)
                self.session.answer()
            case wire.Cancel():
                self.session.cancel()
            case wire.Played(ms):
                self.session.played(ms)
            case wire.Pin(fact):
                self._pin(fact)
            case wire.ToolResult(call_id, content, failed):
                self._tool_result(call_id, content, failed)
            case wire.Ack(received):
                self._acknowledged(received)
            case wire.SessionEnd():
                await self.end("client")
            case wire.SessionStart():
                raise ApiError(400, "the session was started already", "session_started")

    def _pin(self, fact: str) -> None:
        if self._pinned + len(fact) > _MOST_PINNED:
            raise ApiError(
                413, f"facts may have {_MOST_PINNED} characters in all", "text_too_long", "fact"
            )
        self.session.pin(fact)
        self._pinned += len(fact)

    def _tool_result(self, call_id: str, content: str, failed: bool) -> None:
        try:
            waited_for = self.session.tool_result(call_id, content, failed)
        except TextTooLong as exc:
            raise ApiError(413, str(exc), "text_too_long", "content") from exc
        if not waited_for:
            raise ApiError(404, "no such call is waited for", "call_not_found", "call_id")

    def _acknowledged(self, received: int) -> None:
        try:
            self.outgoing.acknowledge(received)
        except ValueError as exc:
            raise ApiError(400, str(exc), "invalid_value", "received") from exc

    # input

    def _new_input(self) -> Incoming:
        longest_s = self._gateway.settings.longest_session_s
        stream: Incoming = incoming(
            self._audio, self._heard, lambda exc: self._failed(stream, exc), longest_s
        )
        return stream

    def _failed(self, stream: Incoming, error: Exception) -> None:
        """A decoder failed; of a recording that was cut off by the next one, that is no news."""
        if self._input is stream:
            self._deafen(error)

    async def _begin_audio(self, audio: wire.InputAudio) -> None:
        """Another stream of audio comes; the one before is heard to its end."""
        before, self._input = self._input, None
        if before is not None:
            await before.aclose(flush=True)
        self._audio = audio
        self._input = self._new_input()

    async def _heard(self, samples: Samples) -> None:
        """Samples of the input, at 16 kHz."""
        try:
            if self._audio.overflow == "drop":
                self.session.push(samples)
                return
            await self._room()
            self._waiting.put_now(AudioFrame(samples, RATE, 0, self._clock.now()))
        except StreamClosed:
            return  # it ends

    async def _room(self, most: int = _WAITING_FRAMES) -> None:
        """Wait until no more than so many frames wait to be heard; 0: none, nor a part of one."""
        while self._waiting.unread > most or not (most or self._all_fed):
            self._fed.clear()
            await self._fed.wait()

    async def _frames(self) -> AsyncGenerator[AudioFrame, None]:
        """What waits to be heard."""
        while True:
            self._all_fed = not self._waiting.unread
            self._fed.set()
            frame = await anext(self._waiting)
            self._all_fed = False
            yield frame

    async def _feed(self) -> None:
        try:
            await self.session.feed(self._frames())
        except StreamClosed:
            return

    def _deafen(self, error: Exception) -> None:
        """The input failed: nothing is heard until another stream begins."""
        failed, self._input = self._input, None
        self.outgoing.put_now(error_of(api_error(error)))
        if failed is not None:
            task = asyncio.create_task(failed.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    # output

    async def _pump(self) -> None:
        """The session's events, to the connection."""
        events = aiter(self.session)
        try:
            while True:
                self._all_told.set()
                event = await anext(events, None)
                self._all_told.clear()
                if event is None:
                    break
                self._active_s = self._clock.now()
                await self._send(event)
        except Exception as exc:  # noqa: BLE001  it is told
            self.outgoing.put_now(error_of(api_error(exc)))
        self._end_soon("error")

    async def _send(self, event: turn.SessionEvent) -> None:
        match event:
            case turn.Transcript():
                self.turns += 1
                note(turn=str(self.turns))
                self._running = self.session.trace
                self._idle.clear()
                self.speaking.begin(self.turns)
            case turn.PcmChunk():
                for audio in self.speaking.frames(event):
                    await self.outgoing.put(audio)
                    await asyncio.sleep(0)
                return
            case turn.Interrupted():
                self._cut = True
                self.speaking.drop()
                self.outgoing.discard(_of_an_answer)
            case turn.TurnDone(reply):
                for audio in self.speaking.rest():
                    await self.outgoing.put(audio)
                samples = self.speaking.samples
                await self.outgoing.put(
                    wire.ReplyDone(reply=reply, turn=self.turns, samples=samples)
                )
                return
        scale = self.speaking.rate / self.session.rate
        message = event_of(event, self.turns, scale)
        if isinstance(message, wire.Paused | wire.Resumed):
            self.outgoing.put_first(message)
        elif message is not None:
            await self.outgoing.put(message)

    async def _finish_turns(self) -> None:
        """Keep the dialogue after each turn, then tell that the turn is over."""
        async for trace in self._traces:
            # the turn's last events were put before its trace: what reads them was woken first
            while not self._all_told.is_set():
                await self._all_told.wait()
            cut, self._cut = self._cut, False
            self._gateway.metrics.turn(trace)
            if await self._keep():
                await self.outgoing.put(turn_done(trace, cut, self.session.dropped_s))
            if trace is self._running:  # the next one may have begun already
                self._running = None
                self._idle.set()

    async def _keep(self) -> bool:
        """Keep the conversation; whether that went well. An error is told, and where another
        gateway has gone on with it, the session ends."""
        messages = self.session.messages
        try:
            await self._kept.save(messages)
        except TakenOver:
            self._end_soon("taken_over")
            return False
        except Exception as exc:  # noqa: BLE001  the session goes on
            _LOG.error("a conversation was not kept: %s", type(exc).__name__, exc_info=exc)
            error = ApiError(500, "the conversation could not be kept", "not_kept")
            self.outgoing.put_now(error_of(error))
            return False
        self._saved = messages
        return True

    # its end

    async def _watch(self) -> None:
        """End it by its limits of time; drop a connection that does not read."""
        while True:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await done_by(self._clock, changed, self._look_at())
            finally:
                changed.cancel()
            if (reason := self._expired()) is not None:
                self._end_soon(reason)
                return
            if self._connection is not None and self.outgoing.oldest_s > SLOW_S:
                await self._connection.drop(wire.SLOW_CLIENT)

    async def _drain(self) -> None:
        """Let the turn end that runs while the gateway stops, then end; the gateway waits for
        both."""
        await self._gateway.draining()
        self._place.enter_context(self._gateway.work.running())
        await self._idle.wait()
        self._end_soon("stopping")

    def _look_at(self) -> float:
        settings = self._gateway.settings
        due = min(self._opened_s + settings.longest_session_s, self._active_s + settings.idle_s)
        if self._connection is None:
            return min(due, self._detached_s + settings.grace_s)
        return min(due, self._clock.now() + _LOOK_S)

    def _expired(self) -> ENDS | None:
        now, settings = self._clock.now(), self._gateway.settings
        if now >= self._opened_s + settings.longest_session_s:
            return "too_long"
        if now >= self._active_s + settings.idle_s:
            return "idle"
        if self._connection is None and now >= self._detached_s + settings.grace_s:
            return "idle"
        return None

    def _end_soon(self, reason: ENDS) -> None:
        """End it, by one of its own tasks."""
        self._ending = self._ending or asyncio.ensure_future(self._end(reason))

    async def end(self, reason: ENDS) -> None:
        """End it and keep its conversation; `session.ended` is the last that is sent."""
        self._end_soon(reason)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    async def _end(self, reason: ENDS) -> None:
        if reason == "stopping":
            self.close_code = wire.STOPPING
        async with AsyncExitStack() as stack:
            stack.callback(self._left)
            stack.callback(self.outgoing.close)
            stack.push_async_callback(self._told_end, reason)
            stack.callback(self.speaking.drop)
            for task in self._tasks:
                stack.push_async_callback(cancel_and_wait, task)
            stack.push_async_callback(self.session.aclose)
            for closing in self._closing:
                stack.push_async_callback(cancel_and_wait, closing)
            if self._input is not None:
                stack.push_async_callback(self._input.aclose)

    async def _told_end(self, reason: ENDS) -> None:
        if self.session.messages != self._saved:  # another worker may have gone on with it
            await self._keep()
        self.outgoing.put_now(wire.SessionEnded(reason=reason))

    def _left(self) -> None:
        self._gateway.sessions.remove(self)
        self._gateway.holders.leave(self._key, self.conversation, self)
        self._gateway.metrics.sessions.labels("voice").dec()
        self._place.close()


def _of_an_answer(message: Outbound) -> bool:
    return isinstance(message, Audio | wire.Sentence | wire.ReplyDelta | wire.ToolCall)
