"""The two graphs of a VITS, by hand from its state dict: text to latents, and latents to audio.

    acoustic: input int64 [1, phonemes], input_lengths int64 [1], scales float32 [3],
              duration_noise float32 [1, 2, phonemes], prior_noise float32 [1, channels, N]
              (, speaker float32 [1, width, 1]) (, language int64 [1])
              → latents float32 [1, channels, frames], durations float32 [1, phonemes]
    decoder:  latents float32 [1, channels, frames] (, speaker float32 [1, width, 1])
              → audio float32 [1, 1, samples]

They take what a Piper voice's take (`export.vits`), whatever of it they need; `scales` are noise of
the prior, length, noise of the durations. `speaker` is a row of the speakers' table or a normalised
d-vector. The prior's noise repeats after N frames. `durations` are whole frames, before latents are
interpolated for a vocoder of another rate. Source: coqui-tts 0.28, `models/vits.py`,
`layers/vits/networks.py`, `layers/glow_tts/transformer.py`, `layers/generic/wavenet.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.vits.durations import layer_norm, log_durations
from voxturn.export.coqui.vits.sizes import FLOW, TEXT, DurationSizes, FlowSizes, TextSizes
from voxturn.export.hifigan import HifiganSizes, generator
from voxturn.export.net import Net
from voxturn.export.weights import Weights

_INT64 = 7  # onnx.TensorProto


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
        t, voices = self.text, {self.durations.voice, self.flow.voice, self.decoder.voice} - {0}
        if len(voices) > 1:
            raise ValueError(f"its parts take speakers of {sorted(voices)} channels")
        if self.decoder.channels != t.channels:
            raise ValueError(
                f"the flow has {t.channels} channels, the vocoder {self.decoder.channels}"
            )
        if t.symbol_width + t.language_width != t.width or t.width % t.heads:
            raise ValueError(f"the text encoder is {t.width} wide, its symbols {t.symbol_width}")

    @property
    def voice(self) -> int:
        """Channels of what the graphs are told of the speaker; 0 where there is one."""
        return max(self.durations.voice, self.flow.voice, self.decoder.voice)

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter that the two graphs consume."""
        return (
            self.text.shapes()
            | self.durations.shapes(self.text.width)
            | self.flow.shapes(w, self.text.channels)
            | self.decoder.shapes(w)
        )


def acoustic(w: Weights, s: VitsSizes, path: Path) -> None:
    """Symbols → text encoder → durations → prior → flow, written to `path`."""
    n = Net(path, w)
    ids = n.g.input("input", "int64", [1, "phonemes"])
    n.g.input("input_lengths", "int64", [1])
    scales = n.g.input("scales", "float32", [3])
    noise, length, spread = (n.op("Gather", scales, n.integer(i)) for i in range(3))
    duration_noise = n.g.input("duration_noise", "float32", [1, 2, "phonemes"])
    prior_noise = n.g.input("prior_noise", "float32", [1, s.text.channels, "noise_frames"])
    voice = n.g.input("speaker", "float32", [1, s.voice, 1]) if s.voice else ""
    language = _language(n) if s.text.languages else ""

    count = n.op("Shape", ids, start=1)
    hidden = _text_encoder(n, s.text, ids, language, count)
    stats = n.conv(hidden, f"{TEXT}.proj")
    mean, log_spread = n.split(stats, [s.text.channels] * 2, axis=1)
    spread_noise = n.op("Mul", duration_noise, spread)
    logs = log_durations(n, s.durations, hidden, spread_noise, voice, language)
    durations = n.op("Ceil", n.op("Mul", n.op("Exp", logs), length))
    index = _frame_index(n, n.reshape(durations, -1), count)
    mean, log_spread = (n.op("Gather", x, index, axis=2) for x in (mean, log_spread))
    drawn = n.op("Mul", _cyclic(n, prior_noise, index), n.op("Mul", n.op("Exp", log_spread), noise))
    x = _flow(n, s.flow, n.op("Add", mean, drawn), s.text.channels, voice)
    if s.stretch != 1.0:
        x = _stretched(n, x, s.stretch)
    n.g.node("Identity", [x], ["latents"])
    n.g.node("Reshape", [durations, n.const([1, -1])], ["durations"])
    n.g.output("latents", "float32", [1, s.text.channels, "frames"])
    n.g.output("durations", "float32", [1, "phonemes"])
    n.g.save()


def decoder(w: Weights, s: VitsSizes, path: Path) -> None:
    """Latents → HiFiGAN, written to `path`."""
    n = Net(path, w)
    latents = n.g.input("latents", "float32", [1, s.decoder.channels, "frames"])
    voice = n.g.input("speaker", "float32", [1, s.voice, 1]) if s.voice else ""
    generator(n, s.decoder, latents, voice)
    n.g.save()


def _language(n: Net) -> str:
    """The embedding `[1, width, 1]` of the input `language`."""
    row = n.op("Gather", n.param("emb_l.weight"), n.g.input("language", "int64", [1]))
    return n.op("Unsqueeze", row, n.const([2]))


