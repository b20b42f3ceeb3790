"""The generators of MelGAN (Kumar et al. 2019), MultiBand-MelGAN and FullBand-MelGAN (Yang et al.
2020): sizes from the tensors, the graph by hand.

    x float32 [1, channels, frames] → audio float32 [1, 1, frames * hop]

Of several bands each is a quarter (say) of the spectrum at a quarter of the rate; a pseudo-QMF bank
joins them. Source: coqui-tts 0.28, `vocoder/models/melgan_generator.py`,
`multiband_melgan_generator.py`, `vocoder/layers/melgan.py`, `pqmf.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, takewhile
from math import prod

import numpy as np
from voxturn.export.checkpoint import Shapes
from voxturn.export.net import Net
from voxturn.export.weights import Weights

_SLOPE = 0.2
_ENDS = 7
"""Kernel of the first and of the last convolution."""
_TAPS = 62
"""Of the filters that join bands, one more than which is their length."""


@dataclass(frozen=True)
class MelganSizes:
    """Of the generator at `prefix`.

    `rates` are of its upsampling layers, `widths` the channels before the first and after each;
    `blocks` is how many residual blocks are behind each, of such a `kernel`; `bands` it ends with.
    """

    prefix: str
    channels: int
    rates: tuple[int, ...]
    widths: tuple[int, ...]
    blocks: int
    kernel: int
    bands: int

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return prod(self.rates) * self.bands

    @classmethod
    def of(cls, w: Weights, prefix: str) -> MelganSizes:
        """Raises `LookupError` or `ValueError` where it is no such generator."""
        width, channels, _ = w.weight_shape(_layer(prefix, 1))
        ups = [
            w.weight_shape(_up(prefix, i))
            for i in takewhile(lambda i: w.count(f"{_stack(prefix, i)}.blocks"), count())
        ]
        return cls(
            prefix=prefix,
            channels=channels,
            rates=tuple(kernel // 2 for _, _, kernel in ups),
            widths=(width, *(after for _, after, _ in ups)),
            blocks=w.count(f"{_stack(prefix, 0)}.blocks"),
            kernel=w.weight_shape(f"{_stack(prefix, 0)}.blocks.0.2")[2],
            bands=w.weight_shape(_last(prefix, len(ups)))[0],
        )

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter that the generator consumes."""
        end = len(self.rates)
        convs = {
            _layer(self.prefix, 1): (self.widths[0], self.channels, _ENDS),
            _last(self.prefix, end): (self.bands, self.widths[end], _ENDS),
        }
        shapes: Shapes = {}
        for i, rate in enumerate(self.rates):
            before, after = self.widths[i : i + 2]
            up, stack = _up(self.prefix, i), _stack(self.prefix, i)
            shapes |= w.weight_shapes(up, before, after, 2 * rate) | {f"{up}.bias": (after,)}
            for j in range(self.blocks):
                convs[f"{stack}.blocks.{j}.2"] = (after, after, self.kernel)
                convs[f"{stack}.blocks.{j}.4"] = (after, after, 1)
                convs[f"{stack}.shortcuts.{j}"] = (after, after, 1)
        for name, shape in convs.items():
            shapes |= w.weight_shapes(name, *shape) | {f"{name}.bias": shape[:1]}
        if self.bands > 1:
            shapes |= {_filters(self.prefix): (1, self.bands, _TAPS + 1)}
        return shapes


def generator(n: Net, s: MelganSizes, x: str) -> None:
    """The graph's output `audio` of `x` `[1, channels, frames]`."""
    x = n.conv(_reflected(n, x, _ENDS // 2), _layer(s.prefix, 1))
    for i, rate in enumerate(s.rates):
        x = n.conv_transpose(n.op("LeakyRelu", x, alpha=_SLOPE), _up(s.prefix, i), rate)
        for j in range(s.blocks):
            x = _block(n, s, x, _stack(s.prefix, i), j)
    x = _reflected(n, n.op("LeakyRelu", x, alpha=_SLOPE), _ENDS // 2)
    x = n.op("Tanh", n.conv(x, _last(s.prefix, len(s.rates))))
    n.g.node("Identity", [_joined(n, s, x) if s.bands > 1 else x], ["audio"])
    n.g.output("audio", "float32", [1, 1, "samples"])


def _block(n: Net, s: MelganSizes, x: str, stack: str, number: int) -> str:
    """A dilated convolution and a plain one, beside a shortcut."""
    dilation = s.kernel**number
    y = _reflected(n, n.op("LeakyRelu", x, alpha=_SLOPE), (s.kernel - 1) // 2 * dilation)
    y = n.conv(y, f"{stack}.blocks.{number}.2", dilations=[dilation])
    y = n.conv(n.op("LeakyRelu", y, alpha=_SLOPE), f"{stack}.blocks.{number}.4")
    return n.op("Add", n.conv(x, f"{stack}.shortcuts.{number}"), y)


def _reflected(n: Net, x: str, pad: int) -> str:
    """`x` with so many of its values mirrored on either side."""
    return n.op("Pad", x, n.const([pad, pad]), "", n.const([2]), mode="reflect")


def _joined(n: Net, s: MelganSizes, x: str) -> str:
    """The audio of `x` `[1, bands, T]`: zeros between its values, then the filters."""
    filters = n.w.take(_filters(s.prefix))[0, :, None, ::-1] * np.float32(s.bands)
    kernel, before = _TAPS + 1, _TAPS // 2
    return n.op(
        "ConvTranspose",
        x,
        n.weight(_filters(s.prefix), np.ascontiguousarray(filters)),
        kernel_shape=[kernel],
        strides=[s.bands],
        pads=[before, kernel - before - s.bands],
    )


def _layer(prefix: str, number: int) -> str:
    return f"{prefix}.layers.{number}"


def _up(prefix: str, stage: int) -> str:
    return _layer(prefix, 3 + 3 * stage)


def _stack(prefix: str, stage: int) -> str:
    return _layer(prefix, 4 + 3 * stage)


def _last(prefix: str, stages: int) -> str:
    return _layer(prefix, 4 + 3 * stages)


def _filters(prefix: str) -> str:
    return f"{prefix}.pqmf_layer.G"
