"""Sessions that a server drives: the real client on the real handler, on stages without models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.client import SyncSession, SyncVoiceClient, VoiceClient, voice
from voxturn.runtime.client.session import RemoteSession
from voxturn.runtime.errors import (
    DeadlineExceeded,
    EmptyText,
    ForgottenSession,
    InvalidSamples,
    ServerDied,
    ServerUnavailable,
    StreamClosed,
    TextTooLong,
    TooManyStreams,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import (
    AudioFrame,
    Interrupted,
    Message,
    PcmChunk,
    SessionEvent,
    Transcript,
    TurnDone,
)
from voxturn.runtime.profile import load_profile
from voxturn.runtime.remote import transport
from voxturn.runtime.remote.sessions import DialogueChange, of_change, to_command
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving import backend
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.handlers import TurnHandler
from voxturn.runtime.turn.interrupt.words import AfterWords
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.tools import Tool
from voxturn.runtime.turn.trace import Trace

from tests.conftest import tone
from tests.triton_fakes import Utilities
from tests.triton_wire import Wire, WiredServer

QUESTION, ANSWER = "What is the capital of France?", "Paris is the capital. It lies on the Seine."


@pytest.fixture
def clock() -> ManualClock:
    """The server's."""
    return ManualClock()


@pytest.fixture
def handler(tmp_path: Path, clock: ManualClock) -> TurnHandler:
    return TurnHandler(load_profile(write_profile(tmp_path, QUESTION, ANSWER)), clock)


@pytest.fixture
def wire(handler: TurnHandler) -> Iterator[Wire]:
    served = Backend(Utilities, "voice_turn", handler)
    served._begin_s -= 60.0  # it has been there for a while
    yield Wire(served)
    served.close()


async def until(so: Callable[[], object]) -> None:
    """Wait until something is so, in whatever thread it becomes so."""
    for _ in range(5000):
        if so():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never was so")


class Held:
    """A session and what has come of it."""

    def __init__(self, session: RemoteSession) -> None:
        self.session = session
        self.events: list[SessionEvent] = []
        self.error: Exception | None = None
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for event in self.session:
                self.events.append(event)
        except VoxturnError as exc:
            self.error = exc

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    async def until(self, so: Callable[[], object]) -> None:
        """Wait until something is so."""
        await until(lambda: so() or self.error is not None)

    async def ended(self) -> Exception | None:
        await asyncio.wait_for(self._reader, 10)
        return self.error


@asynccontextmanager
async def held(
    wire: Wire, options: SessionOptions | None = None, name: str = "someone", **connection: Any
) -> AsyncGenerator[Held, None]:
    server = WiredServer(wire, name, **connection)

    @asynccontextmanager
    async def connect() -> AsyncGenerator[TritonServer, None]:
        yield server

    session = RemoteSession(connect, options or SessionOptions())
    try:
        await session.opened()
        holding = Held(session)
        yield holding
        await session.aclose()
        await holding.ended()
    finally:
        await session.aclose()
        await server.aclose()


def said(session: RemoteSession) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in session.messages if m.role != "system"]


async def test_a_spoken_question_is_answered_and_interrupted_by_the_next_one(
    wire: Wire, clock: ManualClock, handler: TurnHandler
) -> None:
    async with held(wire) as one:
        session = one.session
        assert session.rate == 24_000
        session.push(tone(1.0, 2.0))
        await one.until(lambda: one.of(TurnDone))
        assert one.of(Transcript)[0].text == QUESTION
        assert one.of(TurnDone) == [TurnDone(ANSWER)]
        assert said(session) == [("user", QUESTION), ("assistant", ANSWER)]
        assert session.messages[-1].ids
        clock.advance(1.2)  # the first sentence was heard
        session.push(tone(1.0, 2.0))
        await one.until(lambda: len(one.of(TurnDone)) == 2)
        assert one.of(Interrupted) == [Interrupted("Paris is the capital.", "3 words")]
        assert said(session)[:3] == [
            ("user", QUESTION),
            ("assistant", "Paris is the capital."),
            ("user", QUESTION),
        ]
        assert sum(chunk.samples.size for chunk in one.of(PcmChunk)) > 24_000
    assert len(handler._sessions._places._entries) == 0
    assert not wire.calls


