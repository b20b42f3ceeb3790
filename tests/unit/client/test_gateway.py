"""The client against a real gateway on fakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.client import gateway_wire as ours
from voxturn.runtime.client.gateway import GatewayClient
from voxturn.runtime.commands.talk import _session
from voxturn.runtime.errors import (
    AudioError,
    DeadlineExceeded,
    EmptyText,
    ForgottenSession,
    ServerDied,
    ServerUnavailable,
    StreamClosed,
    TooManyStreams,
    UnknownVoice,
    UsageError,
)
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.app import OPERATIONS
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.voice import messages as theirs
from voxturn.runtime.messages import (
    AudioFrame,
    Interrupted,
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    Sentence,
    SpeechStarted,
    ToolCall,
    ToolSpec,
    Transcript,
    TurnDone,
)
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.tools import Tool

from tests.unit.gateway.conftest import gateway as gateway
from tests.unit.gateway.conftest import port as port
from tests.unit.gateway.scripted_voice import ScriptedVoice, speak_with

QUESTION, ANSWER = "What is the capital of France?", "Paris is the capital. It lies on the Seine."
CALL = '<tool_call>\n{"name": "lamp", "arguments": {"on": true}}\n</tool_call>'
SPEECH = np.tile(np.array([0.3, -0.3], np.float32), 8000)


@pytest.fixture
async def client(port: int) -> AsyncIterator[VoiceClient]:
    async with VoiceClient(f"ws://127.0.0.1:{port}") as made:
        yield made


class Cable:
    """A way to the gateway that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.whole = True
        self.connections = 0
        self.breaks_after: list[int] = []
        """Bytes from the gateway after which each connection breaks, the first one's last."""

    @asynccontextmanager
    async def laid(self) -> AsyncGenerator[int, None]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.cut()
            for task in list(self._tasks):
                await cancel_and_wait(task)
            await server.wait_closed()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if not self.whole:
            writer.transport.abort()
            return
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(back)
        most = self.breaks_after.pop() if self.breaks_after else 1 << 30
        for copying in (_copied(reader, back), _copied(there, writer, most)):
            task = asyncio.create_task(copying)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _copied(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int = 1 << 30
) -> None:
    try:
        while most > 0 and (data := await source.read(4096)):
            most -= len(data)
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.transport.abort()


async def answered(session: Any) -> list[Any]:
    events = []
    async with asyncio.timeout(10):
        async for event in session:
            events.append(event)
            if isinstance(event, TurnDone):
                return events
    raise AssertionError("the session ended")


def sound(events: list[Any]) -> Samples:
    return np.concatenate([each.samples for each in events if isinstance(each, PcmChunk)])


def test_both_speak_the_same_wire() -> None:
    assert ours.VERSION == theirs.VERSION
    header = theirs.AudioHeader(7, 2, 1, 240, 2, final=True)
    reading = ours.Reading(24_000)
    seq, chunk = reading.audio(header.pack() + np.array([0, 32767], "<i2").tobytes())
    assert (seq, chunk.start, chunk.final, chunk.sentence.index) == (7, 240, True, 1)
    assert chunk.samples.tolist() == [0.0, 32767 / 32768]


async def test_a_session_has_the_events_of_one_here(client: VoiceClient, gateway: Gateway) -> None:
    async with client.session() as session:
        assert session.rate == 24_000
        session.push(SPEECH)
        session.push(np.zeros(48_000, np.float32))
        there = await answered(session)
    async with gateway.assistant.session() as session:
        session.push(SPEECH)
        session.push(np.zeros(48_000, np.float32))
        here = await answered(session)

    def shape(events: list[Any]) -> list[Any]:
        wanted = (SpeechStarted, Transcript, ReplyToken, Sentence, TurnDone)
        kept = [each for each in events if isinstance(each, wanted)]
        return sorted(map(repr, kept))

    def without_ids(events: list[Any]) -> list[Any]:
        return [ReplyToken(e.text) if isinstance(e, ReplyToken) else e for e in events]

    assert shape(there) == shape(without_ids(here))
    np.testing.assert_allclose(sound(there), sound(here), atol=1e-4)


