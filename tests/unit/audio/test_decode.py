"""Audio of any kind comes out as 16 kHz mono, in bounded memory; what cannot be used says so in its
own class."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import decode, decode_all, decode_raw
from voxturn.runtime.errors import (
    AudioError,
    AudioNotFound,
    EmptyAudio,
    ExecutorUnavailable,
    InvalidSamples,
    UnreadableAudio,
    UsageError,
)
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import Samples

from tests.recordings import KINDS, LEVEL, PITCH, RATE, SECONDS, encoded, float_wav, sine

CASES = [
    pytest.param(kind, rate, channels, id=f"{kind}-{rate}-{channels}")
    for kind, (_, _, rates, counts, _) in KINDS.items()
    for rate in rates
    for channels in counts
]


@contextlib.contextmanager
def pipe(data: bytes) -> Iterator[IO[bytes]]:
    """What is read from a program: it cannot be sought."""
    reading, writing = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(reading, "rb") as stream:
        yield stream
    feeder.join()


def check_tone(samples: Samples, level: float = LEVEL, tolerance: float = 0.06) -> None:
    middle = samples[4000:20000]
    assert middle.size == 16000
    spectrum = np.abs(np.fft.rfft(middle))
    assert int(np.argmax(spectrum)) == int(PITCH)  # bins of 1 Hz
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(level, rel=tolerance)


@pytest.mark.parametrize(("kind", "rate", "channels"), CASES)
def test_every_kind_gives_the_tone_at_its_length_and_level(
    kind: str, rate: int, channels: int, tmp_path: Path
) -> None:
    data = encoded(kind, rate, np.stack([sine(rate)] * channels))
    path = tmp_path / f"tone.{kind}"  # the container is known by its content, not by the name
    path.write_bytes(data)
    frames = list(decode(path, RATE, 1600))
    assert {frame.size for frame in frames[:-1]} == {1600}
    samples = np.concatenate(frames)
    assert samples.dtype == np.float32
    assert abs(samples.size - SECONDS * RATE) <= KINDS[kind][4]
    check_tone(samples)
    assert np.array_equal(decode_all(io.BytesIO(data), RATE), samples)
    if kind == "m4a":
        return  # has its index at the end: see the test of what a pipe cannot give
    with pipe(data) as stream:
        piped = decode_all(stream, RATE)
    assert abs(piped.size - SECONDS * RATE) <= KINDS[kind][4]
    check_tone(piped)


def test_stereo_is_the_mean_of_its_channels_and_never_over_full_scale() -> None:
    loud = np.ones(48000, np.float32)
    assert (
        np.abs(
            decode_all(io.BytesIO(encoded("wav-f32", 48000, np.stack([loud, loud]))), RATE)
        ).max()
        <= 1.01
    )
    one_side = np.stack([sine(48000), np.zeros(int(48000 * SECONDS), np.float32)])
    check_tone(decode_all(io.BytesIO(encoded("wav-f32", 48000, one_side)), RATE), LEVEL / 2, 0.01)


def test_a_recording_that_changes_its_rate_and_channels_goes_on() -> None:
    joined = encoded("aac", 44100, np.stack([sine(44100)] * 2)) + encoded(
        "aac", 22050, sine(22050)[None]
    )
    samples = decode_all(io.BytesIO(joined), RATE)
    assert samples.size == pytest.approx(2 * SECONDS * RATE, abs=4000)
    check_tone(samples)
    check_tone(samples[-21000:])


def test_an_endless_header_as_pipes_have_it_is_read_to_the_end() -> None:
    data = bytearray(encoded("wav-s16", RATE, sine(RATE)[None]))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0x7FFFFFFF)
    report = ReadReport()
    check_tone(decode_all(io.BytesIO(bytes(data)), RATE, report=report))
    assert not report.damaged


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("12:30.wav").write_bytes(encoded("wav-s16", RATE, sine(RATE)[None]))
    check_tone(decode_all("12:30.wav", RATE))


def test_a_named_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = encoded("wav-s16", RATE, sine(RATE)[None])
    feeder = threading.Thread(target=path.write_bytes, args=(data,))
    feeder.start()
    check_tone(decode_all(path, RATE))
    feeder.join()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_raw_pcm_comes_at_any_rate_and_half_a_sample_is_dropped(rate: int) -> None:
    data = np.rint(sine(rate) * 32767).astype("<i2").tobytes()
    for extra in (b"", b"\x7f"):
        samples = np.concatenate(list(decode_raw(io.BytesIO(data + extra), rate, RATE, 1600)))
        assert samples.size == pytest.approx(SECONDS * RATE, abs=2)
        check_tone(samples, tolerance=0.01)


def test_raw_pcm_in_blocks_of_odd_sizes_stays_aligned() -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(997)

    data = np.rint(sine(RATE) * 32767).astype("<i2").tobytes()
    samples = np.concatenate(list(decode_raw(Dribble(data), RATE, RATE, 1600)))
    assert np.abs(samples - sine(RATE)).max() < 1e-3


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda p: p / "missing.wav", AudioNotFound, "missing.wav: no such audio file"),
        (lambda p: p, AudioNotFound, "is a folder; give an audio file"),
        (lambda p: _put(p / "e.wav", b""), EmptyAudio, "e.wav: is empty"),
        (
            lambda p: _put(p / "h.wav", _wav()[: _wav().index(b"data") + 8]),
            EmptyAudio,
            "h.wav: holds no samples",
        ),
        (
            lambda p: _put(p / "c.wav", _wav()[:20]),
            UnreadableAudio,
            "c.wav: not readable as audio, or cut short",
        ),
        (
            lambda p: _put(p / "t.wav", b"This is a text.\n" * 99),
            UnreadableAudio,
            "t.wav: not readable as audio",
        ),
        (lambda p: _put(p / "t.txt", b"This is a text.\n" * 99), UnreadableAudio, r"t\.txt: "),
        (lambda p: _put(p / "n.wav", bytes(5000)), UnreadableAudio, "n.wav: not readable as audio"),
        (lambda p: _put(p / "v.mp4", _video()), UnreadableAudio, "v.mp4: has no audio track"),
        (
            lambda p: _put(p / "nan.wav", float_wav(np.full(RATE, np.nan, np.float32))),
            InvalidSamples,
            "nan.wav: has NaN or infinite samples alone",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_what_and_where(
    make: object, kind: type[AudioError], says: str, tmp_path: Path
) -> None:
    assert callable(make)
    with pytest.raises(kind, match=says) as caught:
        decode_all(make(tmp_path), RATE)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", "header"])
def test_an_empty_stream_or_pipe_is_empty_audio(data: bytes | str) -> None:
    content = _wav()[: _wav().index(b"data") + 8] if data == "header" else b""
    with pytest.raises(EmptyAudio, match="the stream: "):
        decode_all(io.BytesIO(content), RATE)
    with pipe(content) as stream, pytest.raises(EmptyAudio, match="the stream: "):
        decode_all(stream, RATE)


def test_an_empty_raw_stream_is_empty_audio() -> None:
    for content in (b"", b"\x01"):
        with pytest.raises(EmptyAudio, match="the stream: holds no samples"):
            list(decode_raw(io.BytesIO(content), RATE, RATE, 320))


@pytest.mark.parametrize("rate", [-16000, 1, 10_000_000])
def test_a_rate_that_no_audio_has_is_a_usage_error(rate: int) -> None:
    with pytest.raises(UsageError, match=f"^{rate} Hz is not a rate of raw PCM"):
        list(decode_raw(io.BytesIO(bytes(100)), rate, RATE, 320))


@pytest.mark.parametrize("kind", ["wav-s16", "mp3", "opus", "webm"])
def test_of_a_recording_that_was_cut_off_what_is_there_is_given(kind: str) -> None:
    data = encoded(kind, 48000, sine(48000)[None])
    samples = decode_all(io.BytesIO(data[: len(data) * 2 // 3]), RATE)
    assert 0.5 * SECONDS * RATE < samples.size < 0.8 * SECONDS * RATE
    assert np.sqrt(2 * np.mean(samples[4000:12000] ** 2)) == pytest.approx(LEVEL, rel=0.06)


def test_a_cut_that_the_library_notices_is_warned_of_and_what_is_there_is_given(
    caplog: pytest.LogCaptureFixture,
) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (2, 48000 * 4)).astype(np.float32)
    data = encoded("flac", 48000, noise)
    samples = decode_all(io.BytesIO(data[: len(data) * 2 // 3]), RATE)
    assert samples.size == pytest.approx(4 * RATE * 2 / 3, abs=0.2 * RATE)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("the stream: damaged: 1 packet could not be decoded")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("rate", [RATE, 48000])
def test_samples_that_are_no_numbers_are_silence_and_count_as_lost(value: float, rate: int) -> None:
    samples, report = sine(rate), ReadReport()
    samples[rate // 4 : rate // 2] = value
    heard = decode_all(io.BytesIO(float_wav(samples, rate)), RATE, report=report)
    assert heard.size == pytest.approx(SECONDS * RATE, abs=4)
    assert np.isfinite(heard).all()
    assert not heard[RATE // 4 + 50 : RATE // 2 - 50].any()
    assert np.sqrt(2 * np.mean(heard[RATE // 2 + 50 :] ** 2)) == pytest.approx(LEVEL, rel=0.06)
    assert report.lost_s == pytest.approx(0.25, abs=0.01)
    assert str(report) == f"damaged: {report.lost_s:.2f} s are missing"


@pytest.mark.parametrize(("kind", "rate", "channels"), CASES)
def test_nothing_is_missing_of_a_whole_recording(kind: str, rate: int, channels: int) -> None:
    report = ReadReport()
    data = encoded(kind, rate, np.stack([sine(rate)] * channels))
    decode_all(io.BytesIO(data), RATE, report=report)
    assert not report.damaged


def test_an_index_at_the_end_cannot_come_through_a_pipe_and_the_message_says_so() -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (2, 44100 * 6)).astype(np.float32)
    data = encoded("m4a", 44100, noise)
    assert decode_all(io.BytesIO(data), RATE).size > 5 * RATE
    with (
        pipe(data) as stream,
        pytest.raises(UnreadableAudio, match=r"the stream: .*a file instead of a pipe"),
    ):
        decode_all(stream, RATE)


async def test_frames_of_a_raw_file_end_as_its_stream_would(tmp_path: Path) -> None:
    path = _put(tmp_path / "a.pcm", np.rint(sine(8000) * 32767).astype("<i2").tobytes())
    frames = [frame async for frame in frames_from(path, raw_rate=8000)]
    check_tone(np.concatenate([frame.samples for frame in frames]), tolerance=0.01)
    assert [frame.start for frame in frames] == list(
        range(0, frames[-1].start + 1, frames[0].samples.size)
    )
    with pytest.raises(AudioNotFound, match=r"gone\.pcm"):
        [frame async for frame in frames_from(tmp_path / "gone.pcm", raw_rate=8000)]
    with pytest.raises(EmptyAudio, match="is empty"):
        [frame async for frame in frames_from(_put(tmp_path / "e.pcm", b""), raw_rate=8000)]
    with pytest.raises(EmptyAudio, match="the stream"):
        [frame async for frame in frames_from(io.BytesIO(b""), raw_rate=8000)]


async def test_live_frames_are_short_keep_the_pace_and_end_in_silence() -> None:
    class Jumping:
        """A clock that is where it is waited for."""

        at = 100.0

        def now(self) -> float:
            return self.at

        async def sleep_until(self, when: float) -> None:
            self.at = max(self.at, when)

    clock = Jumping()
    frames = [frame async for frame in frames_from(sine(RATE, 0.5), live=True, clock=clock)]
    assert {frame.samples.size for frame in frames} == {320}
    assert clock.at == pytest.approx(100.0 + len(frames) * 0.02)
    assert len(frames) == 25 + 100
    assert not np.concatenate([frame.samples for frame in frames])[8000:].any()


@pytest.mark.parametrize(("module", "call"), [("av", "decode"), ("soxr", "decode_raw")])
def test_a_missing_library_is_named_with_what_brings_it(
    module: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    pieces = (
        decode(io.BytesIO(_wav()), RATE, 320)
        if call == "decode"
        else decode_raw(io.BytesIO(bytes(10)), RATE, RATE, 320)
    )
    with pytest.raises(ExecutorUnavailable, match=r"pip install 'voxturn\[embedded\]'"):
        list(pieces)


class Endless(io.RawIOBase):
    """Half an hour of a recording that is made while it is read; it was never in memory."""

    def __init__(self, head: bytes, block: bytes, times: int) -> None:
        self._head, self._block, self._left, self.given = head, block, times, 0
        self._rest = head

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1, /) -> bytes:
        while len(self._rest) < size and self._left:
            self._rest += self._block
            self._left -= 1
        piece, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(piece)
        return piece


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
def test_half_an_hour_is_read_in_little_memory(raw: bool) -> None:
    minutes, rate = 30, 8000
    second = np.rint(sine(rate, 1.0) * 32767).astype("<i2").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(
            b"RIFF",
            0x7FFFFFFF,
            b"WAVE",
            b"fmt ",
            16,
            1,
            1,
            rate,
            rate * 2,
            2,
            16,
            b"data",
            0x7FFFFFFF - 36,
        ),
    )
    stream = Endless(b"" if raw else head, second, 60 * minutes)
    pieces = decode_raw(stream, rate, RATE, 7680) if raw else decode(stream, RATE, 7680)
    count, furthest = next(pieces).size, 0
    tracemalloc.start()
    try:
        for piece in pieces:
            count += piece.size
            furthest = max(
                furthest, stream.given - count
            )  # bytes read early: a sample out is a byte in
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == pytest.approx(60 * minutes * RATE, abs=RATE)
    assert furthest < 200_000
    assert peak < 2_000_000  # all of it would be 115 MB


def _put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _wav() -> bytes:
    return encoded("wav-s16", RATE, sine(RATE)[None])


def _video() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(5):
            out.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                )
            )
        out.mux(stream.encode(None))
    return buffer.getvalue()
