"""Layers that several of Coqui's families have: sizes from the tensors, nodes of a graph beside them.

Source: coqui-tts 0.28, `layers/glow_tts/transformer.py`, `layers/glow_tts/duration_predictor.py`,
`layers/generic/wavenet.py`, `layers/generic/normalization.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from voxturn.export.checkpoint import Shapes
from voxturn.export.net import Net
from voxturn.export.weights import Weights

FLOAT, INT64 = 1, 7
"""Of onnx.TensorProto."""
_NORM, _TALL_NORM = 1e-5, 1e-4
"""Epsilon of layer norms; upstream has another one where the scale is `[1, width, 1]`."""


def biased(prefix: str, *shape: int) -> Shapes:
    """A weight and its bias."""
    return {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}


def normed(prefix: str, width: int, tall: bool = False) -> Shapes:
    """A layer norm's scale and shift."""
    shape = (1, width, 1) if tall else (width,)
    return {f"{prefix}.gamma": shape, f"{prefix}.beta": shape}


def is_tall(w: Weights, prefix: str) -> bool:
    """Whether a layer norm's scale is `[1, width, 1]`."""
    return len(w.shape(f"{prefix}.gamma")) > 1


def layer_norm(n: Net, x: str, prefix: str) -> str:
    """Over the channels of `x` `[1, channels, T]`."""
    epsilon = _TALL_NORM if is_tall(n.w, prefix) else _NORM
    gamma, beta = (
        n.weight(name, n.w.take(name).reshape(-1)) for name in (f"{prefix}.gamma", f"{prefix}.beta")
    )
    rows = n.op("Transpose", x, perm=[0, 2, 1])
    y = n.op("LayerNormalization", rows, gamma, beta, axis=-1, epsilon=epsilon)
    return n.op("Transpose", y, perm=[0, 2, 1])


@dataclass(frozen=True)
class TransformerSizes:
    """Of a transformer at `prefix`. `window`: positions to either side that have an embedding; 0:
    none has one."""

    prefix: str
    width: int
    layers: int
    heads: int
    window: int
    inner: int
    kernel: int
    tall: bool

    @classmethod
    def of(cls, w: Weights, prefix: str, heads: int = 0) -> TransformerSizes:
        """`heads` are asked for where no position has an embedding, whose width says how many.

        Raises `LookupError` or `ValueError` where it is no transformer.
        """
        inner, width, kernel = w.shape(f"{prefix}.ffn_layers.0.conv_1.weight")
        near, window = f"{prefix}.attn_layers.0.emb_rel_k", 0
        if near in w:
            _, positions, head = w.shape(near)
            window, heads = (positions - 1) // 2, width // head
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads of {width} channels")
        return cls(
            prefix=prefix,
            width=width,
            layers=w.count(f"{prefix}.attn_layers"),
            heads=heads,
            window=window,
            inner=inner,
            kernel=kernel,
            tall=is_tall(w, f"{prefix}.norm_layers_1.0"),
        )

    def shapes(self) -> Shapes:
        """Every parameter of its layers."""
        shapes: Shapes = {}
        width, head = self.width, self.width // self.heads
        for i in range(self.layers):
            layer, forward = f"{self.prefix}.attn_layers.{i}", f"{self.prefix}.ffn_layers.{i}"
            for name in ("conv_q", "conv_k", "conv_v", "conv_o"):
                shapes |= biased(f"{layer}.{name}", width, width, 1)
            if self.window:
                near = (1, 2 * self.window + 1, head)
                shapes |= {f"{layer}.emb_rel_k": near, f"{layer}.emb_rel_v": near}
            shapes |= biased(f"{forward}.conv_1", self.inner, width, self.kernel)
            shapes |= biased(f"{forward}.conv_2", width, self.inner, self.kernel)
            for number in (1, 2):
                shapes |= normed(f"{self.prefix}.norm_layers_{number}.{i}", width, self.tall)
        return shapes