async def test_typed_questions_an_answer_at_once_and_a_cut(wire: Wire, clock: ManualClock) -> None:
    async with held(wire) as one:
        session = one.session
        with pytest.raises(EmptyText):
            session.ask("  ")
        with pytest.raises(TextTooLong):
            session.ask("x" * 10_001)
        session.cancel()  # nothing is answered
        session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        session.played(530.0)  # half of the first sentence
        session.cancel()
        await one.until(lambda: one.of(Interrupted))
        assert one.of(Interrupted) == [Interrupted("Paris is", "cancelled")]
        assert said(session) == [("user", "Why?"), ("assistant", "Paris is")]
        session.played(1100.0)  # more had sounded when the loudspeaker stopped
        await one.until(lambda: said(session)[-1] == ("assistant", "Paris is the capital."))
        session.push(tone(0.5))
        session.answer()
        await one.until(lambda: len(one.of(TurnDone)) == 2)
        assert one.of(Transcript)[-1].text == QUESTION
        for wrong in (np.zeros((2, 2), np.float32), np.zeros(4, np.int16)):
            with pytest.raises(UsageError):
                session.push(wrong)
        with pytest.raises(InvalidSamples):
            session.push(np.full(4, np.nan, np.float32))
        with pytest.raises(UsageError):
            session.played(float("nan"))
    assert one.error is None


async def test_the_dialogue_is_set_saved_and_loaded(wire: Wire, tmp_path: Path) -> None:
    before = [Message("user", "Hello?"), Message("assistant", "Hello.", (1, 2))]
    async with held(wire) as one:
        session = one.session
        session.messages = before
        assert session.messages == before
        session.messages.append(Message("user", "changes nothing"))
        session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        assert [m.text for m in session.messages] == ["Hello?", "Hello.", "Why?", ANSWER]
        session.save(tmp_path / "dialogue.json")
        with pytest.raises(TextTooLong):
            session.messages = [Message("user", "x" * 10_001)]
    async with held(wire) as other:
        other.session.load(tmp_path / "dialogue.json")
        other.session.messages = [*other.session.messages, Message("user", "And then?")]
        other.session.answer()
        await other.until(lambda: TurnDone(ANSWER) in other.events)
        assert [m.text for m in other.session.messages][-2:] == ["And then?", ANSWER]


async def test_a_pinned_fact_is_in_the_dialogue_and_stays(wire: Wire) -> None:
    async with held(wire) as one:
        session = one.session
        session.pin("The user's name is Ana.")
        pinned = session.messages[0]
        assert pinned.role == "system"
        assert pinned.text.endswith("The user's name is Ana.")
        session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        assert session._ours is None
        assert [m.text for m in session.messages] == [pinned.text, "Why?", ANSWER]
        with pytest.raises(EmptyText):
            session.pin(" ")
        with pytest.raises(TextTooLong, match="the system prompt and its facts"):
            session.pin("x" * 10_000)
    with pytest.raises(StreamClosed):
        session.pin("The user's name is Eve.")


async def test_the_dialogue_after_the_end_has_what_was_heard(wire: Wire) -> None:
    async with held(wire) as one:
        one.session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        one.session.played(530.0)
    assert said(one.session) == [("user", "Why?"), ("assistant", "Paris is")]
    for use in (
        lambda: one.session.push(tone(0.1)),
        lambda: one.session.ask("Why?"),
        one.session.answer,
        one.session.cancel,
        lambda: one.session.played(1.0),
    ):
        with pytest.raises(StreamClosed):
            use()
    assert [event async for event in one.session] == []


