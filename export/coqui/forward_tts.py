"""FastPitch, FastSpeech, FastSpeech 2 and SpeedySpeech, which upstream has as one model: text to mels
without noise, with the hand-over to a vocoder at the end.

    acoustic: as a VITS's (`export.coqui.vits.graphs`), whose latents are the vocoder's mels

Encoder and decoder are transformers or residual convolutions; the tensors say which. Source: coqui-tts
0.28, `models/forward_tts.py`, `layers/feed_forward/`, `layers/generic/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from voxturn.export import checkpoint
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.artifact import Exported
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.layers import (
    FLOAT,
    PlainDurationSizes,
    biased,
    frame_index,
    plain_durations,
)
from voxturn.export.coqui.mel import MelSettings
from voxturn.export.coqui.mel_voice import MelVoice, write_voice
from voxturn.export.coqui.vocoder import Vocoder
from voxturn.export.net import Net
from voxturn.export.weights import Weights, reading_sizes

NAMES = ("fast_pitch", "fast_speech", "fastspeech2", "speedy_speech", "forward_tts")
"""Of these models in configurations."""
_TRAINING_ONLY = re.compile(r"aligner\.|.*\.num_batches_tracked$")
_ENCODER, _DECODER, _POSITIONS = "encoder.encoder", "decoder.decoder", "pos_encoder.pe"
_EXTRAS = ("pitch", "energy")
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class BlockSizes:
    """Of an encoder's or a decoder's layers at `prefix`: `heads` of a transformer, or residual blocks
    with these `dilations`; no tensor says either."""

    prefix: str
    width: int
    layers: int
    inner: int
    kernel: int
    heads: int
    dilations: tuple[int, ...]

    @classmethod
    def of(cls, w: Weights, prefix: str, params: Mapping[str, Any]) -> BlockSizes:
        """Raises `LookupError` or `ValueError` where it is neither."""
        if f"{prefix}.fft_layers.0.conv1.weight" in w:
            inner, width, kernel = w.shape(f"{prefix}.fft_layers.0.conv1.weight")
            layers, heads = w.count(f"{prefix}.fft_layers"), int(params.get("num_heads", 2))
            if heads < 1 or width % heads:
                raise ValueError(f"{heads} heads of {width} channels")
            return cls(f"{prefix}.fft_layers", width, layers, inner, kernel, heads, ())
        first = f"{prefix}.res_blocks.0.conv_bn_blocks"
        width, _, kernel = w.shape(f"{first}.0.conv1d.weight")
        blocks = w.count(f"{prefix}.res_blocks")
        dilations = tuple(int(d) for d in params["dilations"])
        if len(dilations) != blocks or min(dilations) < 1:
            raise ValueError(f"{blocks} residual blocks with the dilations {list(dilations)}")
        return cls(f"{prefix}.res_blocks", width, w.count(first), 0, kernel, 0, dilations)

    @property
    def attends(self) -> bool:
        """Whether it is a transformer."""
        return self.heads > 0

    def shapes(self) -> Shapes:
        """Every parameter of the layers."""
        shapes: Shapes = {}
        if not self.attends:
            for i in range(len(self.dilations)):
                for j in range(self.layers):
                    name = f"{self.prefix}.{i}.conv_bn_blocks.{j}"
                    shapes |= _conv_bn_shapes(name, self.width, self.kernel)
            return shapes
        for i in range(self.layers):
            layer = f"{self.prefix}.{i}"
            attention = f"{layer}.self_attn"
            shapes |= {
                f"{attention}.in_proj_weight": (3 * self.width, self.width),
                f"{attention}.in_proj_bias": (3 * self.width,),
            }
            shapes |= biased(f"{attention}.out_proj", self.width, self.width)
            shapes |= biased(f"{layer}.conv1", self.inner, self.width, self.kernel)
            shapes |= biased(f"{layer}.conv2", self.width, self.inner, self.kernel)
            shapes |= biased(f"{layer}.norm1", self.width) | biased(f"{layer}.norm2", self.width)
        return shapes


@dataclass(frozen=True)
class ForwardSizes:
    """Of the whole model. `extras`: what else is predicted for each symbol and added to it, and the
    kernel that it is added by; `positions`: frames that have a position's values, or 0.

    `voice`: channels of a speaker, or 0; `projected`: they are brought to the width first.
    """

    symbols: int
    width: int
    encoder: BlockSizes
    decoder: BlockSizes
    durations: PlainDurationSizes
    extras: Mapping[str, tuple[PlainDurationSizes, int]]
    positions: int
    mels: int
    voice: int
    projected: bool

    @classmethod
    def of(cls, w: Weights, args: Mapping[str, Any]) -> ForwardSizes:
        """`args` are the configuration's `model_args`.

        Raises `LookupError` or `ValueError` where it is no such model.
        """
        symbols, width = w.shape("emb.weight")
        encoder = BlockSizes.of(
            w, _blocks(w, _ENCODER, "fft_layers"), args.get("encoder_params") or {}
        )
        decoder = BlockSizes.of(
            w,
            _blocks(w, _DECODER, "transformer_block.fft_layers"),
            args.get("decoder_params") or {},
        )
        extras = {
            name: (
                PlainDurationSizes.of(w, f"{name}_predictor"),
                w.shape(f"{name}_emb.weight")[2],
            )
            for name in _EXTRAS
            if f"{name}_emb.weight" in w
        }
        projected = "proj_g.weight" in w
        several = "emb_g.weight" in w or bool(args.get("use_d_vector_file"))
        voice = w.shape("proj_g.weight")[1] if projected else width if several else 0
        return cls(
            symbols=symbols,
            width=width,
            encoder=encoder,
            decoder=decoder,
            durations=PlainDurationSizes.of(w, "duration_predictor"),
            extras=extras,
            positions=w.shape(_POSITIONS)[2] if _POSITIONS in w else 0,
            mels=w.shape(_last(decoder))[0],
            voice=voice,
            projected=projected,
        )

    def shapes(self) -> Shapes:
        """Every parameter that the graph consumes."""
        width, mels = self.width, self.mels
        shapes: Shapes = {"emb.weight": (self.symbols, width)}
        shapes |= self.encoder.shapes() | self.decoder.shapes() | self.durations.shapes()
        for name, (predictor, kernel) in self.extras.items():
            shapes |= predictor.shapes() | biased(f"{name}_emb", width, 1, kernel)
        if self.positions:
            shapes |= {_POSITIONS: (1, width, self.positions)}
        if self.projected:
            shapes |= biased("proj_g", width, self.voice)
        if not self.encoder.attends:
            shapes |= biased(f"{_ENCODER}.prenet.0", width, width, 1)
            shapes |= biased(f"{_ENCODER}.postnet.0", width, width, 1)
            shapes |= {f"{_ENCODER}.postnet.2.{name}": (width,) for name in _BATCH_NORM}
            shapes |= biased(f"{_ENCODER}.postnet.3", width, width, 1)
        if self.decoder.attends:
            return shapes | biased(f"{_DECODER}.postnet", mels, width, 1)
        shapes |= biased(f"{_DECODER}.post_conv", width, width, 1)
        for j in range(2):
            name = f"{_DECODER}.postnet.0.conv_bn_blocks.{j}"
            shapes |= _conv_bn_shapes(name, width, self.decoder.kernel)
        return shapes | biased(f"{_DECODER}.postnet.1", mels, width, 1)


def _blocks(w: Weights, prefix: str, attending: str) -> str:
    """Where the layers of an encoder or a decoder are."""
    path = f"{prefix}.{attending}"
    return path.removesuffix(".fft_layers") if w.count(path) else f"{prefix}.res_conv_block"


def _last(decoder: BlockSizes) -> str:
    """The last layer's weight."""
    return f"{_DECODER}.postnet.weight" if decoder.attends else f"{_DECODER}.postnet.1.weight"


