from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.store import Kept
from voxturn.runtime.gateway.voice import outgoing
from voxturn.runtime.gateway.voice.connection import Connection
from voxturn.runtime.gateway.voice.messages import InputAudio
from voxturn.runtime.messages import Message
from websockets.asyncio.client import connect

from tests.unit.gateway.voice.conftest import ANSWER_SAMPLES, QUESTION, Client, Dial, places
from tests.unit.gateway.voice.test_incoming import recording


class TwoKeys:
    """`Keys` of Ana and of Ben."""

    async def caller(self, secret: str) -> Caller | None:
        return Caller(secret) if secret in ("ana", "ben") else None

    async def valid(self, key: str) -> bool:
        return True


@asynccontextmanager
async def connection(port: int, received: int = 0) -> AsyncGenerator[Client, None]:
    async with connect(f"ws://127.0.0.1:{port}/ws/voice") as socket:
        client = Client(socket)
        client.received = received
        yield client


def lost(client: Client) -> None:
    """The network is gone, without a word."""
    client.socket.transport.abort()


async def broken_at(gateway: Gateway, places: list[int], acks: bool) -> tuple[bytes, list[Any]]:
    """What a client gets of one answer whose connections break after so many messages each."""
    sound, events, received, session = b"", [], 0, ""
    gateway.settings = replace(gateway.settings, drain_s=0.0)  # nobody plays it to its end
    async with serving(gateway, Address(port=0)) as port:
        for place in [*places, None]:
            async with connection(port, received) as client:
                resume = {"session": session, "received": received}
                started = await client.start(**({"resume": resume} if session else {}))
                assert started["resumed"] == bool(session)
                if not session:
                    await client.tell("text.ask", text="Where is Paris?")
                session = started["session"]
                done = False
                while not done and (place is None or place > 0):
                    done = (await client.next())["type"] == "reply.done"
                    place = None if place is None else place - 1
                    if acks and client.received:
                        await client.tell("ack", received=client.received)
                lost(client)
                sound, received = sound + client.sound, client.received
                events += [e for e in client.events if e["type"] not in ("session.started", "ack")]
                if done:
                    break
    return sound, [event | {"seq": 0} for event in events]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(places=[0, 0, 1, 1], acks=True)
@example(places=[14, 30], acks=False)
@given(places=st.lists(st.integers(0, 25), min_size=1, max_size=4), acks=st.booleans())
def test_wherever_it_breaks_nothing_is_lost_or_repeated(
    make_gateway: Any, places: list[int], acks: bool
) -> None:
    async def both() -> None:
        async with make_gateway() as gateway:
            whole = await broken_at(gateway, [], False)
        assert len(whole[0]) == 2 * ANSWER_SAMPLES
        async with make_gateway() as gateway:
            assert await broken_at(gateway, places, acks) == whole
            assert not len(gateway.sessions)

    asyncio.run(both())


async def test_what_the_client_sent_is_counted(dial: Dial) -> None:
    async with dial() as client:
        session = (await client.start())["session"]
        await client.socket.send(bytes(640))
        await client.socket.send(bytes((1 << 20) + 1))
        assert (await client.until("error"))["code"] == "message_too_large"
        await client.tell("played", ms=0)
        await client.tell("ping", id="1")
        await client.tell("ack", received=0)
        assert (await client.until("pong"))["received"] == 3
        lost(client)
    async with dial() as client:
        started = await client.start(resume={"session": session, "received": 0})
        assert (started["received"], started["resumed"]) == (3, True)


async def test_a_recording_goes_on_where_it_broke(dial: Dial) -> None:
    data = recording("webm")
    async with dial() as client:
        session = (await client.start(audio={"format": "webm"}))["session"]
        await client.socket.send(data[:700])
        await client.tell("ping")
        assert (await client.until("pong"))["received"] == 1
        lost(client)
    async with dial(client.received) as client:
        await client.start(resume={"session": session, "received": client.received})
        await client.socket.send(data[700:])
        await client.tell("answer")
        assert (await client.until("transcript"))["text"] == "What is the capital of France?"


async def test_another_recorder_may_begin_after_it_broke(dial: Dial) -> None:
    data = recording("webm")
    async with dial() as client:
        session = (await client.start(audio={"format": "webm"}))["session"]
        await client.socket.send(data[:300])
        lost(client)
    async with dial(client.received) as client:
        resume = {"session": session, "received": client.received}
        await client.start(resume=resume, audio={"format": "webm"})
        await client.socket.send(data)
        await client.tell("answer")
        assert (await client.until("transcript"))["text"] == "What is the capital of France?"


async def test_hostile_audio_is_an_error_and_another_recorder_may_begin(dial: Dial) -> None:
    async with dial() as client:
        await client.start(audio={"format": "webm"})
        for _ in range(3):
            await client.socket.send(b"#EXTM3U\nhttp://127.0.0.1/secret\n" * 20_000)
        error = await client.until("error")
        assert error["code"] == "invalid_audio"
        await client.tell("audio.start", audio={"format": "pcm"})
        await client.socket.send(QUESTION)
        await client.until("transcript")


