"""GlowTTS (Kim et al. 2020): text to mels in one graph, with the hand-over to its vocoder at the end.

    acoustic: as a VITS's (`export.coqui.vits.graphs`), whose latents are the vocoder's mels

Channels of a flow change places by fixed matrices; each and the scaling behind it are one convolution
here. Source: coqui-tts 0.28, `models/glow_tts.py`, `layers/glow_tts/encoder.py`, `decoder.py`,
`glow.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.export import checkpoint
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.artifact import Exported
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.layers import (
    PlainDurationSizes,
    TransformerSizes,
    WavenetSizes,
    biased,
    cyclic,
    frame_index,
    layer_norm,
    normed,
    plain_durations,
    transformer,
    uncoupled,
    wavenet,
)
from voxturn.export.coqui.mel import MelSettings
from voxturn.export.coqui.mel_voice import MelVoice, write_voice
from voxturn.export.coqui.vocoder import Vocoder
from voxturn.export.net import Net
from voxturn.export.weights import Weights, reading_sizes
from voxturn.runtime.errors import CorruptModel, ExportFailed

_TRAINING_ONLY = re.compile(r".*\.weight_inv$|.*\.num_batches_tracked$")
_TRANSFORMER, _PRENET_KERNEL = "rel_pos_transformer", 5
_ENCODER, _FLOWS = "encoder", "decoder.flows"
_PRENET, _KINDS = f"{_ENCODER}.prenet", 3
"""A block of the flow is a scaling, a matrix and a coupling, one after the other."""


@dataclass(frozen=True)
class GlowSizes:
    """Of the whole model: a table of `symbols`, a prenet of `prenet` layers, a transformer, mels of
    `mels` values, `blocks` of a flow over `squeeze` frames at once, each a WaveNet.

    `splits`: rows of a block's matrix. `spreads`: the text says how far its mels vary. `sigmoid`:
    how couplings scale; no tensor says it.
    """

    symbols: int
    prenet: int
    transformer: TransformerSizes
    durations: PlainDurationSizes
    mels: int
    spreads: bool
    blocks: int
    squeeze: int
    splits: int
    wavenet: WavenetSizes
    sigmoid: bool

    @classmethod
    def of(cls, w: Weights, config: Mapping[str, Any]) -> GlowSizes:
        """Raises `LookupError` or `ValueError` where it is no GlowTTS."""
        heads = int((config.get("encoder_params") or {}).get("num_heads", 2))
        mels = w.shape(f"{_ENCODER}.proj_m.weight")[0]
        return cls(
            symbols=w.shape(f"{_ENCODER}.emb.weight")[0],
            prenet=w.count(f"{_PRENET}.conv_layers"),
            transformer=TransformerSizes.of(w, f"{_ENCODER}.encoder", heads),
            durations=PlainDurationSizes.of(w, f"{_ENCODER}.duration_predictor"),
            mels=mels,
            spreads=f"{_ENCODER}.proj_s.weight" in w,
            blocks=w.count(_FLOWS) // _KINDS,
            squeeze=w.shape(f"{_FLOWS}.0.logs")[1] // mels,
            splits=w.shape(f"{_FLOWS}.1.weight")[0],
            wavenet=WavenetSizes.of(w, f"{_FLOWS}.2.wn", int(config.get("dilation_rate", 1))),
            sigmoid=bool(config.get("sigmoid_scale", False)),
        )

    def __post_init__(self) -> None:
        """Raise `ValueError` for parts that are not of one model."""
        if self.durations.inputs != self.transformer.width + self.voice:
            raise ValueError(f"durations of {self.durations.inputs} channels")
        if self.squeeze < 1 or self.squeeze * self.mels % self.splits or self.splits % 2:
            raise ValueError(f"{self.splits} rows for {self.squeeze} frames of {self.mels} values")

    @property
    def voice(self) -> int:
        """Channels of what the graph is told of the speaker; 0 where there is one."""
        return self.wavenet.voice

    def shapes(self, w: Weights) -> Shapes:
        """Every parameter that the graph consumes."""
        width, channels = self.transformer.width, self.squeeze * self.mels
        shapes: Shapes = {f"{_ENCODER}.emb.weight": (self.symbols, width)}
        for i in range(self.prenet):
            shapes |= biased(f"{_PRENET}.conv_layers.{i}", width, width, _PRENET_KERNEL)
            shapes |= normed(f"{_PRENET}.norm_layers.{i}", width, tall=True)
        if self.prenet:
            shapes |= biased(f"{_PRENET}.proj", width, width, 1)
        shapes |= self.transformer.shapes() | self.durations.shapes()
        for name in ("proj_m", "proj_s") if self.spreads else ("proj_m",):
            shapes |= biased(f"{_ENCODER}.{name}", self.mels, width, 1)
        for i in range(0, self.blocks * _KINDS, _KINDS):
            shapes |= {f"{_FLOWS}.{i}.{name}": (1, channels, 1) for name in ("logs", "bias")}
            shapes |= {f"{_FLOWS}.{i + 1}.weight": (self.splits, self.splits)}
            coupling, inner = f"{_FLOWS}.{i + 2}", self.wavenet.width
            shapes |= w.weight_shapes(f"{coupling}.start", inner, channels // 2, 1)
            shapes |= {f"{coupling}.start.bias": (inner,)}
            shapes |= biased(f"{coupling}.end", channels, inner, 1)
            shapes |= self.wavenet.shapes(w, f"{coupling}.wn")
        return shapes


def write(folder: CoquiFolder, target: Path, vocoder: Path) -> Exported:
    """Write the files of a GlowTTS and its vocoder into `target`.

    Raises `ExportFailed` or `CorruptModel`.
    """
    config, where = folder.config, folder.path / CONFIG
    if str(config.get("encoder_type", _TRANSFORMER)).lower() != _TRANSFORMER:
        raise ExportFailed(f"{where}: its encoder is {config['encoder_type']!r}, not exported yet")
    weights = Weights(folder.tensors(), folder.weights_file.name, "a GlowTTS", _TRAINING_ONLY)
    with reading_sizes(folder.weights_file, "a GlowTTS"):
        sizes = GlowSizes.of(weights, config)
    with checkpoint.settings_of(where):
        noise = float(config.get("inference_noise_scale", 0.0))
        length = float(config.get("length_scale", 1.0))
    voice = MelVoice(
        weights=weights,
        symbols=sizes.symbols,
        mels=sizes.mels,
        voice=sizes.voice,
        wanted=sizes.shapes(weights),
        graph=partial(acoustic, weights, sizes),
        noise=noise,
        length=length,
        unit=True,
    )
    return write_voice(folder, target, vocoder, voice)


def acoustic(w: Weights, s: GlowSizes, path: Path, mel: MelSettings, vocoder: Vocoder) -> None:
    """Symbols → text encoder → durations → prior → flow → the vocoder's mels, written to `path`."""
    n = Net(path, w)
    ids = n.g.input("input", "int64", [1, "phonemes"])
    n.g.input("input_lengths", "int64", [1])
    scales = n.g.input("scales", "float32", [3])
    noise, length = (n.op("Gather", scales, n.integer(i)) for i in range(2))
    n.g.input("duration_noise", "float32", [1, 2, "phonemes"])
    prior_noise = n.g.input("prior_noise", "float32", [1, s.mels, "noise_frames"])
    voice = n.g.input("speaker", "float32", [1, s.voice, 1]) if s.voice else ""

    count = n.op("Shape", ids, start=1)
    hidden = _text_encoder(n, s, ids, count)
    durations = _durations(n, s, hidden, voice, length, count)
    index = frame_index(n, n.reshape(durations, -1), count, multiple=s.squeeze)
    drawn = n.op("Mul", cyclic(n, prior_noise, index), noise)
    if s.spreads:
        spread = n.op("Gather", n.conv(hidden, f"{_ENCODER}.proj_s"), index, axis=2)
        drawn = n.op("Mul", drawn, n.op("Exp", spread))
    mean = n.op("Gather", n.conv(hidden, f"{_ENCODER}.proj_m"), index, axis=2)
    mels = _flow(n, s, n.op("Add", mean, drawn), voice)
    n.g.node("Identity", [vocoder.framed(n, mels, mel)], ["latents"])
    n.g.node("Reshape", [durations, n.const([1, -1])], ["durations"])
    n.g.output("latents", "float32", [1, s.mels, "frames"])
    n.g.output("durations", "float32", [1, "phonemes"])
    n.g.save()


