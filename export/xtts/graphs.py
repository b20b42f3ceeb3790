"""The graphs of XTTS that are not its GPT, built from the state dict with standard ONNX
operators.

    conditioning  mel float32 [1, 80, T] → latents float32 [1, 32, width], of v1.1 [1, T, width]
    speaker       mel float32 [1, 64, T] → embedding float32 [1, 512]
    vocoder       latents float32 [1, N, width], speaker float32 [1, 512, 1],
                  latent_offset, frame_offset, frames, before, after int64 []
                  → audio float32 [1, 1, 256 * (frames - before - after)]
    vocoder_whole the same weights for whole sequences: latents [B, N, width], speaker [B, 512, 1] → audio [B, 1, samples]

The vocoder interpolates inside, in global coordinates: `latents` begin at latent `latent_offset` of
the utterance, and frames `frame_offset … frame_offset + frames - 1` of the whole decode are made of
them. The first `before` and the last `after` of them are context: each layer drops as much of it as
no later layer needs, which makes the context cheap (its reach is mostly that of the first, narrow
layers). Sources: coqui-tts 0.28, `layers/tortoise/autoregressive.py` (ConditioningEncoder),
`layers/xtts/perceiver_encoder.py`, `encoder/models/resnet.py`, `layers/xtts/hifigan_decoder.py`,
`vocoder/models/hifigan_generator.py`.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from voxturn.export.checkpoint import Shapes
from voxturn.export.hifigan import residual_block
from voxturn.export.net import Net
from voxturn.export.weights import Weights
from voxturn.export.xtts.checkpoint import XttsArgs
from voxturn.runtime.families.xtts.prompt import LATENTS

_ATTENTION_BLOCKS, _PERCEIVER_DEPTH, _PERCEIVER_HEADS = 6, 2, 8
_PERCEIVER_INNER = 512
_SPEAKER_LAYERS = ((3, 1), (4, 2), (6, 2), (3, 2))
"""Blocks and stride of the speaker encoder's four stages."""
_SPEAKER_WIDTH, _SPEAKER_BANDS, _SPEAKER_HIDDEN, _SQUEEZE = 32, 64, 128, 8
"""Channels of the first stage, which every next one doubles; mel bands; width of the attention; its
gates' reduction."""
_UPSAMPLE = ((8, 16), (8, 16), (2, 4), (2, 4))
"""Rate and kernel of the vocoder's four upsampling layers."""
_KERNELS, _DILATIONS = (3, 7, 11), (1, 3, 5)
_COND, _PERC = "gpt.conditioning_encoder", "gpt.conditioning_perceiver"
_SPK, _VOC = "hifigan_decoder.speaker_encoder", "hifigan_decoder.waveform_decoder"


def conditioning_shapes(args: XttsArgs) -> Shapes:
    """Every parameter of the conditioning graph."""
    width = args.gpt_n_model_channels
    shapes = _with_bias(f"{_COND}.init", width, 80, 1)
    for i in range(_ATTENTION_BLOCKS):
        shapes |= _with_bias(f"{_COND}.attn.{i}.norm", width)
        shapes |= _with_bias(f"{_COND}.attn.{i}.qkv", 3 * width, width, 1)
        shapes |= _with_bias(f"{_COND}.attn.{i}.proj_out", width, width, 1)
    return shapes | (_perceiver_shapes(width) if args.gpt_use_perceiver_resampler else {})


def _perceiver_shapes(width: int) -> Shapes:
    inner = width * 8 // 3
    shapes: Shapes = {f"{_PERC}.latents": (LATENTS, width), f"{_PERC}.norm.gamma": (width,)}
    for i in range(_PERCEIVER_DEPTH):
        prefix = f"{_PERC}.layers.{i}"
        shapes |= {
            f"{prefix}.0.to_q.weight": (_PERCEIVER_INNER, width),
            f"{prefix}.0.to_kv.weight": (2 * _PERCEIVER_INNER, width),
            f"{prefix}.0.to_out.weight": (width, _PERCEIVER_INNER),
        }
        shapes |= _with_bias(f"{prefix}.1.0", 2 * inner, width) | _with_bias(
            f"{prefix}.1.2", width, inner
        )
    return shapes


