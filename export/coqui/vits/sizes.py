"""The sizes of a VITS, read from its tensors, and every parameter that its graphs consume.

Configurations are not asked: published ones name other widths than their weights have. Names are
those of coqui-tts 0.28, `TTS/tts/models/vits.py`; `layouts` renames the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voxturn.export.checkpoint import Shapes
from voxturn.export.weights import Weights

TRAINING_ONLY = re.compile(
    r"disc\.|posterior_encoder\.|speaker_encoder\.|audio_transform\.|audio_resampler\."
    r"|duration_predictor\.(post_|flows\.1\.)|.*\.num_batches_tracked$"
)
"""Parameters that speaking never reads; of the duration predictor's flows upstream leaves one out."""
TEXT, DURATIONS, FLOW, DECODER = (
    "text_encoder",
    "duration_predictor",
    "flow.flows",
    "waveform_decoder",
)


@dataclass(frozen=True)
class TextSizes:
    """Of the text encoder. `width` is that of its layers: the symbols' and, where there are
    languages, that of theirs; `window` positions to either side have an embedding."""

    symbols: int
    symbol_width: int
    languages: int
    language_width: int
    width: int
    layers: int
    heads: int
    window: int
    inner: int
    kernel: int
    channels: int

    @classmethod
    def of(cls, w: Weights) -> TextSizes:
        """Raises `LookupError` or `ValueError` where it is no text encoder."""
        encoder = f"{TEXT}.encoder"
        symbols, symbol_width = w.shape(f"{TEXT}.emb.weight")
        languages, language_width = w.shape("emb_l.weight") if "emb_l.weight" in w else (0, 0)
        _, positions, head = w.shape(f"{encoder}.attn_layers.0.emb_rel_k")
        inner, width, kernel = w.shape(f"{encoder}.ffn_layers.0.conv_1.weight")
        return cls(
            symbols=symbols,
            symbol_width=symbol_width,
            languages=languages,
            language_width=language_width,
            width=width,
            layers=w.count(f"{encoder}.attn_layers"),
            heads=width // head,
            window=(positions - 1) // 2,
            inner=inner,
            kernel=kernel,
            channels=w.shape(f"{TEXT}.proj.weight")[0] // 2,
        )

    def shapes(self) -> Shapes:
        """Every parameter of the text encoder."""
        width, head = self.width, self.width // self.heads
        shapes: Shapes = {f"{TEXT}.emb.weight": (self.symbols, self.symbol_width)}
        if self.languages:
            shapes |= {"emb_l.weight": (self.languages, self.language_width)}
        for i in range(self.layers):
            layer = f"{TEXT}.encoder.attn_layers.{i}"
            for name in ("conv_q", "conv_k", "conv_v", "conv_o"):
                shapes |= biased(f"{layer}.{name}", width, width, 1)
            for name in ("emb_rel_k", "emb_rel_v"):
                shapes |= {f"{layer}.{name}": (1, 2 * self.window + 1, head)}
            forward = f"{TEXT}.encoder.ffn_layers.{i}"
            shapes |= biased(f"{forward}.conv_1", self.inner, width, self.kernel)
            shapes |= biased(f"{forward}.conv_2", width, self.inner, self.kernel)
            for number in (1, 2):
                shapes |= normed(f"{TEXT}.encoder.norm_layers_{number}.{i}", width)
        return shapes | biased(f"{TEXT}.proj", 2 * self.channels, width, 1)


