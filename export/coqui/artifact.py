"""What an exporter of one of Coqui's families hands back: all that its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PRECISIONS = {"onnx": ("fp32",)}
"""Of every family, by engine."""
GRAPHS = {"acoustic_encoder": "acoustic.onnx", "waveform_decoder": "decoder.onnx"}
"""Of every voice that has two graphs."""
NOISE_FRAMES = 1024
"""How long the prior's noise is that the runtime gives, before it repeats."""


@dataclass(frozen=True)
class Exported:
    """`kind` is the family's at run time, `graphs` are ONNX files by role, `properties` the kind's
    own, `reached` the figures of parity; `synthetic`: the weights are random; `task`: what it does."""

    kind: str
    graphs: Mapping[str, str]
    properties: Mapping[str, Any]
    reached: Mapping[str, float]
    synthetic: bool
    task: str = "text-to-speech"