def _with_bias(prefix: str, *shape: int) -> Shapes:
    return {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}


def conditioning(args: XttsArgs, weights: Weights, path: Path) -> None:
    """Mel → conditioning encoder → perceiver, which v1.1 has not, written to `path`."""
    n, width, heads = Net(path, weights), args.gpt_n_model_channels, args.gpt_n_heads
    x = n.conv(n.g.input("mel", "float32", [1, 80, "T"]), f"{_COND}.init")
    for i in range(_ATTENTION_BLOCKS):
        x = _attention_block(n, x, f"{_COND}.attn.{i}", width, heads)
    if args.gpt_use_perceiver_resampler:
        _perceiver(n, n.op("Transpose", x, perm=[0, 2, 1]), width)
    else:
        n.g.node("Transpose", [x], ["latents"], perm=[0, 2, 1])
        n.g.output("latents", "float32", [1, "T", width])
    n.g.save()


def _perceiver(n: Net, context: str, width: int) -> None:
    """The output `latents` of a context `[1, T, width]`."""
    latents = n.op("Unsqueeze", n.param(f"{_PERC}.latents"), n.const([0]))
    for i in range(_PERCEIVER_DEPTH):
        prefix = f"{_PERC}.layers.{i}"
        latents = n.op("Add", _cross_attention(n, latents, context, f"{prefix}.0"), latents)
        latents = n.op("Add", _gated_mlp(n, latents, f"{prefix}.1"), latents)
    length = n.op("ReduceL2", latents, n.const([-1]), keepdims=1)
    normal = n.op("Div", latents, n.op("Max", length, n.const(1e-12)))
    scaled = n.op("Mul", normal, n.const(float(width) ** 0.5))
    n.g.node("Mul", [scaled, n.param(f"{_PERC}.norm.gamma")], ["latents"])
    n.g.output("latents", "float32", [1, LATENTS, width])


def _groups(channels: int) -> int:
    """How many groups upstream's `normalization` takes."""
    groups = 8 if channels <= 16 else 16 if channels <= 64 else 32
    while channels % groups:
        groups //= 2
    return groups


def _attention_block(n: Net, x: str, prefix: str, width: int, heads: int) -> str:
    """Group norm, self-attention over time, and the normed input added (upstream adds that, not the
    input itself)."""
    groups, size = _groups(width), width // heads
    ones, zeros = (
        n.const(np.ones(groups, np.float32), np.float32),
        n.const(np.zeros(groups, np.float32), np.float32),
    )
    normed = n.op("InstanceNormalization", n.reshape(x, 1, groups, -1), ones, zeros, epsilon=1e-5)
    column = n.w.take(f"{prefix}.norm.weight")[:, None], n.w.take(f"{prefix}.norm.bias")[:, None]
    scaled = n.op("Mul", n.reshape(normed, 1, width, -1), n.const(column[0], np.float32))
    normed = n.op("Add", scaled, n.const(column[1], np.float32))
    qkv = n.reshape(n.conv(normed, f"{prefix}.qkv"), heads, 3, size, -1)
    q, k, v = (n.op("Gather", qkv, n.const(np.array(i), np.int64), axis=1) for i in range(3))
    scores = n.op("MatMul", n.op("Transpose", q, perm=[0, 2, 1]), k)
    shares = n.op("Softmax", n.op("Mul", scores, n.const(float(size) ** -0.5)), axis=-1)
    mixed = n.op("MatMul", v, n.op("Transpose", shares, perm=[0, 2, 1]))
    return n.op("Add", normed, n.conv(n.reshape(mixed, 1, width, -1), f"{prefix}.proj_out"))


