"""Smart Turn: whether someone who paused is done, by how the speech sounds.

A Whisper tiny encoder with a head, over the last eight seconds at 16 kHz. Source: Daily's Smart
Turn v3.2 (BSD-2), as pipecat-ai ships it; features as transformers' `WhisperFeatureExtractor` with
`do_normalize` makes them, the silence for what is shorter in front.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from voxturn.runtime.families.base import Family, Need, Parts
from voxturn.runtime.families.whisper.hearing import log_mel
from voxturn.runtime.families.whisper.recognise import RATE, Features
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Samples
from voxturn.runtime.models.manifest import ModelContract, TensorSpec
from voxturn.runtime.protocols import GraphExecutor

SECONDS = 8
MELS, FRAMES = 80, 800
_LEAST_VARIANCE = 1e-7

CONTRACT = ModelContract(
    "smart_turn.onnx",
    (TensorSpec("input_features", "float32", ("utterances", MELS, FRAMES)),),
    (TensorSpec("logits", "float32", ("utterances", 1)),),
)


class SmartTurn:
    """A `SoundOfEnd`. `features` are of 8 s of samples."""

    def __init__(self, graph: GraphExecutor, features: Features, lane: Lane) -> None:
        self._graph = graph
        self._features = features
        self._lane = lane

    async def __call__(self, samples: Samples) -> float:
        """From 0 (goes on) to 1 (is done), of an utterance's 16 kHz samples."""
        return await self._lane.run(self._judge, samples)

    async def warm(self) -> None:
        """Run the graph once."""
        await self(np.zeros(RATE, np.float32))

    def _judge(self, samples: Samples) -> float:
        features = self._features(normalised(samples))[None]
        # named so by the graph, but it is a probability
        return float(self._graph.run({"input_features": features})["logits"][0, 0])


def normalised(samples: Samples) -> npt.NDArray[np.float32]:
    """The last 8 s `[128000]` with mean 0 and variance 1; what is shorter begins with silence."""
    last = samples[-SECONDS * RATE :]
    whole = np.pad(last, (SECONDS * RATE - last.size, 0)).astype(np.float32)
    return np.asarray((whole - whole.mean()) / np.sqrt(whole.var() + _LEAST_VARIANCE), np.float32)


def _make(parts: Parts) -> SmartTurn:
    stage = parts.stage("end_of_turn")
    return SmartTurn(stage.graph("end_of_turn"), log_mel(MELS), stage.lane)


FAMILY = Family(
    kind="smart-turn",
    task="end-of-turn",
    roles={"end_of_turn": ("end_of_turn",)},
    make=_make,
    needs=(Need("faster_whisper", "Whisper's features are not installed", "embedded"),),
    contracts={"end_of_turn": CONTRACT},
)