async def test_a_second_connection_takes_the_session_over(dial: Dial) -> None:
    async with dial() as first:
        session = (await first.start())["session"]
        async with dial() as second:
            await second.start(resume={"session": session, "received": 0})
            assert await first.closed() == 4009
            await second.tell("text.ask", text="Where is Paris?")
            await second.until("reply.done")


async def test_who_leaves_while_another_recorder_begins_is_gone(
    gateway: Gateway, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dial() as client:
        session = (await client.start())["session"]
        lost(client)
    live = gateway.sessions.find(ANYONE, session)
    await _until(lambda: live.info().state == "waiting")
    begins = asyncio.Event()

    async def endless(audio: InputAudio) -> None:
        begins.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(live, "_begin_audio", endless)
    socket: Any = None
    task = asyncio.create_task(Connection(socket, live).serve(0, InputAudio(), resumed=True))
    async with asyncio.timeout(10):
        await begins.wait()
        assert live.info().state == "connected"
        task.cancel()
        await asyncio.wait([task])
        assert live.info().state == "waiting"
        async with dial(client.received) as client:
            await client.start(resume={"session": session, "received": client.received})


async def test_what_was_never_sent_cannot_be_gone_on_from(dial: Dial) -> None:
    async with dial() as client:
        session = (await client.start())["session"]
        async with dial() as other:
            error = await other.start(resume={"session": session, "received": 5})
            assert error["code"] == "resume_impossible"


async def test_a_session_ends_when_nobody_comes_back(manual: Gateway, manual_dial: Dial) -> None:
    clock: Any = manual.clock
    async with manual_dial() as client:
        session = (await client.start(conversation="ours"))["session"]
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("reply.done")
        lost(client)
    await _until(
        lambda: [each.info().state for each in manual.sessions.owned(ANYONE)] == ["waiting"]
    )
    assert manual.limits.sessions == 1
    clock.advance(manual.settings.grace_s + 1)
    await _until(lambda: not len(manual.sessions))
    assert manual.limits.sessions == 0
    kept = await manual.conversations.load("", "ours")
    assert kept is not None
    assert [each.text for each in kept if each.role == "user"] == ["Where is Paris?"]
    async with manual_dial() as client:
        error = await client.start(resume={"session": session, "received": client.received})
        assert error["code"] == "session_not_found"


async def go_on(gateway: Gateway, messages: list[Message]) -> None:
    """As another gateway does with a conversation."""
    other = Kept(gateway.conversations, "", "ours")
    assert await other.take() is not None
    await other.save(messages)


async def test_a_session_that_ends_late_writes_over_nothing(
    manual: Gateway, manual_dial: Dial
) -> None:
    """Another worker has gone on with its conversation."""
    clock: Any = manual.clock
    async with manual_dial() as client:
        await client.start(conversation="ours")
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("reply.done")
        await client.tell("cancel")
        await client.until("turn.done")
        lost(client)
    await _until(
        lambda: [each.info().state for each in manual.sessions.owned(ANYONE)] == ["waiting"]
    )
    kept = await manual.conversations.load("", "ours")
    assert kept is not None
    longer = [*kept, Message("user", "And Rome?"), Message("assistant", "In Italy.")]
    await go_on(manual, longer)
    clock.advance(manual.settings.grace_s + 1)
    await _until(lambda: not len(manual.sessions))
    assert await manual.conversations.load("", "ours") == longer


async def test_a_new_session_takes_its_conversation_over(gateway: Gateway, dial: Dial) -> None:
    places(gateway, 4)
    async with dial() as first, dial() as other, dial() as second:
        await other.start(conversation="another")
        await first.start(conversation="ours")
        await first.tell("text.ask", text="Where is Paris?")
        await first.until("reply.done")
        await second.start(conversation="ours")
        assert (await first.until("session.ended"))["reason"] == "taken_over"
        assert await first.closed() == 1000
        assert [each.conversation for each in gateway.sessions.owned(ANYONE)] == ["another", "ours"]
        await second.tell("text.ask", text="And Rome?")
        await second.until("turn.done")
    kept = await gateway.conversations.load("", "ours")
    assert kept is not None
    said = " ".join(each.text for each in kept if each.role == "user")
    assert said == "Where is Paris? And Rome?"


async def test_a_new_session_has_the_place_of_the_one_before(gateway: Gateway, dial: Dial) -> None:
    places(gateway, 1)
    async with dial() as first, dial() as second:
        await first.start(conversation="ours")
        assert (await second.start(conversation="ours"))["type"] == "session.started"
        assert (await first.until("session.ended"))["reason"] == "taken_over"


async def test_a_session_ends_once_another_gateway_goes_on_with_its_conversation(
    gateway: Gateway, dial: Dial
) -> None:
    async with dial() as client:
        await client.start(conversation="ours")
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("reply.done")
        await client.tell("cancel")
        await client.until("turn.done")
        kept = await gateway.conversations.load("", "ours")
        assert kept is not None
        longer = [*kept, Message("user", "And Rome?"), Message("assistant", "In Italy.")]
        await go_on(gateway, longer)
        await client.tell("text.ask", text="And Oslo?")
        await client.until("reply.done")
        await client.tell("cancel")
        told = len(client.events)
        assert (await client.until("session.ended"))["reason"] == "taken_over"
        assert "turn.done" not in client.kinds[told:]
        assert await client.closed() == 1000
    assert await gateway.conversations.load("", "ours") == longer
    assert len(gateway.sessions) == 0


@pytest.mark.parametrize(
    ("setting", "reason"), [("idle_s", "idle"), ("longest_session_s", "too_long")]
)
async def test_a_session_has_a_longest_time(
    manual: Gateway, manual_dial: Dial, setting: str, reason: str
) -> None:
    clock: Any = manual.clock
    async with manual_dial() as client:
        await client.start()
        object.__setattr__(manual.settings, setting, 100.0)
        clock.advance(50)
        clock.advance(51)
        assert (await client.until("session.ended"))["reason"] == reason
        assert await client.closed() == 1000


async def test_who_says_nothing_at_first_is_sent_away(manual: Gateway, manual_dial: Dial) -> None:
    clock: Any = manual.clock
    async with manual_dial() as client:
        await _until(lambda: clock.waiting > 0)
        clock.advance(11)
        assert (await client.next())["code"] == "start_timeout"
        assert await client.closed() == 1008


async def test_a_slow_reader_is_dropped_and_may_come_back(
    manual: Gateway, manual_dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is narrow here: a kernel's buffers would take minutes of audio."""
    monkeypatch.setattr(outgoing, "KEPT_S", 0.3)
    clock: Any = manual.clock
    async with manual_dial() as client:
        session = (await client.start())["session"]
        await client.tell("ack", received=0)
        await client.tell("text.ask", text="Where is Paris?")
        while len(client.audio) < 3:
            await client.next()
        for _ in range(5):
            clock.advance(outgoing.SLOW_S / 4)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await client.closed() == 4008
        sound = client.sound
    async with manual_dial(client.received) as client:
        await client.start(resume={"session": session, "received": client.received})
        kind = ""
        while kind != "reply.done":
            kind = (await client.next())["type"]
            await client.tell("ack", received=client.received)
    assert len(sound + client.sound) == 2 * ANSWER_SAMPLES


async def test_nobody_reaches_a_session_with_another_key(
    gateway: Gateway, dial: Dial, http: httpx2.AsyncClient
) -> None:
    gateway.keys = TwoKeys()
    ben = {"authorization": "Bearer ben"}
    async with dial(key="ana") as client:
        session = (await client.start(conversation="ours"))["session"]
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("turn.done")
        async with dial(key="ben") as other:
            error = await other.start(resume={"session": session, "received": 0})
            assert error["code"] == "session_not_found"
        assert (await http.get("/v1/sessions", headers=ben)).json()["data"] == []
        assert (await http.delete(f"/v1/sessions/{session}", headers=ben)).status_code == 404
        assert (await http.get("/v1/conversations/ours", headers=ben)).status_code == 404
        assert (await http.delete("/v1/conversations/ours", headers=ben)).status_code == 404
        async with dial(key="ben") as other:
            await other.start(conversation="ours")
            await other.tell("text.ask", text="What did she say?")
            await other.until("reply.done")
        kept = await gateway.conversations.load("ana", "ours")
        assert kept is not None
        assert "What did she say?" not in [each.text for each in kept]
        assert (await http.get("/v1/sessions")).status_code == 401


async def test_killed_connections_leave_nothing(make_gateway: Any) -> None:
    before = set(asyncio.all_tasks())
    async with make_gateway() as gateway:
        places(gateway, 100)
        gateway.settings = replace(gateway.settings, drain_s=0.0)
        async with serving(gateway, Address(port=0)) as port:
            for number in range(30):
                async with connection(port) as client:
                    form = ("pcm", "webm", "ogg")[number % 3]
                    data = QUESTION if form == "pcm" else recording(form)
                    await client.start(audio={"format": form})
                    await client.socket.send(data[: number * 300])
                    if number % 2:
                        await client.tell("text.ask", text="Where is Paris?")
                    for _ in range(number // 2 if number % 2 else 0):
                        await client.next()
                    lost(client)
        assert len(gateway.sessions) == gateway.limits.sessions == 0
    assert set(asyncio.all_tasks()) == before
    assert not [each for each in threading.enumerate() if each.name == "voxturn-decode"]


ANYONE = Caller("", "anyone", address="127.0.0.1")


async def _until(reached: Any) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.005)
