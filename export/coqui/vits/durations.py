"""The two duration predictors of VITS as nodes of its acoustic graph: plain, and stochastic (flows of
splines, Durkan et al. 2019).

Source: coqui-tts 0.28, `layers/vits/stochastic_duration_predictor.py`, `layers/vits/transforms.py`.
Upstream computes splines for the values inside their bounds
alone; here each value is clamped, transformed, and left as it was where it lay outside, which needs
no node that depends on data.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from voxturn.export.coqui.layers import layer_norm, plain_durations
from voxturn.export.coqui.vits.sizes import DURATIONS, DurationSizes, SplineSizes
from voxturn.export.net import Net

_BOUND, _LEAST = 5.0, 1e-3
"""Splines reach from minus to plus the bound; the least width, height and slope of a piece."""
_END_SLOPE = log(exp(1 - _LEAST) - 1)


def log_durations(
    n: Net, s: DurationSizes, hidden: str, noise: str, voice: str, language: str
) -> str:
    """Logarithms of the frames of each symbol, `[1, 1, T]`, of the text `[1, channels, T]`.

    `noise` `[1, 2, T]` is scaled already; `voice` and `language` are `[1, channels, 1]`.
    """
    x, predictor = hidden, s.predictor
    if isinstance(predictor, SplineSizes):
        x = n.conv(x, f"{DURATIONS}.pre")
    if s.voice:
        x = n.op("Add", x, n.conv(voice, f"{DURATIONS}.cond"))
    if s.language:
        x = n.op("Add", x, n.conv(language, f"{DURATIONS}.cond_lang"))
    if isinstance(predictor, SplineSizes):
        return _stochastic(n, predictor, x, noise)
    return plain_durations(n, predictor, x)


def _stochastic(n: Net, s: SplineSizes, x: str, noise: str) -> str:
    """Noise through the flows backwards; the two channels change places before each."""
    text = n.conv(_convolutions(n, s, x, DURATIONS), f"{DURATIONS}.proj")
    first, second = n.split(noise, [1, 1], axis=1)
    for i in range(s.flows, 1, -1):
        first, second = second, first
        second = _spline_flow(n, s, first, second, text, f"{DURATIONS}.flows.{i}")
    shift, spread = (n.w.take(f"{DURATIONS}.flows.0.{k}")[0] for k in ("translation", "log_scale"))
    centred = n.op("Sub", second, n.weight("durations.shift", shift))
    return n.op("Mul", centred, n.weight("durations.spread", np.exp(-spread)))


def _convolutions(n: Net, s: SplineSizes, x: str, prefix: str) -> str:
    """Depthwise convolutions, ever wider, each with a pointwise one behind it."""
    for i in range(s.layers):
        dilation = s.kernel**i
        y = n.conv(
            x,
            f"{prefix}.convs.convs_sep.{i}",
            pad=(s.kernel - 1) * dilation // 2,
            dilations=[dilation],
            group=s.width,
        )
        y = n.op("Gelu", layer_norm(n, y, f"{prefix}.convs.norms_1.{i}"))
        y = n.conv(y, f"{prefix}.convs.convs_1x1.{i}")
        y = n.op("Gelu", layer_norm(n, y, f"{prefix}.convs.norms_2.{i}"))
        x = n.op("Add", x, y)
    return x


def _spline_flow(n: Net, s: SplineSizes, still: str, moved: str, text: str, prefix: str) -> str:
    """`moved` `[1, 1, T]` through the inverse of the spline that `still` and the text give."""
    h = n.op("Add", n.conv(still, f"{prefix}.pre"), text)
    h = n.conv(_convolutions(n, s, h, prefix), f"{prefix}.proj")
    h = n.op("Transpose", h, perm=[0, 2, 1])
    widths, heights, slopes = n.split(h, [s.bins, s.bins, s.bins - 1], axis=2)
    x = n.op("Transpose", moved, perm=[0, 2, 1])
    y = _inverse_spline(n, x, _knots(n, widths, s), _knots(n, heights, s), _slopes(n, slopes))
    return n.op("Transpose", y, perm=[0, 2, 1])


def _knots(n: Net, raw: str, s: SplineSizes) -> tuple[str, str]:
    """Where the pieces begin and how long they are, `[1, T, bins]` each, of what the network gives."""
    shares = n.op("Softmax", n.op("Mul", raw, n.const(float(s.width) ** -0.5)), axis=-1)
    shares = n.op("Mul", shares, n.const(1 - _LEAST * s.bins))
    ends = n.op("CumSum", n.op("Add", shares, n.const(_LEAST)), n.integer(2))
    inner = n.op("Mul", n.slice(ends, 0, s.bins - 1, axis=2), n.const(2 * _BOUND))
    inner = n.op("Sub", inner, n.const(_BOUND))
    begins = n.pad(inner, 1, 0, axis=2, value=-_BOUND)
    return begins, n.op("Sub", n.pad(inner, 0, 1, axis=2, value=_BOUND), begins)


def _slopes(n: Net, raw: str) -> str:
    """The slopes at all knots, `[1, T, bins + 1]`; at both ends they are 1."""
    padded = n.pad(raw, 1, 1, axis=2, value=_END_SLOPE)
    return n.op("Add", n.op("Softplus", padded), n.const(_LEAST))


def _inverse_spline(
    n: Net, x: str, across: tuple[str, str], up: tuple[str, str], slopes: str
) -> str:
    """The rational-quadratic spline through these knots backwards, at `x` `[1, T, 1]`."""
    (lefts, widths), (bottoms, heights) = across, up
    inside = n.op("LessOrEqual", n.op("Abs", x), n.const(_BOUND))
    clamped = n.op("Clip", x, n.const(-_BOUND), n.const(_BOUND))
    above = n.op("Cast", n.op("GreaterOrEqual", clamped, bottoms), to=7)
    piece = n.op("ReduceSum", above, n.const([2]), keepdims=1)
    piece = n.op("Sub", piece, n.integer(1))

    def at(values: str, index: str = piece) -> str:
        return n.op("GatherElements", values, index, axis=2)

    left, width, bottom, height = at(lefts), at(widths), at(bottoms), at(heights)
    slope, next_slope = at(slopes), at(slopes, n.op("Add", piece, n.integer(1)))
    mean = n.op("Div", height, width)
    bend = n.op("Sub", n.op("Add", slope, next_slope), n.op("Mul", mean, n.const(2.0)))
    rise = n.op("Sub", clamped, bottom)
    bent = n.op("Mul", rise, bend)
    a = n.op("Add", bent, n.op("Mul", height, n.op("Sub", mean, slope)))
    b = n.op("Sub", n.op("Mul", height, slope), bent)
    c = n.op("Neg", n.op("Mul", mean, rise))
    under = n.op("Sub", n.op("Mul", b, b), n.op("Mul", n.op("Mul", a, c), n.const(4.0)))
    root = n.op("Sqrt", n.op("Relu", under))
    share = n.op("Div", n.op("Mul", c, n.const(-2.0)), n.op("Add", b, root))
    return n.op("Where", inside, n.op("Add", n.op("Mul", share, width), left), x)
