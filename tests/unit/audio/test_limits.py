"""How long, how wide and how far into its file a recording's sound may be, and what is no recording
at all."""

from __future__ import annotations

import errno
import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime.audio import opening
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import decode_all, decode_raw
from voxturn.runtime.audio.limits import believable_s
from voxturn.runtime.errors import AudioTooLong, UnreadableAudio
from voxturn.runtime.frames import frames_from

from tests.recordings import RATE, SECONDS, encoded, matroska, sine
from tests.security.audio_boxes import attached, film, lasting

WAV = encoded("wav-s16", RATE, sine(RATE)[None])
LOW_RATE = 1000
"""Hours take little memory at it."""
PCM = np.rint(sine(RATE) * 32767).astype("<i2").tobytes()


def test_a_recording_that_is_longer_than_is_allowed_is_refused_after_that() -> None:
    assert decode_all(io.BytesIO(WAV), RATE, longest_s=SECONDS).size == SECONDS * RATE
    with pytest.raises(AudioTooLong, match=r"the stream: is longer than 1 s, the longest_s"):
        decode_all(io.BytesIO(WAV), RATE, longest_s=1.0)


def test_so_is_raw_pcm() -> None:
    with pytest.raises(AudioTooLong, match="the stream: is longer than 1 s"):
        list(decode_raw(io.BytesIO(PCM), RATE, RATE, 320, longest_s=1.0))


@pytest.mark.parametrize("raw_rate", [0, RATE])
async def test_frames_come_up_to_the_longest_that_is_allowed(raw_rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(PCM if raw_rate else WAV)
    count = 0
    with pytest.raises(AudioTooLong, match=r"is longer than 1 s"):
        async for frame in frames_from(path, raw_rate=raw_rate, longest_s=1.0):
            count += frame.samples.size
    assert 0 < count <= RATE


@pytest.mark.parametrize("begin_s", [1800.0, 7200.0])
def test_silence_before_a_track_is_in_proportion_to_the_bytes(begin_s: float) -> None:
    """A small file that begins after two hours is heard from its sound on."""
    report, data = ReadReport(), matroska(sine(RATE, 0.5), begin_s=begin_s)
    samples = decode_all(io.BytesIO(data), LOW_RATE, report=report, longest_s=10_000.0)
    believed = begin_s < believable_s(len(data))
    assert believed is (begin_s == 1800.0)
    assert samples.size == pytest.approx((begin_s * believed + 0.5) * LOW_RATE, abs=4)
    assert report.begin_s == (begin_s if believed else 0.0)
    assert report.left_out_s == (0.0 if believed else begin_s)
    assert report.damaged is not believed
    assert ("7200 s of silence are left out" in str(report)) is not believed


def test_a_long_silence_in_a_larger_file_is_kept() -> None:
    data = film(extra=attached(100_000), time=7_200_000, info=lasting(7201.0))
    report = ReadReport()
    samples = decode_all(io.BytesIO(data), LOW_RATE, report=report, longest_s=10_000.0)
    assert samples.size == pytest.approx(7200.5 * LOW_RATE, abs=4)
    assert report.begin_s == 7200.0


def test_a_device_and_a_socket_are_no_recordings(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match=r"^/dev/zero: is a device or a socket; give an"):
        decode_all("/dev/zero", RATE)
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's name may not be long
        try:
            server.bind("a.wav")
        finally:
            os.chdir(here)
        with pytest.raises(UnreadableAudio, match=r"a\.wav: is a device or a socket"):
            decode_all(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize("after", [0, 60_000])
def test_a_stream_that_fails_is_told_with_its_reason(
    after: int, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= after:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    data = encoded("wav-s16", 48000, sine(48000)[None])
    with pytest.raises(UnreadableAudio, match=r"the stream: cannot be read \(Input/output error\)"):
        decode_all(Failing(data), RATE)
    assert capfd.readouterr().err == ""


class Tagged(io.RawIOBase):
    """A pipe with an MP3 behind a tag of 256 MB, which is made while it is read."""

    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        head = b"ID3\3\0\0\x7f\x7f\x7f\x7f" if self.given == 0 else b""
        self.given += size
        return head.ljust(size, b"\1")


def test_a_header_without_end_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "MOST_HEADER_BYTES", 1 << 20)
    stream = Tagged()
    with pytest.raises(UnreadableAudio, match="the stream: no sound begins within its first 1 MB"):
        decode_all(stream, RATE)
    assert stream.given < 1_500_000
    assert capfd.readouterr().err == ""  # where PyAV writes errors that come twice


def test_a_kind_without_a_header_is_known_by_the_name_of_its_file(tmp_path: Path) -> None:
    data = np.rint(sine(8000) * 32767).astype("<i2").tobytes()
    for name in ("a.sln", "a.wav"):
        (tmp_path / name).write_bytes(data)
    assert decode_all(tmp_path / "a.sln", RATE).size == pytest.approx(SECONDS * RATE, abs=4)
    with pytest.raises(UnreadableAudio, match=r"a\.wav: not readable as audio"):
        decode_all(tmp_path / "a.wav", RATE)
