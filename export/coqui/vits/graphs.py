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
`layers/vits/networks.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxturn.export.coqui.layers import cyclic, frame_index, transformer
from voxturn.export.coqui.vits.durations import log_durations
from voxturn.export.coqui.vits.flow import flow_backwards
from voxturn.export.coqui.vits.sizes import TEXT, TextSizes, VitsSizes
from voxturn.export.hifigan import generator
from voxturn.export.net import Net
from voxturn.export.weights import Weights


def acoustic(w: Weights, s: VitsSizes, path: Path) -> None:
    """Symbols → text encoder → durations → prior → flow, written to `path`."""
    n, channels = Net(path, w), s.text.channels
    ids = n.g.input("input", "int64", [1, "phonemes"])
    n.g.input("input_lengths", "int64", [1])
    scales = n.g.input("scales", "float32", [3])
    noise, length, spread = (n.op("Gather", scales, n.integer(i)) for i in range(3))
    duration_noise = n.g.input("duration_noise", "float32", [1, 2, "phonemes"])
    prior_noise = n.g.input("prior_noise", "float32", [1, channels, "noise_frames"])
    voice = n.g.input("speaker", "float32", [1, s.voice, 1]) if s.voice else ""
    language = _language(n) if s.text.languages else ""

    count = n.op("Shape", ids, start=1)
    hidden = _text_encoder(n, s.text, ids, language, count)
    logs = log_durations(
        n, s.durations, hidden, n.op("Mul", duration_noise, spread), voice, language
    )
    durations = n.op("Ceil", n.op("Mul", n.op("Exp", logs), length))
    index = frame_index(n, n.reshape(durations, -1), count)
    stats = n.op("Gather", n.conv(hidden, f"{TEXT}.proj"), index, axis=2)
    mean, log_spread = n.split(stats, [channels, channels], axis=1)
    scale = n.op("Mul", n.op("Exp", log_spread), noise)
    drawn = n.op("Add", mean, n.op("Mul", cyclic(n, prior_noise, index), scale))
    latents = flow_backwards(n, s.flow, drawn, channels, voice)
    if s.stretch != 1.0:
        latents = _stretched(n, latents, s.stretch)
    n.g.node("Identity", [latents], ["latents"])
    n.g.node("Reshape", [durations, n.const([1, -1])], ["durations"])
    n.g.output("latents", "float32", [1, channels, "frames"])
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
    """Symbols `[1, T]`, with the language joined to each, through the transformer, `[1, width, T]`."""
    rows = n.op("Gather", n.param(f"{TEXT}.emb.weight"), ids)
    x = n.op("Mul", rows, n.const(float(s.symbol_width) ** 0.5))
    x = n.op("Transpose", x, perm=[0, 2, 1])
    if language:
        everywhere = n.op("Expand", language, n.sizes(1, s.language_width, count))
        x = n.op("Concat", x, everywhere, axis=1)
    return transformer(n, s.transformer, x, count)


def _stretched(n: Net, x: str, stretch: float) -> str:
    """Linear interpolation in time, as torch's `interpolate`."""
    scales = n.const(np.array([1.0, 1.0, stretch], np.float32), np.float32)
    mode = "pytorch_half_pixel"
    return n.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode=mode)
