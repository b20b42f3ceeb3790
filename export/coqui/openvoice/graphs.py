"""The three graphs of an OpenVoice, by hand from its state dict.

    voice:   spectrum float32 [1, bins, frames] → tone float32 [1, width, 1]
    latents: spectrum float32 [1, bins, frames], source, target float32 [1, width, 1],
             noise float32 [1, channels, frames] → latents float32 [1, channels, frames]
    decoder: latents float32 [1, channels, frames] (, speaker float32 [1, width, 1])
             → audio float32 [1, 1, samples]

`spectrum` is linear, `noise` is scaled already (upstream's `tau`); source and target are tone
colours. With upstream's `zero_g` only the flow is told of them: then the decoder has no `speaker`.
Source: coqui-tts 0.28, `vc/models/openvoice.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.layers import wavenet
from voxturn.export.coqui.openvoice.sizes import POSTERIOR, TONE, OpenVoiceSizes
from voxturn.export.coqui.vits.flow import flow_backwards, flow_forwards
from voxturn.export.hifigan import generator
from voxturn.export.net import Net
from voxturn.export.weights import Weights

_STRIDE = 2


def voice(w: Weights, s: OpenVoiceSizes, path: Path) -> None:
    """A spectrum → the tone colour of who speaks in it, written to `path`."""
    n, t = Net(path, w), s.tone
    x = n.g.input("spectrum", "float32", [1, t.bins, "frames"])
    x = n.op("Transpose", x, perm=[0, 2, 1])
    scale, shift = (n.param(f"{TONE}.layernorm.{name}") for name in ("weight", "bias"))
    x = n.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)
    x = n.reshape(x, 1, 1, -1, t.bins)
    strides, pad = [_STRIDE, _STRIDE], t.kernel // 2
    for i in range(len(t.widths)):
        x = n.op("Relu", n.conv(x, f"{TONE}.convs.{i}", pad=pad, strides=strides))
    x = n.reshape(n.op("Transpose", x, perm=[2, 0, 1, 3]), -1, 1, t.inputs)
    x = n.reshape(_last_state(n, x, t.hidden), 1, t.hidden)
    tone = n.linear(x, f"{TONE}.proj")
    n.g.node("Reshape", [tone, n.const([1, t.channels, 1])], ["tone"])
    n.g.output("tone", "float32", [1, t.channels, 1])
    n.g.save()


def latents(w: Weights, s: OpenVoiceSizes, path: Path, zero: bool) -> None:
    """A spectrum of one voice → latents of another, written to `path`. `zero`: upstream's `zero_g`."""
    n, channels, width = Net(path, w), s.posterior.channels, s.tone.channels
    spectrum = n.g.input("spectrum", "float32", [1, s.posterior.bins, "frames"])
    source, target = (n.g.input(name, "float32", [1, width, 1]) for name in ("source", "target"))
    noise = n.g.input("noise", "float32", [1, channels, "frames"])
    x = n.conv(spectrum, f"{POSTERIOR}.pre")
    told = _nobody(n, width) if zero else source
    x = wavenet(n, s.posterior.wavenet, x, f"{POSTERIOR}.enc", told)
    mean, log_spread = n.split(n.conv(x, f"{POSTERIOR}.proj"), [channels, channels], axis=1)
    x = n.op("Add", mean, n.op("Mul", noise, n.op("Exp", log_spread)))
    x = flow_forwards(n, s.flow, x, channels, source)
    x = flow_backwards(n, s.flow, x, channels, target)
    n.g.node("Identity", [x], ["latents"])
    n.g.output("latents", "float32", [1, channels, "frames"])
    n.g.save()


def decoder(w: Weights, s: OpenVoiceSizes, path: Path, zero: bool) -> None:
    """Latents → HiFiGAN, written to `path`; `zero` as `latents`."""
    n, width = Net(path, w), s.tone.channels
    x = n.g.input("latents", "float32", [1, s.decoder.channels, "frames"])
    speaker = _nobody(n, width) if zero else n.g.input("speaker", "float32", [1, width, 1])
    generator(n, s.decoder, x, speaker)
    n.g.save()


def _nobody(n: Net, width: int) -> str:
    """A tone colour of zeros."""
    return n.const(np.zeros((1, width, 1), np.float32), np.float32)


def _last_state(n: Net, x: str, hidden: int) -> str:
    """The state `[1, 1, hidden]` of the GRU behind the last of `x` `[T, 1, inputs]`."""
    weights = [_gates(n.w.take(f"{TONE}.gru.weight_{name}_l0")) for name in ("ih", "hh")]
    biases = [_gates(n.w.take(f"{TONE}.gru.bias_{name}_l0")) for name in ("ih", "hh")]
    inputs = [n.weight(f"{TONE}.gru.{i}", each[None]) for i, each in enumerate(weights)]
    inputs.append(n.weight(f"{TONE}.gru.bias", np.concatenate(biases)[None]))
    n.g.node("GRU", [x, *inputs], ["", "gru_state"], hidden_size=hidden, linear_before_reset=1)
    return "gru_state"


def _gates(rows: Float) -> Float:
    """torch's order of a GRU's gates (reset, update, new) in ONNX's (update, reset, new)."""
    reset, update, new = np.split(rows, 3)
    return np.concatenate([update, reset, new])
