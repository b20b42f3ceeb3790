"""The graphs of an OpenVoice against coqui-tts's own model with the same weights, unpatched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.openvoice.family import GRAPHS, OpenVoiceSettings
from voxturn.export.coqui.parity import error, graph_of, within
from voxturn.runtime.families.convert.spectrum import spectrum
from voxturn.runtime.protocols import GraphExecutor

MOST = {
    "spectrum.error": 1e-4,
    "tone.error": 1e-4,
    "latents.error": 1e-4,
    "audio.error": 1e-4,
}
"""Largest difference over largest value."""
SECONDS = (0.7, 1.9)


def reached(folder: CoquiFolder, artifact: Path, properties: Mapping[str, Any]) -> dict[str, float]:
    """The largest errors over two recordings. Raises `ExportFailed` above `MOST`."""
    model = upstream(folder)
    graphs = [graph_of(artifact / file) for file in GRAPHS.values()]
    try:
        found = [compared(model, graphs, properties, seconds) for seconds in SECONDS]
    finally:
        for graph in graphs:
            graph.close()
    return within(found, MOST)


def upstream(folder: CoquiFolder) -> Any:
    """coqui-tts's own model, its weights loaded by itself; its sizes are the configuration's, which
    it takes for those of the published ones."""
    configs = tts_module("TTS.vc.configs.openvoice_config")
    known = configs.OpenVoiceArgs()
    table = {name: value for name, value in folder.config["model"].items() if name in known}
    config = configs.OpenVoiceConfig(model_args=configs.OpenVoiceArgs(**table))
    config.audio.fft_size = OpenVoiceSettings.of(folder.config).fft
    model = tts_module("TTS.vc.models.openvoice").OpenVoice(config)
    model.load_checkpoint(config, str(folder.weights_file), eval=True)
    return model


def compared(
    model: Any, graphs: Sequence[GraphExecutor], properties: Mapping[str, Any], seconds: float
) -> dict[str, float]:
    """The errors over a recording of so many seconds, in the voice of one a little longer."""
    import torch

    rate, tau = properties["sample_rate"], properties["tau"]
    source = recording(int(seconds * rate), 1)
    target = recording(int(1.2 * seconds * rate), 2)
    fft, hop, win = (properties[key] for key in ("fft", "hop", "win"))
    voice, latents, decoder = graphs
    with torch.inference_mode():
        tone, heard = model.extract_se(torch.from_numpy(source))
        wanted_target, _ = model.extract_se(torch.from_numpy(target))
        torch.manual_seed(1)
        wanted = model.inference(heard, {"g_src": tone, "g_tgt": wanted_target})
    spectra = [spectrum(each, fft, hop, win)[None] for each in (source, target)]
    tones = [voice.run({"spectrum": each})["tone"] for each in spectra]
    torch.manual_seed(1)
    noise = torch.randn(1, properties["channels"], spectra[0].shape[2]).numpy() * tau
    told = {"source": tones[0], "target": tones[1]}
    got = latents.run({"spectrum": spectra[0], "noise": noise.astype(np.float32)} | told)["latents"]
    speaker = {"speaker": tones[1]} if properties["tells_speaker"] else {}
    audio = decoder.run({"latents": got} | speaker)["audio"]
    return {
        "spectrum.error": error(spectra[0], heard.numpy()),
        "tone.error": max(error(tones[0], tone.numpy()), error(tones[1], wanted_target.numpy())),
        "latents.error": error(got, wanted["z_hat"].numpy()),
        "audio.error": error(audio, wanted["model_outputs"].numpy()),
    }


def recording(count: int, seed: int) -> Float:
    """Something like speech: noise and a voice that glides."""
    random = np.random.default_rng(seed)
    phase = np.cumsum(0.02 * seed + 0.01 * np.sin(np.arange(count) / 3000))
    voiced = sum(np.sin(k * phase) / k for k in range(1, 12))
    return np.asarray(0.1 * voiced + 0.02 * random.standard_normal(count), np.float32)