def _cross_attention(n: Net, latents: str, context: str, prefix: str) -> str:
    """The latents attend to themselves and the context."""
    inner = n.w.shape(f"{prefix}.to_q.weight")[0]
    size = inner // _PERCEIVER_HEADS
    both = n.op("Concat", latents, context, axis=1)
    k, v = n.g.nodes(
        "Split", [n.linear(both, f"{prefix}.to_kv", bias=False)], 2, axis=-1, num_outputs=2
    )
    q, k, v = (
        n.op("Transpose", n.reshape(t, 1, -1, _PERCEIVER_HEADS, size), perm=perm)
        for t, perm in (
            (n.linear(latents, f"{prefix}.to_q", bias=False), [0, 2, 1, 3]),
            (k, [0, 2, 3, 1]),
            (v, [0, 2, 1, 3]),
        )
    )
    shares = n.op(
        "Softmax", n.op("Mul", n.op("MatMul", q, k), n.const(float(size) ** -0.5)), axis=-1
    )
    mixed = n.op("Transpose", n.op("MatMul", shares, v), perm=[0, 2, 1, 3])
    return n.linear(n.reshape(mixed, 1, -1, inner), f"{prefix}.to_out", bias=False)


def _gated_mlp(n: Net, x: str, prefix: str) -> str:
    value, gate = n.g.nodes("Split", [n.linear(x, f"{prefix}.0")], 2, axis=-1, num_outputs=2)
    return n.linear(n.op("Mul", value, n.op("Gelu", gate)), f"{prefix}.2")


