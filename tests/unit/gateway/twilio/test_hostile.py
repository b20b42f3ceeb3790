"""What no phone sends, and who may call: every call ends with a code and a reason."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.app import application
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.twilio.call import MOST_UNKNOWN
from voxturn.runtime.gateway.twilio.endpoint import FIRST_S
from voxturn.runtime.gateway.twilio.messages import LONGEST, RATE
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile

from tests.phone_client import STREAM, Dialler, Phone, dialled

SOUND = base64.b64encode(b"\xff" * 160).decode()
BAD = {
    "": "invalid_json",
    "{": "invalid_json",
    "[" * 5000: "invalid_value",
    "1": "invalid_value",
    "{}": "invalid_value",
    '{"event": 5}': "invalid_value",
    '{"event": "x"': "invalid_json",
    '{"event": "x", "x": %s' % ("[" * 5000): "invalid_json",
    '{"event": "media"}': "invalid_value",
    '{"event": "media", "media": {"payload": "&"}}': "invalid_value",
    '{"event": "media", "media": {"payload": 5}}': "invalid_value",
    '{"event": "mark", "mark": {"name": "%s"}}' % ("a" * 129): "invalid_value",
    '{"event": "dtmf", "dtmf": {"digit": "12"}}': "invalid_value",
    '{"event": "dtmf", "dtmf": {"digit": "x"}}': "invalid_value",
    '{"event": "start", "start": {"streamSid": "MZ"}}': "already_started",
    json.dumps({"event": "x", "x": "a" * LONGEST}): "message_too_large",
    json.dumps(
        {"event": "media", "media": {"payload": base64.b64encode(bytes(RATE + 1)).decode()}}
    ): "invalid_value",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
async def test_what_cannot_be_read_ends_the_call(phone: Phone, text: str) -> None:
    phone.raw(text)
    await phone.settle()
    assert phone.closed == (1008, BAD[text])


async def test_bytes_are_read_as_text(phone: Phone) -> None:
    phone.raw(b'{"event": "stop"}')
    await phone.settle()
    assert phone.closed == (1000, "")


async def test_bytes_that_are_no_text_end_the_call(phone: Phone) -> None:
    phone.raw(b"\xff\xfe")
    await phone.settle()
    assert phone.closed == (1008, "invalid_json")


async def test_unknown_kinds_are_passed_over_up_to_a_number(phone: Phone) -> None:
    for _ in range(MOST_UNKNOWN):
        phone.send("news", news={})
    await phone.settle()
    assert phone.closed is None
    phone.send("news")
    await phone.settle()
    assert phone.closed == (1008, "unknown_event")


async def test_what_the_other_side_says_is_not_heard(phone: Phone) -> None:
    phone.media(SOUND, track="outbound")
    await phone.settle()
    assert phone.closed is None


@pytest.mark.parametrize(
    "form",
    [
        {"encoding": "audio/x-l16"},
        {"sampleRate": 16000},
        {"channels": 2},
    ],
    ids=str,
)
async def test_other_forms_of_audio_are_refused(dial: Dialler, form: dict[str, Any]) -> None:
    async with dial() as phone:
        phone.start(**form)
        await phone.settle()
        assert phone.closed == (1008, "unsupported_media_format")


async def test_numbers_may_be_texts(dial: Dialler) -> None:
    async with dial() as phone:
        phone.start(sampleRate="8000", channels="1")
        await phone.ask()


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"voice": "nobody"}, "voice_not_found"),
        ({"language": "tlh"}, "unsupported_language"),
        ({"instructions": "a" * 8193}, "invalid_value"),
        ({"api_key": "a" * 513}, "invalid_value"),
    ],
    ids=["voice", "language", "instructions", "key"],
)
async def test_parameters_that_cannot_be_heeded_end_it(
    dial: Dialler, parameters: dict[str, str], code: str
) -> None:
    async with dial() as phone:
        phone.start(parameters)
        while phone.closed is None:
            await phone.settle()
        assert phone.closed == (1008, code)


async def test_the_start_has_to_come_in_time(dial: Dialler, clock: ManualClock) -> None:
    async with dial() as phone:
        phone.send("connected")
        await phone.settle()
        clock.advance(FIRST_S)
        while phone.closed is None:
            await phone.settle()
        assert phone.closed == (1008, "start_timeout")


@pytest.mark.parametrize("before", [["media"], ["news"] * 9], ids=["sound", "news"])
async def test_the_start_comes_first(dial: Dialler, before: list[str]) -> None:
    async with dial() as phone:
        for kind in before:
            phone.send(kind, media={"payload": SOUND})
        await phone.settle()
        assert phone.closed == (1008, "start_expected")


async def test_one_that_hangs_up_before_the_start_is_forgotten(
    dial: Dialler, gateway: Gateway
) -> None:
    async with dial() as phone:
        await phone.settle()
        assert phone.accepted
    assert gateway.limits.sessions == 0


async def test_a_place_is_held_and_freed(phone: Phone, dial: Dialler, gateway: Gateway) -> None:
    assert gateway.limits.sessions == 1
    gauge = gateway.metrics.sessions.labels("twilio")
    assert gauge._value.get() == 1
    phone.send("stop")
    await phone.settle()
    assert phone.closed == (1000, "")
    assert gateway.limits.sessions == 0
    assert gauge._value.get() == 0


async def test_a_full_house_refuses(phone: Phone, dial: Dialler, gateway: Gateway) -> None:
    async with dial() as second:
        second.start()
        await second.settle()
        async with dial() as third:
            await third.settle()
            assert third.closed == (1013, "session_limit_reached")


async def test_a_stopping_gateway_ends_it(phone: Phone, gateway: Gateway) -> None:
    gateway.stopping.set()
    await phone.settle()
    assert phone.closed == (1012, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(SOUND),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["payload", "name", "digit", "track", "streamSid", "start", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "clear", "x"])
WILD = st.builds(
    lambda kind, fields: json.dumps({**fields, "event": kind}),
    KINDS,
    st.dictionaries(st.sampled_from(["media", "mark", "dtmf", "start", "streamSid"]), JSON),
)
SANE = st.sampled_from(
    [
        json.dumps({"event": "media", "media": {"payload": SOUND, "track": "inbound"}}),
        json.dumps({"event": "media", "media": {"payload": ""}}),
        json.dumps({"event": "mark", "mark": {"name": "1"}}),
        json.dumps({"event": "dtmf", "dtmf": {"digit": "5"}}),
        json.dumps({"event": "dtmf", "dtmf": {"digit": "#"}}),
    ]
)
CODES = {"", *BAD.values(), "unknown_event"}


@given(texts=st.lists(SANE | WILD | st.text(max_size=5) | st.binary(max_size=5), max_size=10))
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_comes_goes_on_or_ends_with_a_reason(texts: list[str | bytes]) -> None:
    asyncio.run(_ended(texts))


async def _ended(texts: list[str | bytes]) -> None:
    async for phone in _fresh():
        phone.start()
        await phone.settle()
        for text in texts:
            phone.raw(text)
        await phone.settle()
        if phone.closed is None:
            phone.send("stop")
            await phone.settle()
        assert phone.closed is not None
        code, reason = phone.closed
        assert code in (1000, 1008)
        assert reason in CODES
        assert {told["streamSid"] for told in phone.told} <= {STREAM}


async def _fresh() -> AsyncIterator[Phone]:
    clock = ManualClock(100.0)
    with tempfile.TemporaryDirectory() as folder:
        profile = load_profile(write_profile(Path(folder) / "fake"))
        store = Store(Path(folder) / "store")
        async with Assistant.load(profile, store, clock=clock) as assistant:
            gateway = Gateway(assistant, profile.gateway, clock=clock)
            async with gateway, dialled(application(gateway), clock) as phone:
                yield phone
            assert gateway.limits.sessions == 0