def _text_encoder(n: Net, s: TextSizes, ids: str, language: str, count: str) -> str:
    """Symbols `[1, T]` through a transformer with relative positions, `[1, width, T]`."""
    rows = n.op("Gather", n.param(f"{TEXT}.emb.weight"), ids)
    x = n.op("Mul", rows, n.const(float(s.symbol_width) ** 0.5))
    x = n.op("Transpose", x, perm=[0, 2, 1])
    if language:
        everywhere = n.op("Expand", language, n.sizes(1, s.language_width, count))
        x = n.op("Concat", x, everywhere, axis=1)
    for i in range(s.layers):
        y = _attention(n, s, x, f"{TEXT}.encoder.attn_layers.{i}", count)
        x = layer_norm(n, n.op("Add", x, y), f"{TEXT}.encoder.norm_layers_1.{i}")
        forward = f"{TEXT}.encoder.ffn_layers.{i}"
        pads = [(s.kernel - 1) // 2, s.kernel // 2]
        y = n.op("Relu", n.conv(x, f"{forward}.conv_1", pads=pads))
        y = n.conv(y, f"{forward}.conv_2", pads=pads)
        x = layer_norm(n, n.op("Add", x, y), f"{TEXT}.encoder.norm_layers_2.{i}")
    return x


def _attention(n: Net, s: TextSizes, x: str, prefix: str, count: str) -> str:
    """Self-attention whose scores and values know how far a position is, up to `window`."""
    size = s.width // s.heads
    q, k, v = (n.reshape(n.conv(x, f"{prefix}.conv_{p}"), s.heads, size, -1) for p in "qkv")
    q = n.op("Mul", n.op("Transpose", q, perm=[0, 2, 1]), n.const(float(size) ** -0.5))
    keys = n.weight(f"{prefix}.emb_rel_k", n.w.take(f"{prefix}.emb_rel_k").transpose(0, 2, 1))
    near = _by_position(n, s, n.op("MatMul", q, keys), count)
    shares = n.op("Softmax", n.op("Add", n.op("MatMul", q, k), near), axis=-1)
    mixed = n.op("MatMul", shares, n.op("Transpose", v, perm=[0, 2, 1]))
    values = n.param(f"{prefix}.emb_rel_v")
    mixed = n.op("Add", mixed, n.op("MatMul", _by_distance(n, s, shares, count), values))
    mixed = n.reshape(n.op("Transpose", mixed, perm=[0, 2, 1]), 1, s.width, -1)
    return n.conv(mixed, f"{prefix}.conv_o")


def _by_position(n: Net, s: TextSizes, x: str, count: str) -> str:
    """`[heads, T, 2 window + 1]` by distance to `[heads, T, T]` by position.

    Each row moves one place to the right of the row above it: read as rows that are one shorter.
    """
    span = n.op("Add", count, n.const([2 * s.window]))
    flat = n.reshape(n.pad(x, 0, count, axis=2), s.heads, -1)
    moved = n.slice(flat, 0, n.op("Mul", count, span), axis=1)
    rows = n.reshape(moved, s.heads, count, -1)
    return n.slice(rows, s.window, n.op("Add", count, n.const([s.window])), axis=2)


def _by_distance(n: Net, s: TextSizes, x: str, count: str) -> str:
    """The way back: `[heads, T, T]` by position to `[heads, T, 2 window + 1]` by distance."""
    flat = n.reshape(n.pad(x, s.window, s.window, axis=2), s.heads, -1)
    rows = n.reshape(n.pad(flat, 0, count, axis=1), s.heads, count, -1)
    return n.slice(rows, 0, 2 * s.window + 1, axis=2)


def _frame_index(n: Net, durations: str, count: str) -> str:
    """For each frame, the symbol that it belongs to, `[frames]`; there is one frame at least."""
    ends = n.op("CumSum", durations, n.integer(0))
    total = n.op("ReduceMax", ends, n.const([0]), keepdims=0)
    total = n.op("Cast", n.op("Max", total, n.const(1.0)), to=_INT64)
    frames = n.op("Range", n.integer(0), total, n.integer(1))
    places = n.op("Unsqueeze", n.op("Cast", frames, to=1), n.const([1]))
    passed = n.op("Cast", n.op("GreaterOrEqual", places, ends), to=_INT64)
    index = n.op("ReduceSum", passed, n.const([1]), keepdims=0)
    return n.op("Min", index, n.op("Sub", count, n.const([1])))


def _cyclic(n: Net, noise: str, frames: str) -> str:
    """`noise` `[1, channels, N]` for as many frames, from its beginning again after its end."""
    total = n.op("Squeeze", n.op("Shape", frames))
    places = n.op("Range", n.integer(0), total, n.integer(1))
    return n.op("Gather", noise, n.op("Mod", places, n.op("Shape", noise, start=2)), axis=2)


def _flow(n: Net, s: FlowSizes, x: str, channels: int, voice: str) -> str:
    """The blocks backwards; channels change their order before each."""
    half = channels // 2
    for i in range(s.blocks - 1, -1, -1):
        block = f"{FLOW}.{i}"
        still, moved = n.split(_reversed(n, x), [half, half], axis=1)
        stats = n.conv(_wavenet(n, s, n.conv(still, f"{block}.pre"), block, voice), f"{block}.post")
        if s.scales:
            stats, log_scale = n.split(stats, [half, half], axis=1)
            scale = n.op("Exp", n.op("Neg", log_scale))
            moved = n.op("Mul", n.op("Sub", moved, stats), scale)
        else:
            moved = n.op("Sub", moved, stats)
        x = n.op("Concat", still, moved, axis=1)
    return x


def _reversed(n: Net, x: str) -> str:
    last, beyond, axis, step = (n.const([v]) for v in (-1, -(1 << 31), 1, -1))
    return n.op("Slice", x, last, beyond, axis, step)


def _wavenet(n: Net, s: FlowSizes, x: str, block: str, voice: str) -> str:
    """Gated convolutions (van den Oord et al. 2016), what each adds to the end summed."""
    prefix, out = f"{block}.enc", ""
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


def _stretched(n: Net, x: str, stretch: float) -> str:
    """Linear interpolation in time, as torch's `interpolate`."""
    scales = n.const(np.array([1.0, 1.0, stretch], np.float32), np.float32)
    mode = "pytorch_half_pixel"
    return n.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode=mode)