async def test_a_typed_question_is_answered_and_cut(client: VoiceClient) -> None:
    async with client.session() as session:
        session.ask("Where is Paris?")
        await answered(session)
        session.played(1050)
        session.cancel()
        async with asyncio.timeout(10):
            async for event in session:
                if isinstance(event, Interrupted):
                    assert event.heard == "Paris is the capital."
                    break
        session.ask("And now?")
        assert (await answered(session))[-1] == TurnDone(ANSWER)


async def test_a_turn_on_an_utterance_goes_on_with_the_dialogue(
    client: VoiceClient, gateway: Gateway
) -> None:
    for number in (1, 2):
        async with asyncio.timeout(10):
            events = [event async for event in client.turn(SPEECH)]
        assert events[-1] == TurnDone(ANSWER)
        assert sound(events).size == 50_400
        kept = await gateway.conversations.load("", client.conversation)
        assert kept is not None
        said = [each for each in kept if each.role != "system"]
        assert [(each.role, each.text) for each in said] == number * [
            ("user", QUESTION),
            ("assistant", ANSWER),
        ]


async def test_a_turn_on_silence_ends(client: VoiceClient) -> None:
    async with asyncio.timeout(10):
        events = [event async for event in client.turn(np.zeros(16_000, np.float32))]
    assert events[-1] == TurnDone("")


async def test_a_turn_is_interrupted(client: VoiceClient, gateway: Gateway) -> None:
    turn = client.turn(SPEECH)
    assert isinstance(await anext(turn), SpeechStarted)
    await client.interrupt()
    assert [event async for event in turn] == []
    assert len(gateway.sessions) == 0


async def test_it_hears_what_is_said_so_far(client: VoiceClient) -> None:
    async def pieces() -> AsyncGenerator[Samples, None]:
        for begin in range(0, SPEECH.size, 4000):
            yield SPEECH[begin : begin + 4000]

    async with asyncio.timeout(10):
        heard = [each async for each in client.hear(pieces())]
    assert isinstance(heard[-1], Transcript)
    assert heard[-1].text == QUESTION
    assert all(isinstance(each, Partial) for each in heard[:-1])


async def test_it_says_a_text(client: VoiceClient) -> None:
    async with asyncio.timeout(10), aclosing(client.say("Hello there.")) as chunks:
        said = [chunk async for chunk in chunks]
    assert said[0].rate == 24_000
    assert sum(chunk.samples.size for chunk in said) == 12 * 1200
    with pytest.raises(UnknownVoice):
        await anext(client.say("Hello.", voice="Nobody"))


def needs(path: str) -> pytest.MarkDecorator:
    there = path in {each.path for each in OPERATIONS}
    return pytest.mark.skipif(not there, reason=f"this gateway has no {path}")


@needs("/v1/audio/transcriptions")
async def test_it_writes_down_what_was_said(client: VoiceClient) -> None:
    assert await client.transcribe(SPEECH) == Transcript(QUESTION, "en")
    with pytest.raises(AudioError):
        await client.transcribe(np.zeros(0, np.float32))


@needs("/v1/chat/completions")
async def test_it_answers_a_dialogue(client: VoiceClient) -> None:
    async with asyncio.timeout(10):
        told = [each async for each in client.reply(("user", QUESTION))]
    assert "".join(each.text for each in told if isinstance(each, ReplyToken)) == ANSWER


@needs("/v1/chat/completions")
async def test_it_gives_the_calls_of_an_answer(client: VoiceClient, gateway: Gateway) -> None:
    replier: Any = gateway.assistant.stages.replier
    replier.answer, replier.further = CALL, (ANSWER,)
    lamp = ToolSpec("lamp", "A lamp", {"type": "object", "properties": {}})
    question = Message("user", "Light, please.")
    async with asyncio.timeout(10):
        told = [each async for each in client.reply(question, tools=[lamp])]
        (call,) = [each for each in told if isinstance(each, ToolCall)]
        assert (call.name, call.arguments) == ("lamp", {"on": True})
        dialogue = [
            question,
            Message("assistant", "", calls=(call,)),
            Message("tool", "It is on.", call_id=call.id),
        ]
        told = [each async for each in client.reply(*dialogue, tools=[lamp])]
    assert "".join(each.text for each in told if isinstance(each, ReplyToken)) == ANSWER
    assert [each.text for each in replier.dialogues[-1] if each.role == "tool"] == ["It is on."]


