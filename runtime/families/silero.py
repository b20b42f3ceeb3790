"""Silero VAD: tells speech from other sound. Windows of 512 samples with 64 samples of context at
16 kHz.

A long noise fills the LSTM's state: after 40 s of noise speech was noticed 0.4 s late, often a
second and more, after 3 s within 0.1 s. So the state is forgotten where nobody has spoken for a
while (docs/decisions/0019). Source: snakers4/silero-vad v6, as faster-whisper ships it: a graph
over many windows at once, with the state of its LSTM as inputs and outputs.
"""

from __future__ import annotations

import numpy as np
from voxturn.runtime.families.base import Family, Parts
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Samples
from voxturn.runtime.models.manifest import ModelContract, TensorSpec
from voxturn.runtime.protocols import GraphExecutor

WINDOW = 512
_CONTEXT = 64
_STATE = (1, 1, 128)
_FORGET = 96  # windows, 3 s, in which nobody spoke
_NOBODY = 0.2

CONTRACT = ModelContract(
    "silero_vad.onnx",
    (
        TensorSpec("input", "float32", ("windows", WINDOW + _CONTEXT)),
        TensorSpec("h", "float32", _STATE),
        TensorSpec("c", "float32", _STATE),
    ),
    (
        TensorSpec("speech_probs", "float32", ("windows",)),
        TensorSpec("hn", "float32", _STATE),
        TensorSpec("cn", "float32", _STATE),
    ),
)


class Silero:
    """The model; one lane for all streams."""

    window = WINDOW

    def __init__(self, graph: GraphExecutor, lane: Lane) -> None:
        self._graph = graph
        self._lane = lane

    def stream(self) -> SileroStream:
        """Begin a stream of samples."""
        return SileroStream(self._graph, self._lane)


class SileroStream:
    """The state of one stream: the LSTM's, and the samples that fill no window yet."""

    def __init__(self, graph: GraphExecutor, lane: Lane) -> None:
        self._graph = graph
        self._lane = lane
        self._hidden = np.zeros(_STATE, np.float32)
        self._cell = np.zeros(_STATE, np.float32)
        self._since = 0  # windows since the state was looked at
        self._highest = 0.0  # of their probabilities
        self._tail = np.zeros(
            _CONTEXT, np.float32
        )  # the next window's context, then what follows it

    async def push(self, samples: Samples) -> list[tuple[Samples, float]]:
        """The windows `[512]` that 16 kHz samples complete, each with its probability of speech."""
        tail = np.concatenate([self._tail, samples])
        count = (tail.size - _CONTEXT) // WINDOW
        self._tail = tail[count * WINDOW :]
        windows = [tail[i * WINDOW : i * WINDOW + WINDOW + _CONTEXT] for i in range(count)]
        out: list[tuple[Samples, float]] = []
        while windows:
            size = _FORGET - self._since
            out += await self._judged(windows[:size])
            windows = windows[size:]
        return out

    async def _judged(self, windows: list[Samples]) -> list[tuple[Samples, float]]:
        """At most as many windows as there are before the state is looked at."""
        inputs = {"input": np.stack(windows), "h": self._hidden, "c": self._cell}
        out = await self._lane.run(self._graph.run, inputs)
        self._hidden = out["hn"]
        self._cell = out["cn"]
        probabilities = [float(probability) for probability in out["speech_probs"].reshape(-1)]
        self._since += len(windows)
        self._highest = max(self._highest, *probabilities)
        if self._since == _FORGET:
            if self._highest < _NOBODY:
                self._hidden = np.zeros(_STATE, np.float32)
                self._cell = np.zeros(_STATE, np.float32)
            self._since = 0
            self._highest = 0.0
        return [
            (window[_CONTEXT:], probability)
            for window, probability in zip(windows, probabilities, strict=True)
        ]


def _make(parts: Parts) -> Silero:
    stage = parts.stage("listen")
    return Silero(stage.graph("voice_activity_detector"), stage.lane)


FAMILY = Family(
    kind="silero",
    task="voice-activity",
    roles={"listen": ("voice_activity_detector",)},
    make=_make,
    contracts={"voice_activity_detector": CONTRACT},
)
