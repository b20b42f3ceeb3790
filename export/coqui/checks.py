"""What every exported voice of Coqui's is checked for: its vocabulary, that its text graph computes,
that its vocoder streams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.windows import LatentDecoder, check_stream, computing
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.flow.scheduling import Cores


def check_symbols(folder: CoquiFolder, text: Mapping[str, Any], rows: int) -> None:
    """Raise `ExportFailed` for a vocabulary of another model than one that embeds `rows` symbols."""
    exact = "text" in text
    if exact:
        count = 1 + max(text["text"]["symbols"].values())
    else:
        count = 1 + max(int(i) for ids in text["phoneme_id_map"].values() for i in ids)
    if count > rows or (exact and count != rows):
        raise ExportFailed(
            f"{folder.path}: its vocabulary has {count} symbols, the model embeds {rows}; they do not "
            "belong together"
        )


def check_runs(path: Path) -> None:
    """Raise an error of ours where the text graph cannot be computed, of three symbols."""
    contract, sizes = contract_of(path), {"phonemes": 3, "noise_frames": 8}
    inputs = {
        spec.name: np.zeros([n if isinstance(n, int) else sizes[n] for n in spec.shape], spec.dtype)
        for spec in contract.inputs
    }
    graph = OnnxGraph(path, contract, Cores().budget("speak", 0))
    try:
        outputs = graph.run(inputs | {"scales": np.array([0, 1, 0], np.float32)})
    finally:
        graph.close()
    if not all(np.isfinite(value).all() for value in outputs.values()):
        raise ExportFailed(f"{path.name}: gives NaN or infinite values; are the weights a voice's?")


def streamed(path: Path, told: Mapping[str, Float], where: Path) -> tuple[int, int, float]:
    """Samples a frame, the margin in frames and the SNR in dB of a vocoder's windows.

    `told` are its graph's other inputs. Raises `ExportFailed`, `CorruptModel`.
    """
    with computing(path):
        return check_stream(LatentDecoder(path, told), where)
