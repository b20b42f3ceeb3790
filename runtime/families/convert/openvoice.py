"""OpenVoice (Qin et al. 2023) as a `Converter`: spectra to latents of another voice, latents to audio,
both window by window.

The samples are those of one conversion of the whole: every window has the context that can change
it. `noise` is upstream's `tau`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import ConversionOptions
from voxturn.runtime.families.by_language import Resampler
from voxturn.runtime.families.convert.spectrum import Float, Spectra
from voxturn.runtime.families.convert.tones import HEARD_S, LIVE_HEARD_S, Tones
from voxturn.runtime.families.convert.windows import Window, Windows
from voxturn.runtime.flow.handoff import Ahead, close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import PcmChunk, Samples, Sentence
from voxturn.runtime.protocols import GraphExecutor, Tensor

_LATENTS_AHEAD = 4
_NOBODY, _NONE = Sentence("", 0), np.zeros(0, np.float32)


@dataclass(frozen=True)
class Cut:
    """How a stream is cut: who speaks is heard for `heard_s`, then `spectra` says how many frames become
    latents together, `latents` how many of those become audio."""

    heard_s: float
    spectra: Plan
    latents: Plan


WHOLE = Cut(HEARD_S, Plan(first=40, largest=320), Plan(first=20, largest=160))
LIVE = Cut(LIVE_HEARD_S, Plan(first=32, largest=32), Plan(first=32, largest=32))
"""Of somebody who speaks now."""


@dataclass(frozen=True)
class Engines:
    """The graphs and what is known of them: `tones` hears voices, `latents` converts, `decoder` makes
    audio. `reach` frames of a spectrum to either side can change a frame's latents, `margin` frames
    of latents a frame's audio; a frame has `channels` of latents. `tells_speaker`: the decoder is told
    of the target."""

    lane: Lane
    tones: Tones
    latents: GraphExecutor
    decoder: GraphExecutor
    reach: int
    margin: int
    channels: int
    tells_speaker: bool


@dataclass(frozen=True)
class Manner:
    """How speech is converted: tone colours `[1, width, 1]` of the target and of who speaks, None
    where he is to be heard."""

    noise: float
    target: Float | None = None
    source: Float | None = None
    seed: int = 0
    live: bool = False


class OpenVoiceConverter:
    """A `Converter`."""

    def __init__(self, engines: Engines, manner: Manner) -> None:
        self._engines = engines
        self._tones = engines.tones
        self._manner = manner

    @property
    def rate(self) -> int:
        """Of the samples that it gives, in Hz."""
        return self._tones.rate

    @property
    def delay_s(self) -> float:
        """How much later than a sample its conversion can be given, computing apart."""
        cut, e = self._cut, self._engines
        frames = cut.spectra.largest + e.reach + cut.latents.largest + e.margin
        return (frames * self._tones.hop + self._tones.fft) / self.rate

    @property
    def _cut(self) -> Cut:
        return LIVE if self._manner.live else WHOLE

    async def __call__(
        self, audio: AsyncIterator[Samples], rate: int
    ) -> AsyncGenerator[PcmChunk, None]:
        """Audio of a rate in Hz, in the target's voice, as long as it is, to a frame.

        Raises `UsageError` where there is no target.
        """
        if self._manner.target is None:
            await close_iterator(audio)
            raise UsageError("name a recording of the voice that the speech is to have")
        start, windows = 0, Windows(self._cut.latents, self._engines.margin)
        latents = Ahead(self._latents(audio, rate), _LATENTS_AHEAD)
        try:
            async for frames, ended in latents:
                windows.push(frames)
                while (window := windows.next(ended)) is not None:
                    samples = await self._engines.lane.run(self._decode, window)
                    yield PcmChunk(samples, self.rate, start, _NOBODY, final=window.final)
                    start += samples.size
        finally:
            await latents.aclose()

    def using(self, options: ConversionOptions) -> OpenVoiceConverter:
        """The same engines with other options. Blocks where recordings are heard.

        Raises `AudioError`.
        """
        manner = self._manner
        if options.to is not None:
            manner = replace(manner, target=self._tones.of(options.to))
        if options.source is not None:
            manner = replace(manner, source=self._tones.of(options.source))
        for name in ("live", "seed", "noise"):
            if (value := getattr(options, name)) is not None:
                manner = replace(manner, **{name: value})
        return OpenVoiceConverter(self._engines, manner)

    async def warm(self) -> None:
        """Convert a moment of silence."""
        silence = np.zeros(self.rate, np.float32)
        tone = await self._engines.lane.run(self._tones.tone, silence)
        warming = OpenVoiceConverter(self._engines, replace(self._manner, target=tone, source=tone))

        async def moment() -> AsyncIterator[Samples]:
            yield silence

        async with aclosing(warming(moment(), self.rate)) as chunks:
            async for _ in chunks:
                pass

    async def _latents(
        self, audio: AsyncIterator[Samples], rate: int
    ) -> AsyncGenerator[tuple[Float, bool], None]:
        """Latents `[n, channels]` of the target's voice, window by window, and whether they are the last."""
        tones, manner, run = self._tones, self._manner, self._engines.lane.run
        spectra, random = (
            Spectra(tones.fft, tones.hop, tones.win),
            np.random.default_rng(manner.seed),
        )
        windows = Windows(self._cut.spectra, self._engines.reach)

        def push(frames: Float) -> None:
            """A frame's noise is drawn when it comes: it is the same however frames are cut."""
            noise = random.standard_normal((len(frames), self._engines.channels), np.float32)
            windows.push(np.concatenate([frames, manner.noise * noise], axis=1, dtype=np.float32))

        async with aclosing(_at_rate(audio, rate, tones)) as pieces:
            source, heard = manner.source, list[Samples]()
            if source is None:
                heard = await _beginning(pieces, self._cut.heard_s * tones.rate)
                source = await run(tones.tone, np.concatenate([_NONE, *heard]))
            async with aclosing(_joined(heard, pieces)) as every:
                async for samples in every:
                    push(await run(spectra.push, samples))
                    while (window := windows.next(ended=False)) is not None:
                        yield await run(self._convert, window, source), False
        push(await run(spectra.finish))
        while (window := windows.next(ended=True)) is not None:
            yield await run(self._convert, window, source), window.final

    def _convert(self, window: Window, source: Float) -> Float:
        """The latents `[count, channels]` of a window of spectra, each with its noise behind it."""
        assert self._manner.target is not None  # looked at before
        columns = np.split(window.frames.T[None], [-self._engines.channels], axis=1)
        spectrum, noise = (np.ascontiguousarray(each) for each in columns)
        told = {"source": source, "target": self._manner.target}
        inputs = {"spectrum": spectrum, "noise": noise, **told}
        latents = self._engines.latents.run(inputs)["latents"][0].T
        return np.ascontiguousarray(latents[window.before : window.before + window.count])

    def _decode(self, window: Window) -> Samples:
        """The samples of a window of latents."""
        inputs: dict[str, Tensor] = {"latents": np.ascontiguousarray(window.frames.T[None])}
        if self._engines.tells_speaker and self._manner.target is not None:
            inputs["speaker"] = self._manner.target
        audio = self._engines.decoder.run(inputs)["audio"].reshape(-1)
        begin, hop = window.before * self._tones.hop, self._tones.hop
        return np.ascontiguousarray(audio[begin : begin + window.count * hop])


async def _at_rate(
    audio: AsyncIterator[Samples], rate: int, tones: Tones
) -> AsyncGenerator[Samples, None]:
    """The audio at the converter's rate; what has fewer samples than a spectrum needs goes on in
    silence."""
    resampler, count = Resampler(rate, tones.rate), 0
    try:
        async for samples in audio:
            piece = resampler.push(samples, last=False)
            count += piece.size
            yield piece
        rest = resampler.push(np.zeros(0, np.float32), last=True)
        count += rest.size
        if count:
            yield np.pad(rest, (0, max(0, tones.least - count)))
    finally:
        await close_iterator(audio)


async def _beginning(pieces: AsyncIterator[Samples], samples: float) -> list[Samples]:
    """So many samples of a stream, or all that there are."""
    found: list[Samples] = []
    async for piece in pieces:
        found.append(piece)
        samples -= piece.size
        if samples <= 0:
            break
    return found


async def _joined(
    first: list[Samples], rest: AsyncIterator[Samples]
) -> AsyncGenerator[Samples, None]:
    for samples in first:
        yield samples
    async for samples in rest:
        yield samples