def _text_encoder(n: Net, s: GlowSizes, ids: str, count: str) -> str:
    rows = n.op("Gather", n.param(f"{_ENCODER}.emb.weight"), ids)
    x = n.op("Mul", rows, n.const(float(s.transformer.width) ** 0.5))
    x = before = n.op("Transpose", x, perm=[0, 2, 1])
    for i in range(s.prenet):
        x = n.conv(x, f"{_PRENET}.conv_layers.{i}", pad=_PRENET_KERNEL // 2)
        x = n.op("Relu", layer_norm(n, x, f"{_PRENET}.norm_layers.{i}"))
    if s.prenet:
        x = n.op("Add", before, n.conv(x, f"{_PRENET}.proj"))
    return transformer(n, s.transformer, x, count)


def _durations(n: Net, s: GlowSizes, hidden: str, voice: str, length: str, count: str) -> str:
    """Whole frames of each symbol, one at least, `[1, 1, T]`."""
    if voice:
        everywhere = n.op("Expand", voice, n.sizes(1, s.voice, count))
        hidden = n.op("Concat", hidden, everywhere, axis=1)
    frames = n.op("Sub", n.op("Exp", plain_durations(n, s.durations, hidden)), n.const(1.0))
    return n.op("Max", n.op("Ceil", n.op("Mul", frames, length)), n.const(1.0))


def _flow(n: Net, s: GlowSizes, x: str, voice: str) -> str:
    """The blocks backwards, over `squeeze` frames of `x` `[1, mels, frames]` at once."""
    channels = s.squeeze * s.mels
    x = n.op("Transpose", n.reshape(x, 1, s.mels, -1, s.squeeze), perm=[0, 3, 1, 2])
    x = n.reshape(x, 1, channels, -1)
    for i in range(s.blocks - 1, -1, -1):
        scaling, matrix, coupling = (f"{_FLOWS}.{_KINDS * i + k}" for k in range(_KINDS))
        still, moved = n.split(x, [channels // 2, channels // 2], axis=1)
        hidden = wavenet(n, s.wavenet, n.conv(still, f"{coupling}.start"), f"{coupling}.wn", voice)
        stats = n.conv(hidden, f"{coupling}.end")
        if s.sigmoid:
            shift, scale = n.split(stats, [channels // 2, channels // 2], axis=1)
            scale = n.op("Sigmoid", n.op("Add", scale, n.const(2.0)))
            log_scale = n.op("Log", n.op("Add", scale, n.const(1e-6)))
            stats = n.op("Concat", shift, log_scale, axis=1)
        x = uncoupled(n, still, moved, stats, channels // 2, scales=True)
        x = _mixed(n, s, x, scaling, matrix)
    x = n.op("Transpose", n.reshape(x, 1, s.squeeze, s.mels, -1), perm=[0, 2, 3, 1])
    return n.reshape(x, 1, s.mels, -1)


def _mixed(n: Net, s: GlowSizes, x: str, scaling: str, matrix: str) -> str:
    """A block's matrix and scaling backwards, as one convolution."""
    try:
        inverse = np.linalg.inv(n.w.take(f"{matrix}.weight").astype(np.float64))
    except np.linalg.LinAlgError as exc:
        raise CorruptModel(f"{matrix}.weight: has no inverse; get the checkpoint again") from exc
    logs, bias = (n.w.take(f"{scaling}.{k}").reshape(-1) for k in ("logs", "bias"))
    scale = np.exp(-logs.astype(np.float64))
    weight = scale[:, None] * spread_matrix(inverse, s.squeeze * s.mels)
    names = f"{matrix}.weight", f"{matrix}.bias"
    return n.op(
        "Conv",
        x,
        n.weight(names[0], weight[:, :, None].astype(np.float32)),
        n.weight(names[1], (-scale * bias).astype(np.float32)),
        kernel_shape=[1],
    )


def spread_matrix(matrix: npt.NDArray[np.float64], channels: int) -> npt.NDArray[np.float64]:
    """The matrix of all channels that one of `[splits, splits]` stands for: upstream groups channels
    so that each group has as many of either half."""
    half, groups = len(matrix) // 2, channels // len(matrix)
    whole = np.zeros((2, groups, half, 2, groups, half))
    for group in range(groups):
        whole[:, group, :, :, group, :] = matrix.reshape(2, half, 2, half)
    return whole.reshape(channels, channels)
