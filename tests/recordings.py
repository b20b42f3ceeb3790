"""Recordings in every container, encoded by PyAV while a test runs."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
from voxturn.runtime.messages import Samples

RATE, SECONDS, PITCH, LEVEL = 16000, 1.5, 440.0, 0.5
# container, encoder, rates that it knows, channels, how many samples longer than what was encoded
# it may come out
KINDS = {
    "wav-u8": ("wav", "pcm_u8", (8000, 22050, 44100, 48000), (1, 2), 4),
    "wav-s16": ("wav", "pcm_s16le", (8000, 16000, 22050, 44100, 48000), (1, 2), 4),
    "wav-s24": ("wav", "pcm_s24le", (44100, 48000), (1, 2), 4),
    "wav-s32": ("wav", "pcm_s32le", (22050, 44100), (1, 2), 4),
    "wav-f32": ("wav", "pcm_f32le", (16000, 48000), (1, 2), 4),
    "flac": ("flac", "flac", (8000, 22050, 44100, 48000), (1, 2), 4),
    "mp3": ("mp3", "libmp3lame", (8000, 22050, 44100, 48000), (1, 2), 1200),
    "opus": ("ogg", "libopus", (8000, 48000), (1, 2), 400),
    "vorbis": (
        "ogg",
        "vorbis",
        (22050, 44100, 48000),
        (2,),
        400,
    ),  # FFmpeg's own encoder knows stereo alone
    "webm": ("webm", "libopus", (48000,), (1, 2), 400),
    "aac": ("adts", "aac", (44100,), (1, 2), 1600),
    "m4a": ("mp4", "aac", (22050, 44100, 48000), (1, 2), 1200),
}


def sine(rate: int, seconds: float = SECONDS) -> Samples:
    return (LEVEL * np.sin(2 * np.pi * PITCH * np.arange(int(rate * seconds)) / rate)).astype(
        np.float32
    )


def encoded(kind: str, rate: int, channels: Samples) -> bytes:
    """`channels` float32 `[channels, n]` in the container and codec of a kind."""
    container, codec, *_ = KINDS[kind]
    layout = "mono" if len(channels) == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def float_wav(samples: Samples, rate: int = RATE) -> bytes:
    data = samples.astype("<f4").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        rate,
        rate * 4,
        4,
        32,
    )
    return head + struct.pack("<4sI", b"data", len(data)) + data


def matroska(*tracks: Samples, begin_s: float = 0.0, default: int = 0) -> bytes:
    """Mono tracks of 16 kHz PCM in Matroska that begin `begin_s` late; number `default` is flagged
    so."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        streams = [out.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in tracks]
        for number, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition(int(number == default))
            stream.metadata["language"] = ("eng", "ara", "deu")[number]
        for start in range(0, max(track.size for track in tracks), 1600):
            for stream, track in zip(streams, tracks, strict=True):
                if start >= track.size:
                    continue
                frame = av.AudioFrame.from_ndarray(
                    np.rint(track[start : start + 1600] * 32767).astype(np.int16)[None],
                    format="s16",
                    layout="mono",
                )
                frame.sample_rate, frame.pts = RATE, start + int(begin_s * RATE)
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return buffer.getvalue()


def rifx(channels: Samples, codec: str) -> bytes:
    """`channels` float32 `[channels, n]` at 16 kHz as big-endian RIFF; `codec` is the numpy type of
    its samples."""
    kind = np.dtype(codec).newbyteorder(">")
    scale = 1.0 if kind.kind == "f" else 2.0 ** (8 * kind.itemsize - 1) - 1
    data = (channels.T * scale).astype(kind).tobytes()
    count, width = len(channels), kind.itemsize
    head = b"".join(
        number.to_bytes(size, "big")
        for number, size in (
            (16, 4),
            (3 if kind.kind == "f" else 1, 2),
            (count, 2),
            (RATE, 4),
            (RATE * count * width, 4),
            (count * width, 2),
            (8 * width, 2),
        )
    )
    size = (36 + len(data)).to_bytes(4, "big")
    return b"RIFX" + size + b"WAVEfmt " + head + b"data" + len(data).to_bytes(4, "big") + data


def zeroed(data: bytes, at: float, size: int) -> bytes:
    """The same bytes with zeros in a place: `at` is its share of the length."""
    first = int(at * len(data))
    return data[:first] + bytes(min(size, len(data) - first)) + data[first + size :]
