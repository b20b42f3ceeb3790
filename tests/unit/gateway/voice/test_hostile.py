"""Whatever a client sends, the gateway answers, lives on, and keeps nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxturn.runtime.gateway.server import Address, serving
from websockets.exceptions import ConnectionClosed

from tests.unit.gateway.voice.conftest import QUESTION, MakeGateway, places
from tests.unit.gateway.voice.test_incoming import recording
from tests.unit.gateway.voice.test_resume import connection

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
TYPES = [
    "session.start",
    "audio.start",
    "text.ask",
    "answer",
    "cancel",
    "played",
    "tool.result",
    "ack",
    "ping",
    "pong",
    "session.end",
    "x",
]
FIELDS = [
    "audio",
    "text",
    "ms",
    "call_id",
    "content",
    "received",
    "id",
    "failed",
    "version",
    "resume",
    "output",
]
OBJECTS = st.builds(
    lambda kind, fields: json.dumps({"type": kind} | fields),
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
)
GOOD = st.sampled_from(
    [
        '{"type":"text.ask","text":"Where?"}',
        '{"type":"answer"}',
        '{"type":"cancel"}',
        '{"type":"played","ms":100}',
        '{"type":"ack","received":0}',
        '{"type":"audio.start","audio":{"format":"webm"}}',
        '{"type":"audio.start","audio":{"format":"pcm","encoding":"f32le","rate":48000}}',
        '{"type":"audio.start","audio":{"format":"wav","overflow":"wait"}}',
    ]
)
SOUND = st.sampled_from([QUESTION[:32_000], recording("webm"), recording("wav"), recording("ogg")])
MESSAGES = st.lists(
    st.one_of(OBJECTS, GOOD, SOUND, st.text(max_size=20), st.binary(max_size=60)), max_size=12
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scripts=st.lists(st.tuples(MESSAGES, st.booleans()), min_size=1, max_size=4),
)
def test_it_survives(
    make_gateway: MakeGateway,
    caplog: pytest.LogCaptureFixture,
    scripts: list[tuple[list[str | bytes], bool]],
) -> None:
    closes: list[int] = []

    async def client(port: int, messages: list[str | bytes], started: bool) -> None:
        async with connection(port) as one:
            try:
                if started:
                    assert (await one.start())["type"] == "session.started"
                for message in messages:
                    await one.socket.send(message)
                await one.tell("ping", id="last")
                while True:
                    event = await one.next()
                    assert "Traceback" not in json.dumps(event)
                    if event["type"] == "pong" and event["id"] == "last":
                        break
            except ConnectionClosed as exc:
                closes.append(exc.rcvd.code if exc.rcvd is not None else 0)
            one.socket.transport.abort()

    async def run() -> None:
        before = set(asyncio.all_tasks())
        closes.clear()
        async with make_gateway() as gateway:
            places(gateway, 10)
            async with serving(gateway, Address(port=0)) as port:
                await asyncio.gather(*(client(port, *script) for script in scripts))
                await client(port, ['{"type":"session.end"}'], True)
            assert set(closes) <= {1000, 1008}
            assert len(gateway.sessions) == gateway.limits.sessions == 0
        assert set(asyncio.all_tasks()) == before
        assert not [each for each in threading.enumerate() if each.name == "voxturn-decode"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert not [each for each in caplog.records if each.exc_info]
