"""Damaged recordings are read as far as they can be, at the file's own times; the right track is
heard."""

from __future__ import annotations

import io
import os
import threading
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import decode, decode_all
from voxturn.runtime.errors import AudioError, UnreadableAudio, UsageError
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import Samples

from tests.recordings import KINDS, RATE, encoded, matroska, rifx, sine, zeroed

LENGTH_S = 6.0
DAMAGED = ("mp3", "aac", "flac", "opus", "vorbis", "m4a")


def melody(rate: int) -> Samples:
    """Noise with a loud tone of 0.2 s at every second, which tells where one is."""
    t = np.arange(int(rate * LENGTH_S)) / rate
    noise = 0.1 * np.random.default_rng(0).standard_normal(t.size)
    return np.where(t % 1 < 0.2, 0.6 * np.sin(2 * np.pi * 440 * t), noise).astype(np.float32)


@cache
def recorded(kind: str) -> bytes:
    rate = KINDS[kind][2][-1]
    return encoded(kind, rate, np.stack([melody(rate)] * max(KINDS[kind][3])))


def tones(samples: Samples) -> list[float]:
    """When each loud tone begins, in seconds."""
    window = RATE // 100
    frames = samples[: samples.size // window * window].reshape(-1, window)
    loud = np.sqrt((frames**2).mean(1)) > 0.3
    begins = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    return [float(at) / 100 for at in ([0, *begins] if loud[0] else begins)]


PLACES = [(kind, False) for kind in DAMAGED]
PLACES += [(kind, True) for kind in DAMAGED if kind != "m4a"]  # its index lies at the end


@pytest.mark.parametrize(("kind", "piped"), PLACES)
def test_what_comes_after_a_damage_keeps_its_time(kind: str, piped: bool, tmp_path: Path) -> None:
    data, report = zeroed(recorded(kind), 0.48, 5000), ReadReport()
    if piped:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        feeder = threading.Thread(target=path.write_bytes, args=(data,))
        feeder.start()
        samples = decode_all(path, RATE, report=report)
        feeder.join()
    else:
        (tmp_path / "damaged").write_bytes(data)
        samples = decode_all(tmp_path / "damaged", RATE, report=report)
    found = tones(samples)
    for second in (0.0, 1.0, 5.0):
        assert min(abs(at - second) for at in found) < 0.08, found
    assert report.damaged
    assert 0.05 < report.lost_s < 2.5
    assert samples.size <= (LENGTH_S + 0.1) * RATE


def test_a_healthy_recording_reports_no_damage() -> None:
    for kind in DAMAGED:
        report = ReadReport()
        decode_all(io.BytesIO(recorded(kind)), RATE, report=report)
        assert report == ReadReport(), kind


def with_the_index_first(samples: Samples, rate: int, path: Path) -> bytes:
    """AAC in MP4 as it is put on the web."""
    options = {"movflags": "faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        stream = out.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


def whole_and_loud(kind: str, folder: Path) -> bytes:
    """Noise, which every codec gives bytes at every time."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, RATE * 6).astype(np.float32)
    match kind:
        case "matroska":
            return matroska(noise)
        case "two tracks":
            return matroska(noise, noise[: RATE * 2])
        case "m4a":
            return with_the_index_first(noise, RATE, folder / kind)
        case "webm":
            return encoded(kind, 48000, np.repeat(noise, 3)[None])
    return encoded(kind, RATE if kind.startswith("wav") else 48000, noise[None])


@pytest.mark.parametrize(
    "kind", ["wav-s16", "wav-f32", "matroska", "two tracks", "m4a", "webm", "flac", "wav-u8"]
)
def test_what_is_cut_off_at_the_end_is_counted(kind: str, tmp_path: Path) -> None:
    data, whole, cut = whole_and_loud(kind, tmp_path), ReadReport(), ReadReport()
    length = decode_all(io.BytesIO(data), RATE, report=whole).size / RATE
    assert not whole.damaged
    rest = decode_all(io.BytesIO(data[: len(data) * 3 // 5]), RATE, report=cut).size / RATE
    assert rest < 0.8 * length
    assert cut.lost_s == pytest.approx(length - rest, abs=0.1)


def test_a_half_last_packet_is_passed_over_and_counted() -> None:
    report = ReadReport()
    samples = decode_all(io.BytesIO(recorded("aac")[:-200]), RATE, report=report)
    assert samples.size > (LENGTH_S - 0.2) * RATE
    assert report.lost_packets == 1
    assert str(report).startswith("damaged: 1 packet could not be decoded, 0.0")


def test_where_nothing_can_be_decoded_it_is_an_error() -> None:
    data = recorded("m4a")
    first, last = data.index(b"mdat") + 4, data.index(b"moov") - 4
    with pytest.raises(UnreadableAudio, match="the stream: not readable as audio"):
        decode_all(io.BytesIO(data[:first] + bytes(last - first) + data[last:]), RATE)


@st.composite
def damages(draw: st.DrawFn) -> bytes:
    """A recording with some places zeroed, filled with noise, taken out, or cut off."""
    data = bytearray(recorded(draw(st.sampled_from(DAMAGED))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.sampled_from([1, 10, 100, 1000, 10_000]))
        here = len(data[at : at + size])
        match draw(st.sampled_from(["zero", "noise", "out", "cut"])):
            case "zero":
                data[at : at + size] = bytes(here)
            case "noise":
                seed = draw(st.integers(0, 1000))
                data[at : at + size] = np.random.default_rng(seed).bytes(here)
            case "out":
                del data[at : at + size]
            case "cut":
                del data[max(at, 1) :]
    return bytes(data)


@settings(max_examples=40)
@given(damages())
def test_no_damage_ends_in_anything_but_audio_or_its_error(data: bytes) -> None:
    count = 0
    try:
        for piece in decode(io.BytesIO(data), RATE, RATE, report=ReadReport()):
            assert np.isfinite(piece).all()
            count += piece.size
    except AudioError:
        pass
    # AAC without a container: a damaged header may claim frames that are longer than they were
    assert count <= (LENGTH_S + 0.3) * RATE


@pytest.mark.parametrize(
    ("suffix", "form"), [(".ul", "mulaw"), (".AL", "alaw"), (".ulaw", "mulaw")]
)
def test_samples_of_telephony_without_a_header_are_told_how_to_get_one(
    suffix: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a call{suffix}"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, RATE, np.uint8).tobytes())
    with pytest.raises(UnreadableAudio) as caught:
        decode_all(path, RATE)
    assert str(caught.value) == (
        f"{path}: has no header that says its rate; give it one: "
        f"ffmpeg -f {form} -ar 8000 -i '{path}' with-header.wav"
    )
    path.write_bytes(encoded("mp3", RATE, sine(RATE, 1.0)[None]))
    assert decode_all(path, RATE).size > RATE // 2


@pytest.mark.parametrize("begin_s", [0.0, 4.0, 70.0])
def test_a_track_that_begins_late_has_the_times_of_its_file(begin_s: float) -> None:
    report = ReadReport()
    data = matroska(sine(RATE, 1.0), begin_s=begin_s)
    samples = decode_all(io.BytesIO(data), RATE, report=report)
    begin = int(np.argmax(np.abs(samples) > 0.1)) / RATE
    assert begin == pytest.approx(begin_s, abs=0.01)
    assert report == ReadReport(begin_s=begin_s)
    assert samples.size == pytest.approx((begin_s + 1) * RATE, abs=20)


def test_a_lost_first_page_is_silence_too() -> None:
    data = recorded("opus")
    page = [at for at in range(len(data)) if data.startswith(b"OggS", at)][2]
    samples = decode_all(io.BytesIO(data[:page] + bytes(200) + data[page + 200 :]), RATE)
    assert samples.size == pytest.approx(LENGTH_S * RATE, abs=RATE // 10)
    assert any(abs(at - 2.0) < 0.05 for at in tones(samples))


async def test_frames_count_the_silence_before_a_track() -> None:
    data = matroska(sine(RATE, 1.0), begin_s=4.0)
    frames = [frame async for frame in frames_from(io.BytesIO(data))]
    assert frames[0].start == 0
    assert frames[-1].start + frames[-1].samples.size == 5 * RATE


def test_of_several_tracks_the_default_or_the_numbered_one_is_heard() -> None:
    tracks = [level * sine(RATE, 0.5) for level in (0.2, 0.6, 1.0)]
    for default in range(3):
        data = matroska(*tracks, default=default)
        for number in range(4):
            heard = decode_all(io.BytesIO(data), RATE, track=number)
            expected = tracks[number - 1 if number else default]
            assert np.abs(heard - expected).max() < 1e-3


def test_a_track_that_is_not_there_is_told_with_those_that_are() -> None:
    data = matroska(sine(RATE, 0.5), sine(RATE, 0.5), default=1)
    listed = r"it has 1 \(eng, pcm_s16le, mono, 16000 Hz\); 2 \(ara, pcm_s16le, .*default\)"
    with pytest.raises(UsageError, match=f"the stream: has no audio track 3; {listed}") as caught:
        decode_all(io.BytesIO(data), RATE, track=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("count", [1, 2])
def test_big_endian_riff_is_read_in_its_byte_order(codec: str, count: int) -> None:
    tone = sine(RATE, 0.5)
    data = rifx(np.stack([tone] * count), codec)
    assert np.abs(decode_all(io.BytesIO(data), RATE) - tone).max() < 1e-3


def test_big_endian_riff_of_another_codec_is_refused_in_a_line(tmp_path: Path) -> None:
    data = bytearray(rifx(sine(RATE, 0.5)[None], "i2"))
    data[20:22] = (0x11).to_bytes(2, "big")  # IMA ADPCM
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(UnreadableAudio, match=r"a\.wav: is a big-endian RIFF of adpcm_ima_wav"):
        decode_all(path, RATE)
