"""One turn of a session: heard, answered, and played; over the answer somebody may speak."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from voxturn.runtime.flow.handoff import Handoff, cancel_and_wait
from voxturn.runtime.flow.observe import observing
from voxturn.runtime.messages import (
    Event,
    Interrupted,
    Partial,
    Paused,
    PcmChunk,
    ReplyToken,
    Resumed,
    Sentence,
    SessionError,
    SessionEvent,
    SpeechEnded,
    SpeechStarted,
    ToolCall,
    Transcript,
    TurnDone,
)
from voxturn.runtime.turn.inbox import Inbox, TurnFrames
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.overhear import Act, Decision, Overhearing
from voxturn.runtime.turn.playback import Playback
from voxturn.runtime.turn.trace import InterruptDecision
from voxturn.runtime.turn.turn import Conversation, Request

_ECHO_S = 0.35
"""How long after its end an answer may still be heard by the microphone."""

_TELLING_S = 3.0
"""An answer of so much sound that was not heard by the microphone says that no answer is."""


class DuplexTurn:
    """A `Turn` that is listened over. `run` puts its events into `events` and returns when the next
    turn may begin.

    `question` is a typed one, or asks for an answer otherwise; empty: the turn hears what comes in.
    What the next turn is to hear goes back into the inbox.
    """

    def __init__(
        self,
        conversation: Conversation,
        inbox: Inbox,
        strategy: Strategy,
        events: Handoff[Told],
        question: str | Request = "",
        hears_itself: bool = False,
    ) -> None:
        self.request = question if isinstance(question, Request) else None
        self._frames = None if question else TurnFrames(inbox)
        if self._frames is not None:
            self._turn = conversation.turn(self._frames)
        elif isinstance(question, Request):
            self._turn = conversation.respond(question)
        else:
            self._turn = conversation.ask(question)
        self._inbox = inbox
        self._strategy = strategy
        self._events = events
        self._clock = conversation.setup.clock
        self.trace = self._turn.trace
        self.playback = Playback(self._clock)
        self._overhearing = Overhearing(conversation, strategy, self.playback, hears_itself)
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._cut_reason = ""
        self._known = self.request is not None and not self.request.question
        self._listened = False
        self._cut = False
        self._told_done = False
        self._gives_way = False
        self._error: Exception | None = None

    @property
    def listening(self) -> bool:
        """Whether it still hears the question."""
        return self._frames is not None and not self._frames.closed.is_set()

    @property
    def stillborn(self) -> Exception | None:
        """The error by which it could not even begin to listen; None where it did."""
        deaf = self._frames is not None and self._frames.first is None
        return self._error if deaf else None

    @property
    def heard_out(self) -> bool:
        """Whether there was a question to its end, or an error."""
        return "endpoint" in self.trace.marks or self._error is not None

    @property
    def unasked(self) -> bool:
        """Whether an answer was asked for and nothing had been said."""
        asked = self._frames is not None and self._frames.answer_asked
        return asked and not self.trace.transcript and self._error is None

    @property
    def hears_itself(self) -> bool:
        """Whether the microphone hears the loudspeaker, as far as is known."""
        heard = self._overhearing
        return heard.heard_itself or (heard.hears_itself and self.playback.position_s < _TELLING_S)

    def played(self, ms: float) -> None:
        """So much of the answer has been played; where it was cut, this corrects what the dialogue
        holds of it."""
        self.playback.told(ms)
        if self._cut:
            self._turn.played(self.playback.position)

    def use(self, strategy: Strategy) -> None:
        """Judge what is said over the answer by another strategy from here on."""
        self._strategy = strategy
        self._overhearing.use(strategy)

    def give_way(self) -> None:
        """End it for an answer that was asked for: what is just being said is said over that, and
        what was answered wholly counts as heard."""
        if self.listening and self._frames is not None:
            self._gives_way = True
        if self._told_done:
            self.playback.finish()
            self._end("")
        else:
            self.cut("asked")

    def tool_result(self, call_id: str, content: str, failed: bool) -> bool:
        """As `Turn.tool_result`."""
        return self._turn.tool_result(call_id, content, failed)

    def forget(self) -> None:
        """As `Turn.forget`."""
        self._turn.forget()

    def cut(self, reason: str) -> None:
        """End it.

        A question that was heard to its end is written down first, so that the dialogue has it.
        """
        if not self._over.done() and not self._cut_reason:
            self._cut_reason = reason
            if self.listening or self._known:
                self._end(reason)

    async def run(self) -> None:
        """Hold the turn until its answer was played, or cut; its errors are told."""
        overhear = asyncio.create_task(self._overhear(), context=observing(self.trace))
        speak = asyncio.create_task(self._speak())
        paused = False
        try:
            reason = await self._over
            paused = self.playback.paused
        finally:
            await self._close(overhear, speak)
        if reason:
            self._events.discard(lambda told: _is_of_an_answer(told[1]))
        if self._error is not None:
            await self._tell(SessionError(self._error))
        if self._cut and (self._error is None or self.playback.begun or paused):
            await self._tell(Interrupted(self.trace.heard_reply, reason))
        if self._listened and not self._told_done:
            await self._tell(TurnDone(self.trace.heard_reply))

    async def _tell(self, event: SessionEvent) -> None:
        await self._events.put((self, event))

    async def _close(self, overhear: asyncio.Task[None], speak: asyncio.Task[None]) -> None:
        """Stop everything, also if this is cancelled meanwhile; the dialogue keeps what was heard."""
        if not self.playback.over:
            self.playback.pause()
            self._turn.played(self.playback.position)
        try:
            await cancel_and_wait(overhear)
        finally:
            try:
                await cancel_and_wait(speak)
            finally:
                self._inbox.give_back(self._overhearing.kept)
                if self._gives_way and self._frames is not None and self._frames.speaking:
                    self._inbox.give_back(self._frames.last)
                await self._turn.aclose()

    async def _speak(self) -> None:
        """Tell the turn's events, then wait until its answer was played and what was said meanwhile
        is judged."""
        try:
            async for event in self._turn:
                await self._tell(self._placed(event))
                if isinstance(event, Transcript | TurnDone):
                    self._question_is_known()
                if isinstance(event, PcmChunk):
                    self.playback.add(event)
                self._told_done = isinstance(event, TurnDone)
            self.playback.whole = True
            while not await self.playback.finished():
                await self._act(Decision(Act.RESUME, "nothing more was heard"))
            if self.hears_itself and self.playback.position:
                await self._clock.sleep_until(self._clock.now() + _ECHO_S)
            await self._overhearing.quiet.wait()
            self._end("")
        except Exception as exc:  # noqa: BLE001  it is told
            self._error = exc
            self._end("error")

    def _question_is_known(self) -> None:
        self._known = True
        if self._cut_reason:
            self._end(self._cut_reason)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._listened = not self.listening
            self._cut = bool(reason) and self._listened and not self.playback.over
            self._over.set_result(reason)

    def _placed(self, event: Event) -> Event:
        """An event whose place is counted in the session's samples, not in the turn's."""
        first = (self._frames.first or 0) if self._frames is not None else 0
        match event:
            case SpeechStarted():
                if self._frames is not None:
                    self._frames.speaking = True
                return SpeechStarted(first + event.at)
            case SpeechEnded():
                return SpeechEnded(first + event.at)
            case Partial():
                return replace(event, start=first + event.start)
        return event

    async def _overhear(self) -> None:
        """Listen while the answer is made and played."""
        if self._frames is not None:
            await self._frames.closed.wait()
        try:
            while not self._strategy.listens:
                await self._inbox.next()
            async with aclosing(self._overhearing(self._inbox.frames())) as decisions:
                async for decision in decisions:
                    await self._act(decision)
        except Exception as exc:  # noqa: BLE001  it is told; the answer goes on without being listened over
            await self._tell(SessionError(exc))
            if self.playback.paused:
                await self._act(Decision(Act.RESUME, "error"))
            self._overhearing.kept.clear()
            await self._ignore()

    async def _ignore(self) -> None:
        """Hear nothing, until this is cancelled."""
        async for _ in self._inbox.frames():
            pass

    async def _act(self, decision: Decision) -> None:
        match decision.act:
            case Act.PAUSE:
                self.playback.pause()
            case Act.RESUME:
                self.playback.resume()
            case Act.CUT:
                self.cut(decision.reason)
        at = self.playback.position
        self.trace.interruptions.append(
            InterruptDecision(
                decision.act.value, decision.reason, decision.heard, self._clock.now(), at
            )
        )
        if decision.act is Act.PAUSE:
            await self._tell(Paused())
        elif decision.act is Act.RESUME:
            await self._tell(Resumed(at))


Told = tuple[DuplexTurn, SessionEvent]
"""An event, and whose it is."""


def _is_of_an_answer(event: SessionEvent) -> bool:
    return isinstance(event, ReplyToken | ToolCall | Sentence | PcmChunk)
