"""Which frames XTTS's latents make, against torch's interpolation; windows that partition; what
streaming gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from voxturn.runtime.audio.window import Plan, Speed, schedule, starves, sustained, with_margin
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.windowed import Latents, Progress, SameFrames, WindowedVocoder
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.families.xtts.plans import ALONE, FEW_SHAPES, IN_TURN
from voxturn.runtime.families.xtts.stop_guard import SilenceGuard
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence
from voxturn.runtime.protocols import Tensor

HOP = 4
FEWEST = 3
"""Torch copies where a scale makes no frame more, as with XTTS's for up to two latents: 0.1 s that
nobody streams."""
MAPS = [(4, 24000 / 22050), (4, 1.0), (2, 1.5), (8, 2.0)]
PLANS = st.builds(
    Plan,
    first=st.integers(1, 30),
    largest=st.integers(30, 200),
    growth=st.floats(1.0, 3.0, allow_nan=False),
    rounds=st.sampled_from([1, 16]),
)


def interpolated(latents: np.ndarray, repeat: int, ratio: float) -> np.ndarray:
    """Frames `[n, channels]` by torch, as coqui-tts calls it."""
    z = torch.from_numpy(latents.T[None].astype(np.float32))
    z = torch.nn.functional.interpolate(z, scale_factor=[float(repeat)], mode="linear")
    if ratio != 1.0:
        z = torch.nn.functional.interpolate(z, scale_factor=[ratio], mode="linear")
    return z[0].T.numpy()


def latents_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)


@pytest.mark.parametrize(("repeat", "ratio"), MAPS)
def test_as_many_frames_as_torch_makes(repeat: int, ratio: float) -> None:
    frames = XttsFrames(repeat, ratio)
    for count in range(1, 130):
        assert frames.count(count) == len(interpolated(latents_of(count), repeat, ratio))


@pytest.mark.parametrize(("repeat", "ratio"), MAPS)
def test_more_latents_never_change_a_certain_frame(repeat: int, ratio: float) -> None:
    frames, latents = XttsFrames(repeat, ratio), latents_of(60)
    for count in range(FEWEST, 50):
        certain = frames.certain(count)
        assert certain <= frames.count(count)
        before = interpolated(latents[:count], repeat, ratio)[:certain]
        for more in (1, 2, 7):
            after = interpolated(latents[: count + more], repeat, ratio)[:certain]
            np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("repeat", "ratio"), MAPS)
def test_certain_frames_are_most_of_those_there_are(repeat: int, ratio: float) -> None:
    frames, latents = XttsFrames(repeat, ratio), latents_of(60)
    for count in range(FEWEST, 50):
        now, later = (interpolated(latents[: count + more], repeat, ratio) for more in (0, 1))
        same = np.abs(now - later[: len(now)]).max(1) < 1e-6
        first_changed = int(np.argmin(same)) if not same.all() else len(now)
        assert first_changed - frames.certain(count) <= 1
        assert frames.certain(count) >= frames.certain(count - 1)


@given(
    count=st.integers(FEWEST, 60),
    more=st.integers(0, 9),
    data=st.data(),
    kind=st.sampled_from(MAPS),
)
def test_the_span_holds_every_latent_that_a_window_is_made_of(
    count: int, more: int, data: st.DataObject, kind: tuple[int, float]
) -> None:
    """Changing any latent outside what `inputs` gives changes none of the window's frames."""
    repeat, ratio = kind
    frames, latents = XttsFrames(repeat, ratio), latents_of(count)
    total = frames.count(count)
    if total == 0:
        return
    low = data.draw(st.integers(0, total - 1))
    high = data.draw(st.integers(low + 1, total))
    inputs = frames.inputs(latents, low, high, more, more)
    offset, given_ = int(inputs["latent_offset"]), inputs["latents"][0]
    elsewhere = frames.inputs(latents_of(count + 50), 7, 7 + high - low, 0, 0)["latents"]
    assert given_.shape == elsewhere.shape[1:], "so many frames, so many latents"
    held = latents[offset : offset + len(given_)]
    np.testing.assert_array_equal(given_[: len(held)], held)
    np.testing.assert_array_equal(
        given_[len(held) :], latents[-1:].repeat(len(given_) - len(held), axis=0)
    )
    assert (inputs["frame_offset"], inputs["frames"]) == (low, high - low)
    assert (inputs["before"], inputs["after"]) == (more, more)
    changed = latents + 1.0
    changed[offset : offset + len(held)] -= 1.0
    was, now = (interpolated(values, repeat, ratio)[low:high] for values in (latents, changed))
    np.testing.assert_allclose(now, was, rtol=0, atol=1e-5)
    first, last = frames.span(low, high)
    assert offset <= first
    assert min(last, count) <= offset + len(held)


