"""Silero VAD: tells speech from other sound. Windows of 512 samples with 64 samples of context at 16 kHz.

Source: snakers4/silero-vad v6, as faster-whisper ships it: a graph over many windows at once, with the state of its LSTM
as inputs and outputs.
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
        self._tail = np.zeros(
            _CONTEXT, np.float32
        )  # the next window's context, then what follows it

    async def push(self, samples: Samples) -> list[tuple[Samples, float]]:
        """The windows `[512]` that 16 kHz samples complete, each with its probability of speech."""
        tail = np.concatenate([self._tail, samples])
        count = (tail.size - _CONTEXT) // WINDOW
        self._tail = tail[count * WINDOW :]
        if not count:
            return []
        windows = np.stack(
            [tail[i * WINDOW : i * WINDOW + WINDOW + _CONTEXT] for i in range(count)]
        )
        inputs = {"input": windows, "h": self._hidden, "c": self._cell}
        out = await self._lane.run(self._graph.run, inputs)
        self._hidden = out["hn"]
        self._cell = out["cn"]
        probabilities = out["speech_probs"].reshape(-1)
        return [
            (window[_CONTEXT:], float(probability))
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
