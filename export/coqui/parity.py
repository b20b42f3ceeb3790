"""The graphs of an artifact against coqui-tts's own model with the same weights, unpatched.

Upstream draws its noise from torch's generator while it speaks: of the same seed the same numbers are
drawn here, in the same order, and given to the graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.artifact import GRAPHS
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.statistics import file_of
from voxturn.export.parity import missed
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.protocols import GraphExecutor

MOST = {
    "durations.differ": 0.0,
    "latents.error": 1e-4,
    "audio.error": 1e-4,
}
"""Largest difference over largest value; of durations, how many differ."""
LENGTHS = (17, 61)
_TABLES = {
    "speakers_file": ("speaker_ids.json", "speaker_ids.pth", "speakers.json", "speakers.pth"),
    "d_vector_file": ("speakers.json", "speakers.pth"),
    "language_ids_file": ("language_ids.json",),
}
"""Files that a configuration names by where they were when it was written."""


def known(folder: CoquiFolder) -> bool:
    """Whether the folder is one that coqui-tts itself loads: by its own names and configuration."""
    named, others = folder.config.get("model"), ("phoneme_id_map", "model_type")
    return isinstance(named, str) and not any(key in folder.config for key in others)


def reached(folder: CoquiFolder, artifact: Path, properties: Mapping[str, Any]) -> dict[str, float]:
    """The largest errors of a VITS over two texts. Raises `ExportFailed` above `MOST`."""
    model = upstream(folder)
    acoustic, decoder = (graph_of(artifact / file) for file in GRAPHS.values())
    try:
        found = [compared(model, acoustic, decoder, properties, length) for length in LENGTHS]
    finally:
        acoustic.close()
        decoder.close()
    return within(found, MOST)


def within(found: Sequence[Mapping[str, float]], most: Mapping[str, float]) -> dict[str, float]:
    """The worst of each figure. Raises `ExportFailed` where one is above the `most` it may be."""
    worst = {name: max(each[name] for each in found) for name in most}
    if wrong := missed(worst, most):
        raise ExportFailed(f"the graphs differ from coqui-tts's model: {'; '.join(wrong)}")
    return worst


def upstream(folder: CoquiFolder) -> Any:
    """coqui-tts's own model, its weights loaded by itself."""
    config = tts_module("TTS.config").load_config(str(folder.path / CONFIG))
    for key, names in _TABLES.items():
        if path := next((p for name in names if (p := folder.path / name).exists()), None):
            value = [str(path)] if key == "d_vector_file" else str(path)
            for holder in (config, getattr(config, "model_args", None)):
                if getattr(holder, key, None):
                    setattr(holder, key, value)
    find_statistics(config, folder.path)
    _leave_out_phonemizer(config)
    model = tts_module("TTS.tts.models").setup_model(config)
    model.load_checkpoint(config, str(folder.weights_file), eval=True)
    return model


def find_statistics(config: Any, folder: Path) -> None:
    """Name those that lie in a model's folder."""
    if named := getattr(config.audio, "stats_path", None):
        config.audio.stats_path = str(file_of(folder, named))


def _leave_out_phonemizer(config: Any) -> None:
    """It is not asked here, and what it needs may not be installed; the symbols stay the same."""
    if not config.use_phonemes:
        return
    config.use_phonemes = False
    characters = tts_module("TTS.tts.utils.text.characters")
    if config.characters is None:
        config.characters = characters.IPAPhonemes().to_config()
    if not config.characters.characters_class:
        config.characters.characters_class = f"{characters.__name__}.IPAPhonemes"


def compared(
    model: Any,
    acoustic: GraphExecutor,
    decoder: GraphExecutor,
    properties: Mapping[str, Any],
    length: int,
    speaker: int = 0,
    language: int = 0,
) -> dict[str, float]:
    """The errors over a text of random symbols, `length` of them, said by a speaker in a language."""
    import torch

    ids = random_ids(model.args.num_chars, length)
    told, auxiliary = _told(model, properties, speaker, language)
    torch.manual_seed(length)
    wanted = model.inference(torch.from_numpy(ids), auxiliary)
    frames, stochastic = int(wanted["durations"].sum()), bool(model.args.use_sdp)
    torch.manual_seed(length)
    got = acoustic.run(text_inputs(ids, properties, frames, stochastic) | told)
    voice = {name: told[name] for name in ("speaker",) if name in told}
    audio = decoder.run({"latents": got["latents"], **voice})["audio"]
    latents = wanted["z"].numpy().reshape(1, properties["channels"], -1)
    return {
        "durations.differ": float((got["durations"] != wanted["durations"].numpy()[0]).sum()),
        "latents.error": error(got["latents"], latents),
        "audio.error": error(audio, wanted["model_outputs"].numpy()),
    }


def random_ids(symbols: int, length: int) -> npt.NDArray[np.int64]:
    """A text of random symbols `[1, length]`."""
    return np.random.default_rng(length).integers(1, symbols, (1, length))


def text_inputs(
    ids: npt.NDArray[np.int64], properties: Mapping[str, Any], frames: int, stochastic: bool
) -> dict[str, Any]:
    """The text graph's inputs, noise for so many frames drawn from torch's generator as upstream
    draws it: that of durations first where they are `stochastic`, the prior's frame by frame."""
    import torch

    length = ids.shape[1]
    drawn = torch.randn(1, 2, length) if stochastic else torch.zeros(1, 2, length)
    prior = torch.randn_like(torch.empty(1, frames, properties["channels"]).transpose(1, 2))
    scales = [properties[name] or 0.0 for name in ("noise_scale", "length_scale", "noise_w")]
    return {
        "input": ids,
        "input_lengths": np.array([length]),
        "scales": np.array(scales, np.float32),
        "duration_noise": drawn.numpy(),
        "prior_noise": np.ascontiguousarray(prior.numpy()),
    }


def _told(
    model: Any, properties: Mapping[str, Any], speaker: int, language: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the graphs are told of speaker and language, and the same in upstream's words."""
    import torch

    told: dict[str, Any] = {}
    auxiliary: dict[str, Any] = dict.fromkeys(
        ("x_lengths", "d_vectors", "speaker_ids", "language_ids", "durations")
    )
    if hasattr(model, "emb_g"):
        auxiliary["speaker_ids"] = torch.tensor([speaker])
        told["speaker"] = model.emb_g.weight[[speaker], :, None].detach().numpy()
    elif model.embedded_speaker_dim:
        name = properties["speakers"][speaker]
        mean = np.asarray(model.speaker_manager.get_mean_embedding(name), np.float32)
        auxiliary["d_vectors"] = torch.from_numpy(mean[None])
        told["speaker"] = (mean / np.linalg.norm(mean))[None, :, None]
    if properties["language_ids"]:
        auxiliary["language_ids"] = torch.tensor([language])
        told["language"] = np.array([language])
    return told, auxiliary


def error(got: Float, wanted: Float) -> float:
    """The largest difference over the largest value; infinite where they are not of one shape."""
    if got.shape != wanted.shape:
        return float("inf")
    return float(np.abs(got - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))


def graph_of(path: Path) -> OnnxGraph:
    """A graph in ONNX Runtime, as the runtime runs it."""
    return OnnxGraph(path, contract_of(path), Cores().budget("speak", 0))
