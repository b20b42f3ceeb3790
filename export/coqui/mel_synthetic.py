"""Synthetic voices that give mels, and a vocoder for them, in the official layout, made by coqui-tts:
random weights, whose speech is noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.vits.synthetic import (
    characters,
    randomise,
    set_duration,
    write_speaker_ids,
)

_AUDIO = {"log_func": "np.log", "spec_gain": 1, "mel_fmax": 8000.0, "sample_rate": 22050}
"""As the recipes for LJSpeech have it."""
_FRAMES_A_LETTER = 6.0
"""Some frames, as people speak; random weights alone would say a letter in one."""
_TAKEN_OFF = 1.0
"""Frames that upstream takes off what these families predict."""
_TINY_GLOW: dict[str, Any] = {
    "hidden_channels_enc": 32, "hidden_channels_dec": 32, "hidden_channels_dp": 24,
    "num_flow_blocks_dec": 3, "num_block_layers": 2,
    "encoder_params": {
        "kernel_size": 3, "dropout_p": 0.1, "num_layers": 2, "num_heads": 2,
        "hidden_channels_ffn": 48, "input_length": None,
    },
}  # fmt: skip
_TINY_HIFIGAN: dict[str, Any] = {
    "upsample_factors": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 32, "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]], "resblock_type": "1",
}  # fmt: skip


def _glow(target: Path, size: str, several: bool) -> Any:
    args = dict(_TINY_GLOW) if size == "tiny" else {}
    if several:
        write_speaker_ids(target)
        args |= {"use_speaker_embedding": True, "speakers_file": str(target / "speaker_ids.json")}
    config = tts_module("TTS.tts.configs.glow_tts_config").GlowTTSConfig(
        text_cleaner="multilingual_cleaners",
        phoneme_language="en",
        add_blank=True,
        characters=characters(),
        mean_only=not several,
        sigmoid_scale=several,
        inference_noise_scale=0.33,
        **args,
    )
    _set_audio(config, signal_norm=True)
    model = tts_module("TTS.tts.models.glow_tts").GlowTTS(config)
    half = _FRAMES_A_LETTER / 2  # of its symbols every other is a blank
    set_duration(model.encoder.duration_predictor, half + _TAKEN_OFF)
    return model


_FORWARD = {
    "fast_pitch": ("fast_pitch_config", "FastPitchConfig"),
    "fastspeech2": ("fastspeech2_config", "Fastspeech2Config"),
    "speedy_speech": ("speedy_speech_config", "SpeedySpeechConfig"),
}
_TINY_ATTENTION = {"hidden_channels_ffn": 48, "num_heads": 2, "num_layers": 2, "dropout_p": 0.1}
_TINY_BLOCKS = {"kernel_size": 4, "dilations": [1, 2], "num_conv_blocks": 2, "num_res_blocks": 2}


def _forward(kind: str, target: Path, size: str, several: bool = False) -> Any:
    module, name = _FORWARD[kind]
    config = getattr(tts_module(f"TTS.tts.configs.{module}"), name)(
        text_cleaner="multilingual_cleaners", phoneme_language="en", characters=characters()
    )
    args = config.model_args
    if size == "tiny":
        args.hidden_channels = 32
        for part in ("encoder", "decoder"):
            attends = args[f"{part}_type"] == "fftransformer"
            args[f"{part}_params"] = dict(_TINY_ATTENTION if attends else _TINY_BLOCKS)
        for part in ("duration", "pitch", "energy"):
            args[f"{part}_predictor_hidden_channels"] = 24
    if several:
        write_speaker_ids(target)
        args.use_speaker_embedding = config.use_speaker_embedding = True
        args.speakers_file = config.speakers_file = str(target / "speaker_ids.json")
    _set_audio(config, signal_norm=True)
    model = tts_module("TTS.tts.models.forward_tts").ForwardTTS(config)
    set_duration(model.duration_predictor, _FRAMES_A_LETTER + _TAKEN_OFF)
    return model


_SHORT, _LONG = 60, 200
"""Steps of a tiny Tacotron 2, whose widths are upstream's own constants, and of a full one: a sentence."""