async def test_it_says_a_text_by_a_seed_and_by_no_recording(
    client: VoiceClient, gateway: Gateway
) -> None:
    voice = ScriptedVoice()
    speak_with(gateway, voice)
    async with asyncio.timeout(10), aclosing(client.say("Hello.", seed=7)) as chunks:
        assert [chunk async for chunk in chunks]
    assert [options.seed for options in voice.chosen] == [7]
    with pytest.raises(UsageError, match="reference"):
        await anext(client.say("Hello.", reference=SPEECH))


class Silent:
    """A server that answers with a head and `begin`, then says nothing. `left` is set once its
    client has ended the connection."""

    def __init__(self, begin: bytes = b"") -> None:
        self.begin = begin
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self.resets = False

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str, None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + self.begin)
        await writer.drain()
        self.asked.set()
        if self.resets:
            writer.transport.abort()
        with suppress(ConnectionError):
            await reader.read()
        self.left.set()
        writer.close()


async def consumed(answer: AsyncIterator[Any], begun: asyncio.Event | None = None) -> None:
    async for _ in answer:
        if begun is not None:
            begun.set()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


DELTA = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n'


@pytest.mark.parametrize(
    ("work", "begin"), [("say", bytes(4)), ("reply", DELTA), ("transcribe", b"")]
)
async def test_closing_it_ends_what_is_asked_by_http(work: str, begin: bytes) -> None:
    server, begun = Silent(chunk(begin) if begin else b""), asyncio.Event()
    async with asyncio.timeout(10), server.served() as address:
        client = VoiceClient(address)
        match work:
            case "say":
                task = asyncio.create_task(consumed(client.say("Hello."), begun))
            case "reply":
                task = asyncio.create_task(consumed(client.reply(("user", "Hello.")), begun))
            case _:
                begun.set()
                task = asyncio.create_task(discarded(client.transcribe(SPEECH)))
        await server.asked.wait()
        await begun.wait()
        await client.aclose()
        await server.left.wait()
        with pytest.raises(StreamClosed):
            await task


async def discarded(work: Awaitable[Any]) -> None:
    await work


async def test_abandoned_work_ends_in_the_gateway_and_frees_its_thread() -> None:
    server = Silent()
    async with asyncio.timeout(10), server.served() as address, VoiceClient(address) as client:
        before = set(threading.enumerate())
        with ThreadPoolExecutor(1) as threads:
            asyncio.get_running_loop().set_default_executor(threads)
            task = asyncio.create_task(consumed(client.say("Hello.")))
            await server.asked.wait()
            await cancel_and_wait(task)
            await server.left.wait()
            assert await asyncio.to_thread(lambda: "free") == "free"
        assert set(threading.enumerate()) <= before


async def test_what_breaks_in_the_middle_is_told_as_it_is() -> None:
    server = Silent(chunk(bytes(4)))
    async with asyncio.timeout(10), server.served() as address:
        async with VoiceClient(address, deadline_s=0.05) as client:
            with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
                await consumed(client.say("Hello."))
        server.resets = True
        async with VoiceClient(address) as client:
            with pytest.raises(ServerDied):
                await consumed(client.say("Hello."))


async def test_a_fact_is_told_to_the_model(client: VoiceClient, gateway: Gateway) -> None:
    replier: Any = gateway.assistant.stages.replier
    async with client.session() as session:
        with pytest.raises(EmptyText):
            session.pin(" ")
        session.pin("The user's name is Ana.")
        session.ask("Who am I?")
        await answered(session)
    assert "Ana" in replier.dialogues[-1][0].text


async def test_a_session_goes_on_wherever_its_connection_breaks(port: int) -> None:
    cable = Cable(port)
    cable.breaks_after = [30_000, 1000, 20_000]
    async with (
        cable.laid() as way,
        VoiceClient(f"ws://127.0.0.1:{way}") as client,
        client.session() as session,
    ):
        session.ask("Where is Paris?")
        events = await answered(session)
        assert cable.connections == 4
        assert events[-1] == TurnDone(ANSWER)
        assert sound(events).size == 50_400
        starts = [each.start for each in events if isinstance(each, PcmChunk)]
        assert starts == sorted(set(starts))


