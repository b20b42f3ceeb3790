"""The answers of a session as the binary frames of a client's format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.audio.stream_encode import FORMATS, StreamEncoder, pieces_of
from voxturn.runtime.errors import UsageError
from voxturn.runtime.gateway.voice.messages import AudioHeader, OutputAudio
from voxturn.runtime.gateway.voice.outgoing import Audio
from voxturn.runtime.messages import PcmChunk, Samples

_LEAST_RATE = 8000
_OPUS_RATES = FORMATS["opus"].rates


class Speaking:
    """Encodes one answer after the other, each as a stream of its own.

    Raises `UsageError` for a rate that the format has not.
    """

    def __init__(self, output: OutputAudio, voice_rate: int) -> None:
        form = FORMATS[output.format]
        self.rate = output.rate or form.rate_for(voice_rate)
        if output.format == "pcm" and not output.rate:
            self.rate = voice_rate
        """Of the output, in Hz."""
        if self.rate < _LEAST_RATE:
            raise UsageError(f"output.rate {self.rate}: must be 0, or from {_LEAST_RATE} to 48000")
        if output.format == "opus" and self.rate not in _OPUS_RATES:
            rates = ", ".join(map(str, _OPUS_RATES))
            raise UsageError(f"output.rate {self.rate}: of opus it is one of {rates}")
        self._form = replace(form, rates=(self.rate,))
        self._voice_rate = voice_rate
        self._plain = output.format == "pcm" and self.rate == voice_rate
        self._encoder: StreamEncoder | None = None
        self._turn = self._sentence = 0
        self.samples = 0
        """Of the answer so far, at `rate`."""

    def begin(self, turn: int) -> None:
        """Another answer comes; what was held back of the one before is gone."""
        self.drop()
        self._turn = turn
        self.samples = 0

    def frames(self, chunk: PcmChunk) -> Iterator[Audio]:
        """A chunk of the answer; nothing, where the codec holds it back."""
        self._sentence = chunk.sentence.index
        given = chunk.start
        for piece in pieces_of(chunk.samples, chunk.rate):
            first = self.samples == 0
            given += piece.size
            end = round(given * self.rate / self._voice_rate)
            last = chunk.final and given == chunk.start + chunk.samples.size
            yield self._frame(self._encoded(piece), end, first, last)

    def rest(self) -> Iterator[Audio]:
        """What the codec has held back to the answer's end."""
        if self._encoder is not None:
            data = self._encoder.finish()
            self._encoder = None
            if data:
                yield self._frame(data, self.samples, False, True)

    def drop(self) -> None:
        """Forget what is held back."""
        if self._encoder is not None:
            self._encoder.drop()
            self._encoder = None

    def _encoded(self, samples: Samples) -> bytes:
        if self._plain:
            return to_int16(samples)
        if self._encoder is None:
            self._encoder = StreamEncoder(self._form, self._voice_rate)
        return self._encoder.push(samples)

    def _frame(self, data: bytes, end: int, first: bool, final: bool) -> Audio:
        count = end - self.samples
        header = AudioHeader(
            0, self._turn, self._sentence, self.samples, count, first=first, final=final
        )
        self.samples = end
        return Audio(header, data, count / self.rate)
