"""A synthetic VITS in the official layout, made by coqui-tts: random weights, whose speech is noise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.coqui.modules import tts_module

KINDS = ("vits", "vits-multi", "vits-22to44", "vits-plain", "yourtts")
"""One speaker; several; interpolated latents; durations without noise; d-vectors and languages."""
_TINY: dict[str, Any] = {
    "hidden_channels": 32, "hidden_channels_ffn_text_encoder": 48, "num_layers_text_encoder": 2,
    "num_layers_flow": 2, "upsample_initial_channel_decoder": 32, "upsample_rates_decoder": [8, 8, 4],
    "upsample_kernel_sizes_decoder": [16, 16, 8], "resblock_kernel_sizes_decoder": [3, 5],
    "resblock_dilation_sizes_decoder": [[1, 3, 5], [1, 3, 5]], "speaker_embedding_channels": 16,
    "num_layers_posterior_encoder": 2, "init_discriminator": False,
}  # fmt: skip
_ARGS: Mapping[str, dict[str, Any]] = {
    "vits": {},
    "vits-multi": {"use_speaker_embedding": True, "speakers_file": "speaker_ids.json"},
    "vits-22to44": {"encoder_sample_rate": 22050, "interpolate_z": True},
    "vits-plain": {"use_sdp": False},
    "yourtts": {
        "use_d_vector_file": True, "d_vector_file": ["speakers.json"], "d_vector_dim": 16,
        "use_language_embedding": True, "embedded_language_dim": 4,
        "language_ids_file": "language_ids.json", "resblock_type_decoder": "2",
    },
}  # fmt: skip
_SPEAKERS = ("ana", "ben", "eva")
_LANGUAGES = ("en", "fr-fr", "pt-br")
_CALM = {"translation": -3.0, "translate": -3.0, "log_scale": 1.0}
"""Of the last flow of the durations: some three frames a symbol, whatever the others do."""
_FRAMES_A_SYMBOL = 3.0
"""The same where durations are not drawn."""


def make_checkpoint(target: Path, kind: str, size: str, seed: int) -> None:
    """Write a synthetic checkpoint of one of `KINDS` into `target`.

    `size` is "tiny" or "full" (coqui-tts's defaults). `config.json` says `voxturn_synthetic`, and
    so does every artifact made of it.
    """
    configs = tts_module("TTS.tts.configs.vits_config")
    import torch

    target.mkdir(parents=True, exist_ok=True)
    args = (_TINY if size == "tiny" else {}) | _ARGS[kind]
    if size == "full" and "d_vector_dim" in args:
        args |= {"d_vector_dim": 512, "num_layers_text_encoder": 10}
    _write_tables(target, args, seed)
    rate = 44100 if "encoder_sample_rate" in args else 22050
    config = configs.VitsConfig(
        model_args=configs.VitsArgs(**args),
        text_cleaner="multilingual_cleaners",
        phoneme_language="en",
        characters=characters(),
    )
    config.audio.sample_rate = rate
    saved = config.to_dict() | {"voxturn_synthetic": True}
    torch.manual_seed(seed)
    for key in ("speakers_file", "d_vector_file", "language_ids_file"):
        if value := args.get(key):  # while it is built, files are named by where they are
            path = (
                [str(target / name) for name in value]
                if isinstance(value, list)
                else str(target / value)
            )
            config.model_args[key] = config[key] = path
    model = tts_module("TTS.tts.models.vits").Vits(config)
    randomise(model.state_dict())
    if not model.args.use_sdp:
        set_duration(model.duration_predictor, _FRAMES_A_SYMBOL)
    torch.save({"model": model.state_dict()}, target / "model.pth")
    (target / "config.json").write_text(json.dumps(saved, indent=1), encoding="utf-8")


def randomise(state: Mapping[str, Any]) -> None:
    """Upstream begins with zeros in places, where mistakes would not show."""
    import torch

    with torch.no_grad():
        for name, value in state.items():
            if value.is_floating_point() and not value.any():
                value.normal_(std=0.05)
            if name.startswith("duration_predictor.flows.0."):
                value.fill_(_CALM[name.rsplit(".", 1)[1]])


def set_duration(predictor: Any, frames: float) -> None:
    """Let a predictor of durations' logarithms say about so many frames for every symbol."""
    predictor.proj.bias.data.fill_(math.log(frames))


def characters() -> Any:
    """The symbols that all synthetic voices know: Latin letters and marks."""
    return tts_module("TTS.tts.configs.shared_configs").CharactersConfig(
        characters_class="TTS.tts.models.vits.VitsCharacters",
        characters="abcdefghijklmnopqrstuvwxyzàâçéèêëîïôûùüÿñãõáíóúABCDEFGHIJKLMNOPQRSTUVWXYZ",
        punctuations="!'(),-.:;? ",
        pad="_",
        phonemes="",
    )


def write_speaker_ids(target: Path) -> None:
    """A table of three speakers."""
    ids = {name: i for i, name in enumerate(_SPEAKERS)}
    (target / "speaker_ids.json").write_text(json.dumps(ids), encoding="utf-8")


def _write_tables(target: Path, args: Mapping[str, Any], seed: int) -> None:
    """The speakers and languages beside the weights."""
    random = np.random.default_rng(seed)
    if "speakers_file" in args:
        write_speaker_ids(target)
    if "d_vector_file" in args:
        width = int(args["d_vector_dim"])
        clips = {
            f"{name}_{clip}": {"name": name, "embedding": random.standard_normal(width).tolist()}
            for name in _SPEAKERS
            for clip in range(2)
        }
        (target / "speakers.json").write_text(json.dumps(clips), encoding="utf-8")
        languages = {name: i for i, name in enumerate(_LANGUAGES)}
        (target / "language_ids.json").write_text(json.dumps(languages), encoding="utf-8")