async def test_what_is_said_while_it_is_broken_arrives(port: int) -> None:
    cable = Cable(port)
    async with (
        cable.laid() as way,
        VoiceClient(f"ws://127.0.0.1:{way}") as client,
        client.session() as session,
    ):
        cable.cut()
        session.push(SPEECH)
        cable.cut()
        session.answer()
        assert Transcript(QUESTION, "en") in await answered(session)


async def test_a_gateway_that_does_not_come_back_has_died(gateway: Gateway) -> None:
    object.__setattr__(gateway.settings, "grace_s", 0.3)
    async with serving(gateway, Address(port=0)) as port:
        cable = Cable(port)
        async with cable.laid() as way, VoiceClient(f"ws://127.0.0.1:{way}") as client:
            session = await client.session()
            cable.whole = False
            cable.cut()
            with pytest.raises((ServerDied, ForgottenSession)):
                await answered(session)
            with pytest.raises(StreamClosed):
                session.ask("Still there?")


async def test_errors_are_those_of_this_package(port: int, gateway: Gateway) -> None:
    async with VoiceClient("ws://127.0.0.1:9") as nowhere:
        with pytest.raises(ServerUnavailable):
            await nowhere.session()
        with pytest.raises(ServerUnavailable):
            await anext(nowhere.say("Hello."))
    gateway.limits = Limits(replace(gateway.settings, sessions=1), 1)
    address = f"ws://127.0.0.1:{port}"
    async with (
        VoiceClient(address) as client,
        client.session() as session,
        VoiceClient(address) as other,
    ):
        with pytest.raises(TooManyStreams):
            await other.session()
        with pytest.raises(UsageError):
            session.messages = [Message("user", "Hi")]
        with pytest.raises(UsageError):
            await client.session(SessionOptions(on_trace=print))
        with pytest.raises(UsageError):
            tool = Tool("lamp", "A lamp", {}, call=print)
            await client.session(SessionOptions(tools=[tool]))
    for wrong in ("ws://a,ws://b", "ws:///x"):
        with pytest.raises(UsageError):
            VoiceClient(wrong)
    with pytest.raises(UsageError):
        VoiceClient("ws://localhost", profile="demo")
    with pytest.raises(UsageError):
        VoiceClient("localhost:8001", key="secret")


async def test_it_shows_its_key(port: int, gateway: Gateway) -> None:
    class OneKey:
        async def caller(self, secret: str) -> Caller | None:
            return Caller("ana") if secret == "ana" else None  # pragma: allowlist secret

        async def valid(self, key: str) -> bool:
            return True

    gateway.keys = OneKey()
    address = f"ws://127.0.0.1:{port}"
    async with VoiceClient(address, key="ana") as client, client.session() as session:
        assert session.rate == 24_000
    async with VoiceClient(address, key="wrong") as client:
        with pytest.raises(UsageError, match="key"):
            await client.session()


async def test_talk_holds_its_session_at_a_gateway(
    port: int, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXTURN_KEY", "ana")
    async with _session("", f"ws://127.0.0.1:{port}", None) as session:
        session.ask("Where is Paris?")
        assert (await answered(session))[-1] == TurnDone(ANSWER)
        assert len(gateway.sessions) == 1


async def test_nothing_is_left_of_a_session(client: VoiceClient, gateway: Gateway) -> None:
    before = set(asyncio.all_tasks())
    async with client.session() as session:
        session.push(SPEECH)
    with pytest.raises(StreamClosed):
        session.push(SPEECH)
    assert len(gateway.sessions) == 0
    async with asyncio.timeout(10):
        while set(asyncio.all_tasks()) - before:  # noqa: ASYNC110  of the server's socket
            await asyncio.sleep(0.01)


async def test_frames_of_a_microphone_end_with_the_speech(client: VoiceClient) -> None:
    async def frames() -> AsyncGenerator[AudioFrame, None]:
        audio = np.concatenate([SPEECH, np.zeros(64_000, np.float32)])
        for begin in range(0, audio.size, 320):
            yield AudioFrame(audio[begin : begin + 320], 16_000, begin, 0.0)
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        events = [event async for event in client.turn(frames())]
    assert events[-1] == TurnDone(ANSWER)


def test_it_is_a_client_of_its_own() -> None:
    assert isinstance(VoiceClient("ws://localhost:8080"), GatewayClient)
