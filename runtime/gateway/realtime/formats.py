"""Audio as clients send and get it: 16-bit PCM at 24 or 16 kHz, ITU-T G.711 at 8 kHz,
µ-law or A-law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr
from voxturn.runtime.audio.encode import from_int16, to_int16
from voxturn.runtime.errors import AudioError
from voxturn.runtime.messages import Samples

Pcm = npt.NDArray[np.int16]
_BIAS, _CLIP = 0x84, 32635
HEARD_RATE = 16000


def _ulaw_values() -> Pcm:
    """The 256 samples of µ-law, by their codes (G.711, table 2; as 16 bits)."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + _BIAS << ((code >> 4) & 7)) - _BIAS
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _alaw_values() -> Pcm:
    """The 256 samples of A-law, by their codes (G.711, table 1; as 16 bits)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code >> 4) & 7
    size = ((code & 0x0F) << 4) + 8
    size = np.where(segment > 0, (size + 0x100) << np.maximum(segment - 1, 0), size)
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _codes_of(
    encode: Callable[[npt.NDArray[np.int32]], npt.NDArray[np.int32]],
) -> npt.NDArray[np.uint8]:
    """The code of each 16-bit sample, by the sample as an unsigned number."""
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    return encode(samples).astype(np.uint8)


def _ulaw_code(samples: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    size = np.minimum(np.abs(samples), _CLIP) + _BIAS
    segment = np.floor(np.log2(size)).astype(np.int32) - 7
    code = (segment << 4) | ((size >> (segment + 3)) & 0x0F)
    return np.asarray(~(code | np.where(samples < 0, 0x80, 0)) & 0xFF, np.int32)


def _alaw_code(samples: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    size = np.where(samples < 0, -samples - 1, samples) >> 3
    segment = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int32) - 4, 0)
    shift = np.where(segment < 2, 1, segment)
    code = (segment << 4) | ((size >> shift) & 0x0F)
    return np.asarray((code ^ 0x55) ^ np.where(samples < 0, 0, 0x80), np.int32)


ULAW, ALAW = _ulaw_values(), _alaw_values()
_ULAW_CODES, _ALAW_CODES = _codes_of(_ulaw_code), _codes_of(_alaw_code)


@dataclass(frozen=True)
class Format:
    """A form of audio: how many bytes a sample has, and which. `values` and `codes` are tables of
    its codes, where it has any."""

    name: str
    rate: int
    width: int
    values: Pcm | None = None
    codes: npt.NDArray[np.uint8] | None = None

    def samples(self, raw: bytes) -> Samples:
        """Bytes as samples. Raises `AudioError` for half a sample."""
        if len(raw) % self.width:
            raise AudioError(f"{len(raw)} bytes are no whole number of 16-bit samples")
        if self.values is not None:
            raw = self.values[np.frombuffer(raw, np.uint8)].astype("<i2").tobytes()
        return from_int16(raw)

    def raw(self, samples: Samples) -> bytes:
        """Samples as bytes; what is louder than full scale is clipped."""
        pcm = to_int16(samples)
        return pcm if self.codes is None else self.codes[np.frombuffer(pcm, "<u2")].tobytes()


FORMATS = {
    each.name: each
    for each in (
        Format("audio/pcm", 24000, 2),
        Format("audio/pcmu", 8000, 1, ULAW, _ULAW_CODES),
        Format("audio/pcma", 8000, 1, ALAW, _ALAW_CODES),
    )
}
PCM_16K = Format("audio/pcm", HEARD_RATE, 2)


class Decoder:
    """Bytes of a format to 16 kHz samples, as they come."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self._stream: soxr.ResampleStream | None = None

    def push(self, raw: bytes) -> Samples:
        """Raises `AudioError`."""
        samples = self.form.samples(raw)
        if self.form.rate == HEARD_RATE:
            return samples
        if self._stream is None:  # with the first audio: many connections never send any
            # what little the filter holds back delays the end of speech: 6 ms of PCM, 26 of G.711
            quality = "LQ" if self.form.rate > HEARD_RATE else "MQ"
            self._stream = soxr.ResampleStream(self.form.rate, HEARD_RATE, 1, "float32", quality)
        return np.asarray(self._stream.resample_chunk(samples), np.float32)


class Encoder:
    """Samples of a rate to bytes of a format, as they come; `flush` gives the rest."""

    def __init__(self, rate: int, form: Format) -> None:
        self.form = form
        self._stream = None
        if rate != form.rate:
            self._stream = soxr.ResampleStream(rate, form.rate, 1, "float32", "MQ")

    def push(self, samples: Samples, last: bool = False) -> bytes:
        """The next bytes."""
        if self._stream is not None:
            samples = np.asarray(self._stream.resample_chunk(samples, last=last), np.float32)
        return self.form.raw(samples)

    def flush(self) -> bytes:
        """The last bytes."""
        return self.push(np.zeros(0, np.float32), last=True)
