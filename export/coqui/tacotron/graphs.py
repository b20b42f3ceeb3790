"""Tacotron 2 (Shen et al. 2018) as three graphs; a loop calls the second.

    acoustic: input int64 [1, phonemes], speaker float32 [1, voice, 1] where there are several
              → memory [1, phonemes, width] and every state before the first step
    step:     memory, the states, keep [1, values] where the prenet drops some
              → frames float32 [1, frames, mels], stop [1, 1] (its chance), alignment [1, phonemes],
                and `next_` of every state that changes
    post:     mels float32 [1, mels, frames] → latents [1, mels, frames], as the vocoder takes them

Source: coqui-tts 0.28, `models/tacotron2.py`, `layers/tacotron/tacotron2.py`, `common_layers.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxturn.export.coqui.mel import MelSettings, handed_over
from voxturn.export.coqui.tacotron.attention import Shape, context_of
from voxturn.export.coqui.tacotron.layers import block, both_ways, cell
from voxturn.export.coqui.tacotron.sizes import (
    ASKS,
    ENCODER,
    FRAMES,
    POSTNET,
    PRENET,
    SPEAKS,
    STOPS,
    SYMBOLS,
    TacotronSizes,
)
from voxturn.export.net import Net
from voxturn.export.weights import Weights


def states_of(s: TacotronSizes) -> dict[str, Shape]:
    """The shapes of what a step reads besides the memory."""
    return {
        "frame": [1, s.mels],
        "query": [1, s.asks],
        "query_cell": [1, s.asks],
        "hidden": [1, s.speaks],
        "hidden_cell": [1, s.speaks],
        "context": [1, s.memory],
        **s.attention.states(),
    }


def acoustic(w: Weights, s: TacotronSizes, path: Path) -> None:
    """Symbols → convolutions → LSTM → memory and first states, written to `path`."""
    n = Net(path, w)
    ids = n.g.input("input", "int64", [1, "phonemes"])
    voice = n.g.input("speaker", "float32", [1, s.voice, 1]) if s.voice else ""
    count = n.op("Shape", ids, start=1)
    x = n.op("Transpose", n.op("Gather", n.param(SYMBOLS), ids), perm=[0, 2, 1])
    for i in range(s.encoder):
        x = block(n, x, f"{ENCODER}.convolutions.{i}", "Relu")
    memory = both_ways(n, x, f"{ENCODER}.lstm")
    if s.style:  # upstream's, where there is no reference to take a style from
        nothing = n.const(np.zeros((1, 1, s.style), np.float32), np.float32)
        everywhere = n.op("Expand", nothing, n.sizes(1, count, s.style))
        memory = n.op("Concat", memory, everywhere, axis=2)
    if s.voice:
        row = n.op("Transpose", voice, perm=[0, 2, 1])
        memory = n.op("Concat", memory, n.op("Expand", row, n.sizes(1, count, s.voice)), axis=2)
    shapes: dict[str, Shape] = {"memory": [1, "phonemes", s.memory], **states_of(s)}
    values = {"memory": memory, **s.attention.start(n, memory, count)}
    for name, shape in shapes.items():
        value = values[name] if name in values else _nothing(n, shape)
        n.g.node("Identity", [value], [name])
        n.g.output(name, "float32", shape)
    n.g.save()


def _nothing(n: Net, shape: Shape) -> str:
    return n.const(np.zeros([int(size) for size in shape], np.float32), np.float32)


def step(w: Weights, s: TacotronSizes, path: Path) -> None:
    """The last frame → prenet → what is asked for → attention → frames, written to `path`."""
    n = Net(path, w)
    memory = n.g.input("memory", "float32", [1, "phonemes", s.memory])
    shapes = states_of(s)
    states = {name: n.g.input(name, "float32", shape) for name, shape in shapes.items()}
    x = _prenet(n, s, states["frame"])
    asked = n.op("Concat", x, states["context"], axis=1)
    query, query_cell = cell(n, ASKS, asked, states["query"], states["query_cell"])
    alignment, changed = s.attention.attend(n, query, memory, states)
    context = context_of(n, alignment, memory)
    read = n.op("Concat", query, context, axis=1)
    hidden, hidden_cell = cell(n, SPEAKS, read, states["hidden"], states["hidden_cell"])
    made = n.linear(n.op("Concat", hidden, context, axis=1), FRAMES)
    stop = n.linear(n.op("Concat", hidden, made, axis=1), STOPS)
    taken = s.taken * s.mels
    frame = n.slice(made, taken - s.mels, taken, axis=1)
    changed |= {
        "frame": frame,
        "query": query,
        "query_cell": query_cell,
        "hidden": hidden,
        "hidden_cell": hidden_cell,
        "context": context,
    }
    n.g.node("Reshape", [n.slice(made, 0, taken, axis=1), n.sizes(1, s.taken, s.mels)], ["frames"])
    n.g.output("frames", "float32", [1, s.taken, s.mels])
    n.g.node("Sigmoid", [stop], ["stop"])
    n.g.output("stop", "float32", [1, 1])
    n.g.node("Identity", [alignment], ["alignment"])
    n.g.output("alignment", "float32", [1, "phonemes"])
    for name, value in changed.items():
        n.g.node("Identity", [value], [f"next_{name}"])
        n.g.output(f"next_{name}", "float32", shapes[name])
    n.g.save()


def _prenet(n: Net, s: TacotronSizes, x: str) -> str:
    keeps: tuple[str, ...] = ()
    if s.drops:
        keep = n.g.input("keep", "float32", [1, sum(s.prenet)])
        keeps = n.split(keep, list(s.prenet), axis=1)
    for i in range(len(s.prenet)):
        x = n.linear(x, f"{PRENET}.{i}.linear_layer", bias=False)
        if s.normed:
            x = n.batch_norm(x, f"{PRENET}.{i}.batch_normalization")
        x = n.op("Relu", x)
        x = n.op("Mul", x, keeps[i]) if s.drops else x
    return x


def post(w: Weights, s: TacotronSizes, path: Path, mel: MelSettings, vocoder: MelSettings) -> None:
    """Frames → postnet → the vocoder's mels, written to `path`."""
    n = Net(path, w)
    mels = x = n.g.input("mels", "float32", [1, s.mels, "frames"])
    last = len(s.fine) - 1
    for i in range(last + 1):
        x = block(n, x, f"{POSTNET}.{i}", "Tanh" if i < last else "")
    n.g.node("Identity", [handed_over(n, n.op("Add", mels, x), mel, vocoder)], ["latents"])
    n.g.output("latents", "float32", [1, s.mels, "frames"])
    n.g.save()