@dataclass(frozen=True)
class DurationSizes:
    """Of the duration predictor: `width` channels inside and the `kernel` of its convolutions.

    A stochastic one has `flows` of `layers` convolutions and splines of `bins` pieces; of a plain
    one they are 0. `voice`, `language`: channels of what it is told of the speaker and the language.
    """

    width: int
    kernel: int
    flows: int
    layers: int
    bins: int
    voice: int
    language: int
    tall_norms: bool

    @property
    def stochastic(self) -> bool:
        return self.flows > 0

    @classmethod
    def of(cls, w: Weights, tells_speaker: bool) -> DurationSizes:
        """Raises `LookupError` or `ValueError` where it is no duration predictor."""
        stochastic = f"{DURATIONS}.flows.0.translation" in w
        kernels = f"{DURATIONS}.{'convs.convs_sep.0' if stochastic else 'conv_1'}.weight"
        flow = f"{DURATIONS}.flows.2"
        width, _, kernel = w.shape(kernels)
        return cls(
            width=width,
            kernel=kernel,
            flows=w.count(f"{DURATIONS}.flows") - 1 if stochastic else 0,
            layers=w.count(f"{DURATIONS}.convs.convs_sep"),
            bins=(w.shape(f"{flow}.proj.weight")[0] + 1) // 3 if stochastic else 0,
            voice=_inputs(w, f"{DURATIONS}.cond") if tells_speaker else 0,
            language=_inputs(w, f"{DURATIONS}.cond_lang"),
            tall_norms=not stochastic and len(w.shape(f"{DURATIONS}.norm_1.gamma")) > 1,
        )

    def shapes(self, inputs: int) -> Shapes:
        """Every parameter of the predictor, over `inputs` channels."""
        width = self.width
        told = width if self.stochastic else inputs
        shapes: Shapes = {}
        if self.voice:
            shapes |= biased(f"{DURATIONS}.cond", told, self.voice, 1)
        if self.language:
            shapes |= biased(f"{DURATIONS}.cond_lang", told, self.language, 1)
        if not self.stochastic:
            shapes |= biased(f"{DURATIONS}.conv_1", width, inputs, self.kernel)
            shapes |= biased(f"{DURATIONS}.conv_2", width, width, self.kernel)
            for number in (1, 2):
                shape = (1, width, 1) if self.tall_norms else (width,)
                shapes |= {f"{DURATIONS}.norm_{number}.{n}": shape for n in ("gamma", "beta")}
            return shapes | biased(f"{DURATIONS}.proj", 1, width, 1)
        shapes |= biased(f"{DURATIONS}.pre", width, inputs, 1)
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
class FlowSizes:
    """Of the `blocks` between the text's latents and the vocoder's, each a WaveNet of `layers`.

    `dilation`: how much wider each layer reaches than the one before; no tensor says it. `scales`:
    they change the latents' spread, too. `voice`: channels of the speaker, or 0.
    """

    blocks: int
    width: int
    layers: int
    kernel: int
    dilation: int
    scales: bool
    voice: int

    @classmethod
    def of(cls, w: Weights, dilation: int) -> FlowSizes:
        """Raises `LookupError` or `ValueError` where there are no such blocks."""
        first = f"{FLOW}.0"
        width, half, _ = w.shape(f"{first}.pre.weight")
        cond = f"{first}.enc.cond_layer"
        told = f"{cond}.bias" in w
        return cls(
            blocks=w.count(FLOW),
            width=width,
            layers=w.count(f"{first}.enc.in_layers"),
            kernel=w.weight_shape(f"{first}.enc.in_layers.0")[2],
            dilation=dilation,
            scales=w.shape(f"{first}.post.weight")[0] == 2 * half,
            voice=w.weight_shape(cond)[1] if told else 0,
        )

    def shapes(self, w: Weights, channels: int) -> Shapes:
        """Every parameter of the blocks, over latents of `channels`."""
        shapes: Shapes = {}
        half, width = channels // 2, self.width
        for i in range(self.blocks):
            block = f"{FLOW}.{i}"
            shapes |= biased(f"{block}.pre", width, half, 1)
            shapes |= biased(f"{block}.post", half * (2 if self.scales else 1), width, 1)
            for j in range(self.layers):
                out = width if j == self.layers - 1 else 2 * width
                for name, shape in (
                    (f"{block}.enc.in_layers.{j}", (2 * width, width, self.kernel)),
                    (f"{block}.enc.res_skip_layers.{j}", (out, width, 1)),
                ):
                    shapes |= w.weight_shapes(name, *shape) | {f"{name}.bias": shape[:1]}
            if self.voice:
                cond, rows = f"{block}.enc.cond_layer", 2 * width * self.layers
                shapes |= w.weight_shapes(cond, rows, self.voice, 1) | {f"{cond}.bias": (rows,)}
        return shapes


def biased(prefix: str, *shape: int) -> Shapes:
    """A weight and its bias."""
    return {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}


def normed(prefix: str, width: int) -> Shapes:
    """A layer norm's scale and shift."""
    return {f"{prefix}.gamma": (width,), f"{prefix}.beta": (width,)}


def _inputs(w: Weights, prefix: str) -> int:
    """How many channels a layer takes; 0 where there is none."""
    name = f"{prefix}.weight"
    return w.shape(name)[1] if name in w else 0
