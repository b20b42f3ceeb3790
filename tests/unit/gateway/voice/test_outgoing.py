from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.voice import outgoing
from voxturn.runtime.gateway.voice.messages import AudioHeader, Paused, ReplyDelta, Resumed
from voxturn.runtime.gateway.voice.outgoing import Audio, Outgoing


def audio(seconds: float = 1.0) -> Audio:
    return Audio(AudioHeader(0, 1, 0, 0, 0), b"x", seconds)


def number(data: str | bytes | None) -> int:
    if isinstance(data, bytes):
        return AudioHeader.unpack(data).seq
    assert data is not None
    return int(json.loads(data)["seq"])


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["put", "audio", "next", "discard", "first"]),
        st.tuples(st.sampled_from(["rewind", "ack"]), st.integers(0, 30)),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(STEPS)
def test_whoever_goes_on_from_what_he_has_gets_the_rest_once(steps: list[object]) -> None:
    """The numbers that a reader gets follow each other, whatever is discarded or sent again."""

    async def run() -> None:
        queue, has = Outgoing(ManualClock()), 0
        for step in steps:
            match step:
                case "put":
                    queue.put_now(ReplyDelta(text="a", turn=1))
                case "audio":
                    queue.put_now(audio())
                case "first":
                    queue.put_first(Paused())
                case "discard":
                    queue.discard(lambda each: isinstance(each, Audio))
                case "next":
                    if queue._sendable:
                        got = number(await queue.next())
                        assert got == has + 1
                        has = got
                case ("rewind", back):
                    has = max(queue._forgotten, has - int(back))  # type: ignore[call-overload]
                    queue.rewind(has)
                case ("ack", back):
                    queue.acknowledge(max(0, has - int(back)))  # type: ignore[call-overload]

    asyncio.run(run())


async def test_whoever_makes_more_than_is_taken_waits() -> None:
    queue = Outgoing(ManualClock())
    for _ in range(round(outgoing.AHEAD_S)):
        await queue.put(audio())
    late = asyncio.create_task(queue.put(audio()))
    await asyncio.sleep(0)
    assert not late.done()
    await queue.next()
    await asyncio.wait_for(late, 10)


async def test_what_a_reader_who_acknowledges_has_not_acknowledged_is_kept() -> None:
    queue = Outgoing(ManualClock())
    queue.acknowledge(0)
    sent = 0
    for _ in range(100):
        queue.put_now(audio())
        while queue._sendable:
            await queue.next()
            sent += 1
    assert sent == outgoing.KEPT_S
    queue.rewind(0)
    assert number(await queue.next()) == 1


async def test_of_another_the_last_seconds_are_kept() -> None:
    queue = Outgoing(ManualClock())
    for _ in range(100):
        queue.put_now(audio())
        await queue.next()
    with pytest.raises(ValueError, match="not kept"):
        queue.rewind(10)
    queue.rewind(75)
    assert number(await queue.next()) == 76


async def test_it_says_how_long_a_message_waits() -> None:
    clock = ManualClock()
    queue = Outgoing(clock)
    assert queue.oldest_s == 0.0
    queue.put_now(Paused())
    clock.advance(3.0)
    assert queue.oldest_s == 3.0
    await queue.next()
    assert queue.oldest_s == 0.0


async def test_its_end_comes_after_all_messages() -> None:
    queue = Outgoing(ManualClock())
    queue.put_now(Paused())
    queue.close()
    assert number(await queue.next()) == 1
    assert await queue.next() is None
    queue.rewind(0)
    assert number(await queue.next()) == 1
    assert await queue.next() is None
    for wrong in (2, 9):
        with pytest.raises(ValueError, match="not sent"):
            queue.acknowledge(wrong)


async def test_a_pause_overtakes_what_is_not_sent_yet() -> None:
    queue = Outgoing(ManualClock())
    for _ in range(3):
        queue.put_now(audio())
    await queue.next()
    queue.put_first(Paused())
    queue.put_first(Resumed(at=3))
    queue.close()
    order = [await queue.next() for _ in range(4)]
    assert [json.loads(each)["type"] for each in order[:2] if each] == ["paused", "resumed"]
    assert [number(each) for each in order] == [2, 3, 4, 5]
