"""The sizes of a Tacotron 2, of its tensors; what no tensor says is its configuration's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.layers import biased
from voxturn.export.coqui.tacotron.additive import AdditiveAttention
from voxturn.export.coqui.tacotron.attention import (
    Attention,
    DynamicConvolutionAttention,
    GravesAttention,
)
from voxturn.export.coqui.tacotron.layers import (
    block_shapes,
    norm_shapes,
    recurrent_shapes,
    width_of,
)
from voxturn.export.weights import Weights

TABLE = "speaker_embedding.weight"
SYMBOLS, ENCODER, POSTNET = "embedding.weight", "encoder", "postnet.convolutions"
PRENET, ASKS, SPEAKS = (
    "decoder.prenet.linear_layers",
    "decoder.attention_rnn",
    "decoder.decoder_rnn",
)
FRAMES, STOPS = "decoder.linear_projection.linear_layer", "decoder.stopnet.1.linear_layer"
TRAINING_ONLY = re.compile(
    r"coarse_decoder\.|decoder_backward\.|gst_layer\.|.*\.num_batches_tracked$"
)
"""A second decoder, and what hears a reference's style, of which there is none at inference."""
ATTENTIONS: Mapping[str, Callable[[Weights, Mapping[str, Any]], Attention]] = {
    "original": AdditiveAttention.of,
    "graves": lambda w, _: GravesAttention.of(w),
    "dynamic_convolution": lambda w, _: DynamicConvolutionAttention.of(w),
}
"""By the name in `config.json`."""


@dataclass(frozen=True)
class TacotronSizes:
    """Of the whole model: a table of `symbols`, `encoder` convolutions, an LSTM of `listens` values
    each way; a memory of `memory` values a symbol, of which `style` are zeros and `voice` the
    speaker's; a `prenet` of these widths, cells of `asks` and `speaks` values, `frames` of `mels`
    values that a step makes, of which `taken` are taken; `fine` widths of the postnet.

    `normed`: the prenet has batch norms. `drops`: it drops values at inference too.
    """

    symbols: int
    width: int
    encoder: int
    listens: int
    style: int
    voice: int
    prenet: tuple[int, ...]
    normed: bool
    drops: bool
    attention: Attention
    asks: int
    speaks: int
    mels: int
    frames: int
    taken: int
    fine: tuple[int, ...]

    @classmethod
    def of(cls, w: Weights, config: Mapping[str, Any], taken: int) -> TacotronSizes:
        """Raises `LookupError` or `ValueError` where it is no Tacotron 2."""
        symbols, width = w.shape(SYMBOLS)
        layers = w.count(PRENET)
        prenet = [w.shape(f"{PRENET}.{i}.linear_layer.weight")[0] for i in range(layers)]
        fine = [w.shape(f"{POSTNET}.{i}.convolution1d.weight")[0] for i in range(w.count(POSTNET))]
        mels, asks, listens = fine[-1], width_of(w, ASKS), width_of(w, f"{ENCODER}.lstm", "_l0")
        style = int((config.get("gst") or {}).get("gst_embedding_dim", 256))
        style = style if config.get("use_gst", False) else 0
        memory = w.shape(f"{ASKS}.weight_ih")[1] - prenet[-1]
        drops = config.get("prenet_dropout", True) and config.get("prenet_dropout_at_inference")
        return cls(
            symbols=symbols,
            width=width,
            encoder=w.count(f"{ENCODER}.convolutions"),
            listens=listens,
            style=style,
            voice=memory - 2 * listens - style,
            prenet=tuple(prenet),
            normed=f"{PRENET}.0.batch_normalization.weight" in w,
            drops=bool(drops),
            attention=ATTENTIONS[config.get("attention_type", "original")](w, config),
            asks=asks,
            speaks=width_of(w, SPEAKS),
            mels=mels,
            frames=w.shape(f"{FRAMES}.weight")[0] // mels,
            taken=taken,
            fine=tuple(fine),
        )

    def __post_init__(self) -> None:
        """Raise `ValueError` for parts that are not of one model."""
        if self.voice < 0:
            raise ValueError(f"a memory that is {-self.voice} values too small")
        if not 1 <= self.taken <= self.frames:
            raise ValueError(f"{self.taken} frames a step of {self.frames}")

    @property
    def memory(self) -> int:
        """Values that are read of a symbol."""
        return 2 * self.listens + self.style + self.voice

    @property
    def reach(self) -> int:
        """Frames to either side that the postnet sees."""
        return 2 * len(self.fine)

    def shapes(self) -> Shapes:
        """Every parameter that the graphs consume."""
        lstm = f"{ENCODER}.lstm"
        shapes: Shapes = {SYMBOLS: (self.symbols, self.width)}
        for i in range(self.encoder):
            shapes |= block_shapes(f"{ENCODER}.convolutions.{i}", self.width, self.width)
        for way in ("_l0", "_l0_reverse"):
            shapes |= recurrent_shapes(lstm, self.listens, self.width, way)
        for i, (inputs, outputs) in enumerate(
            zip((self.mels, *self.prenet), self.prenet, strict=False)
        ):
            shapes[f"{PRENET}.{i}.linear_layer.weight"] = (outputs, inputs)
            if self.normed:
                shapes |= norm_shapes(f"{PRENET}.{i}.batch_normalization", outputs)
        shapes |= recurrent_shapes(ASKS, self.asks, self.prenet[-1] + self.memory)
        shapes |= self.attention.shapes()
        shapes |= recurrent_shapes(SPEAKS, self.speaks, self.asks + self.memory)
        made = self.frames * self.mels
        shapes |= biased(FRAMES, made, self.speaks + self.memory)
        shapes |= biased(STOPS, 1, self.speaks + made)
        for i, (inputs, outputs) in enumerate(
            zip((self.mels, *self.fine), self.fine, strict=False)
        ):
            shapes |= block_shapes(f"{POSTNET}.{i}", outputs, inputs)
        return shapes
