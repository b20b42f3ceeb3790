"""A synthetic OpenVoice in the original layout, made by coqui-tts: random weights, whose audio is
noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.vits.synthetic import randomise

KINDS = ("openvoice_v1", "openvoice_v2")
"""v1's weights have the older names of weight norms, and its decoder is told of the target."""
_DATA = {
    "sampling_rate": 22050,
    "filter_length": 1024,
    "hop_length": 256,
    "win_length": 1024,
    "n_speakers": 0,
}
_FULL: dict[str, Any] = {
    "inter_channels": 192, "hidden_channels": 192, "filter_channels": 768, "n_heads": 2,
    "n_layers": 6, "kernel_size": 3, "p_dropout": 0.1, "resblock": "1",
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "upsample_rates": [8, 8, 2, 2], "upsample_initial_channel": 512,
    "upsample_kernel_sizes": [16, 16, 4, 4], "gin_channels": 256,
}  # fmt: skip
_TINY: dict[str, Any] = _FULL | {
    "inter_channels": 16, "hidden_channels": 24, "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]], "upsample_rates": [8, 8, 4],
    "upsample_initial_channel": 32, "upsample_kernel_sizes": [16, 16, 8], "gin_channels": 20,
}  # fmt: skip


def make_checkpoint(target: Path, kind: str, size: str, seed: int) -> None:
    """Write a synthetic checkpoint of one of `KINDS` into `target`, as `vits.synthetic` does."""
    configs = tts_module("TTS.vc.configs.openvoice_config")
    import torch

    first = kind == "openvoice_v1"
    args = (_TINY if size == "tiny" else _FULL) | {"zero_g": not first}
    config = configs.OpenVoiceConfig(model_args=configs.OpenVoiceArgs(**args))
    torch.manual_seed(seed)
    model = tts_module("TTS.vc.models.openvoice").OpenVoice(config)
    state = model.state_dict()
    randomise(state)
    target.mkdir(parents=True, exist_ok=True)
    saved = {"model": _older_names(state) if first else state, "iteration": 1}
    torch.save(saved, target / "checkpoint.pth")
    written = {"_version_": kind.removeprefix("openvoice_"), "data": _DATA, "model": args}
    text = json.dumps(written | {"voxturn_synthetic": True}, indent=1)
    (target / "config.json").write_text(text, encoding="utf-8")


def _older_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weight norms as they were called before PyTorch 2.0."""
    ends = {".parametrizations.weight.original0": ".weight_g"} | {
        ".parametrizations.weight.original1": ".weight_v"
    }
    renamed = {}
    for name, value in state.items():
        for newer, older in ends.items():
            name = name.replace(newer, older)
        renamed[name] = value
    return renamed
