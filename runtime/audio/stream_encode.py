"""Audio into the formats that clients ask for, piece by piece while it is made.

Each encoder writes into memory that can only be written to, as a socket can; what a piece has come to
is taken at once. Options are those with which no encoder holds back more than 61 ms; all of them
end with the last sample that was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from voxturn.runtime.audio.encode import wav_header
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.messages import Samples

_PIECE_S = 0.1


@dataclass(frozen=True)
class AudioFormat:
    """A format by its FFmpeg names. `rates`: those in Hz that its codec takes, none: any.

    `options` are the container's, `codec_options` the codec's; `bit_rate` in bit/s, 0: by the codec.
    `least_s`: what is shorter is lost in resamplers, or by readers that know a file by some frames.
    """

    name: str
    media_type: str
    container: str
    codec: str
    rates: tuple[int, ...] = ()
    bit_rate: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    codec_options: Mapping[str, str] = field(default_factory=dict)
    least_s: float = 0.02

    def rate_for(self, rate: int) -> int:
        """The rate that audio of `rate` Hz gets: the same or the next above, if there is one."""
        above = [each for each in self.rates if each >= rate]
        return min(above, default=max(self.rates, default=rate)) if self.rates else rate


FORMATS: Mapping[str, AudioFormat] = {
    each.name: each
    for each in (
        AudioFormat(
            "mp3",
            "audio/mpeg",
            "mp3",
            "libmp3lame",
            (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
            96_000,
            {"write_xing": "0", "id3v2_version": "0"},
            {"reservoir": "0"},
            0.1,
        ),
        AudioFormat(
            "opus",
            "audio/ogg",
            "ogg",
            "libopus",
            (8000, 12000, 16000, 24000, 48000),
            48_000,
            {"page_duration": "20000"},
            {"frame_duration": "20", "application": "voip"},
        ),
        AudioFormat(
            "aac",
            "audio/aac",
            "adts",
            "aac",
            (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
            96_000,
            least_s=0.1,
        ),
        AudioFormat(
            "flac",
            "audio/flac",
            "flac",
            "flac",
            codec_options={"compression_level": "0", "frame_size": "480"},
        ),
        AudioFormat("wav", "audio/wav", "s16le", "pcm_s16le"),
        AudioFormat("pcm", "audio/pcm", "s16le", "pcm_s16le", (24_000,)),
    )
}
"""By the names of OpenAI's `response_format`. `pcm` is always 24 kHz; `wav` has the voice's rate."""

WAV_24K = replace(FORMATS["wav"], rates=(24_000,))
"""WAV at 24 kHz, whatever rate the voice has."""


def format_of(name: str) -> AudioFormat:
    """A format by its name. Raises `UsageError` with those that there are."""
    if (known := FORMATS.get(name)) is None:
        raise UsageError(f"format {name[:40]!r}: there are {', '.join(FORMATS)}")
    return known


class StreamEncoder:
    """Mono samples at `rate` Hz into one format. `finish` or `drop` it when done.

    Raises `ExecutorUnavailable` where PyAV, or the codec in it, is not here.
    """

    def __init__(self, form: AudioFormat, rate: int) -> None:
        try:
            import av
        except ImportError as exc:
            raise ExecutorUnavailable(
                "encoding audio needs PyAV; pip install 'voxturn[embedded]'"
            ) from exc
        self._av = av
        self.format = form
        self.rate = form.rate_for(rate)
        """Of what is encoded, in Hz."""
        self._input_rate = rate
        self._given = 0
        self._pipe = _Pipe()
        self._container: Any = av.open(
            self._pipe, "w", format=form.container, container_options=dict(form.options)
        )
        try:
            self._stream: Any = self._container.add_stream(
                form.codec, rate=self.rate, layout="mono", options=dict(form.codec_options)
            )
        except av.codec.codec.UnknownCodecError as exc:
            self._container.close()
            raise ExecutorUnavailable(f"PyAV has no encoder {form.codec!r} here") from exc
        if form.bit_rate:
            self._stream.bit_rate = form.bit_rate
        if form.name == "wav":
            self._pipe.write(wav_header(self.rate))

    def push(self, samples: Samples) -> bytes:
        """Add samples. What has been encoded since the last call, which may be nothing."""
        if samples.size:
            limited = np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)
            frame = self._av.AudioFrame.from_ndarray(limited[None], format="fltp", layout="mono")
            frame.sample_rate = self._input_rate
            frame.time_base = Fraction(1, self._input_rate)
            frame.pts = self._given
            self._given += samples.size
            self._container.mux(self._stream.encode(frame))
        return self._pipe.take()

    def finish(self) -> bytes:
        """All that is still held back: of the resampler, the codec, and the container's last page.

        Silence follows what is shorter than the format's least.
        """
        missing = round(self.format.least_s * self._input_rate) - self._given
        rest = self.push(np.zeros(missing, np.float32)) if self._given and missing > 0 else b""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return rest + self._pipe.take()

    def drop(self) -> None:
        """Free it, whatever it still holds. Safe after `finish`, and to call twice."""
        self._container.close()
        self._pipe.take()


class _Pipe:
    """What a container is written into: it can neither seek nor tell."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def pieces_of(samples: Samples, rate: int) -> Iterator[Samples]:
    """The samples in pieces of 100 ms at most: encoding one takes a millisecond or two."""
    size = max(1, round(_PIECE_S * rate))
    for begin in range(0, samples.size, size):
        yield samples[begin : begin + size]
