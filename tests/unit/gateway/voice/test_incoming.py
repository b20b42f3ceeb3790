from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import UnreadableAudio, VoxturnError
from voxturn.runtime.gateway.voice.incoming import Container, RawPcm, incoming
from voxturn.runtime.gateway.voice.messages import InputAudio
from voxturn.runtime.messages import Samples

RATE = 48_000
FORMATS = ("webm", "ogg", "wav")


class _Growing(io.RawIOBase):
    """What a recorder writes into: it cannot be sought."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


@cache
def recording(form: str, seconds: float = 0.5) -> bytes:
    """A tone, as a browser's recorder makes it: 60 ms Opus frames, clusters as they come."""
    sink = _Growing()
    options = {
        "webm": {"live": "1", "cluster_time_limit": "60"},
        "ogg": {"page_duration": "60000"},
        "wav": {},
    }[form]
    codec = "pcm_s16le" if form == "wav" else "libopus"
    with av.open(sink, "w", format=form, container_options=options) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        if form != "wav":
            stream.options = {"frame_duration": "60"}
        tone = (0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.05)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.data


async def heard(form: str, slices: Sequence[bytes]) -> tuple[Samples, list[Exception]]:
    """What comes out of slices, and what failed."""
    pieces: list[Samples] = []
    errors: list[Exception] = []

    async def sink(samples: Samples) -> None:
        pieces.append(samples)

    stream = incoming(InputAudio(form), sink, errors.append, 60.0)  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        for each in slices:
            try:
                await stream.write(each)
            except VoxturnError as exc:
                errors.append(exc)
                break
        await stream.aclose(flush=True)
    await asyncio.sleep(0)
    assert not [t for t in threading.enumerate() if t.name == "voxturn-decode"]
    return np.concatenate([np.zeros(0, np.float32), *pieces]), errors


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(data) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@settings(max_examples=15)
@example(form="webm", places=[1])
@example(form="ogg", places=[1, 2, 3])
@given(form=st.sampled_from(FORMATS), places=st.lists(st.integers(0, 1 << 20), max_size=30))
def test_however_it_is_cut_the_same_is_heard(form: str, places: list[int]) -> None:
    data = recording(form)
    whole, errors = asyncio.run(heard(form, [data]))
    assert not errors
    assert whole.size == pytest.approx(8000, abs=200)
    assert np.abs(whole).max() > 0.2
    samples, errors = asyncio.run(heard(form, cut(data, places)))
    assert not errors
    np.testing.assert_array_equal(samples, whole)


@pytest.mark.parametrize("form", FORMATS)
async def test_sound_comes_while_the_rest_is_not_there_yet(form: str) -> None:
    data = recording(form, 2.0)
    came = 0

    async def sink(samples: Samples) -> None:
        nonlocal came
        came += samples.size

    stream = incoming(InputAudio(form), sink, _fail, 60.0)  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await stream.write(data[:1])
        await stream.drained()
        await stream.write(data[1 : len(data) // 2])
        await stream.drained()
        assert came > 8000
        await stream.aclose()


@settings(max_examples=25)
@example(form="webm", data=b"#EXTM3U\nfile:///etc/passwd\n")
@example(form="ogg", data=b"\x00" * 300_000)
@example(form="wav", data=b"RIFF" + b"\xff" * 70_000)
@given(form=st.sampled_from(FORMATS), data=st.binary(min_size=1, max_size=500))
def test_hostile_bytes_end_in_a_typed_error(form: str, data: bytes) -> None:
    samples, errors = asyncio.run(heard(form, [data]))
    assert samples.size == 0
    assert [type(error) for error in errors] == [UnreadableAudio] or all(
        isinstance(error, VoxturnError) for error in errors
    )
    assert errors or form == "wav"


@settings(max_examples=25)
@given(
    form=st.sampled_from(FORMATS),
    places=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1),
)
def test_damage_ends_in_sound_or_a_typed_error(form: str, places: list[tuple[int, int]]) -> None:
    data = bytearray(recording(form))
    for place, change in places:
        data[place % len(data)] ^= change
    _, errors = asyncio.run(heard(form, [bytes(data)]))
    assert all(isinstance(error, VoxturnError) for error in errors)


async def test_a_header_without_an_end_is_refused() -> None:
    """A WebM with an endless picture before its sound."""
    data = recording("webm")[:60] + b"\xec\x0f\xff\xff\xff" + bytes(2 << 20)
    samples, errors = await heard("webm", [data[i : i + 65536] for i in range(0, len(data), 65536)])
    assert samples.size == 0
    assert [type(error) for error in errors] == [UnreadableAudio]


async def test_whoever_sends_too_much_waits() -> None:
    held = asyncio.Event()

    async def sink(samples: Samples) -> None:
        await held.wait()

    stream = Container("ogg", sink, _fail, 600.0)
    data = recording("ogg", 120.0)
    sending = asyncio.create_task(_send(stream, data))
    done, _ = await asyncio.wait([sending], timeout=0.3)
    assert not done
    held.set()
    await asyncio.wait_for(sending, 10)
    await stream.aclose()


async def test_one_that_is_left_in_the_middle_leaves_no_thread() -> None:
    async def sink(samples: Samples) -> None:
        await asyncio.Event().wait()

    stream = Container("webm", sink, _fail, 60.0)
    await stream.write(recording("webm"))
    await stream.aclose()
    assert not [t for t in threading.enumerate() if t.name == "voxturn-decode"]


@settings(max_examples=30)
@given(
    encoding=st.sampled_from(["s16le", "f32le"]),
    rate=st.sampled_from([8000, 16_000, 48_000]),
    places=st.lists(st.integers(0, 1 << 16), max_size=10),
)
def test_raw_pcm_may_be_cut_within_a_sample(encoding: str, rate: int, places: list[int]) -> None:
    tone = 0.3 * np.sin(np.arange(rate // 10) * 0.05)
    data = (
        tone.astype("<f4").tobytes()
        if encoding == "f32le"
        else np.rint(tone * 32767).astype("<i2").tobytes()
    )

    async def out_of(slices: Sequence[bytes]) -> Samples:
        pieces: list[Samples] = [np.zeros(0, np.float32)]

        async def sink(samples: Samples) -> None:
            pieces.append(samples)

        stream = RawPcm(rate, encoding, sink)
        for each in slices:
            await stream.write(each)
        await stream.aclose(flush=True)
        return np.concatenate(pieces)

    whole = asyncio.run(out_of([data]))
    assert whole.size == pytest.approx(1600, abs=2)
    np.testing.assert_allclose(asyncio.run(out_of(cut(data, places))), whole, atol=1e-6)


async def test_the_declared_format_decides() -> None:
    async def sink(samples: Samples) -> None: ...

    assert isinstance(incoming(InputAudio("pcm"), sink, _fail, 60.0), RawPcm)
    assert isinstance(incoming(InputAudio("webm"), sink, _fail, 60.0), Container)


async def _send(stream: Container, data: bytes) -> None:
    for begin in range(0, len(data), 65536):
        await stream.write(data[begin : begin + 65536])


def _fail(error: Exception) -> None:
    raise AssertionError(str(error))