@given(total=st.integers(0, 2000), plan=PLANS)
def test_windows_partition_the_frames(total: int, plan: Plan) -> None:
    windows = list(schedule(total, plan))
    assert [begin for begin, _ in windows] == [0, *(end for _, end in windows)][: len(windows)]
    assert (windows[-1][1] if windows else 0) == total
    assert all(begin < end for begin, end in windows)
    assert all(end - begin < plan.first + plan.largest for begin, end in windows)


@given(
    total=st.integers(1, 500),
    begin=st.integers(0, 499),
    size=st.integers(1, 99),
    margin=st.integers(0, 60),
)
def test_a_margin_stops_at_both_ends(total: int, begin: int, size: int, margin: int) -> None:
    begin = min(begin, total - 1)
    end = min(total, begin + size)
    low, high, before = with_margin(begin, end, total, margin)
    assert 0 <= low <= begin < end <= high <= total
    assert before == begin - low <= margin
    assert high - end <= margin


class Recorded:
    """A vocoder that notes its windows, each frame's audio being its number."""

    def __init__(self) -> None:
        self.windows: list[tuple[int, int]] = []

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        low, count = int(inputs["frame_offset"]), int(inputs["frames"])
        before, after = int(inputs["before"]), int(inputs["after"])
        own = np.arange(low + before, low + count - after, dtype=np.float32)
        self.windows.append((low + before, low + count - after))
        return {"audio": np.repeat(own + 1.0, HOP)[None, None]}


@settings(max_examples=60)
@given(
    chunks=st.lists(st.integers(0, 12), min_size=1, max_size=25),
    plan=PLANS,
    margin=st.integers(0, 20),
    kind=st.sampled_from(MAPS),
)
async def test_streamed_frames_partition_exactly_whatever_comes_when(
    chunks: list[int], plan: Plan, margin: int, kind: tuple[int, float]
) -> None:
    recorded, lane, frames = Recorded(), Lane("vocode"), XttsFrames(*kind)
    vocode = WindowedVocoder(FakeGraph(recorded), lane, 24000, HOP, margin, frames, (plan,))
    latents, sentence = latents_of(sum(chunks)), Sentence("x", 0)

    async def arriving() -> AsyncIterator[Latents]:
        at = 0
        for chunk in chunks:
            yield Latents(latents[at : at + chunk], sentence, False)
            at += chunk
        yield Latents(latents[:0], sentence, True)

    try:
        chunks_out = [chunk async for chunk in vocode(arriving())]
    finally:
        lane.close()
    total = frames.count(len(latents))
    if plan.rounds == 1:
        begins, ends = zip(*recorded.windows, strict=True) if recorded.windows else ((), ())
        assert [*begins, total][1:] == list(ends)
    samples = np.concatenate([chunk.samples for chunk in chunks_out]) if chunks_out else np.zeros(0)
    np.testing.assert_array_equal(samples, np.repeat(np.arange(total) + 1.0, HOP))
    starts = np.cumsum([0, *(chunk.samples.size for chunk in chunks_out)])[:-1]
    assert [chunk.start for chunk in chunks_out] == starts.tolist()


