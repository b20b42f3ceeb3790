"""Voices that give mels, and their vocoders, against coqui-tts's own models and its own hand-over,
unpatched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.artifact import GRAPHS
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.parity import (
    error,
    find_statistics,
    graph_of,
    random_ids,
    text_inputs,
    upstream,
    within,
)
from voxturn.export.coqui.speakers import SPEAKERS
from voxturn.runtime.files import read_arrays
from voxturn.runtime.protocols import GraphExecutor

MOST = {"frames.differ": 0.0, "mels.error": 1e-4, "audio.error": 1e-4}
"""As `parity.MOST`; of frames, how many more or fewer there are."""
LENGTHS = (31, 61)
"""SpeedySpeech's widest layer takes 25 frames, and fails upstream where there are fewer."""


def reached(
    folder: CoquiFolder, artifact: Path, properties: Mapping[str, Any], vocoder: Path
) -> dict[str, float]:
    """The largest errors over two texts. Raises `ExportFailed` above `MOST`."""
    model, sound, rows = upstream(folder), upstream_vocoder(vocoder), rows_of(artifact)
    acoustic, decoder = (graph_of(artifact / file) for file in GRAPHS.values())
    try:
        found = [
            compared(model, sound, acoustic, decoder, properties, rows, length)
            for length in LENGTHS
        ]
    finally:
        acoustic.close()
        decoder.close()
    return within(found, MOST)


def rows_of(artifact: Path) -> Float:
    """The speakers' rows of an artifact; none where it has one."""
    path = artifact / SPEAKERS
    return read_arrays(path)["rows"] if path.exists() else np.empty((0, 0), np.float32)


def upstream_vocoder(path: Path) -> tuple[Any, Any]:
    """coqui-tts's own vocoder and its audio processor."""
    config = tts_module("TTS.config").load_config(str(path / CONFIG))
    find_statistics(config, path)
    model = tts_module("TTS.vocoder.models").setup_model(config)
    model.load_checkpoint(config, str(CoquiFolder.open(path).weights_file), eval=True)
    return model, tts_module("TTS.utils.audio").AudioProcessor(config.audio)


def compared(
    model: Any,
    vocoder: tuple[Any, Any],
    acoustic: GraphExecutor,
    decoder: GraphExecutor,
    properties: Mapping[str, Any],
    rows: Float,
    length: int,
    speaker: int = 0,
) -> dict[str, float]:
    """The errors over a text of random symbols, `length` of them, said by a speaker of `rows`."""
    import torch

    ids = random_ids(model.tokenizer.characters.num_chars, length)
    auxiliary: dict[str, Any] = {"x_lengths": torch.tensor([length])}
    told: dict[str, Any] = {}
    if hasattr(model, "emb_g"):
        auxiliary["speaker_ids"] = torch.tensor([speaker])
        told["speaker"] = rows[[speaker], :, None]
    torch.manual_seed(length)
    mel = model.inference(torch.from_numpy(ids), auxiliary)["model_outputs"][0].numpy()
    wanted = vocoder[1].normalize(model.ap.denormalize(mel.T))
    sound = vocoder[0].inference(torch.tensor(wanted)[None]).detach().numpy()
    torch.manual_seed(length)
    got = acoustic.run(text_inputs(ids, properties, mel.shape[0] + 1, False) | told)
    repeated = properties["repeated"]
    frames = got["latents"].shape[2] - 2 * repeated
    audio = decoder.run({"latents": got["latents"], **told})["audio"]
    return {
        "frames.differ": float(abs(frames - mel.shape[0])),
        "mels.error": error(got["latents"][0, :, repeated:-repeated], wanted),
        "audio.error": error(audio, sound.reshape(1, 1, -1)),
    }