def speaker_shapes(args: XttsArgs) -> Shapes:
    """Every parameter of the speaker graph, and the constants of its mel spectrogram."""
    last = _SPEAKER_WIDTH << len(_SPEAKER_LAYERS) - 1
    pooled = last * _SPEAKER_BANDS // 2 ** sum(stride > 1 for _, stride in _SPEAKER_LAYERS)
    shapes = _with_bias(f"{_SPK}.conv1", _SPEAKER_WIDTH, 1, 3, 3) | _norm(
        f"{_SPK}.bn1", _SPEAKER_WIDTH
    )
    before = _SPEAKER_WIDTH
    for stage, (blocks, stride) in enumerate(_SPEAKER_LAYERS, 1):
        width = _SPEAKER_WIDTH << stage - 1
        for block in range(blocks):
            prefix = f"{_SPK}.layer{stage}.{block}"
            shapes |= {
                f"{prefix}.conv1.weight": (width, before, 3, 3),
                f"{prefix}.conv2.weight": (width, width, 3, 3),
            }
            shapes |= _norm(f"{prefix}.bn1", width) | _norm(f"{prefix}.bn2", width)
            shapes |= _with_bias(f"{prefix}.se.fc.0", width // _SQUEEZE, width)
            shapes |= _with_bias(f"{prefix}.se.fc.2", width, width // _SQUEEZE)
            if block == 0 and stride > 1:
                shapes |= {f"{prefix}.downsample.0.weight": (width, before, 1, 1)}
                shapes |= _norm(f"{prefix}.downsample.1", width)
            before = width
    shapes |= _with_bias(f"{_SPK}.attention.0", _SPEAKER_HIDDEN, pooled, 1)
    shapes |= _norm(f"{_SPK}.attention.2", _SPEAKER_HIDDEN)
    shapes |= _with_bias(f"{_SPK}.attention.3", pooled, _SPEAKER_HIDDEN, 1)
    shapes |= _with_bias(f"{_SPK}.fc", args.d_vector_dim, 2 * pooled)
    return shapes | dict(zip(SPEAKER_MEL, ((1, 1, 2), (400,), (257, _SPEAKER_BANDS)), strict=True))


def _norm(prefix: str, width: int) -> Shapes:
    return {
        f"{prefix}.{kind}": (width,) for kind in ("weight", "bias", "running_mean", "running_var")
    }


SPEAKER_MEL = (
    f"{_SPK}.torch_spec.0.filter",
    f"{_SPK}.torch_spec.1.spectrogram.window",
    f"{_SPK}.torch_spec.1.mel_scale.fb",
)
"""Pre-emphasis filter, window and mel filter bank of the speaker encoder: the runtime's front end
reads them."""


def speaker(weights: Weights, path: Path) -> None:
    """H/ASP (Heo et al. 2020): log mel → ResNet with squeeze-and-excitation → attentive statistics
    → unit vector.

    Written to `path`.
    """
    n = Net(path, weights)
    x = n.op("Log", n.op("Add", n.g.input("mel", "float32", [1, 64, "T"]), n.const(1e-6)))
    ones, zeros = (
        n.const(np.ones(64, np.float32), np.float32),
        n.const(np.zeros(64, np.float32), np.float32),
    )
    x = n.op("Unsqueeze", n.op("InstanceNormalization", x, ones, zeros, epsilon=1e-5), n.const([1]))
    x = n.batch_norm(n.op("Relu", n.conv(x, f"{_SPK}.conv1", pad=1)), f"{_SPK}.bn1")
    for stage, (blocks, stride) in enumerate(_SPEAKER_LAYERS, 1):
        for block in range(blocks):
            x = _se_block(n, x, f"{_SPK}.layer{stage}.{block}", stride if block == 0 else 1)
    x = n.reshape(x, 1, n.w.shape(f"{_SPK}.attention.0.weight")[1], -1)
    hidden = n.batch_norm(n.op("Relu", n.conv(x, f"{_SPK}.attention.0")), f"{_SPK}.attention.2")
    shares = n.op("Softmax", n.conv(hidden, f"{_SPK}.attention.3"), axis=2)
    time = n.const([2])
    mean = n.op("ReduceSum", n.op("Mul", x, shares), time, keepdims=0)
    square = n.op("ReduceSum", n.op("Mul", n.op("Mul", x, x), shares), time, keepdims=0)
    spread = n.op("Sqrt", n.op("Max", n.op("Sub", square, n.op("Mul", mean, mean)), n.const(1e-5)))
    out = n.linear(n.op("Concat", mean, spread, axis=1), f"{_SPK}.fc")
    length = n.op("Max", n.op("ReduceL2", out, n.const([1]), keepdims=1), n.const(1e-12))
    n.g.node("Div", [out, length], ["embedding"])
    n.g.output("embedding", "float32", [1, 512])
    n.g.save()


def _se_block(n: Net, x: str, prefix: str, stride: int) -> str:
    y = n.conv(x, f"{prefix}.conv1", pad=1, bias=False, strides=[stride, stride])
    y = n.batch_norm(n.op("Relu", y), f"{prefix}.bn1")
    y = n.batch_norm(n.conv(y, f"{prefix}.conv2", pad=1, bias=False), f"{prefix}.bn2")
    pooled = n.op("ReduceMean", y, n.const([2, 3]), keepdims=0)
    gate = n.op(
        "Sigmoid",
        n.linear(n.op("Relu", n.linear(pooled, f"{prefix}.se.fc.0")), f"{prefix}.se.fc.2"),
    )
    y = n.op("Mul", y, n.op("Unsqueeze", gate, n.const([2, 3])))
    if stride > 1:
        x = n.batch_norm(
            n.conv(x, f"{prefix}.downsample.0", bias=False, strides=[stride, stride]),
            f"{prefix}.downsample.1",
        )
    return n.op("Relu", n.op("Add", y, x))


def vocoder_shapes(args: XttsArgs, weights: Weights) -> Shapes:
    """Every parameter of the vocoder graph; weight-normed ones under the form that the checkpoint
    has."""
    width, voice = weights.rows(f"{_VOC}.conv_pre.weight"), args.d_vector_dim
    shapes = _with_bias(f"{_VOC}.conv_pre", width, args.decoder_input_dim, 7)
    shapes |= _with_bias(f"{_VOC}.cond_layer", width, voice, 1)
    for i, (_, kernel) in enumerate(_UPSAMPLE):
        before, width = width, width // 2
        shapes |= weights.weight_shapes(f"{_VOC}.ups.{i}", before, width, kernel) | {
            f"{_VOC}.ups.{i}.bias": (width,)
        }
        shapes |= _with_bias(f"{_VOC}.conds.{i}", width, voice, 1)
        for j, size in enumerate(_KERNELS):
            for k in (f"convs{convs}.{k}" for convs in (1, 2) for k in range(len(_DILATIONS))):
                prefix = f"{_VOC}.resblocks.{i * len(_KERNELS) + j}.{k}"
                shapes |= weights.weight_shapes(prefix, width, width, size) | {
                    f"{prefix}.bias": (width,)
                }
    return shapes | {f"{_VOC}.conv_post.weight": (1, width, 7)}


def vocoder(
    args: XttsArgs, weights: Weights, path: Path, dtype: type[np.floating[Any]] = np.float32
) -> None:
    """Interpolation, then HiFiGAN (Kong et al. 2020) with the speaker's embedding added at every
    level.

    Written to `path`. Inputs, output and the interpolation are float32 whatever the `dtype` of the
    network.
    """
    n = Net(path, weights, dtype)
    latents = n.g.input("latents", "float32", [1, "N", args.decoder_input_dim])
    voice = n.cast(n.g.input("speaker", "float32", [1, args.d_vector_dim, 1]), dtype)
    x = n.conv(n.cast(_interpolated(n, args, latents), dtype), f"{_VOC}.conv_pre", pad=3)
    x = n.op("Add", x, n.conv(voice, f"{_VOC}.cond_layer"))
    context = [n.g.input(name, "int64", []) for name in ("before", "after")]
    for i, ((rate, _), needed) in enumerate(zip(_UPSAMPLE, context_needed(), strict=True)):
        x = n.conv_transpose(n.op("LeakyRelu", x, alpha=0.1), f"{_VOC}.ups.{i}", rate)
        x = n.op("Add", x, n.conv(voice, f"{_VOC}.conds.{i}"))
        context = [n.op("Mul", side, n.integer(rate)) for side in context]
        total, left = "", context
        for j, size in enumerate(_KERNELS):
            y, before = _cropped(n, x, context, needed + _reach(size))
            y, left = _cropped(
                n,
                residual_block(n, y, f"{_VOC}.resblocks.{i * len(_KERNELS) + j}", size, _DILATIONS),
                before,
                needed,
            )
            total = n.op("Add", total, y) if total else y
        x, context = n.op("Mul", total, n.const(np.array(1.0 / len(_KERNELS)), dtype)), left
    x = n.conv(n.op("LeakyRelu", x, alpha=0.01), f"{_VOC}.conv_post", pad=3, bias=False)
    x, _ = _cropped(n, x, context, 0)
    n.g.node("Tanh", [n.cast(x, np.float32)], ["audio"])
    n.g.output("audio", "float32", [1, 1, "samples"])
    n.g.save()


def whole_vocoder(args: XttsArgs, window: Path, path: Path) -> None:
    """The vocoder's graph for whole sequences, several at once, for servers that batch what comes:
    over the same weights.

    `latents` `[B, N, width]` and `speaker` `[B, 512, 1]` to `audio` `[B, 1, samples]`. `window` is
    what `vocoder` wrote; `path` lies beside it and reads its data file.
    """
    model = onnx.load(str(window), load_external_data=False)
    graph, none = model.graph, ("latent_offset", "frame_offset", "before", "after")
    retained = [value for value in graph.input if value.name in ("latents", "speaker")]
    for value in (*retained, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "B"
    steps = args.gpt_code_stride_len // args.output_hop_length * args.output_sample_rate
    numbers = dict.fromkeys(none, 0) | {"one": 1, "steps": steps, "rate": args.input_sample_rate}
    constants = [
        numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()
    ]
    counted = [
        helper.make_node("Shape", ["latents"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "one"], ["count"]),
        helper.make_node("Mul", ["count", "steps"], ["scaled"]),
        helper.make_node("Div", ["scaled", "rate"], ["frames"]),
    ]
    nodes = [*counted, *graph.node]
    for field, values in ((graph.input, retained), (graph.node, nodes)):
        del field[:]
        field.extend(values)
    graph.initializer.extend(constants)
    onnx.save(model, str(path))


def context_needed() -> list[int]:
    """How many samples of context the layers behind each level need, in samples of that level."""
    needed, out = 3, [3]  # the last convolution's
    for rate, _ in reversed(_UPSAMPLE[1:]):
        needed = -(-(needed + _reach(max(_KERNELS))) // rate) + 1
        out.append(needed)
    return out[::-1]


def _reach(kernel: int) -> int:
    """A residual block's reach to either side, in samples."""
    return (kernel - 1) // 2 * sum(dilation + 1 for dilation in _DILATIONS)


def margin_needed() -> int:
    """Frames of context that a window needs on either side for its samples to be the full decode's."""
    return -(-(context_needed()[0] + _reach(max(_KERNELS))) // _UPSAMPLE[0][0]) + 1 + 3


def _cropped(n: Net, x: str, context: list[str], needed: int) -> tuple[str, list[str]]:
    """`x` without the context beyond `needed` samples a side, and the context that is left."""
    zero, axis = n.integer(0), n.const([2])
    keep = n.integer(needed)
    drop = [n.op("Max", n.op("Sub", side, keep), zero) for side in context]
    length = n.op("Gather", n.op("Shape", x), axis)
    first = n.op("Unsqueeze", drop[0], n.const([0]))
    last = n.op("Sub", length, n.op("Unsqueeze", drop[1], n.const([0])))
    return n.op("Slice", x, first, last, axis), [
        n.op("Sub", side, d) for side, d in zip(context, drop, strict=True)
    ]


def _interpolated(n: Net, args: XttsArgs, latents: str) -> str:
    """Frames `[1, width, F]`: linear ×4, then linear to the output's rate, as two `interpolate`
    calls of torch."""
    repeat = Fraction(args.gpt_code_stride_len, args.output_hop_length)
    ratio = Fraction(args.output_sample_rate, args.input_sample_rate)
    latent_offset, frame_offset, frames = (
        n.g.input(name, "int64", []) for name in ("latent_offset", "frame_offset", "frames")
    )
    zero, one, steps = n.integer(0), n.integer(1), n.integer(int(repeat))
    wanted = n.op("Add", n.op("Range", zero, frames, one), frame_offset)
    ahead = n.op("Add", latent_offset, n.op("Gather", n.op("Shape", latents), one))
    last, last_step = n.op("Sub", ahead, one), n.op("Sub", n.op("Mul", ahead, steps), one)
    low, high, share = _neighbours(n, wanted, ratio, last_step)
    low_step, high_step = (
        _steps_at(n, latents, at, repeat, last, latent_offset) for at in (low, high)
    )
    mixed = _blend(n, low_step, high_step, share)
    return n.op("Transpose", mixed, perm=[0, 2, 1])


def _neighbours(n: Net, wanted: str, scale: Fraction, last: str) -> tuple[str, str, str]:
    """For output positions: the two input positions around each, and the second's share `[F, 1]`.

    Position `i` of the output lies at `(i + 1/2) / scale - 1/2` of the input. Counted in whole
    numbers, of which float32 loses thousandths in long utterances, and bf16 everything beyond 256.
    """
    unit = 2 * scale.numerator
    doubled = n.op("Add", n.op("Mul", wanted, n.integer(2)), n.integer(1))
    at = n.op("Sub", n.op("Mul", doubled, n.integer(scale.denominator)), n.integer(scale.numerator))
    at = n.op("Max", at, n.integer(0))
    floor = n.op("Div", at, n.integer(unit))
    rest = n.op("Sub", at, n.op("Mul", floor, n.integer(unit)))
    share = n.op("Mul", n.op("Cast", rest, to=1), n.const(1.0 / unit))
    low = n.op("Min", floor, last)
    return (
        low,
        n.op("Min", n.op("Add", low, n.integer(1)), last),
        n.op("Unsqueeze", share, n.const([1])),
    )


def _steps_at(n: Net, latents: str, at: str, repeat: Fraction, last: str, offset: str) -> str:
    low, high, share = _neighbours(n, at, repeat, last)
    before, after = (n.op("Gather", latents, n.op("Sub", i, offset), axis=1) for i in (low, high))
    return _blend(n, before, after, share)


def _blend(n: Net, low: str, high: str, share: str) -> str:
    return n.op("Add", n.op("Mul", low, n.op("Sub", n.const(1.0), share)), n.op("Mul", high, share))
