from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.wyoming.wire import (
    LONGEST_DATA,
    LONGEST_LINE,
    LONGEST_PAYLOAD,
    encoded,
    read_event,
)
from wyoming.event import Event, async_read_event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.builds(
    Event,
    st.text(),
    st.dictionaries(st.text(), JSON, max_size=4),
    st.none() | st.binary(min_size=1),
)


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(LONGEST_LINE)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@given(EVENTS)
def test_what_is_written_is_read_by_the_package_and_by_us(event: Event) -> None:
    async def both() -> tuple[Event | None, Event | None]:
        data = encoded(event)
        return await async_read_event(reader_of(data)), await read_event(reader_of(data))

    theirs, ours = asyncio.run(both())
    assert theirs == ours == event


def test_data_of_the_line_and_after_it_are_one() -> None:
    more = json.dumps({"b": 2}).encode()
    line = json.dumps({"type": "x", "data": {"a": 1}, "data_length": len(more)}).encode()
    event = asyncio.run(_read(line + b"\n" + more))
    assert event == Event("x", {"a": 1, "b": 2})


async def _read(data: bytes) -> Event | None:
    return await read_event(reader_of(data))


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda data: data + b"\n"))
def test_any_bytes_are_an_event_an_error_or_the_end(data: bytes) -> None:
    _readable(data)


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(["type", "data", "data_length", "payload_length", "version"]), JSON
    ),
    st.binary(max_size=50),
)
def test_any_line_of_json_is_an_event_an_error_or_the_end(
    head: dict[str, Any], rest: bytes
) -> None:
    _readable(json.dumps(head).encode() + b"\n" + rest)


def _readable(data: bytes) -> None:
    try:
        event = asyncio.run(_read(data))
    except ApiError as exc:
        event, status = None, exc.status
    else:
        status = 400
    assert status in (400, 413)
    assert event is None or (isinstance(event.type, str) and isinstance(event.data, dict))


@pytest.mark.parametrize(
    "head",
    [
        {"type": "x", "data_length": LONGEST_DATA + 1},
        {"type": "x", "payload_length": LONGEST_PAYLOAD + 1},
        {"type": "x" * LONGEST_LINE},
    ],
)
def test_what_is_too_long_is_refused_before_it_is_read(head: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        asyncio.run(_read(json.dumps(head).encode() + b"\n"))
    assert caught.value.status == 413


@pytest.mark.parametrize("data", [b"[" * 30_000 + b"\n", b"7\n", b'{"type": 7}\n', b"{\n"])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        asyncio.run(_read(data))
    assert caught.value.status == 400
