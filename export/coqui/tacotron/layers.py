"""Layers of Tacotron 2: recurrent cells, blocks of convolutions, and small pieces of its attentions.

Source: coqui-tts 0.28, `layers/tacotron/tacotron2.py`; PyTorch's `LSTM`.
"""

from __future__ import annotations

import numpy as np
from voxturn.export.checkpoint import Float, Shapes
from voxturn.export.coqui.layers import biased
from voxturn.export.net import Net
from voxturn.export.weights import Weights

KERNEL = 5
"""Of every convolution over symbols or frames."""


def block_shapes(prefix: str, outputs: int, inputs: int) -> Shapes:
    """Every parameter of a convolution and its norm."""
    norm = f"{prefix}.batch_normalization"
    return biased(f"{prefix}.convolution1d", outputs, inputs, KERNEL) | norm_shapes(norm, outputs)


def norm_shapes(prefix: str, width: int) -> Shapes:
    """Every parameter of a batch norm."""
    return {
        f"{prefix}.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")
    }


def block(n: Net, x: str, prefix: str, activation: str = "") -> str:
    """A convolution over `x` `[1, channels, T]`, its norm and its activation."""
    x = n.conv(x, f"{prefix}.convolution1d", pad=KERNEL // 2)
    x = n.batch_norm(x, f"{prefix}.batch_normalization")
    return n.op(activation, x) if activation else x


def recurrent_shapes(prefix: str, width: int, inputs: int, suffix: str = "") -> Shapes:
    """Every parameter of an LSTM, or of one direction of it."""
    return {
        f"{prefix}.weight_ih{suffix}": (4 * width, inputs),
        f"{prefix}.weight_hh{suffix}": (4 * width, width),
        f"{prefix}.bias_ih{suffix}": (4 * width,),
        f"{prefix}.bias_hh{suffix}": (4 * width,),
    }


def cell(n: Net, prefix: str, x: str, hidden: str, kept: str) -> tuple[str, str]:
    """A step of an LSTM: what it gives `[1, width]` and what it keeps."""
    inputs, before = (n.w.take(f"{prefix}.weight_{part}") for part in ("ih", "hh"))
    weight = np.concatenate([inputs, before], axis=1).T
    bias = n.w.take(f"{prefix}.bias_ih") + n.w.take(f"{prefix}.bias_hh")
    both = n.op("Concat", x, hidden, axis=1)
    gates = n.op("MatMul", both, n.weight(f"{prefix}.weight", weight))
    gates = n.op("Add", gates, n.weight(f"{prefix}.bias", bias))
    enter, stay, new, leave = n.split(gates, [before.shape[1]] * 4, axis=1)
    entering = n.op("Mul", n.op("Sigmoid", enter), n.op("Tanh", new))
    kept = n.op("Add", n.op("Mul", n.op("Sigmoid", stay), kept), entering)
    return n.op("Mul", n.op("Sigmoid", leave), n.op("Tanh", kept)), kept


def both_ways(n: Net, x: str, prefix: str) -> str:
    """A bidirectional LSTM over `x` `[1, channels, T]`, `[1, T, 2 * width]`."""
    ways = ("_l0", "_l0_reverse")
    weights = [
        np.stack([_onnx_order(n.w.take(f"{prefix}.weight_{part}{way}")) for way in ways])
        for part in ("ih", "hh")
    ]
    biases = np.stack(
        [
            np.concatenate(
                [_onnx_order(n.w.take(f"{prefix}.bias_{part}{way}")) for part in ("ih", "hh")]
            )
            for way in ways
        ]
    )
    width = weights[1].shape[2]
    values = n.op(
        "LSTM",
        n.op("Transpose", x, perm=[2, 0, 1]),
        n.weight(f"{prefix}.W", weights[0]),
        n.weight(f"{prefix}.R", weights[1]),
        n.weight(f"{prefix}.B", biases),
        direction="bidirectional",
        hidden_size=width,
    )
    return n.reshape(n.op("Transpose", values, perm=[2, 0, 1, 3]), 1, -1, 2 * width)


def _onnx_order(gates: Float) -> Float:
    """PyTorch's gates (input, forget, cell, output) in the order of ONNX's."""
    enter, stay, new, leave = np.split(gates, 4)
    return np.concatenate([enter, leave, stay, new])


def width_of(w: Weights, prefix: str, suffix: str = "") -> int:
    """How many values an LSTM gives."""
    return w.shape(f"{prefix}.weight_hh{suffix}")[1]


def column(n: Net, x: str) -> str:
    """`x` `[1, T]` as `[1, 1, T]`."""
    return n.op("Unsqueeze", x, n.const([1]))


def zeros(n: Net, count: str) -> str:
    """`[1, T]` for `count` symbols."""
    return n.op("Expand", n.const(np.zeros((1, 1), np.float32), np.float32), n.sizes(1, count))


def first_of(n: Net, count: str, others: float) -> str:
    """`[1, T]`, 1 for the first symbol."""
    ones = n.const(np.ones((1, 1), np.float32), np.float32)
    rest = n.const(np.full((1, 1), others, np.float32), np.float32)
    after = n.op("Sub", count, n.const([1]))
    return n.op("Concat", ones, n.op("Expand", rest, n.sizes(1, after)), axis=1)


def positions(n: Net, memory: str, more: int = 0) -> str:
    """The numbers of the symbols of a memory `[1, T, width]`, and `more` behind them, float32."""
    count = n.op("Squeeze", n.op("Shape", memory, start=1, end=2))
    beyond = n.op("Add", count, n.integer(more))
    return n.op("Cast", n.op("Range", n.integer(0), beyond, n.integer(1)), to=1)
