"""Tone colours: what OpenVoice knows of a voice, heard in recordings of it.

Source: coqui-tts 0.28, `OpenVoice.extract_se`, `_extract_target_se`: the mean over the recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
from voxturn.runtime.audio.decode import decode
from voxturn.runtime.audio.opening import Source
from voxturn.runtime.audio.speech import speech_part
from voxturn.runtime.errors import AudioError, UsageError
from voxturn.runtime.families.convert.spectrum import Float, least_samples, spectrum
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Samples
from voxturn.runtime.protocols import GraphExecutor

HEARD_S = 60.0
"""Of a recording: the encoder needs memory for all that it hears."""
LIVE_HEARD_S = 3.0
"""Of somebody who speaks now, before his first words are given in the other voice."""
_MIN_SPEECH_S = 0.5


class Tones:
    """Recordings to tone colours. `fft`, `hop` and `win` of spectra in samples of `rate`."""

    def __init__(
        self, graph: GraphExecutor, lane: Lane, rate: int, fft: int, hop: int, win: int
    ) -> None:
        self._graph = graph
        self._lane = lane
        self.rate = rate
        self.fft = fft
        self.hop = hop
        self.win = win
        self.least = least_samples(fft, hop)

    def of(self, recordings: Sequence[Source | Samples]) -> Float:
        """The tone colour `[1, width, 1]` of who speaks in recordings. Blocks.

        Raises `AudioError` for a file that is none, or has too little speech, `UsageError` where
        there are no recordings.
        """
        if not recordings:
            raise UsageError("name at least one recording of the voice")
        heard = [r if isinstance(r, np.ndarray) else self._read(r) for r in recordings]
        tones = [self._lane.make(self.tone, samples) for samples in heard]
        return np.asarray(np.mean(tones, axis=0), np.float32)

    def tone(self, samples: Samples) -> Float:
        """The tone colour in samples, of which `HEARD_S` are heard; in the engine's thread."""
        samples = samples[: int(HEARD_S * self.rate)]
        samples = np.pad(samples, (0, max(0, self.least - samples.size)))
        frames = spectrum(samples, self.fft, self.hop, self.win)
        return self._graph.run({"spectrum": np.ascontiguousarray(frames[None])})["tone"]

    def _read(self, source: Source) -> Samples:
        """The beginning of a recording. Raises `AudioError`."""
        pieces, count = [], 0
        with closing(decode(source, self.rate, self.rate)) as seconds:
            for piece in seconds:
                pieces.append(piece)
                count += piece.size
                if count >= HEARD_S * self.rate:
                    break
        samples = np.concatenate(pieces)
        speech_s = speech_part(samples, self.rate).samples.size / self.rate
        if speech_s < _MIN_SPEECH_S:
            raise AudioError(
                f"{getattr(source, 'name', source)}: holds {speech_s:.2f} s of speech in {samples.size / self.rate:.2f} s; "
                f"{_MIN_SPEECH_S} s are the least, some seconds give the voice well"
            )
        return samples
