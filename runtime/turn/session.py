"""A conversation that listens while it speaks: frames go in and events come out for as long as it
lives.

It composes turns. While a turn's answer is made and played, what is said over it is judged
(`overhear.py`); where that is an interruption, the turn is closed and the next one begins with what
was said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from voxturn.runtime.errors import EmptyText, StreamClosed
from voxturn.runtime.flow.handoff import Handoff, cancel_and_wait
from voxturn.runtime.messages import (
    Message,
    SessionEvent,
)
from voxturn.runtime.turn.duplex import DuplexTurn, Told
from voxturn.runtime.turn.inbox import Inbox
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.stages import Stages
from voxturn.runtime.turn.tools import Tool, Toolbox
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.turn import Conversation, Request
from voxturn.runtime.turn.voice_session import VoiceSession

_EVENTS_AHEAD = 4
_LOG = logging.getLogger(__name__)


def _no_trace(trace: Trace) -> None:
    """Nobody wants it."""


@dataclass(frozen=True)
class SessionOptions:
    """How a session is held. `interrupt`: as the profile says, where it is None.

    `ahead_s`: how many seconds `push` may be ahead of what is heard. `on_trace` is called with the
    trace of every turn that heard a question, once it is over. `tools`: functions that the model
    may call; `Assistant.session` gives them to the conversation. `end_of_speech`: its certain end
    is told as well (`SpeechEnded`), before the words are known.
    """

    interrupt: Strategy | None = None
    ahead_s: float = 10.0
    on_trace: Callable[[Trace], None] = _no_trace
    tools: Sequence[Tool] = ()
    end_of_speech: bool = False


class _Read:
    """The events of a session as they are read. `turn`: whose the last one was."""

    def __init__(self, events: Handoff[Told]) -> None:
        self._events = events
        self.turn: DuplexTurn | None = None

    def __aiter__(self) -> _Read:
        return self

    async def __anext__(self) -> SessionEvent:
        self.turn, event = await anext(self._events)
        return event


class Session(VoiceSession):
    """Iterate it for its events, as they come; close it when done. Make and use it in one event
    loop.

    Use as `async with assistant.session() as session: …`, pushing frames in one task and reading
    events in another. Play the chunks, pause between `Paused` and `Resumed`, and drop what was not
    played at `Interrupted`. Whoever does not read events holds up the answer. An error ends a turn
    alone; only where no turn can begin to listen, the session ends with it. `TurnDone` comes once
    for every turn that heard a question, when all of it was given: it may still be playing, and be
    interrupted. After `aclose` every method raises `StreamClosed`.
    """

    def __init__(self, conversation: Conversation, options: SessionOptions | None = None) -> None:
        options = options or SessionOptions()
        self._conversation = conversation
        conversation.end_of_speech = options.end_of_speech
        self._strategy = options.interrupt or conversation.stages.interrupt
        self._on_trace = options.on_trace
        self._inbox = Inbox(conversation.setup.clock, options.ahead_s)
        self._events: Handoff[Told] = Handoff(_EVENTS_AHEAD)
        self._read = _Read(self._events)
        self._questions: list[str] = []
        self._request: Request | None = None
        self._hears_itself = False
        self._closing = asyncio.Lock()
        self._closed = False
        self._turn = self._next_turn()
        self._before = self._turn
        self._task = asyncio.create_task(self._run())

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self._read

    @property
    def trace(self) -> Trace | None:
        """Of the turn whose event was read last, as far as it has come; None before the first."""
        return self._read.turn.trace if self._read.turn is not None else None

    @property
    def request(self) -> Request | None:
        """What asked for the turn whose event was read last; None where it was heard or typed."""
        return self._read.turn.request if self._read.turn is not None else None

    @property
    def asked(self) -> Request | None:
        """What `respond` was given last, while its turn has not begun."""
        return self._request

    @property
    def position_ms(self) -> float:
        """How much of the last answer has been played, as `played` was told or as the clock says."""
        return 1000 * self._last.playback.position_s

    @property
    def rate(self) -> int:
        """The sample rate of what it says, in Hz."""
        return self._conversation.stages.voice.rate

    @property
    def messages(self) -> list[Message]:
        """The dialogue so far, the system prompt first: what was said, and of each answer what was
        heard. A copy; setting it makes the dialogue forget the turn that is under way."""
        return list(self._conversation.messages)

    @messages.setter
    def messages(self, messages: list[Message]) -> None:
        self._check_open()
        self._turn.forget()
        self._before.forget()
        self._conversation.messages[:] = messages

    def pin(self, fact: str) -> None:
        """Keep a fact, as "The user's name is Ana.", from the next question on, however long the
        dialogue becomes. Raises `EmptyText`."""
        self._check_open()
        self._conversation.pin(fact)

    def ask(self, text: str) -> None:
        """Put a typed question.

        It cuts what is being answered, and what is just being said. Raises `EmptyText`.
        """
        self._check_open()
        if not text.strip():
            raise EmptyText("the question has no words; type some")
        self._questions.append(text.strip())
        self._turn.cut("asked")

    def answer(self) -> None:
        """Take what was pushed so far for the whole question, without waiting for silence.

        Where nothing was said, the question that ends the dialogue is answered, if one does; while
        an answer is made or played, nothing happens.
        """
        self._check_open()
        if self._turn.listening:
            self._inbox.ask_answer()

    def respond(self, request: Request) -> None:
        """Have the dialogue answered as it is, or what a request says.

        It cuts what is being answered, unless all of that was given: then it counts as heard. What
        is just being said is said over the answer.
        """
        self._check_open()
        self._request = request
        self._turn.give_way()

    def change(
        self,
        stages: Stages | None = None,
        toolbox: Toolbox | None = None,
        strategy: Strategy | None = None,
    ) -> None:
        """Answer with other stages and tools from the next answer on; another strategy holds at
        once."""
        self._check_open()
        if stages is not None:
            self._conversation.stages = stages
        if toolbox is not None:
            self._conversation.toolbox = toolbox
        if strategy is not None:
            self._strategy = strategy
            self._turn.use(strategy)

    def forget(self) -> None:
        """What is just being said was not said, nor what nobody has heard yet; what is answered goes
        on."""
        self._check_open()
        self._inbox.forget()
        if self._turn.listening:
            self._turn.cut("forgotten")

    def cancel(self) -> None:
        """Cut the answer that is made or played; while nothing is answered, nothing happens."""
        self._check_open()
        self._request = None
        if not self._turn.listening:
            self._turn.cut("cancelled")

    def played(self, ms: float) -> None:
        """Tell how much of the last answer the loudspeaker has played; without being told, the
        clock decides.

        Told after the answer was cut, it corrects what the dialogue holds of it, until the dialogue
        goes on.
        """
        self._check_open()
        self._last.played(ms)

    def tool_result(self, call_id: str, content: str, failed: bool = False) -> bool:
        """Give the result of a `ToolCall` whose tool has no function here; whether it is still
        waited for: not after its time-out, nor where the answer was cut.

        `failed`: it is a line that says why there is none. Raises `TextTooLong`.
        """
        self._check_open()
        return self._turn.tool_result(call_id, content, failed)

    async def aclose(self) -> None:
        """End whatever is under way, and wait until it has ended; no event comes after this."""
        self._closed = True
        async with self._closing:  # one at a time
            try:
                await cancel_and_wait(self._task)
            finally:
                self._events.abandon()
                self._inbox.close()

    @property
    def _last(self) -> DuplexTurn:
        """The turn of the last answer."""
        return self._turn if self._turn.playback.begun else self._before

    async def _run(self) -> None:
        """One turn after the other."""
        try:
            while True:
                try:
                    await self._turn.run()
                finally:
                    if self._turn.heard_out:
                        self._tell_trace(self._turn.trace)
                if (error := self._turn.stillborn) is not None:
                    raise error
                self._hears_itself = self._turn.hears_itself
                self._ask_last(self._turn.unasked)
                self._before, self._turn = self._turn, self._next_turn()
        except Exception as exc:  # noqa: BLE001  it is the reader's
            self._events.fail(exc)
        finally:
            self._inbox.close()  # whoever feeds it waits for nobody

    def _tell_trace(self, trace: Trace) -> None:
        try:
            self._on_trace(trace)
        except Exception:  # noqa: BLE001  an error of whoever observes ends nothing
            _LOG.exception("what was to be told of a turn could not take its trace")

    def _next_turn(self) -> DuplexTurn:
        request, question = self._request, " ".join(self._questions)
        self._request = None
        if request is None:
            self._questions.clear()
        return DuplexTurn(
            self._conversation,
            self._inbox,
            self._strategy,
            self._events,
            request or question,
            self._hears_itself,
        )

    def _ask_last(self, wanted: bool) -> None:
        """An answer was asked for and nothing was said: the dialogue's last message is the
        question."""
        messages = self._conversation.messages
        if wanted and not self._questions and messages and messages[-1].role == "user":
            self._questions.append(messages.pop().text)

    def _check_open(self) -> None:
        if self._closed or self._task.done():
            raise StreamClosed("the session was closed")
