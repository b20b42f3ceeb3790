"""What a session hears: bounded, in frames, for one reader after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from voxturn.runtime.errors import InvalidSamples, StreamClosed, UsageError
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import AudioFrame
from voxturn.runtime.turn.inbox import Inbox, TurnFrames

from tests.conftest import fed, tone
from tests.dialogues import silence


async def test_what_is_pushed_comes_in_frames_of_20_ms() -> None:
    clock = ManualClock(10.0)
    inbox = Inbox(clock, 1.0)
    inbox.push(np.arange(700, dtype=np.float32))
    frames = [await inbox.next() for _ in range(3)]
    assert [(f.start, f.samples.size) for f in frames if f] == [(0, 320), (320, 320), (640, 60)]
    assert [f.arrived_s for f in frames if f] == pytest.approx(
        [10 - 380 / 16000, 10 - 60 / 16000, 10]
    )
    inbox.push(AudioFrame(silence(0.01), 16000, 0, 7.0))
    frame = await inbox.next()
    assert frame is not None
    assert (frame.start, frame.arrived_s) == (700, 7.0)


async def test_beyond_its_bound_the_oldest_are_dropped_and_counted() -> None:
    inbox = Inbox(ManualClock(), 0.1)
    inbox.push(np.arange(320 * 8, dtype=np.float32))
    assert inbox.dropped_s == pytest.approx(0.06)
    frame = await inbox.next()
    assert frame is not None
    assert frame.start == frame.samples[0] == 3 * 320


async def test_what_is_fed_waits_and_is_closed() -> None:
    inbox, closed = Inbox(ManualClock(), 0.1), []

    async def frames() -> AsyncIterator[AudioFrame]:
        try:
            async for frame in fed(tone(0.4)):
                yield frame
        finally:
            closed.append(True)

    feeding = asyncio.create_task(inbox.feed(frames()))
    read = [await inbox.next() for _ in range(20)]
    await feeding
    assert [frame.start for frame in read if frame] == list(range(0, 6400, 320))
    assert closed == [True]
    assert inbox.dropped_s == 0


async def test_what_is_given_back_comes_first() -> None:
    inbox = Inbox(ManualClock(), 1.0)
    inbox.push(silence(0.1))
    frames = [frame for frame in [await inbox.next(), await inbox.next()] if frame]
    inbox.give_back(frames)
    assert [await inbox.next(), await inbox.next()] == frames
    third = await inbox.next()
    assert third is not None
    assert third.start == 640


async def test_a_turn_s_frames_are_counted_from_its_first_and_end_where_an_answer_is_asked_for() -> (
    None
):
    inbox = Inbox(ManualClock(), 1.0)
    inbox.push(silence(0.02))
    await inbox.next()
    inbox.push(silence(0.04))
    inbox.ask_answer()
    inbox.push(silence(0.02))
    turn = TurnFrames(inbox)
    assert [frame.start async for frame in turn] == [0, 320]
    assert [frame async for frame in turn] == []
    assert turn.answer_asked
    assert turn.first == 320
    later = await inbox.next()
    assert later is not None
    assert later.start == 960
    assert not turn.closed.is_set()
    await turn.aclose()
    assert turn.closed.is_set()


@pytest.mark.parametrize(
    ("sound", "error"),
    [
        (np.zeros(10, np.int16), UsageError),
        (np.zeros((10, 2), np.float32), UsageError),
        (AudioFrame(np.zeros(10, np.float32), 48000, 0, 0.0), UsageError),
        (np.array([0.0, np.nan], np.float32), InvalidSamples),
    ],
)
async def test_what_is_no_16_khz_audio_is_refused(
    sound: AudioFrame, error: type[Exception]
) -> None:
    inbox = Inbox(ManualClock(), 1.0)
    with pytest.raises(error) as caught:
        inbox.push(sound)
    assert "\n" not in str(caught.value)


async def test_samples_may_be_overwritten_once_they_are_pushed() -> None:
    inbox, samples = Inbox(ManualClock(), 1.0), np.ones(320, np.float32)
    inbox.push(samples)
    samples[:] = 0
    frame = await inbox.next()
    assert frame is not None
    assert frame.samples[0] == 1


async def test_after_its_end_nothing_is_taken() -> None:
    inbox = Inbox(ManualClock(), 1.0)
    inbox.push(silence(0.1))
    inbox.close()
    with pytest.raises(StreamClosed):
        inbox.push(silence(0.1))
    with pytest.raises(StreamClosed):
        await inbox.feed(fed(tone(0.1)))


async def test_what_waits_is_sent_on_in_pieces_up_to_a_wish_for_an_answer() -> None:
    inbox = Inbox(ManualClock(), 1.0)
    inbox.push(np.arange(320 * 5, dtype=np.float32))
    inbox.ask_answer()
    inbox.push(np.ones(320, np.float32))
    inbox.ask_answer()
    inbox.ask_answer()
    pieces = [await inbox.piece(3) for _ in range(4)]
    assert [(samples.size, asked) for samples, asked in pieces] == [
        (960, False),
        (640, True),
        (320, True),
        (0, True),
    ]
    assert np.array_equal(np.concatenate([p for p, _ in pieces[:2]]), np.arange(1600))


async def test_a_wish_is_not_lost_where_its_place_was_dropped() -> None:
    inbox = Inbox(ManualClock(), 0.1)
    inbox.push(silence(0.1))
    inbox.ask_answer()
    inbox.push(tone(0.2))
    assert await inbox.next() is None
    frame = await inbox.next()
    assert frame is not None
    assert frame.start == round(0.2 * 16_000)


async def test_what_nobody_has_read_is_forgotten_and_a_wish_is_not() -> None:
    inbox = Inbox(ManualClock(), 1.0)
    inbox.push(tone(0.2))
    inbox.ask_answer()
    inbox.push(tone(0.2))
    inbox.forget()
    assert await inbox.next() is None
    assert not inbox.unread