async def test_two_sessions_at_once_do_not_hear_each_other(wire: Wire) -> None:
    async with held(wire, name="a") as one, held(wire, name="b") as two:
        one.session.ask("Why?")
        two.session.ask("How?")
        for each in (one, two):
            await each.until(lambda each=each: each.of(TurnDone))
        assert said(one.session) == [("user", "Why?"), ("assistant", ANSWER)]
        assert said(two.session) == [("user", "How?"), ("assistant", ANSWER)]


async def test_a_strategy_of_ones_own_choice(wire: Wire, clock: ManualClock) -> None:
    class Own(AfterWords):
        pass

    with pytest.raises(UsageError, match="a server knows speech, after_ms, words, never, not Own"):
        async with held(wire, SessionOptions(interrupt=Own())):
            pass
    with pytest.raises(UsageError, match="on_trace"):
        async with held(wire, SessionOptions(on_trace=print)):
            pass
    with pytest.raises(UsageError, match="tools: a session that a server drives has none"):
        async with held(wire, SessionOptions(tools=[Tool("a", "", {})])):
            pass
    async with held(wire, SessionOptions(interrupt=AfterWords(words=4))) as one:
        assert not one.session.tool_result("a", "b")
        one.session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        one.session.push(tone(1.0, 2.0))  # three words that are not the answer's
        one.session.push(tone(0.01))
        await one.until(lambda: not one.session._inbox.unread)
        assert one.of(Interrupted) == []


async def test_what_the_server_does_not_take_is_dropped_here_and_counted(wire: Wire) -> None:
    async with held(wire, SessionOptions(ahead_s=2.0)) as one:
        assert one.session.dropped_s == 0.0
        one.session.push(np.zeros(16000 * 5, np.float32))
        assert one.session.dropped_s == pytest.approx(3.0)


async def test_what_is_fed_waits_and_none_of_it_is_lost(wire: Wire) -> None:
    closed = False

    async def frames() -> AsyncIterator[AudioFrame]:
        nonlocal closed
        try:
            sound = tone(1.0, 14.0)
            for begin in range(0, sound.size, 8000):
                yield AudioFrame(sound[begin : begin + 8000], 16000, begin, 0.0)
        finally:
            closed = True

    async with held(wire, SessionOptions(ahead_s=0.5)) as one:
        await one.session.feed(frames())
        await one.until(lambda: one.of(TurnDone))
        assert (one.session.dropped_s, closed) == (0.0, True)
        await one.until(lambda: not one.session._inbox.unread)
    pieces = [asked["audio"] for asked in wire.asked if "audio" in asked]
    assert sum(piece.size for piece in pieces) == 15 * 16000
    assert [int(a["number"][0]) for a in wire.asked if "audio" in a] == [*range(1, len(pieces) + 1)]


