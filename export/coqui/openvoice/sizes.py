"""The sizes of an OpenVoice, read from its tensors, and every parameter that its graphs consume.

Names are the original repository's, which coqui-tts 0.28 has as they are (`vc/models/openvoice.py`);
two of them are brought to those of a VITS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.layers import WavenetSizes, biased
from voxturn.export.coqui.vits.sizes import FlowSizes
from voxturn.export.hifigan import HifiganSizes
from voxturn.export.weights import Weights

TONE, POSTERIOR, DECODER = "ref_enc", "enc_q", "dec"
_FLOW = re.compile(r"^flow\.flows\.(\d+)\.")
_GATES = 3
"""Of a GRU."""


def vits_names(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same tensors: flows by their number without the flips behind them, the vocoder's layer for
    a speaker as HiFiGAN's."""
    renamed = {}
    for name, tensor in tensors.items():
        name = _FLOW.sub(lambda found: f"flow.flows.{int(found.group(1)) // 2}.", name)
        renamed[re.sub(r"^dec\.cond\.", f"{DECODER}.cond_layer.", name)] = tensor
    return renamed


@dataclass(frozen=True)
class ToneSizes:
    """Of the encoder of a tone colour: convolutions of `widths` over a spectrum of `bins`, a GRU of
    `hidden` over its `inputs`, and `channels` behind it."""

    bins: int
    widths: tuple[int, ...]
    kernel: int
    inputs: int
    hidden: int
    channels: int

    @classmethod
    def of(cls, w: Weights) -> ToneSizes:
        """Raises `LookupError` or `ValueError` where it is no such encoder."""
        convs = [w.weight_shape(f"{TONE}.convs.{i}") for i in range(w.count(f"{TONE}.convs"))]
        _, inputs = w.shape(f"{TONE}.gru.weight_ih_l0")
        channels, hidden = w.shape(f"{TONE}.proj.weight")
        return cls(
            bins=w.shape(f"{TONE}.layernorm.weight")[0],
            widths=tuple(shape[0] for shape in convs),
            kernel=convs[0][2],
            inputs=inputs,
            hidden=hidden,
            channels=channels,
        )

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter of the encoder."""
        shapes: Shapes = {f"{TONE}.layernorm.{n}": (self.bins,) for n in ("weight", "bias")}
        before = 1
        for i, width in enumerate(self.widths):
            conv, kernel = f"{TONE}.convs.{i}", (self.kernel, self.kernel)
            shapes |= w.weight_shapes(conv, width, before, *kernel) | {f"{conv}.bias": (width,)}
            before = width
        rows = _GATES * self.hidden
        for name, width in (("ih", self.inputs), ("hh", self.hidden)):
            shapes[f"{TONE}.gru.weight_{name}_l0"] = (rows, width)
            shapes[f"{TONE}.gru.bias_{name}_l0"] = (rows,)
        return shapes | biased(f"{TONE}.proj", self.channels, self.hidden)


@dataclass(frozen=True)
class PosteriorSizes:
    """Of the encoder of a spectrum of `bins` to `channels` of latents."""

    bins: int
    channels: int
    wavenet: WavenetSizes

    @classmethod
    def of(cls, w: Weights) -> PosteriorSizes:
        """Raises `LookupError` or `ValueError` where it is no such encoder."""
        return cls(
            bins=w.shape(f"{POSTERIOR}.pre.weight")[1],
            channels=w.shape(f"{POSTERIOR}.proj.weight")[0] // 2,
            wavenet=WavenetSizes.of(w, f"{POSTERIOR}.enc", 1),
        )

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter of the encoder."""
        width = self.wavenet.width
        shapes = biased(f"{POSTERIOR}.pre", width, self.bins, 1)
        shapes |= biased(f"{POSTERIOR}.proj", 2 * self.channels, width, 1)
        return shapes | self.wavenet.shapes(w, f"{POSTERIOR}.enc")


@dataclass(frozen=True)
class OpenVoiceSizes:
    """Of a whole OpenVoice."""

    tone: ToneSizes
    posterior: PosteriorSizes
    flow: FlowSizes
    decoder: HifiganSizes

    def __post_init__(self) -> None:
        """Raise `ValueError` for parts that are not of one model."""
        told = {self.posterior.wavenet.voice, self.flow.wavenet.voice, self.decoder.voice}
        if told != {self.tone.channels}:
            raise ValueError(
                f"its parts take tone colours of {sorted(told)} channels, it gives {self.tone.channels}"
            )
        if self.tone.bins != self.posterior.bins:
            raise ValueError(
                f"its encoders take spectra of {self.tone.bins} and {self.posterior.bins} bins"
            )
        if self.decoder.channels != self.posterior.channels or self.decoder.channels % 2:
            raise ValueError(
                f"it has {self.posterior.channels} channels of latents, its vocoder {self.decoder.channels}"
            )

    @property
    def reach(self) -> int:
        """Frames to either side that can change a frame of its latents."""
        flow = self.flow.blocks * _reach(self.flow.wavenet)
        return _reach(self.posterior.wavenet) + 2 * flow

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter that the three graphs consume."""
        return (
            self.tone.shapes(w)
            | self.posterior.shapes(w)
            | self.flow.shapes(w, self.posterior.channels)
            | self.decoder.shapes(w)
        )


def _reach(s: WavenetSizes) -> int:
    return sum((s.kernel - 1) // 2 * s.dilation**i for i in range(s.layers))
