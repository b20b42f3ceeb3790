"""Tacotron 2 as one of Coqui's families: its folder read, its graphs written and run once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export import checkpoint
from voxturn.export.artifact import contract_of
from voxturn.export.coqui.artifact import GRAPHS, Exported
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.mel import MelSettings
from voxturn.export.coqui.mel_voice import MelVoice, write_voice
from voxturn.export.coqui.tacotron.graphs import acoustic, post, step
from voxturn.export.coqui.tacotron.sizes import ATTENTIONS, TABLE, TRAINING_ONLY, TacotronSizes
from voxturn.export.coqui.vocoder import Vocoder
from voxturn.export.weights import Weights, reading_sizes
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.flow.scheduling import Cores

KIND = "coqui-tacotron"
ALL_GRAPHS = {
    "text_encoder": GRAPHS["acoustic_encoder"],
    "mel_step": "step.onnx",
    "mel_refiner": "post.onnx",
    "waveform_decoder": GRAPHS["waveform_decoder"],
}
_USUAL_STEPS = 10000
"""Upstream's `max_decoder_steps`, where a configuration has none."""


def write(folder: CoquiFolder, target: Path, vocoder: Path) -> Exported:
    """Write the files of a Tacotron 2 and its vocoder into `target`.

    Raises `ExportFailed` or `CorruptModel`.
    """
    config, where = folder.config, folder.path / CONFIG
    _check(config, where)
    with checkpoint.settings_of(where):
        taken = _frames_a_step(folder)
        most = int(config.get("max_decoder_steps") or _USUAL_STEPS)
    weights = Weights(folder.tensors(), folder.weights_file.name, "a Tacotron 2", TRAINING_ONLY)
    with reading_sizes(folder.weights_file, "a Tacotron 2"):
        sizes = TacotronSizes.of(weights, config, taken)

    def graphs(text: Path, mel: MelSettings, sound: Vocoder) -> None:
        acoustic(weights, sizes, text)
        step(weights, sizes, text.parent / ALL_GRAPHS["mel_step"])
        post(weights, sizes, text.parent / ALL_GRAPHS["mel_refiner"], mel, sound.mel)

    voice = MelVoice(
        weights=weights,
        symbols=sizes.symbols,
        mels=sizes.mels,
        voice=sizes.voice,
        wanted=sizes.shapes(),
        graph=graphs,
        noise=None,
        length=1.0,
        unit=False,
        table=TABLE,
        kind=KIND,
        graphs=ALL_GRAPHS,
        properties={
            "step_frames": sizes.taken,
            "max_steps": most,
            "keeps": sum(sizes.prenet) if sizes.drops else 0,
            "post_margin": sizes.reach,
        },
        runs=check_runs,
    )
    return write_voice(folder, target, vocoder, voice)


def _check(config: Mapping[str, Any], where: Path) -> None:
    """Raise `ExportFailed` for what of a Tacotron 2 is not exported."""
    attention = config.get("attention_type", "original")
    if attention not in ATTENTIONS:
        raise ExportFailed(
            f"{where}: its attention is {str(attention)[:80]!r}, not exported yet; "
            f"exported: {', '.join(ATTENTIONS)}"
        )
    if config.get("use_capacitron_vae", False):
        raise ExportFailed(f"{where}: its style is drawn by a Capacitron, not exported yet")


def _frames_a_step(folder: CoquiFolder) -> int:
    """Frames that a step gives: training may end with fewer than it began with, and the weights' file
    has the last."""
    for holder in (folder.checkpoint, folder.checkpoint.get("config") or {}, folder.config):
        if isinstance(holder, Mapping) and "r" in holder:
            return int(holder["r"])
    raise KeyError("r")


def check_runs(text_graph: Path) -> None:
    """Raise an error of ours where the graphs cannot be computed, of three symbols and a step."""
    values: dict[str, Any] = {"phonemes": 3}
    known: dict[str, Any] = {"input": np.zeros((1, 3), np.int64)}
    for file in (ALL_GRAPHS["text_encoder"], ALL_GRAPHS["mel_step"]):
        path = text_graph.parent / file
        known |= _outputs(path, known, values)
    path = text_graph.parent / ALL_GRAPHS["mel_refiner"]
    _outputs(path, {"mels": np.ascontiguousarray(known["frames"].transpose(0, 2, 1))}, values)


def _outputs(path: Path, known: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """What a graph gives; inputs that are not known are zeros."""
    contract = contract_of(path)
    inputs = {
        spec.name: known[spec.name]
        if spec.name in known
        else np.zeros([n if isinstance(n, int) else sizes[n] for n in spec.shape], spec.dtype)
        for spec in contract.inputs
    }
    graph = OnnxGraph(path, contract, Cores().budget("speak", 0))
    try:
        outputs = graph.run(inputs)
    finally:
        graph.close()
    if not all(np.isfinite(value).all() for value in outputs.values()):
        raise ExportFailed(f"{path.name}: gives NaN or infinite values; are the weights a voice's?")
    return outputs
