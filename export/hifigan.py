"""HiFiGAN's generator (Kong et al. 2020) as every family has it: sizes from the tensors, the graph by
hand.

    x float32 [1, channels, frames] → audio float32 [1, 1, frames * hop]

Source: coqui-tts 0.28, `vocoder/models/hifigan_generator.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from voxturn.export.checkpoint import Shapes
from voxturn.export.net import Net
from voxturn.export.weights import Weights
from voxturn.runtime.errors import ExportFailed

_SLOPE, _LAST_SLOPE = 0.1, 0.01
_ENDS = 7
"""Kernel of the first and of the last convolution."""


@dataclass(frozen=True)
class HifiganSizes:
    """Of the generator at `prefix`.

    `rates` and `kernels` are of its upsampling layers, `widths` the channels before the first and
    after each; `blocks` are the kernels of the residual blocks behind each, `dilations` theirs.
    `double`: two convolutions a dilation (upstream's block "1"). `voice`: channels of what is added
    to the input for a speaker, or 0.
    """

    prefix: str
    channels: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    dilations: tuple[tuple[int, ...], ...]
    double: bool
    biased: bool
    voice: int

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return prod(self.rates)

    @classmethod
    def of(
        cls,
        weights: Weights,
        prefix: str,
        rates: Sequence[int],
        dilations: Sequence[Sequence[int]],
    ) -> HifiganSizes:
        """Sizes of the tensors; `rates` and `dilations` are the configuration's, since no tensor has
        them.

        Raises `ExportFailed` where they do not belong together, `LookupError` where a tensor is
        missing.
        """
        width, channels, _ = weights.weight_shape(f"{prefix}.conv_pre")
        ups = [
            weights.weight_shape(f"{prefix}.ups.{i}") for i in range(weights.count(f"{prefix}.ups"))
        ]
        kernels = tuple(shape[2] for shape in ups)
        if len(rates) != len(ups) or any(
            not 0 < rate <= kernel or (kernel - rate) % 2
            for rate, kernel in zip(rates, kernels, strict=False)
        ):
            raise ExportFailed(
                f"the vocoder's upsampling layers have the kernels {list(kernels)}, its configuration "
                f"the rates {list(rates)}; they do not belong together"
            )
        first = f"{prefix}.resblocks.0"
        double = weights.count(f"{first}.convs1") > 0
        convs = f"{prefix}.resblocks.{{}}.{'convs1' if double else 'convs'}"
        blocks = weights.count(f"{prefix}.resblocks") // len(ups)
        counts = [weights.count(convs.format(j)) for j in range(blocks)]
        if (
            not blocks
            or any(len(d) < count for d, count in zip(dilations, counts, strict=False))
            or len(dilations) != blocks
        ):
            raise ExportFailed(
                f"the vocoder has {blocks} residual blocks a layer of {counts} dilations, its "
                f"configuration {[list(d) for d in dilations]}; they do not belong together"
            )
        voice = f"{prefix}.cond_layer.weight"
        return cls(
            prefix=prefix,
            channels=channels,
            rates=tuple(rates),
            kernels=kernels,
            widths=(width, *(shape[1] for shape in ups)),
            blocks=tuple(weights.weight_shape(f"{convs.format(j)}.0")[2] for j in range(blocks)),
            dilations=tuple(tuple(d[:count]) for d, count in zip(dilations, counts, strict=True)),
            double=double,
            biased=f"{prefix}.conv_post.bias" in weights,
            voice=weights.shape(voice)[1] if voice in weights else 0,
        )

    def shapes(self, weights: Weights) -> Shapes:
        """Every parameter that the generator consumes."""
        pre, post, voice = (f"{self.prefix}.{n}" for n in ("conv_pre", "conv_post", "cond_layer"))
        shapes = weights.weight_shapes(pre, self.widths[0], self.channels, _ENDS)
        shapes |= {f"{pre}.bias": (self.widths[0],)}
        for i, kernel in enumerate(self.kernels):
            before, after = self.widths[i : i + 2]
            up = f"{self.prefix}.ups.{i}"
            shapes |= weights.weight_shapes(up, before, after, kernel) | {f"{up}.bias": (after,)}
            for conv, size in self._convolutions(i):
                shapes |= weights.weight_shapes(conv, after, after, size)
                shapes |= {f"{conv}.bias": (after,)}
        shapes |= weights.weight_shapes(post, 1, self.widths[-1], _ENDS)
        if self.biased:
            shapes |= {f"{post}.bias": (1,)}
        if self.voice:
            shapes |= {f"{voice}.weight": (self.widths[0], self.voice, 1)}
            shapes |= {f"{voice}.bias": (self.widths[0],)}
        return shapes

    def block(self, layer: int, number: int) -> str:
        """The prefix of a residual block."""
        return f"{self.prefix}.resblocks.{layer * len(self.blocks) + number}"

    def _convolutions(self, layer: int) -> list[tuple[str, int]]:
        names = ("convs1", "convs2") if self.double else ("convs",)
        return [
            (f"{self.block(layer, j)}.{name}.{k}", size)
            for j, (size, dilations) in enumerate(zip(self.blocks, self.dilations, strict=True))
            for name in names
            for k in range(len(dilations))
        ]


def generator(n: Net, sizes: HifiganSizes, x: str, voice: str = "") -> None:
    """The graph's output `audio` of `x` `[1, channels, frames]`; `voice` `[1, voice, 1]` is the
    speaker's, where there is one."""
    x = n.conv(x, f"{sizes.prefix}.conv_pre", pad=_ENDS // 2)
    if sizes.voice:
        x = n.op("Add", x, n.conv(voice, f"{sizes.prefix}.cond_layer"))
    for i, rate in enumerate(sizes.rates):
        x = n.conv_transpose(n.op("LeakyRelu", x, alpha=_SLOPE), f"{sizes.prefix}.ups.{i}", rate)
        blocks = [
            residual_block(n, x, sizes.block(i, j), kernel, sizes.dilations[j], sizes.double)
            for j, kernel in enumerate(sizes.blocks)
        ]
        x = n.op("Mul", n.op("Sum", *blocks), n.const(1.0 / len(blocks)))
    x = n.op("LeakyRelu", x, alpha=_LAST_SLOPE)
    x = n.conv(x, f"{sizes.prefix}.conv_post", pad=_ENDS // 2, bias=sizes.biased)
    n.g.node("Tanh", [x], ["audio"])
    n.g.output("audio", "float32", [1, 1, "samples"])


def residual_block(
    n: Net, x: str, prefix: str, kernel: int, dilations: Sequence[int], double: bool = True
) -> str:
    """Dilated convolutions, each added to its input; with `double`, a plain one behind each."""
    for i, dilation in enumerate(dilations):
        y = n.op("LeakyRelu", x, alpha=_SLOPE)
        name = f"{prefix}.{'convs1' if double else 'convs'}.{i}"
        y = n.conv(y, name, pad=(kernel - 1) * dilation // 2, dilations=[dilation])
        if double:
            y = n.op("LeakyRelu", y, alpha=_SLOPE)
            y = n.conv(y, f"{prefix}.convs2.{i}", pad=(kernel - 1) // 2)
        x = n.op("Add", y, x)
    return x
