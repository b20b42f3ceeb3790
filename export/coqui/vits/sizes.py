"""The sizes of a VITS, read from its tensors, and every parameter that its graphs consume.

Configurations are not asked: published ones name other widths than their weights have. Names are
those of coqui-tts 0.28, `TTS/tts/models/vits.py`; `layouts` renames the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.layers import (
    PlainDurationSizes,
    TransformerSizes,
    WavenetSizes,
    biased,
    normed,
)
from voxturn.export.hifigan import HifiganSizes
from voxturn.export.weights import Weights

TRAINING_ONLY = re.compile(
    r"disc\.|posterior_encoder\.|speaker_encoder\.|audio_transform\.|audio_resampler\."
    r"|duration_predictor\.(post_|flows\.1\.)|.*\.num_batches_tracked$"
)
"""Parameters that speaking never reads; of the duration predictor's flows upstream leaves one out."""
TEXT, DURATIONS = "text_encoder", "duration_predictor"
FLOW, DECODER = "flow.flows", "waveform_decoder"


@dataclass(frozen=True)
class TextSizes:
    """Of the text encoder: a table of `symbols`, one of `languages` where there are some, whose rows
    are joined, a transformer, and `channels` of latents behind it."""

    symbols: int
    symbol_width: int
    languages: int
    language_width: int
    transformer: TransformerSizes
    channels: int

    @classmethod
    def of(cls, w: Weights) -> TextSizes:
        """Raises `LookupError` or `ValueError` where it is no text encoder."""
        symbols, symbol_width = w.shape(f"{TEXT}.emb.weight")
        languages, language_width = w.shape("emb_l.weight") if "emb_l.weight" in w else (0, 0)
        channels = w.shape(f"{TEXT}.proj.weight")[0] // 2
        transformer = TransformerSizes.of(w, f"{TEXT}.encoder")
        return cls(symbols, symbol_width, languages, language_width, transformer, channels)

    def shapes(self) -> Shapes:
        """Every parameter of the text encoder."""
        shapes: Shapes = {f"{TEXT}.emb.weight": (self.symbols, self.symbol_width)}
        if self.languages:
            shapes |= {"emb_l.weight": (self.languages, self.language_width)}
        shapes |= self.transformer.shapes()
        return shapes | biased(f"{TEXT}.proj", 2 * self.channels, self.transformer.width, 1)


@dataclass(frozen=True)
class SplineSizes:
    """Of a stochastic duration predictor: `width` channels inside, `flows` of `layers` convolutions of
    one `kernel` each, and splines of `bins` pieces."""

    width: int
    kernel: int
    flows: int
    layers: int
    bins: int

    @classmethod
    def of(cls, w: Weights) -> SplineSizes:
        """Raises `LookupError` or `ValueError` where it is no such predictor."""
        width, _, kernel = w.shape(f"{DURATIONS}.convs.convs_sep.0.weight")
        return cls(
            width=width,
            kernel=kernel,
            flows=w.count(f"{DURATIONS}.flows") - 1,
            layers=w.count(f"{DURATIONS}.convs.convs_sep"),
            bins=(w.shape(f"{DURATIONS}.flows.2.proj.weight")[0] + 1) // 3,
        )

    def shapes(self, inputs: int) -> Shapes:
        """Every parameter of the predictor, over `inputs` channels."""
        width = self.width
        shapes = biased(f"{DURATIONS}.pre", width, inputs, 1)
        shapes |= biased(f"{DURATIONS}.proj", width, width, 1) | self._convolutions(DURATIONS)
        shapes |= {f"{DURATIONS}.flows.0.{n}": (2, 1) for n in ("translation", "log_scale")}
        for i in range(2, self.flows + 1):
            flow = f"{DURATIONS}.flows.{i}"
            shapes |= biased(f"{flow}.pre", width, 1, 1) | self._convolutions(flow)
            shapes |= biased(f"{flow}.proj", 3 * self.bins - 1, width, 1)
        return shapes

    def _convolutions(self, prefix: str) -> Shapes:
        shapes: Shapes = {}
        for i in range(self.layers):
            shapes |= biased(f"{prefix}.convs.convs_sep.{i}", self.width, 1, self.kernel)
            shapes |= biased(f"{prefix}.convs.convs_1x1.{i}", self.width, self.width, 1)
            shapes |= normed(f"{prefix}.convs.norms_1.{i}", self.width)
            shapes |= normed(f"{prefix}.convs.norms_2.{i}", self.width)
        return shapes