async def test_a_session_whose_server_dies_ends_for_its_reader_and_nobody_waits(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_LEAVE_S", 0.01)
    async with held(wire, patience_s=0.02, canary_s=0.02) as one:
        one.session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        wire.die()
        feeding = asyncio.create_task(one.session.feed(endless()))
        assert isinstance(await one.ended(), ServerDied)
        with pytest.raises(StreamClosed):
            await asyncio.wait_for(feeding, 5)
        with pytest.raises(StreamClosed):
            one.session.ask("Why?")
        assert said(one.session) == [("user", "Why?"), ("assistant", ANSWER)]


async def endless() -> AsyncIterator[AudioFrame]:
    while True:
        yield AudioFrame(np.zeros(320, np.float32), 16000, 0, 0.0)


async def test_a_session_that_nobody_uses_ends_in_one_line(wire: Wire, clock: ManualClock) -> None:
    async with held(wire) as one:
        for _ in range(3):
            clock.advance(500.0)
            one.session.played(0.0)
            await one.until(lambda: len(wire.asked) > 1)
            await asyncio.sleep(0.05)
        assert one.error is None
        clock.advance(601.0)
        error = await one.ended()
        assert isinstance(error, DeadlineExceeded)
        assert "nothing came and nothing went for 600 s" in str(error)
        with pytest.raises(StreamClosed):
            one.session.push(tone(0.1))


async def test_a_client_that_is_gone_leaves_nothing(wire: Wire, handler: TurnHandler) -> None:
    async with held(wire) as one:
        one.session.push(tone(1.0, 1.0))
        await one.until(lambda: one.events)
        for call in list(wire.calls):
            call.cancel()
        await one.ended()
        await one.until(lambda: not handler._sessions._places._entries)


async def test_it_can_be_closed_while_nobody_reads(wire: Wire, handler: TurnHandler) -> None:
    server = WiredServer(wire)

    @asynccontextmanager
    async def connect() -> AsyncGenerator[TritonServer, None]:
        yield server

    session = RemoteSession(connect, SessionOptions())
    await session.opened()
    session.ask("Why?")
    await until(lambda: session._events.unread == 4)
    session.cancel()
    await asyncio.wait_for(session.aclose(), 5)
    assert not handler._sessions._places._entries
    await server.aclose()


async def test_a_session_is_no_request_that_takes_too_long(wire: Wire) -> None:
    ours = ManualClock()
    async with held(wire, clock=ours, deadline_s=0.5) as one:
        await until(lambda: ours.waiting)
        ours.advance(1.0)
        one.session.ask("Why?")
        await one.until(lambda: one.of(TurnDone))
        assert one.error is None


async def test_what_is_told_to_sessions_is_no_stream_of_a_client(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "MOST_STREAMS", 2)
    async with held(wire) as one, held(wire) as two:
        for each in (one, two):
            each.session.ask("Why?")
            await each.until(lambda each=each: each.of(TurnDone))
        with pytest.raises(TooManyStreams, match="2 streams at once"):
            async with held(wire):
                pass


async def test_one_client_has_a_limit_of_sessions(wire: Wire, handler: TurnHandler) -> None:
    handler._sessions._places._places = 2
    async with held(wire):
        with pytest.raises(TooManyStreams, match="a client may have 1 sessions at once"):
            async with held(wire):
                pass
        async with held(wire, name="other"):
            pass
    async with held(wire):
        pass


@pytest.fixture
def wired(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Every client's connections are over the wire, each to an address of its own."""

    def connect(address: str, **options: Any) -> TritonServer:
        server = WiredServer(wire, **options)
        server.address = address
        return server

    monkeypatch.setattr(voice, "TritonServer", connect)
    return wire


async def test_a_client_s_session_at_its_server(wired: Wire, handler: TurnHandler) -> None:
    async with VoiceClient("there:1", deadline_s=0.2) as client:
        async with client.session() as session:
            session.ask("Why?")
            async for event in session:
                if isinstance(event, TurnDone):
                    break
            assert event == TurnDone(ANSWER)
        other = await client.session(SessionOptions(interrupt=AfterWords(2)))
        with pytest.raises(UsageError, match="on_trace"):
            await client.session(SessionOptions(on_trace=print))
    with pytest.raises(StreamClosed):  # it was closed with the client
        other.ask("Why?")
    assert not handler._sessions._places._entries
    assert not wired.calls


def test_a_client_s_session_without_an_event_loop(wired: Wire) -> None:
    with SyncVoiceClient("there:1") as client:
        with client.session() as session:
            assert isinstance(session, SyncSession)
            session.push(tone(1.0, 2.0))
            events = list(takewhile(lambda event: not isinstance(event, TurnDone), session))
            assert Transcript(QUESTION, "en") in events
            session.messages = [Message("user", "Hello?")]
            assert session.messages == [Message("user", "Hello?")]
        with pytest.raises(StreamClosed):
            session.push(tone(0.1))
        with client.session() as session:
            session.ask("Why?")
            assert next(iter(session)).__class__ is Transcript


async def test_a_session_is_opened_at_the_next_server_where_one_does_not_answer(
    wired: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = voice.TritonServer

    def some(address: str, **options: Any) -> TritonServer:
        server = connect(address, **options)
        if address.startswith("dead"):
            monkeypatch.setattr(server, "stream", partial(_refusing, address))
        return server

    monkeypatch.setattr(voice, "TritonServer", some)
    async with VoiceClient("dead:1,there:1") as client, client.session() as session:
        session.ask("Why?")
        assert isinstance(await anext(aiter(session)), Transcript)
    async with VoiceClient("dead:1,dead:2") as client:
        with pytest.raises(ServerUnavailable, match="dead:2"):
            await client.session()


async def _refusing(address: str, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
    raise ServerUnavailable(f"{address}: no server answers there")
    yield


async def test_a_client_with_a_profile_drives_the_session_here(wired: Wire, tmp_path: Path) -> None:
    profile = load_profile(write_profile(tmp_path / "here", "How?", "So it is."))
    traces: list[Trace] = []
    async with VoiceClient("there:1", profile=profile) as client:
        options = SessionOptions(on_trace=traces.append)
        async with client.session(options) as session, client.session() as other:
            session.push(tone(1.0, 2.0))
            async for event in session:
                if isinstance(event, TurnDone):
                    break
            assert event == TurnDone("So it is.")
            assert [m.text for m in other.messages if m.role == "user"] == []
        with pytest.raises(StreamClosed):
            session.ask("Why?")
    assert [trace.transcript for trace in traces] == ["How?"]
    assert wired.asked == []


class Slow:
    """In place of a connection: opens a session, and answers what is told when it is let."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.answers = asyncio.Event()
        self.ends: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.forgets = False

    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        yield of_change(DialogueChange(0, (), 0), rate=8000)
        await self.ends

    @asynccontextmanager
    async def line(self, model: str) -> AsyncGenerator[Slow, None]:
        yield self

    async def ask(self, inputs: Any) -> None:
        self.told.append("audio" if "audio" in inputs else type(to_command(inputs)).__name__)
        if self.forgets:
            raise ForgottenSession("it is not open")
        await self.answers.wait()


@asynccontextmanager
async def at(server: Slow) -> AsyncGenerator[RemoteSession, None]:
    @asynccontextmanager
    async def connect() -> AsyncGenerator[Any, None]:
        yield server

    session = RemoteSession(connect, SessionOptions())
    await session.opened()
    try:
        yield session
    finally:
        if not server.ends.done():
            server.ends.set_result(None)
        await session.aclose()


async def test_an_answer_is_asked_for_after_what_was_told_before() -> None:
    server = Slow()
    async with at(server) as session:
        session.messages = [Message("user", "Why?")]
        session.answer()
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.told == ["SetMessages"]
        server.answers.set()
        await until(lambda: server.told == ["SetMessages", "AnswerNow"])


async def test_what_the_dialogue_was_before_it_was_set_is_passed_over() -> None:
    async with at(Slow()) as session:
        session.messages = [Message("user", "Why?")]
        session._change(of_change(DialogueChange(0, (Message("user", "Old."),), 0)))
        assert session.messages == [Message("user", "Why?")]
        session._change(of_change(DialogueChange(1, (Message("user", "New."),), 1)))
        assert [m.text for m in session.messages] == ["Old.", "New."]


async def test_why_a_session_ended_is_what_its_events_say() -> None:
    server = Slow()
    async with at(server) as session:
        server.forgets = True
        session.cancel()
        await until(lambda: server.told)
        for _ in range(20):
            await asyncio.sleep(0)
        server.ends.set_exception(DeadlineExceeded("too long"))
        with pytest.raises(DeadlineExceeded):
            await anext(aiter(session))