def _conv_bn_shapes(prefix: str, width: int, kernel: int) -> Shapes:
    return biased(f"{prefix}.conv1d", width, width, kernel) | {
        f"{prefix}.norm.{name}": (width,) for name in _BATCH_NORM
    }


def write(folder: CoquiFolder, target: Path, vocoder: Path) -> Exported:
    """Write the files of such a voice and its vocoder into `target`.

    Raises `ExportFailed` or `CorruptModel`.
    """
    what = "a voice of its family, or has layers that are not exported yet"
    weights = Weights(folder.tensors(), folder.weights_file.name, what, _TRAINING_ONLY)
    with checkpoint.settings_of(folder.path / CONFIG):
        args = folder.config["model_args"]
        length = float(args.get("length_scale", 1.0))
        with reading_sizes(folder.weights_file, what):
            sizes = ForwardSizes.of(weights, args)
    voice = MelVoice(
        weights=weights,
        symbols=sizes.symbols,
        mels=sizes.mels,
        voice=sizes.voice,
        wanted=sizes.shapes(),
        graph=partial(acoustic, weights, sizes),
        noise=None,
        length=length,
        unit=False,
    )
    return write_voice(folder, target, vocoder, voice)


def acoustic(w: Weights, s: ForwardSizes, path: Path, mel: MelSettings, vocoder: Vocoder) -> None:
    """Symbols → encoder → durations → decoder → the vocoder's mels, written to `path`."""
    n = Net(path, w)
    ids = n.g.input("input", "int64", [1, "phonemes"])
    n.g.input("input_lengths", "int64", [1])
    length = n.op("Gather", n.g.input("scales", "float32", [3]), n.integer(1))
    n.g.input("duration_noise", "float32", [1, 2, "phonemes"])
    n.g.input("prior_noise", "float32", [1, s.mels, "noise_frames"])
    voice = n.g.input("speaker", "float32", [1, s.voice, 1]) if s.voice else ""

    rows = n.op("Gather", n.param("emb.weight"), ids)
    hidden = _encoder(n, s, n.op("Transpose", rows, perm=[0, 2, 1]))
    if voice:
        hidden = n.op("Add", hidden, _projected(n, voice) if s.projected else voice)
    frames = n.op("Sub", n.op("Exp", plain_durations(n, s.durations, hidden)), n.const(1.0))
    durations = n.op("Round", n.op("Max", n.op("Mul", frames, length), n.const(1.0)))
    for name, (predictor, kernel) in s.extras.items():
        predicted = plain_durations(n, predictor, hidden)
        hidden = n.op("Add", hidden, n.conv(predicted, f"{name}_emb", pad=(kernel - 1) // 2))
    index = frame_index(n, n.reshape(durations, -1), n.op("Shape", ids, start=1))
    spread = n.op("Gather", hidden, index, axis=2)
    mels = _decoder(n, s, _placed(n, s, spread, index))
    n.g.node("Identity", [vocoder.framed(n, mels, mel)], ["latents"])
    n.g.node("Reshape", [durations, n.const([1, -1])], ["durations"])
    n.g.output("latents", "float32", [1, s.mels, "frames"])
    n.g.output("durations", "float32", [1, "phonemes"])
    n.g.save()


def _projected(n: Net, voice: str) -> str:
    flat = n.op("Squeeze", voice, n.const([2]))
    return n.op("Unsqueeze", n.linear(flat, "proj_g"), n.const([2]))


def _placed(n: Net, s: ForwardSizes, x: str, index: str) -> str:
    """With each frame's position, where the model has positions."""
    if not s.positions:
        return x
    places = n.slice(n.param(_POSITIONS), 0, n.op("Shape", index), axis=2)
    return n.op("Add", n.op("Mul", x, n.const(float(s.width) ** 0.5)), places)


def _encoder(n: Net, s: ForwardSizes, x: str) -> str:
    if s.encoder.attends:
        return _transformer(n, s.encoder, x)
    y = n.op("Relu", n.conv(x, f"{_ENCODER}.prenet.0"))
    y = n.op("Add", _residual(n, s.encoder, y), x)
    y = n.op("Relu", n.conv(y, f"{_ENCODER}.postnet.0"))
    return n.conv(n.batch_norm(y, f"{_ENCODER}.postnet.2"), f"{_ENCODER}.postnet.3")


def _decoder(n: Net, s: ForwardSizes, x: str) -> str:
    if s.decoder.attends:
        return n.conv(_transformer(n, s.decoder, x), f"{_DECODER}.postnet")
    y = n.op("Add", n.conv(_residual(n, s.decoder, x), f"{_DECODER}.post_conv"), x)
    for j in range(2):
        y = _conv_bn(n, y, f"{_DECODER}.postnet.0.conv_bn_blocks.{j}", s.decoder.kernel, 1)
    return n.conv(y, f"{_DECODER}.postnet.1")


def _residual(n: Net, s: BlockSizes, x: str) -> str:
    for i, dilation in enumerate(s.dilations):
        y = x
        for j in range(s.layers):
            y = _conv_bn(n, y, f"{s.prefix}.{i}.conv_bn_blocks.{j}", s.kernel, dilation)
        x = n.op("Add", y, x)
    return x


def _conv_bn(n: Net, x: str, prefix: str, kernel: int, dilation: int) -> str:
    """A convolution of whole windows alone, with zeros in place of the others, then a batch norm.

    Upstream convolves before it pads, and fails where no window is whole; here there are zeros only.
    """
    total = dilation * (kernel - 1)
    before, after = total // 2, total - total // 2
    y = n.conv(x, f"{prefix}.conv1d", pads=[before, after], dilations=[dilation])
    if total:
        y = n.op("Mul", y, _whole_windows(n, x, before, after))
    return n.batch_norm(n.op("Relu", y), f"{prefix}.norm")


def _whole_windows(n: Net, x: str, before: int, after: int) -> str:
    """1 where a window of so many values to either side lies within `x`, else 0; `[T]`."""
    count = n.op("Squeeze", n.op("Shape", x, start=2))
    places = n.op("Range", n.integer(0), count, n.integer(1))
    begun = n.op("GreaterOrEqual", places, n.integer(before))
    ended = n.op("Less", places, n.op("Sub", count, n.integer(after)))
    return n.op("Cast", n.op("And", begun, ended), to=FLOAT)


def _transformer(n: Net, s: BlockSizes, x: str) -> str:
    """Layers in which upstream adds what a position has looked up twice."""
    pad = (s.kernel - 1) // 2
    for i in range(s.layers):
        layer = f"{s.prefix}.{i}"
        found = _attention(n, s, x, f"{layer}.self_attn")
        x = _norm(n, n.op("Sum", x, found, found), f"{layer}.norm1")
        y = n.op("Relu", n.conv(x, f"{layer}.conv1", pad=pad))
        x = _norm(n, n.op("Add", x, n.conv(y, f"{layer}.conv2", pad=pad)), f"{layer}.norm2")
    return x


def _attention(n: Net, s: BlockSizes, x: str, prefix: str) -> str:
    """Self-attention over time of `x` `[1, width, T]`, as torch's `MultiheadAttention`."""
    size = s.width // s.heads
    rows = n.op("Transpose", x, perm=[0, 2, 1])
    weight = n.weight(f"{prefix}.in_proj_weight", n.w.take(f"{prefix}.in_proj_weight").T)
    qkv = n.op("Add", n.op("MatMul", rows, weight), n.param(f"{prefix}.in_proj_bias"))
    q, k, v = (
        n.op("Transpose", n.reshape(part, -1, s.heads, size), perm=perm)
        for part, perm in zip(
            n.split(qkv, [s.width] * 3, axis=2), ([1, 0, 2], [1, 2, 0], [1, 0, 2]), strict=True
        )
    )
    scores = n.op("MatMul", n.op("Mul", q, n.const(float(size) ** -0.5)), k)
    mixed = n.op("MatMul", n.op("Softmax", scores, axis=-1), v)
    mixed = n.reshape(n.op("Transpose", mixed, perm=[1, 0, 2]), 1, -1, s.width)
    return n.op("Transpose", n.linear(mixed, f"{prefix}.out_proj"), perm=[0, 2, 1])


def _norm(n: Net, x: str, prefix: str) -> str:
    """A layer norm over the channels of `x` `[1, width, T]`."""
    rows = n.op("Transpose", x, perm=[0, 2, 1])
    scale, shift = n.param(f"{prefix}.weight"), n.param(f"{prefix}.bias")
    y = n.op("LayerNormalization", rows, scale, shift, axis=-1, epsilon=1e-5)
    return n.op("Transpose", y, perm=[0, 2, 1])