@dataclass(frozen=True)
class DurationSizes:
    """Of either duration predictor. `voice`, `language`: channels of what it is told of the speaker
    and the language, 0 where it is not."""

    predictor: PlainDurationSizes | SplineSizes
    voice: int
    language: int

    @classmethod
    def of(cls, w: Weights, tells_speaker: bool) -> DurationSizes:
        """Raises `LookupError` or `ValueError` where it is no duration predictor."""
        stochastic = f"{DURATIONS}.flows.0.translation" in w
        return cls(
            predictor=SplineSizes.of(w) if stochastic else PlainDurationSizes.of(w, DURATIONS),
            voice=_inputs(w, f"{DURATIONS}.cond") if tells_speaker else 0,
            language=_inputs(w, f"{DURATIONS}.cond_lang"),
        )

    def shapes(self, inputs: int) -> Shapes:
        """Every parameter of the predictor, over `inputs` channels."""
        stochastic = isinstance(self.predictor, SplineSizes)
        told = self.predictor.width if stochastic else inputs
        shapes: Shapes = {}
        if self.voice:
            shapes |= biased(f"{DURATIONS}.cond", told, self.voice, 1)
        if self.language:
            shapes |= biased(f"{DURATIONS}.cond_lang", told, self.language, 1)
        if isinstance(self.predictor, SplineSizes):
            return shapes | self.predictor.shapes(inputs)
        return shapes | self.predictor.shapes()


@dataclass(frozen=True)
class FlowSizes:
    """Of the `blocks` between the text's latents and the vocoder's, each a WaveNet. `scales`: they
    change the latents' spread, too."""

    blocks: int
    scales: bool
    wavenet: WavenetSizes

    @classmethod
    def of(cls, w: Weights, dilation: int) -> FlowSizes:
        """Raises `LookupError` or `ValueError` where there are no such blocks."""
        half = w.shape(f"{FLOW}.0.pre.weight")[1]
        scales = w.shape(f"{FLOW}.0.post.weight")[0] == 2 * half
        return cls(w.count(FLOW), scales, WavenetSizes.of(w, f"{FLOW}.0.enc", dilation))

    def shapes(self, w: Weights, channels: int) -> Shapes:
        """Every parameter of the blocks, over latents of `channels`."""
        shapes: Shapes = {}
        half, width = channels // 2, self.wavenet.width
        for i in range(self.blocks):
            block = f"{FLOW}.{i}"
            shapes |= biased(f"{block}.pre", width, half, 1)
            shapes |= biased(f"{block}.post", half * (2 if self.scales else 1), width, 1)
            shapes |= self.wavenet.shapes(w, f"{block}.enc")
        return shapes


@dataclass(frozen=True)
class VitsSizes:
    """Of a whole VITS. `stretch`: how many frames of the vocoder a latent becomes."""

    text: TextSizes
    durations: DurationSizes
    flow: FlowSizes
    decoder: HifiganSizes
    stretch: float = 1.0

    def __post_init__(self) -> None:
        """Raise `ValueError` for parts that are not of one model."""
        text, width = self.text, self.text.transformer.width
        voices = {self.durations.voice, self.flow.wavenet.voice, self.decoder.voice} - {0}
        if len(voices) > 1:
            raise ValueError(f"its parts take speakers of {sorted(voices)} channels")
        if self.decoder.channels != text.channels:
            raise ValueError(
                f"the flow has {text.channels} channels, the vocoder {self.decoder.channels}"
            )
        if text.symbol_width + text.language_width != width:
            raise ValueError(f"the text encoder is {width} wide, its symbols {text.symbol_width}")

    @property
    def voice(self) -> int:
        """Channels of what the graphs are told of the speaker; 0 where there is one."""
        return max(self.durations.voice, self.flow.wavenet.voice, self.decoder.voice)

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter that the two graphs consume."""
        return (
            self.text.shapes()
            | self.durations.shapes(self.text.transformer.width)
            | self.flow.shapes(w, self.text.channels)
            | self.decoder.shapes(w)
        )


def _inputs(w: Weights, prefix: str) -> int:
    """How many channels a layer takes; 0 where there is none."""
    name = f"{prefix}.weight"
    return w.shape(name)[1] if name in w else 0