def test_a_window_waits_until_its_margin_is_certain() -> None:
    frames, plan = XttsFrames(4, 24000 / 22050), Plan(10, 40, 1.5)
    vocode = WindowedVocoder(FakeGraph(Recorded()), None, 24000, HOP, 8, frames, (plan,))  # type: ignore[arg-type]
    progress = Progress()
    while vocode.next_window(progress) is None:
        progress.latents.append(latents_of(1))
    count = len(progress.latents)
    assert frames.certain(count) >= 10 + 8 > frames.certain(count - 1)


class Shapes:
    """A vocoder that notes the shapes that it is asked for: frames, and how many of them are
    context on each side."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int, int]] = set()

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        count, before, after = (int(inputs[name]) for name in ("frames", "before", "after"))
        self.seen.add((count, before, after))
        return {"audio": np.zeros((1, 1, (count - before - after) * HOP), np.float32)}


SHIPPED = (*ALONE, *IN_TURN, *FEW_SHAPES)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    count=st.integers(1, 20) | st.integers(1, 300),
    plan=st.sampled_from(SHIPPED),
    at_once=st.integers(1, 30),
    late=st.booleans(),
)
@example(9, Plan(first=20, largest=96, growth=1.1, steady=2, rounds=16), 1, True)
async def test_once_warm_no_sentence_has_a_new_shape(
    count: int, plan: Plan, at_once: int, late: bool
) -> None:
    shapes, lane, frames = Shapes(), Lane("vocode"), XttsFrames(4, 24000 / 22050)
    vocode = WindowedVocoder(FakeGraph(shapes), lane, 24000, HOP, 14, frames, (plan,))
    latents, sentence = latents_of(count), Sentence("x", 0)

    async def codes() -> AsyncIterator[Latents]:
        for code in range(0, count, at_once):
            yield Latents(
                latents[code : code + at_once], sentence, not late and code + at_once >= count
            )
        if late:  # that it was the last is known when a stop comes
            yield Latents(latents[:0], sentence, True)

    try:
        await vocode.warm(Latents(latents[:1], sentence))
        await vocode.warm_shapes(Latents(latents[:1], sentence))
        warm = set(shapes.seen)
        async for _ in vocode(codes()):
            pass
    finally:
        lane.close()
    assert shapes.seen == warm
    assert len(warm) < 45  # each is compiled: half a second on a GPU, a tenth on a CPU


@pytest.mark.parametrize("ahead", [0, 40])
async def test_silence_ends_a_sentence_at_the_same_sample_however_far_ahead_the_codes_are(
    ahead: int,
) -> None:
    def noise_then_silence(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        low, count = int(inputs["frame_offset"]), int(inputs["frames"])
        before, after = int(inputs["before"]), int(inputs["after"])
        frame = np.arange(low + before, low + count - after)
        return {
            "audio": np.repeat(np.where(frame < 30, 0.5, 0.0).astype(np.float32), HOP)[None, None]
        }

    lane, frames, stopped = Lane("vocode"), XttsFrames(4, 24000 / 22050), list[int]()
    rate = 100 * HOP
    vocode = WindowedVocoder(
        FakeGraph(noise_then_silence),
        lane,
        rate,
        HOP,
        4,
        frames,
        (Plan(10, 10),),
        trim=False,
        guard=lambda: SilenceGuard(rate),
    )

    async def codes() -> AsyncIterator[Latents]:
        for index in range(2):
            sentence, left = Sentence("x", index), ahead
            for code in range(60):
                if stopped.count(index):
                    left -= 1
                if left < 0:
                    break
                ended = 0.5 if code > 5 else 0.0
                yield Latents(
                    latents_of(1), sentence, False, {}, "", ended, partial(stopped.append, index)
                )
            yield Latents(latents_of(1)[:0], sentence, True)

    try:
        chunks = [chunk async for chunk in vocode(codes())]
    finally:
        lane.close()
    assert stopped == [0, 1]
    silence = int(0.7 * rate)
    windows = 30 + -(-silence // HOP // 10) * 10
    heard = [sum(c.samples.size for c in chunks if c.sentence.index == index) for index in range(2)]
    assert (
        heard == [(windows - 10) * HOP] * 2
    )  # of the window that made it long enough, nothing is needed
    assert [c.cut for c in chunks if c.final] == ["silence"] * 2


def test_the_latents_of_a_vits_are_frames() -> None:
    latents = latents_of(7)
    assert SameFrames().count(7) == SameFrames().certain(7) == 7
    np.testing.assert_array_equal(
        SameFrames().inputs(latents, 2, 5, 1, 1)["latents"], latents[2:5].T[None]
    )


# --- windows that playback does not starve with

PLANS = (Plan(9, 96, 1.25, 2), Plan(16, 96, 1.15, 2), Plan(28, 96, 1.1, 2))
FRAME_S = 256 / 24000


def played_dry(plan: Plan, speed: Speed, margin: int, frames: XttsFrames) -> bool:
    """The same by a simulation event by event: latents come one by one, windows are made once they
    can be."""
    now, number, begin, made, chunks = 0.0, 0, 0, 0, []
    while number < 24:
        made += 1
        now += speed.latent_s
        while (
            number < 24
            and (window := plan.next(number, begin, frames.certain(made), margin, None)) is not None
        ):
            now += speed.window_s(window[1] - window[0] + (2 * margin if begin else margin))
            chunks.append((now, (window[1] - window[0]) * FRAME_S))
            number, begin = number + 1, window[1]
    at = chunks[0][0]
    for ready, seconds in chunks:
        if ready > at + 1e-9:
            return True
        at += seconds
    return False


@settings(max_examples=200)
@given(
    plan=st.sampled_from(PLANS),
    latent_s=st.floats(0.001, 0.05),
    base_s=st.floats(0, 0.05),
    frame_s=st.floats(0, 0.005),
    margin=st.integers(1, 20),
)
def test_a_plan_starves_where_a_simulation_does(
    plan: Plan, latent_s: float, base_s: float, frame_s: float, margin: int
) -> None:
    speed, frames = Speed(latent_s, base_s, frame_s), XttsFrames(4, 24000 / 22050)
    assert starves(plan, speed, margin, FRAME_S, frames.latents_for) == played_dry(
        plan, speed, margin, frames
    )


def test_the_soonest_plan_that_holds_is_taken() -> None:
    frames = XttsFrames(4, 24000 / 22050)

    def taken(slower: float) -> Plan:
        speed = Speed(0.012 * slower, 0.01 * slower, 0.0009 * slower)
        return sustained(PLANS, speed, 13, FRAME_S, frames.latents_for)

    assert taken(0.5) is PLANS[0]
    firsts = [taken(slower / 10).first for slower in range(5, 30)]
    assert firsts == sorted(firsts)
    assert taken(10.0) is PLANS[-1]  # nothing holds: the safest


async def test_shapes_are_compiled_while_nobody_is_answered() -> None:
    shapes, lane, frames = Shapes(), Lane("vocode"), XttsFrames(4, 24000 / 22050)
    vocode = WindowedVocoder(
        FakeGraph(shapes), lane, 24000, HOP, 14, frames, (Plan(9),), trim=False
    )
    latents, sentence = latents_of(60), Sentence("x", 0)

    async def codes() -> AsyncIterator[Latents]:
        for code in range(60):
            yield Latents(latents[code : code + 1], sentence, code == 59)

    try:
        stream = vocode(codes())
        await anext(stream)
        seen = len(shapes.seen)
        later = asyncio.create_task(vocode.warm_shapes(Latents(latents[:1], sentence), idle=True))
        await asyncio.sleep(0.2)
        assert (later.done(), len(shapes.seen)) == (False, seen)
        await stream.aclose()
        async with asyncio.timeout(10):
            await later
        assert len(shapes.seen) > seen
    finally:
        lane.close()