def transformer(n: Net, s: TransformerSizes, x: str, count: str) -> str:
    """`x` `[1, width, T]` through all layers; `count` is T, int64 [1]."""
    pads = [(s.kernel - 1) // 2, s.kernel // 2]
    for i in range(s.layers):
        y = _attention(n, s, x, f"{s.prefix}.attn_layers.{i}", count)
        x = layer_norm(n, n.op("Add", x, y), f"{s.prefix}.norm_layers_1.{i}")
        y = n.op("Relu", n.conv(x, f"{s.prefix}.ffn_layers.{i}.conv_1", pads=pads))
        y = n.conv(y, f"{s.prefix}.ffn_layers.{i}.conv_2", pads=pads)
        x = layer_norm(n, n.op("Add", x, y), f"{s.prefix}.norm_layers_2.{i}")
    return x


def _attention(n: Net, s: TransformerSizes, x: str, prefix: str, count: str) -> str:
    """Self-attention whose scores and values know how far a position is, up to `window`."""
    size = s.width // s.heads
    q, k, v = (n.reshape(n.conv(x, f"{prefix}.conv_{p}"), s.heads, size, -1) for p in "qkv")
    q = n.op("Mul", n.op("Transpose", q, perm=[0, 2, 1]), n.const(float(size) ** -0.5))
    scores = n.op("MatMul", q, k)
    if s.window:
        keys = n.weight(f"{prefix}.emb_rel_k", n.w.take(f"{prefix}.emb_rel_k").transpose(0, 2, 1))
        scores = n.op("Add", scores, _by_position(n, s, n.op("MatMul", q, keys), count))
    shares = n.op("Softmax", scores, axis=-1)
    mixed = n.op("MatMul", shares, n.op("Transpose", v, perm=[0, 2, 1]))
    if s.window:
        near = n.op("MatMul", _by_distance(n, s, shares, count), n.param(f"{prefix}.emb_rel_v"))
        mixed = n.op("Add", mixed, near)
    mixed = n.reshape(n.op("Transpose", mixed, perm=[0, 2, 1]), 1, s.width, -1)
    return n.conv(mixed, f"{prefix}.conv_o")


def _by_position(n: Net, s: TransformerSizes, x: str, count: str) -> str:
    """`[heads, T, 2 window + 1]` by distance to `[heads, T, T]` by position.

    Each row moves one place to the right of the row above it: read as rows that are one shorter.
    """
    span = n.op("Add", count, n.const([2 * s.window]))
    flat = n.reshape(n.pad(x, 0, count, axis=2), s.heads, -1)
    moved = n.slice(flat, 0, n.op("Mul", count, span), axis=1)
    rows = n.reshape(moved, s.heads, count, -1)
    return n.slice(rows, s.window, n.op("Add", count, n.const([s.window])), axis=2)


def _by_distance(n: Net, s: TransformerSizes, x: str, count: str) -> str:
    """The way back: `[heads, T, T]` by position to `[heads, T, 2 window + 1]` by distance."""
    flat = n.reshape(n.pad(x, s.window, s.window, axis=2), s.heads, -1)
    rows = n.reshape(n.pad(flat, 0, count, axis=1), s.heads, count, -1)
    return n.slice(rows, 0, 2 * s.window + 1, axis=2)


@dataclass(frozen=True)
class WavenetSizes:
    """Of gated convolutions (van den Oord et al. 2016). `dilation`: how much wider each layer reaches
    than the one before; no tensor says it. `voice`: channels of the speaker, or 0."""

    width: int
    layers: int
    kernel: int
    dilation: int
    voice: int

    @classmethod
    def of(cls, w: Weights, prefix: str, dilation: int) -> WavenetSizes:
        """Raises `LookupError` or `ValueError` where there are no such layers."""
        _, width, kernel = w.weight_shape(f"{prefix}.in_layers.0")
        cond = f"{prefix}.cond_layer"
        return cls(
            width=width,
            layers=w.count(f"{prefix}.in_layers"),
            kernel=kernel,
            dilation=dilation,
            voice=w.weight_shape(cond)[1] if f"{cond}.bias" in w else 0,
        )

    def shapes(self, w: Weights, prefix: str) -> Shapes:
        """Every parameter of the layers at `prefix`."""
        shapes: Shapes = {}
        width = self.width
        for i in range(self.layers):
            out = width if i == self.layers - 1 else 2 * width
            for name, shape in (
                (f"{prefix}.in_layers.{i}", (2 * width, width, self.kernel)),
                (f"{prefix}.res_skip_layers.{i}", (out, width, 1)),
            ):
                shapes |= w.weight_shapes(name, *shape) | {f"{name}.bias": shape[:1]}
        if self.voice:
            cond, rows = f"{prefix}.cond_layer", 2 * width * self.layers
            shapes |= w.weight_shapes(cond, rows, self.voice, 1) | {f"{cond}.bias": (rows,)}
        return shapes


def wavenet(n: Net, s: WavenetSizes, x: str, prefix: str, voice: str) -> str:
    """`x` `[1, width, T]` through the layers at `prefix`: what each adds to the end, summed."""
    out = ""
    told: tuple[str, ...] = ()
    if s.voice:
        told = n.split(n.conv(voice, f"{prefix}.cond_layer"), [2 * s.width] * s.layers, axis=1)
    for i in range(s.layers):
        dilation = s.dilation**i
        pad = (s.kernel - 1) * dilation // 2
        y = n.conv(x, f"{prefix}.in_layers.{i}", pad=pad, dilations=[dilation])
        if told:
            y = n.op("Add", y, told[i])
        value, gate = n.split(y, [s.width, s.width], axis=1)
        y = n.op("Mul", n.op("Tanh", value), n.op("Sigmoid", gate))
        y = n.conv(y, f"{prefix}.res_skip_layers.{i}")
        if i < s.layers - 1:
            more, y = n.split(y, [s.width, s.width], axis=1)
            x = n.op("Add", x, more)
        out = n.op("Add", out, y) if out else y
    return out


def uncoupled(n: Net, still: str, moved: str, stats: str, half: int, scales: bool) -> str:
    """An affine coupling backwards (Dinh et al. 2017): `moved` without the shift, and where it
    `scales` the scale, that `stats` say."""
    if not scales:
        return n.op("Concat", still, n.op("Sub", moved, stats), axis=1)
    shift, log_scale = n.split(stats, [half, half], axis=1)
    scale = n.op("Exp", n.op("Neg", log_scale))
    return n.op("Concat", still, n.op("Mul", n.op("Sub", moved, shift), scale), axis=1)


def coupled(n: Net, still: str, moved: str, stats: str, half: int, scales: bool) -> str:
    """The coupling forwards: `moved` with the scale and the shift."""
    if not scales:
        return n.op("Concat", still, n.op("Add", moved, stats), axis=1)
    shift, log_scale = n.split(stats, [half, half], axis=1)
    scaled = n.op("Mul", moved, n.op("Exp", log_scale))
    return n.op("Concat", still, n.op("Add", shift, scaled), axis=1)


@dataclass(frozen=True)
class PlainDurationSizes:
    """Of a predictor of two convolutions, `width` channels of `inputs`."""

    prefix: str
    inputs: int
    width: int
    kernel: int
    tall: bool

    @classmethod
    def of(cls, w: Weights, prefix: str) -> PlainDurationSizes:
        """Raises `LookupError` or `ValueError` where it is no such predictor."""
        width, inputs, kernel = w.shape(f"{prefix}.conv_1.weight")
        return cls(prefix, inputs, width, kernel, is_tall(w, f"{prefix}.norm_1"))

    def shapes(self) -> Shapes:
        """Every parameter of the predictor."""
        shapes = biased(f"{self.prefix}.conv_1", self.width, self.inputs, self.kernel)
        shapes |= biased(f"{self.prefix}.conv_2", self.width, self.width, self.kernel)
        shapes |= normed(f"{self.prefix}.norm_1", self.width, self.tall)
        shapes |= normed(f"{self.prefix}.norm_2", self.width, self.tall)
        return shapes | biased(f"{self.prefix}.proj", 1, self.width, 1)


def plain_durations(n: Net, s: PlainDurationSizes, x: str) -> str:
    """Logarithms of the frames of each symbol, `[1, 1, T]`, of `x` `[1, inputs, T]`."""
    for number in (1, 2):
        x = n.op("Relu", n.conv(x, f"{s.prefix}.conv_{number}", pad=s.kernel // 2))
        x = layer_norm(n, x, f"{s.prefix}.norm_{number}")
    return n.conv(x, f"{s.prefix}.proj")


def frame_index(n: Net, durations: str, count: str, multiple: int = 1) -> str:
    """For each frame, the symbol that it belongs to, `[frames]`, of `durations` `[T]` and T.

    There are as many frames as the next lower `multiple` has, and that many at least.
    """
    ends = n.op("CumSum", durations, n.integer(0))
    total = n.op("ReduceMax", ends, n.const([0]), keepdims=0)
    total = n.op("Cast", n.op("Max", total, n.const(float(multiple))), to=INT64)
    if multiple > 1:
        total = n.op("Sub", total, n.op("Mod", total, n.integer(multiple)))
    frames = n.op("Range", n.integer(0), total, n.integer(1))
    places = n.op("Unsqueeze", n.op("Cast", frames, to=FLOAT), n.const([1]))
    passed = n.op("Cast", n.op("GreaterOrEqual", places, ends), to=INT64)
    index = n.op("ReduceSum", passed, n.const([1]), keepdims=0)
    return n.op("Min", index, n.op("Sub", count, n.const([1])))


def cyclic(n: Net, noise: str, frames: str) -> str:
    """`noise` `[1, channels, N]` for as many frames, from its beginning again after its end."""
    total = n.op("Squeeze", n.op("Shape", frames))
    places = n.op("Range", n.integer(0), total, n.integer(1))
    return n.op("Gather", noise, n.op("Mod", places, n.op("Shape", noise, start=2)), axis=2)
