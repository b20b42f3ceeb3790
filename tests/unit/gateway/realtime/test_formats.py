"""G.711 by what is known of it, and streams of every format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import AudioError
from voxturn.runtime.gateway.realtime.formats import ALAW, FORMATS, ULAW, Decoder, Encoder

PCM, PCMU, PCMA = (FORMATS[f"audio/{name}"] for name in ("pcm", "pcmu", "pcma"))


def test_g711_has_the_values_that_its_tables_give() -> None:
    # ITU-T G.711, tables 2a and 1a, in 16 bits
    assert [int(ULAW[code]) for code in (0xFF, 0x7F, 0x80, 0x00, 0xFE, 0xF0, 0xEF, 0x9F)] == [
        0,
        0,
        32124,
        -32124,
        8,
        120,
        132,
        8316,
    ]
    assert [int(ALAW[code]) for code in (0xD5, 0x55, 0xAA, 0x2A, 0xD4, 0xC5)] == [
        8,
        -8,
        32256,
        -32256,
        24,
        264,
    ]


def test_every_code_is_the_code_of_its_value() -> None:
    codes = np.arange(256, dtype=np.uint8).tobytes()
    assert PCMA.raw(PCMA.samples(codes)) == codes
    again = np.frombuffer(PCMU.raw(PCMU.samples(codes)), np.uint8)
    assert ULAW[again].tolist() == ULAW.tolist()  # two codes mean zero


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_a_sample_becomes_the_nearest_that_there_is(values: list[int]) -> None:
    samples = np.array(values, np.float32) / 32768
    for form, table in ((PCMU, ULAW), (PCMA, ALAW)):
        got = np.round(form.samples(form.raw(samples)) * 32768)
        best = np.array([np.abs(table.astype(int) - value).min() for value in values])
        step = np.maximum(16, np.abs(np.array(values)) / 16)
        assert (np.abs(got - np.array(values)) <= best + step).all()
    assert PCM.samples(PCM.raw(samples)).tolist() == samples.tolist()


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError):
        PCM.samples(b"abc")


def test_what_is_too_loud_is_clipped() -> None:
    assert PCM.raw(np.array([2.0, -2.0], np.float32)) == b"\xff\x7f\x00\x80"


@pytest.mark.parametrize("name", list(FORMATS))
def test_streams_keep_the_length_and_the_tone(name: str) -> None:
    form = FORMATS[name]
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    encoder = Encoder(22050, form)
    raw = b"".join(encoder.push(tone[at : at + 997]) for at in range(0, tone.size, 997))
    raw += encoder.flush()
    assert len(raw) == form.rate * form.width
    decoder = Decoder(form)
    parts = [decoder.push(raw[at : at + 480]) for at in range(0, len(raw), 480)]
    heard = np.concatenate(parts)
    assert 16000 * 0.93 <= heard.size <= 16000
    spectrum = np.abs(np.fft.rfft(heard[4000:12000]))
    assert np.argmax(spectrum) == 220
    assert np.abs(heard[4000:12000]).max() == pytest.approx(0.5, abs=0.03)
