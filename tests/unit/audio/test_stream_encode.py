"""Encoders that write while samples come: whatever the pieces, the whole is there to its last sample."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.stream_encode import (
    FORMATS,
    WAV_24K,
    AudioFormat,
    StreamEncoder,
    format_of,
    pieces_of,
)
from voxturn.runtime.errors import UsageError
from voxturn.runtime.messages import Samples

RATES = (16_000, 22_050, 24_000, 44_100)
EXACT = ("opus", "flac", "wav", "pcm")

READERS = {"opus": "ogg"}
"""What FFmpeg calls the reader of a format whose name it is not."""


def most_extra(name: str, rate: int) -> int:
    """Samples that a decoder may give beyond what went in: the encoder's delay and one frame.

    LAME's delay is 576 + 529, and a frame of MPEG-1 twice one of MPEG-2; that of FFmpeg's AAC is a
    frame.
    """
    if name == "mp3":
        return 1105 + (1152 if rate >= 32_000 else 576)
    return 2048 if name == "aac" else 2


def encoded(form: AudioFormat, rate: int, pieces: Sequence[Samples]) -> bytes:
    encoder = StreamEncoder(form, rate)
    return b"".join([*(encoder.push(piece) for piece in pieces), encoder.finish()])


def decoded(form: AudioFormat, rate: int, data: bytes) -> tuple[Samples, int]:
    """All samples that a decoder gives, and their rate."""
    if form.name == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768, form.rate_for(rate)
    # named: FFmpeg's guess takes some noise of a twentieth of a second for another format
    with av.open(io.BytesIO(data), format=READERS.get(form.name, form.name)) as container:
        own = container.streams.audio[0].codec_context.sample_rate
        resampler = av.AudioResampler("flt", "mono", own)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]), own


def quiet_then_tone(rate: int, seconds: float) -> Samples:
    """Silence whose last 10 ms are a tone of 1 kHz."""
    samples = np.zeros(round(seconds * rate), np.float32)
    tone = np.arange(rate // 100) / rate
    samples[-tone.size :] = 0.5 * np.sin(2 * np.pi * 1000 * tone)
    return samples


def cut(samples: Samples, places: Sequence[int]) -> list[Samples]:
    return np.split(samples, sorted(place % (samples.size + 1) for place in places))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_decoded_ends_with_the_last_sample(name: str, rate: int) -> None:
    form, samples = FORMATS[name], quiet_then_tone(rate, 1.2357)
    pieces = list(pieces_of(samples, rate))
    heard, own = decoded(form, rate, encoded(form, rate, pieces))
    extra = heard.size - samples.size * own / rate
    assert -1 <= extra <= most_extra(name, own)
    loud = np.flatnonzero(np.abs(heard) > 0.1)
    if name in EXACT:
        assert heard.size - loud[-1] <= 0.002 * own
        assert heard.size - loud[0] <= 0.015 * own
    else:
        assert loud.size >= 0.004 * own
        assert loud[-1] >= samples.size * own / rate - 0.002 * own


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(FORMATS)),
    rate=st.sampled_from(RATES),
    size=st.integers(1, 200) | st.integers(1, 20_000),
    places=st.lists(st.integers(0, 1 << 20), max_size=12),
)
def test_any_pieces_give_the_same_length(
    name: str, rate: int, size: int, places: list[int]
) -> None:
    form = FORMATS[name]
    samples = np.random.default_rng(size).uniform(-0.5, 0.5, size).astype(np.float32)
    whole, own = decoded(form, rate, encoded(form, rate, [samples]))
    parts, _ = decoded(form, rate, encoded(form, rate, cut(samples, places)))
    assert parts.size == whole.size
    assert parts.size >= int(max(size / rate, form.least_s) * own)
    if name in ("flac", "wav", "pcm") and own == rate:
        assert np.array_equal(parts, whole)
        assert whole.size == max(size, round(form.least_s * rate))


def test_pcm_is_what_was_given() -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 5000).astype(np.float32)
    heard, _ = decoded(FORMATS["pcm"], 24_000, encoded(FORMATS["pcm"], 24_000, [samples]))
    assert np.abs(heard - samples).max() <= 1 / 32768


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    samples = np.full(4800, 3.0, np.float32)
    heard, _ = decoded(FORMATS["pcm"], 24_000, encoded(FORMATS["pcm"], 24_000, [samples]))
    assert heard.min() >= 0.999


@pytest.mark.parametrize("rate", RATES)
def test_pcm_is_always_of_24_khz(rate: int) -> None:
    data = encoded(FORMATS["pcm"], rate, [np.zeros(rate, np.float32)])
    assert abs(len(data) - 48_000) <= 4


def test_a_wav_of_open_length_is_read_by_others() -> None:
    samples = quiet_then_tone(22_050, 0.7)
    data = encoded(FORMATS["wav"], 22_050, [samples])
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        assert len(file.readframes(1 << 24)) == 2 * samples.size
    assert decode_all(io.BytesIO(data), 22_050).size == samples.size
    assert encoded(WAV_24K, 22_050, [samples])[24:28] == (24_000).to_bytes(4, "little")


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_bytes_come_within_a_tenth_of_a_second(name: str) -> None:
    encoder = StreamEncoder(FORMATS[name], 24_000)
    pieces = [encoder.push(np.zeros(480, np.float32)) for _ in range(5)]
    assert any(pieces)
    encoder.drop()
    encoder.drop()


@pytest.mark.parametrize("name", FORMATS)
def test_one_that_is_dropped_at_once_gives_nothing(name: str) -> None:
    StreamEncoder(FORMATS[name], 24_000).drop()


@pytest.mark.parametrize("rate", [1000, 96_000])
@pytest.mark.parametrize("name", FORMATS)
def test_rates_that_a_codec_has_not_are_resampled(name: str, rate: int) -> None:
    form = FORMATS[name]
    heard, own = decoded(form, rate, encoded(form, rate, [np.zeros(rate, np.float32)]))
    assert heard.size >= own * 0.99


def test_a_format_by_its_name() -> None:
    assert format_of("opus").media_type == "audio/ogg"
    with pytest.raises(UsageError, match="mp3, opus"):
        format_of("webm")