def _tacotron2(target: Path, size: str, several: bool = False, **changes: Any) -> Any:
    if several:
        write_speaker_ids(target)
        changes["speakers_file"] = str(target / "speaker_ids.json")
    if changes.get("use_gst"):
        changes["gst"] = tts_module("TTS.tts.configs.shared_configs").GSTConfig()
    config = tts_module("TTS.tts.configs.tacotron2_config").Tacotron2Config(
        text_cleaner="multilingual_cleaners",
        phoneme_language="en",
        characters=characters(),
        max_decoder_steps=_SHORT if size == "tiny" else _LONG,
        use_speaker_embedding=several,
        **changes,
    )
    _set_audio(config, signal_norm=True)
    model = tts_module("TTS.tts.models.tacotron2").Tacotron2(config)
    model.decoder.stopnet[1].linear_layer.bias.data.fill_(-8.0)
    return model


_TACOTRONS: Mapping[str, dict[str, Any]] = {
    "tacotron2": {"attention_norm": "softmax", "double_decoder_consistency": True},
    "tacotron2-dca": {
        "attention_type": "dynamic_convolution", "several": True, "speaker_embedding_dim": 24,
        "r": 3, "prenet_type": "bn", "prenet_dropout_at_inference": True, "use_gst": True,
    },
    "tacotron2-graves": {"attention_type": "graves", "attention_heads": 5},
}  # fmt: skip
"""DDC; dynamic convolutions with a style, several speakers and a prenet that drops values; a mixture."""


def _hifigan(_target: Path, size: str, channels: int = 512) -> Any:
    """`channels` that it begins with."""
    config = tts_module("TTS.vocoder.configs.hifigan_config").HifiganConfig()
    config.generator_model_params["upsample_initial_channel"] = channels
    if size == "tiny":
        config.generator_model_params = dict(_TINY_HIFIGAN)
    _set_audio(config, signal_norm=False)
    return tts_module("TTS.vocoder.models").setup_model(config)


_MELGANS: Mapping[str, tuple[str, str, list[int]]] = {
    "melgan": ("melgan_config", "MelganConfig", [8, 8, 2, 2]),
    "multiband_melgan": ("multiband_melgan_config", "MultibandMelganConfig", [8, 4, 2]),
    "fullband_melgan": ("fullband_melgan_config", "FullbandMelganConfig", [8, 8, 2, 2]),
}
"""Their configurations, and what they upsample by; their widths are upstream's own constants."""


def _melgan(kind: str, _target: Path, size: str) -> Any:
    module, name, rates = _MELGANS[kind]
    config = getattr(tts_module(f"TTS.vocoder.configs.{module}"), name)()
    config.generator_model = f"{kind}_generator"
    blocks = config.generator_model_params["num_res_blocks"] - (size == "tiny")
    config.generator_model_params = {"upsample_factors": rates, "num_res_blocks": blocks}
    _set_audio(config, signal_norm=False)
    return tts_module("TTS.vocoder.models").setup_model(config)


KINDS: Mapping[str, Callable[[Path, str], Any]] = {
    "glow_tts": lambda target, size: _glow(target, size, several=False),
    "glow_tts-multi": lambda target, size: _glow(target, size, several=True),
    **{kind: partial(_forward, kind) for kind in _FORWARD},
    "fast_pitch-multi": partial(_forward, "fast_pitch", several=True),
    **{kind: partial(_tacotron2, **changes) for kind, changes in _TACOTRONS.items()},
    "hifigan": _hifigan,
    "hifigan_v2": partial(_hifigan, channels=128),
    **{kind: partial(_melgan, kind) for kind in _MELGANS},
}
"""What makes an untrained model of a size; files that it needs are written into the folder."""


def make_checkpoint(target: Path, kind: str, size: str, seed: int) -> None:
    """Write a synthetic checkpoint of one of `KINDS` into `target`, as `vits.synthetic` does."""
    tts_module("TTS.config")  # says what to install where it cannot be had
    import torch

    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = KINDS[kind](target, size)
    randomise(model.state_dict())
    torch.save({"model": model.state_dict()}, target / "model.pth")
    config = model.config.to_dict() | {"voxturn_synthetic": True}
    for holder in (config, config.get("model_args") or {}):
        if holder.get("speakers_file"):
            holder["speakers_file"] = Path(holder["speakers_file"]).name
    (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def _set_audio(config: Any, signal_norm: bool) -> None:
    """Voice and vocoder normalise differently, so that the hand-over has something to do."""
    for name, value in (_AUDIO | {"signal_norm": signal_norm}).items():
        setattr(config.audio, name, value)
