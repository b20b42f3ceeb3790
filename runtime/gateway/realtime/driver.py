"""Drives one dialogue: a session's events become what happens in it, with ids; a client's wishes
become what the session is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.families.base import check_takes_tools
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.realtime.buffer import Buffer, fed
from voxturn.runtime.gateway.realtime.events import (
    Cleared,
    Committed,
    Cut,
    Failed,
    Happening,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemTold,
    ItemTruncated,
    NotHeard,
    Released,
    ReplyDone,
    Withheld,
)
from voxturn.runtime.gateway.realtime.items import (
    INCOMPLETE,
    RUNNING,
    Item,
    Items,
    items_of,
    known_again,
    last_of,
    messages_of,
)
from voxturn.runtime.gateway.realtime.manner import Manner, Wish, listening
from voxturn.runtime.gateway.realtime.reply import CANCELLED, FAILED, Reply
from voxturn.runtime.gateway.realtime.speech import Speech
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    Partial,
    Paused,
    PcmChunk,
    ReplyToken,
    Resumed,
    Samples,
    Sentence,
    SessionError,
    SessionEvent,
    SpeechEnded,
    SpeechStarted,
    ToolCall,
    Transcript,
    TurnDone,
)
from voxturn.runtime.text.filtering.rules import ELLIPSIS
from voxturn.runtime.turn.interrupt.never import Never
from voxturn.runtime.turn.listen import RATE
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.stages import Stages
from voxturn.runtime.turn.tools import Tool, Toolbox
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.turn import Conversation, Request

_LOG = logging.getLogger(__name__)
_MOST_BESIDE = 4
_MOST_HEARINGS = 8
"""Messages that are being written down: each keeps its audio."""
_BY_CLIENT = ("cancelled", "asked", "forgotten")
TURN_DETECTED, BY_CLIENT = "turn_detected", "client_cancelled"


class Driver:
    """One dialogue. `tell` is told what happens, at once; before audio it waits for `room`. `ended`
    is awaited before a reply is told to be done.

    Make and use it in one event loop; `run` it, and close it when done.
    """

    def __init__(
        self,
        gateway: Gateway,
        manner: Manner,
        tell: Callable[[Happening], None],
        room: Callable[[], Awaitable[None]],
        ended: Callable[[Reply], Awaitable[None]],
    ) -> None:
        self._gateway = gateway
        self._tell = tell
        self._room = room
        self._ended = ended
        self.manner = manner
        self.items = Items()
        stages = gateway.assistant.stages
        self._listen = stages.listen.using(stages.listen.options)
        self._stages = replace(stages, listen=self._listen)
        setup = gateway.assistant.setup
        self._conversation = Conversation(self._stages, setup, remembers=False)
        options = SessionOptions(on_trace=self._traced, end_of_speech=True)
        self._session = Session(self._conversation, options)
        self.buffer = Buffer()
        self._reply: Reply | None = None
        self._idle = Event()
        self._idle.set()
        self._work_done = ExitStack()
        self._playing: Reply | None = None
        self._error: Exception | None = None
        self._speech = Speech(tell, self.items, self.buffer)
        self._held: list[SessionEvent] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._hearings: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._beside: dict[str, tuple[asyncio.Task[None], Reply]] = {}
        self.change(manner)

    async def run(self) -> None:
        """Tell what happens, until the session ends. Raises the error that it ends with."""
        try:
            async for event in self._session:
                await self._on(event)
        except StreamClosed:
            return

    @property
    def answering(self) -> bool:
        """Whether an answer is made."""
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until no answer is made."""
        await self._idle.wait()

    async def finished(self) -> None:
        """Wait until nothing is made: no answer, none beside, no words of what was committed."""
        await self._idle.wait()
        while making := self._made_beside():
            await asyncio.wait(making)
            await self._idle.wait()

    def _made_beside(self) -> list[asyncio.Task[None]]:
        return [*self._hearings, *(task for task, _ in self._beside.values())]

    async def aclose(self) -> None:
        """End everything that is under way; of an answer the items have what was heard until then."""
        heard_ms = self._session.position_ms
        tasks = [*self._made_beside(), *self._endings]
        if self._starting is not None:
            tasks.append(self._starting)
        try:
            await cancel_all(tasks)
        finally:
            self._work_done.close()
            await self._session.aclose()
            self._end_playing(heard_ms)

    # what a client wants

    def change(self, manner: Manner) -> None:
        """Hold the dialogue in another manner from here on. Raises `UsageError`."""
        toolbox = self._toolbox(manner.tools)
        self._speech.writes, self._speech.live = manner.writes, manner.live
        before, self.manner, taking = self.manner, manner, manner.taking
        if (taking is None) is not (before.taking is None):
            self._forget()
        if taking is not None:
            self._listen.options = taking.endpointing
        interrupts = taking is None or taking.interrupts
        strategy = self._stages.interrupt if interrupts else Never()
        stages = listening(self._answering(manner), manner)
        self._session.change(stages, toolbox, strategy)
        if manner.language or before.language:
            self._conversation.dialogue.language = manner.language
        self._sync()

    def load(self, messages: list[Message], answer: Item | None = None) -> None:
        """Go on with a dialogue that was kept, or with the last of a long one. `answer`: the item
        that its last answer was, if that is known."""
        items = last_of(items_of([m for m in messages if m.role != "system"]))
        for item in known_again(items, answer) if answer is not None else items:
            self.items.add(item)
        self._sync()

    @property
    def last_answer(self) -> Item | None:
        """The item of the last spoken answer."""
        said = [item for item in self.items if item.spoken and item.role == "assistant"]
        return said[-1] if said else None

    async def hear(self, samples: Samples) -> None:
        """The next of what comes in, at 16 kHz. Raises `ApiError` where that is too much."""
        self.buffer.heard(samples, keep=self.manner.taking is None)
        if self.manner.taking is not None:
            await self._session.feed(fed(samples, self._gateway.clock.now()))

    def commit(self) -> None:
        """What came in is the user's message. Raises `ApiError` where that is too little."""
        if self.manner.taking is not None:
            if not self._speech.open:
                raise self.buffer.too_little()
            self._session.answer()
            return
        self.items.check_room()
        self._check_hearings()
        samples = self.buffer.take()
        item = Item(role="user", spoken=True, status=RUNNING)
        before = self.items.add(item)
        self._tell(Committed(item.id, before))
        self._tell(ItemAdded(item, before))
        self._beside_in(self._hearings, self._write_down(item, samples))

    def clear(self) -> None:
        """What came in was not said."""
        self._forget()
        self._tell(Cleared())

    def _forget(self) -> None:
        """What came in and is no item yet was not said."""
        self.buffer.clear()
        self._session.forget()
        if self._speech.open:
            self._speech.forget()

    def add(self, item: Item, after: str | None = None, samples: Samples | None = None) -> None:
        """Add an item; `samples` are what was said in it. Raises `ApiError`."""
        if samples is not None:
            self._check_hearings()
            item.status = RUNNING
        elif item.role == "user" and item.text:
            typed = Transcript(item.text, self._conversation.language)
            passed = self._stages.recogniser.passed(typed)
            item.text = item.text if passed.refusal else passed.text
        self.items.check_room()
        before = self.items.add(item, after)
        self._tell(ItemAdded(item, before))
        if samples is not None:
            self._beside_in(self._hearings, self._write_down(item, samples))
            return
        self._sync()
        self._tell(ItemDone(item, before))

    def _check_hearings(self) -> None:
        """Raise `ApiError` where too much audio waits for its words. Deleting its items frees none."""
        if len(self._hearings) >= _MOST_HEARINGS:
            raise ApiError(
                429,
                f"{_MOST_HEARINGS} messages are being written down; wait for one",
                "too_many_items_in_progress",
            )

    def _beside_in(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        """Do something beside, among such `tasks`; it is ended with the dialogue."""
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def retrieve(self, item_id: str) -> None:
        """Tell an item. Raises `ApiError`."""
        self._tell(ItemTold(self.items.find(item_id, "item_retrieve_invalid_item_id")))

    def delete(self, item_id: str) -> None:
        """Take an item out of the dialogue. Raises `ApiError`."""
        self.items.remove(self.items.find(item_id, "item_delete_invalid_item_id"))
        self._sync()
        self._tell(ItemDeleted(item_id))

    def truncate(self, item_id: str, ms: float) -> None:
        """Of an answer only so much was heard. Raises `ApiError`."""
        item = self.items.find(item_id, "item_truncate_invalid_item_id")
        if item.role != "assistant" or not item.spoken:
            raise ApiError(400, "only spoken answers have audio", "invalid_item", "item_id")
        if ms > item.audio_ms + 1:
            raise ApiError(
                400,
                f"audio_end_ms {ms:g}: the audio has {item.audio_ms:.0f} ms",
                "audio_end_ms_too_large",
                "audio_end_ms",
            )
        self._stop_playing(item, ms)
        item.truncate(ms)
        self._sync()
        self._tell(ItemTruncated(item_id, ms))

    def played(self, reply: Reply, ms: float) -> None:
        """The client has played so much of an answer; nothing happens where it was cut, or another
        one is played."""
        if reply is self._playing:
            self._session.played(ms)

    def respond(self, wish: Wish) -> None:
        """Have an answer made. Raises `ApiError`, `UsageError`."""
        if not self.manner.answers:
            raise ApiError(400, "this session only writes down", "invalid_session_type")
        if wish.beside:
            self._respond_beside(wish)
            return
        if self._reply is not None:
            raise ApiError(
                400,
                f"the answer {self._reply.id} is not done; wait for it, or cancel it",
                "conversation_already_has_active_response",
            )
        manner = self._wished(wish)
        toolbox = self._toolbox(manner.tools)
        reply = self._new_reply(manner, wish)
        reply.request = Request(toolbox=toolbox)
        self._begin(reply)
        self._starting = asyncio.create_task(self._start(reply, manner, toolbox, wish))

    def cancel(self, reply_id: str | None = None) -> None:
        """Cut an answer. Raises `ApiError` where none is made."""
        if reply_id in self._beside:
            self._beside_in(self._endings, self._end_beside(*self._beside[reply_id]))
            return
        reply = self._reply
        if reply is None or reply_id not in (None, reply.id):
            raise ApiError(
                400, "Cancellation failed: no active response found", "response_cancel_not_active"
            )
        starts = self._starting is not None and not self._starting.done()
        if starts and self._starting is not None:
            self._starting.cancel()
        pending = reply.request is not None and self._session.asked is reply.request
        self._session.cancel()
        if starts or pending:
            self._beside_in(self._endings, self._finish(reply, CANCELLED, BY_CLIENT))

    def stop(self) -> None:
        """Cut the answer that is made or played, if there is one: the dialogue keeps what was heard
        of it."""
        if self._reply is not None:
            self.cancel()
        else:
            self._session.cancel()

    # answers

    def _wished(self, wish: Wish) -> Manner:
        """The dialogue's manner with what an answer is wished to have."""
        manner = self.manner
        return replace(
            manner,
            instructions=manner.instructions if wish.instructions is None else wish.instructions,
            tools=manner.tools if wish.tools is None else wish.tools,
            aloud=manner.aloud if wish.aloud is None else wish.aloud,
            voice=wish.voice or manner.voice,
            voice_name=wish.voice_name or manner.voice_name,
            max_tokens=manner.max_tokens if wish.max_tokens is None else wish.max_tokens,
        )

    def _answering(self, manner: Manner) -> Stages:
        stages = self._gateway.voices.stages(manner.voice)
        return replace(
            stages, listen=self._listen, aloud=manner.aloud, max_tokens=manner.max_tokens
        )

    def _toolbox(self, tools: Sequence[Tool]) -> Toolbox:
        if tools:
            check_takes_tools(self._stages.replier)
        return Toolbox(tools, self._stages.tools, handed=True)

    def _new_reply(self, manner: Manner, wish: Wish) -> Reply:
        stages = self._answering(manner)
        return Reply(
            self._tell,
            None if wish.beside else self.items,
            stages.split,
            manner.voice.rate,
            manner.aloud,
            max_tokens=manner.max_tokens,
            metadata=wish.metadata,
            voice=manner.voice_name,
        )

    def _begin(self, reply: Reply) -> None:
        self._reply = self._playing = reply
        note(turn=reply.id)
        self._error = None
        self._idle.clear()
        self._work_done.enter_context(self._gateway.work.running())
        reply.begin()

    def _request(self, manner: Manner, toolbox: Toolbox, wish: Wish) -> Request:
        """What the session, or a turn beside it, is asked."""
        if wish.items is not None:
            messages = messages_of(wish.items)
            if manner.instructions:
                messages.insert(0, Message("system", manner.instructions))
        else:
            messages = self.items.messages(manner.instructions)
        question = ""
        if messages and messages[-1].role == "user":
            question = messages.pop().text
        if not messages and not question:
            raise ApiError(400, "there is nothing to answer", "empty_conversation")
        return Request(messages, question, self._answering(manner), toolbox)

    async def _start(self, reply: Reply, manner: Manner, toolbox: Toolbox, wish: Wish) -> None:
        """Ask the session once all that was committed is written down."""
        try:
            await self._written_down()
            reply.request = self._request(manner, toolbox, wish)
            self._session.respond(reply.request)
        except Exception as exc:  # noqa: BLE001  it is the client's
            await self._finish(reply, FAILED, error=api_error(exc))

    async def _written_down(self) -> None:
        """Wait for the words of what was committed."""
        if self._hearings:
            await asyncio.wait(set(self._hearings))

    def _respond_beside(self, wish: Wish) -> None:
        if len(self._beside) >= _MOST_BESIDE:
            raise ApiError(
                429, f"{_MOST_BESIDE} answers are made beside it already", "too_many_responses"
            )
        manner = self._wished(wish)
        toolbox = self._toolbox(manner.tools)
        reply = self._new_reply(manner, wish)
        reply.begin()
        task = asyncio.create_task(self._make_beside(reply, manner, toolbox, wish))
        self._beside[reply.id] = task, reply
        task.add_done_callback(lambda _: self._beside.pop(reply.id, None))

    async def _end_beside(self, task: asyncio.Task[None], reply: Reply) -> None:
        await cancel_and_wait(task)
        await self._finish(reply, CANCELLED, BY_CLIENT)  # where it had not even begun

    async def _make_beside(
        self, reply: Reply, manner: Manner, toolbox: Toolbox, wish: Wish
    ) -> None:
        trace: Trace | None = None
        with self._gateway.work.running():
            try:
                if wish.items is None:
                    await self._written_down()
                request = self._request(manner, toolbox, wish)
                setup = self._gateway.assistant.setup
                conversation = Conversation(self._stages, setup, remembers=False)
                async with conversation.respond(request) as turn:
                    trace = turn.trace
                    async for event in turn:
                        if isinstance(event, PcmChunk):
                            await self._room()
                        if not isinstance(event, TurnDone):
                            reply.take(event)
                await self._finish(reply, trace=trace)
            except asyncio.CancelledError:
                if reply.running:
                    await self._finish(reply, CANCELLED, BY_CLIENT, trace=trace)
                raise
            except Exception as exc:  # noqa: BLE001  it is the client's
                await self._finish(reply, FAILED, error=api_error(exc), trace=trace)

    async def _finish(
        self,
        reply: Reply,
        status: str = "completed",
        reason: str = "",
        error: ApiError | None = None,
        heard: str | None = None,
        trace: Trace | None = None,
    ) -> None:
        """An answer has ended."""
        if not reply.running:
            return
        reply.end(status, reason, error, heard, trace)
        if trace is not None and "endpoint" in trace.marks:
            told = trace.to_dict()
            reply.trace = {"times_ms": told["times_ms"], "response_ms": told["response_ms"]}
        self._sync()
        try:
            await self._ended(reply)
        except Exception as exc:  # noqa: BLE001  the answer was given all the same
            self._tell(Failed(api_error(exc)))
        if self._reply is reply:
            self._reply = None
            self._idle.set()
        self._tell(ReplyDone(reply))
        if self._reply is None:
            self._work_done.close()

    def _end_playing(self, heard_ms: float) -> None:
        """An answer that is still made ends where the client has left it: so much of it was heard.
        One that was told to be done is kept whole, unless its client comes back and says less."""
        for item in self._playing.output if self._playing is not None else ():
            if item.status == RUNNING:
                if item.spoken and heard_ms < item.audio_ms:
                    item.retext(item.text_until(heard_ms))
                item.status = INCOMPLETE

    def _stop_playing(self, item: Item, ms: float) -> None:
        """The client does not play an answer any more: its item, up to `ms`."""
        if self._playing is None or item not in self._playing.output:
            return
        self._session.played(ms)
        self._session.cancel()

    # what the session tells

    async def _on(self, event: SessionEvent) -> None:
        if self._held is not None:
            if isinstance(event, Resumed):
                held, self._held = self._held, None
                self._tell(Released())
                for each in held:
                    await self._on(each)
                return
            if isinstance(event, SessionError):
                self._failed(event.error)
                return
            if isinstance(event, Interrupted):
                self._held = None
            else:
                self._held.append(event)
                return
        match event:
            case SpeechStarted() | Partial() | SpeechEnded() if self.manner.taking is None:
                pass  # of what came before the client took its turns by itself
            case SpeechStarted():
                self._speech.began(event.at)
            case Partial():
                self._speech.wrote(event.stable)
            case SpeechEnded():
                self._speech.stopped(event.at)
            case Transcript():
                if self._session.request is None:
                    self._heard(event)
            case Paused():
                self._held = []
                self._tell(Withheld())
            case ReplyToken() | ToolCall() | Sentence():
                if (reply := self._current()) is not None:
                    reply.take(event)
            case PcmChunk():
                if (reply := self._current()) is not None:
                    await self._room()
                    reply.take(event)
            case SessionError():
                self._failed(event.error)
            case Interrupted():
                await self._interrupted(event)
            case TurnDone():
                await self._turn_done()

    def _current(self) -> Reply | None:
        """The running answer, if the last event is of its turn."""
        reply = self._reply
        of_it = reply is not None and reply.request is self._session.request
        return reply if of_it else None

    def _heard(self, transcript: Transcript) -> None:
        """What was said is known: it becomes an item, and is answered."""
        text = ELLIPSIS if transcript.refusal else transcript.text
        item, seconds = self._speech.commit()
        item.text = text
        self._speech.tell(item, seconds)
        self._tell(ItemDone(item, self.items.before(item)))
        self._sync()
        taking = self.manner.taking
        answers = self.manner.answers and taking is not None and taking.answers
        if text and answers and self._reply is None:
            reply = self._new_reply(self.manner, Wish())
            reply.heard_s = seconds
            self._begin(reply)

    async def _write_down(self, item: Item, samples: Samples) -> None:
        """The words of what was committed."""
        with self._gateway.work.running():
            try:
                language = self._conversation.language
                transcript = await self._stages.recogniser.transcribe(samples, language)
                item.text = ELLIPSIS if transcript.refusal else transcript.text
                item.status = "completed"
                if transcript.text:
                    self._conversation.dialogue.language = transcript.language
                self._speech.tell(item, samples.size / RATE)
            except Exception as exc:  # noqa: BLE001  it is the client's
                item.status = "incomplete"
                self._tell(NotHeard(item.id, api_error(exc)))
            self._tell(ItemDone(item, self.items.before(item)))
            self._sync()

    def _failed(self, error: Exception) -> None:
        """Something failed in a turn; `TurnDone` follows where that has ended it."""
        trace = self._session.trace
        if trace is None or trace.outcome != "error":
            _LOG.warning("speech over an answer is not heard: %s", type(error).__name__)
            return
        if self._current() is not None:
            self._error = error
        elif self._speech.going:
            item, _ = self._speech.commit()
            self._tell(NotHeard(item.id, api_error(error)))
            self._tell(ItemDone(item, self.items.before(item)))

    async def _interrupted(self, event: Interrupted) -> None:
        self._tell(Cut())
        by_speech = event.reason not in (*_BY_CLIENT, "error")
        if by_speech:
            self._speech.interrupts()
        trace = self._session.trace
        if (reply := self._current()) is not None:
            if self._error is not None:
                await self._end_failed(reply, event.heard)
                return
            reason = TURN_DETECTED if by_speech else BY_CLIENT
            await self._finish(reply, CANCELLED, reason, heard=event.heard, trace=trace)
        elif self._playing is not None and self._playing.request is self._session.request:
            for item in self._playing.output:
                if item.spoken:
                    item.retext(event.heard)
            self._sync()
        self._playing = None

    async def _turn_done(self) -> None:
        if (reply := self._current()) is None:
            return
        if self._error is not None:
            await self._end_failed(reply, "")
            return
        await self._finish(reply, trace=self._session.trace)

    async def _end_failed(self, reply: Reply, heard: str) -> None:
        error, self._error = self._error, None
        told = api_error(error) if error is not None else None
        await self._finish(reply, FAILED, error=told, heard=heard, trace=self._session.trace)

    def _traced(self, trace: Trace) -> None:
        self.items.forget(trace.dropped_messages)
        self._gateway.metrics.turn(trace)

    def _sync(self) -> None:
        """Let the session know the dialogue."""
        # in place: the session would take a dialogue that is set for another one, and forget the turn
        self._conversation.messages[:] = self.items.messages(self.manner.instructions)
