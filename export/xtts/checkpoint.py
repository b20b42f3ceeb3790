"""Reads an XTTS checkpoint, of v2 or v1.1, as it lies in its folder: `model.pth`, `config.json`, `vocab.json`,
`speakers_xtts.pth`.

Of a fine-tune that was left as its trainer wrote it, the weights are `best_model.pth`.

The state dict is read with `weights_only`; the configuration classes that official files carry are
allow-listed as empty stand-ins, so coqui-tts is not needed and nothing of a pickle runs.
coqui-tts's own `load_checkpoint` is not used: it rewrites a legacy file in place. Source of the
layout: coqui-tts 0.28, `TTS/tts/models/xtts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import (
    Float,
    Shapes,
    check_content,
    check_layers,
    settings_of,
)
from voxturn.export.quantize import BlockWeight
from voxturn.export.torch_file import read_torch
from voxturn.export.weights import MOST_VALUES, Weights, is_weight
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.families.xtts.prompt import LATENTS
from voxturn.runtime.families.xtts.text import LANGUAGE_TAG
from voxturn.runtime.files import read_json

TRAINING_ONLY = re.compile(
    r"gpt\.text_head\.|gpt\.gpt\.wte\.|gpt\.gpt_inference\.|.*\.num_batches_tracked$"
    r"|gpt\.prompt_(pos_)?embedding\.|torch_mel_spectrogram_style_encoder\.|torch_mel_spectrogram_dvae\.|dvae\."
)
"""Parameters that inference never reads, or reads under another name (`wte` is the audio codes'
embedding)."""
_WEIGHTS, _TRAINED = "model.pth", "best_model.pth"
_BESIDE = frozenset({"speakers_xtts.pth", "dvae.pth", "mel_stats.pth"})
"""Files of a checkpoint that hold other things."""
_MARKS = ("[START]", "[STOP]", "[SPACE]", "[UNK]")
_MOST_OF_VOICE = 1 << 20
"""Of a voice's latents: 30 times those of the official checkpoint's largest."""
_MORE_TEXT, _MORE_AUDIO = 2, 3
"""Rows that upstream's tables of positions have beyond the tokens that the configuration allows."""


CLONE_RATE = 22050
LONGEST_REFERENCE_S = 30
"""Of all recordings together, as upstream's longest."""


@dataclass(frozen=True)
class CloneMel:
    """The mel spectrogram that a voice is cloned from: sizes in samples at `CLONE_RATE`. Source:
    coqui-tts 0.28, `Xtts.get_gpt_cond_latents`."""

    fft: int
    hop: int
    window: int


_V2_MEL, _V1_MEL = CloneMel(2048, 256, 1024), CloneMel(4096, 1024, 4096)


@dataclass(frozen=True)
class XttsArgs:
    """The sizes and ids in `config.json`'s `model_args`, under coqui-tts's names."""

    gpt_layers: int
    gpt_n_model_channels: int
    gpt_n_heads: int
    gpt_num_audio_tokens: int
    gpt_start_audio_token: int
    gpt_stop_audio_token: int
    gpt_number_text_tokens: int = 0
    gpt_start_text_token: int = 0
    gpt_stop_text_token: int = 0
    gpt_max_audio_tokens: int = 605
    gpt_max_text_tokens: int = 402
    gpt_code_stride_len: int = 1024
    gpt_use_perceiver_resampler: bool = True
    decoder_input_dim: int = 1024
    d_vector_dim: int = 512
    input_sample_rate: int = 22050
    output_sample_rate: int = 24000
    output_hop_length: int = 256

    @property
    def clone_mel(self) -> CloneMel:
        """What a voice's latents are made of."""
        return _V2_MEL if self.gpt_use_perceiver_resampler else _V1_MEL

    @property
    def max_latents(self) -> int:
        """How many latents a voice can have: those of v1.1 are one a frame."""
        if self.gpt_use_perceiver_resampler:
            return LATENTS
        return 1 + LONGEST_REFERENCE_S * CLONE_RATE // self.clone_mel.hop


@dataclass(frozen=True)
class XttsCheckpoint:
    """An opened folder.

    `config` is the whole `config.json`; `speakers` are the studio voices, by name.
    """

    folder: Path
    args: XttsArgs
    config: Mapping[str, Any]
    weights: Weights
    synthetic: bool

    @classmethod
    def open(cls, folder: Path) -> XttsCheckpoint:
        """Read a folder. Raises `CorruptModel` or `ExportFailed` with the file's name."""
        config = _read_config(folder / "config.json")
        file = _weights_file(folder)
        state = read_torch(file)
        state = state["model"] if isinstance(state, Mapping) and "model" in state else state
        if not isinstance(state, Mapping) or not all(map(is_weight, state.values())):
            raise CorruptModel(f"{file}: holds no state dict; get the checkpoint again")
        tensors = {str(name).removeprefix("xtts."): tensor for name, tensor in state.items()}
        weights = Weights(tensors, file.name, "an XTTS", TRAINING_ONLY)
        args = _args(config, weights, folder)
        check_layers(folder, args.gpt_layers, len(tensors))
        return cls(folder, args, config, weights, bool(config.get("voxturn_synthetic", False)))

    @property
    def vocabulary(self) -> Path:
        """The tokenizer's file."""
        return self.folder / "vocab.json"

    @property
    def languages(self) -> list[str]:
        """What the configuration names. Raises `CorruptModel`."""
        with settings_of(self.folder / "config.json"):
            return [str(language) for language in self.config.get("languages") or []]

    def speakers(self) -> dict[str, dict[str, Float]]:
        """Studio voices: name → `gpt_cond_latent` `[1, latents, width]` and `speaker_embedding` `[1,
        512, 1]`."""
        path = self.folder / "speakers_xtts.pth"
        return read_speakers(path) if path.exists() else {}


def read_speakers(path: Path) -> dict[str, dict[str, Float]]:
    """The studio voices of a `speakers_xtts.pth`, as `XttsCheckpoint.speakers`.

    Raises `CorruptModel`.
    """
    loaded = read_torch(path)
    try:
        return {
            str(name): {
                key: _values(voice[key]) for key in ("gpt_cond_latent", "speaker_embedding")
            }
            for name, voice in loaded.items()
        }
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as exc:
        raise CorruptModel(
            f"{path}: holds no voices of XTTS ({exc!r}); get the file again"
        ) from exc


def _values(value: Any) -> Float:
    if not is_weight(value) or value.numel() > _MOST_OF_VOICE:
        raise ValueError("a voice has something else in place of its values")
    return np.asarray(value.float().numpy(), np.float32)


def flat(voice: Mapping[str, Float]) -> tuple[Float, Float]:
    """A studio voice's latents `[count, width]` and embedding `[512]`.

    Raises `ValueError` where they are several.
    """
    latents = voice["gpt_cond_latent"]
    return latents.reshape(latents.shape[-2:]), voice["speaker_embedding"].reshape(-1)


def _weights_file(folder: Path) -> Path:
    """The file of the weights.

    Raises `CorruptModel` that names those that a trainer left, where it is none of them.
    """
    for name in (_WEIGHTS, _TRAINED):
        if (folder / name).exists():
            return folder / name
    others = sorted(path.name for path in folder.glob("*.pth") if path.name not in _BESIDE)
    hint = "get the checkpoint again"
    if others:
        hint = f"rename the one to use to {_WEIGHTS}: {', '.join(others)}"
    raise CorruptModel(f"{folder / _WEIGHTS}: is missing, and {_TRAINED} too; {hint}")


def _read_config(path: Path) -> Mapping[str, Any]:
    check_content(path)
    try:
        config: Mapping[str, Any] = read_json(path)
        if not isinstance(config["model_args"], Mapping):
            raise KeyError("model_args")
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CorruptModel(
            f"{path}: missing or not XTTS's configuration ({exc}); get the checkpoint again"
        ) from exc
    return config


def _args(config: Mapping[str, Any], weights: Weights, folder: Path) -> XttsArgs:
    """Sizes from the configuration; those of its tables from the weights, since fine-tuned ones
    differ."""
    raw = {
        f.name: config["model_args"][f.name]
        for f in fields(XttsArgs)
        if config["model_args"].get(f.name) is not None
    }
    for size, table, more in (
        ("gpt_number_text_tokens", "gpt.text_embedding.weight", 0),
        ("gpt_num_audio_tokens", "gpt.mel_embedding.weight", 0),
        ("gpt_max_text_tokens", "gpt.text_pos_embedding.emb.weight", _MORE_TEXT),
        ("gpt_max_audio_tokens", "gpt.mel_pos_embedding.emb.weight", _MORE_AUDIO),
    ):
        if rows := weights.rows(table):
            raw[size] = rows - more
    vocabulary = _vocabulary(folder)
    raw |= {
        "gpt_start_text_token": vocabulary["[START]"],
        "gpt_stop_text_token": vocabulary["[STOP]"],
    }
    for name, value in raw.items():
        if not isinstance(value, int) or not 0 <= value <= MOST_VALUES:
            raise CorruptModel(
                f"{folder / 'config.json'}: has {name} {repr(value)[:80]}, which is no size of an XTTS; get the "
                "checkpoint again"
            )
    try:
        args = XttsArgs(**raw)
    except TypeError as exc:
        raise CorruptModel(f"{folder / 'config.json'}: {exc}; get the checkpoint again") from exc
    steps = (args.gpt_code_stride_len, args.input_sample_rate, args.output_sample_rate)
    if min(*steps, args.output_hop_length, args.gpt_n_heads, args.gpt_n_model_channels) < 1:
        raise CorruptModel(
            f"{folder / 'config.json'}: has a width, a rate or a number of heads of 0; get the checkpoint again"
        )
    if args.decoder_input_dim != args.gpt_n_model_channels:
        raise ExportFailed(
            f"{folder}: the GPT gives {args.gpt_n_model_channels} values a code, the vocoder takes "
            f"{args.decoder_input_dim}; they do not belong together"
        )
    largest = max(vocabulary.values())
    if largest >= args.gpt_number_text_tokens:
        raise ExportFailed(
            f"{folder}: vocab.json has ids up to {largest}, the model embeds {args.gpt_number_text_tokens}; "
            f"they do not belong together"
        )
    return args


def _vocabulary(folder: Path) -> dict[str, int]:
    """Ids of all tokens in `vocab.json` (a tokenizers file), which has the marks that prompts are
    made of."""
    path = folder / "vocab.json"
    if not path.exists():
        raise CorruptModel(f"{folder}: vocab.json is missing; get the checkpoint again")
    check_content(path)
    try:
        raw = read_json(path)
        ids = {str(token): int(i) for token, i in raw["model"]["vocab"].items()}
        ids |= {str(token["content"]): int(token["id"]) for token in raw.get("added_tokens", [])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise CorruptModel(f"{path}: not a tokenizer ({exc}); get the checkpoint again") from exc
    lacks = [mark for mark in _MARKS if mark not in ids]
    if not any(LANGUAGE_TAG.fullmatch(token) for token in ids):
        lacks.append("the tag of any language, as [en]")
    if lacks:
        raise ExportFailed(f"{path}: lacks {', '.join(lacks)}; it is not the vocabulary of an XTTS")
    return ids


class GptWeights:
    """XTTS's GPT as `export.decoder.export` reads a checkpoint: rows are outputs, text and audio
    codes share one table.

    Row ids: text tokens, then audio codes, then a zero row. Position ids: a zero row, then text,
    then audio positions.
    """

    family = "xtts-gpt"

    def __init__(self, args: XttsArgs, weights: Weights) -> None:
        self._args = args
        self._weights = weights
        text, audio = args.gpt_max_text_tokens + _MORE_TEXT, args.gpt_max_audio_tokens + _MORE_AUDIO
        self.config = {
            "num_hidden_layers": args.gpt_layers,
            "hidden_size": args.gpt_n_model_channels,
            "num_attention_heads": args.gpt_n_heads,
            "vocab_size": args.gpt_num_audio_tokens,
            "rms_norm_eps": 1e-5,
            "rope_theta": 0.0,
            "max_position_embeddings": args.max_latents + text + audio,
            "tie_word_embeddings": False,
        }

    def names(self) -> set[str]:
        used = {name for name in gpt_shapes(self._args) if not name.startswith(_TABLES)}
        return used | {"embedding.weight", "positions.weight"}

    def array(self, name: str) -> Float:
        if name == "embedding.weight":
            return self._embedding
        if name == "positions.weight":
            parts = [
                self._weights.take(f"gpt.{kind}_pos_embedding.emb.weight")
                for kind in ("text", "mel")
            ]
            return np.concatenate([np.zeros_like(parts[0][:1]), *parts])
        value = self._weights.take(name)
        return (
            np.ascontiguousarray(value.T) if ".gpt.h." in name and value.ndim == 2 else value
        )  # GPT-2 stores [in, out]

    @cached_property
    def _embedding(self) -> Float:
        parts = [self._weights.take(f"gpt.{kind}_embedding.weight") for kind in ("text", "mel")]
        return np.concatenate([*parts, np.zeros_like(parts[0][:1])])

    def blocks(self, name: str) -> BlockWeight | None:
        return None


_TABLES = (
    "gpt.text_embedding",
    "gpt.mel_embedding",
    "gpt.text_pos_embedding",
    "gpt.mel_pos_embedding",
)


def gpt_shapes(args: XttsArgs) -> Shapes:
    """Every parameter that the GPT's graph consumes. GPT-2's matrices are `[in, out]`."""
    width, codes = args.gpt_n_model_channels, args.gpt_num_audio_tokens
    norms = ["gpt.gpt.ln_f", "gpt.final_norm"]
    shapes: Shapes = {
        "gpt.text_embedding.weight": (args.gpt_number_text_tokens, width),
        "gpt.mel_embedding.weight": (codes, width),
        "gpt.text_pos_embedding.emb.weight": (args.gpt_max_text_tokens + _MORE_TEXT, width),
        "gpt.mel_pos_embedding.emb.weight": (args.gpt_max_audio_tokens + _MORE_AUDIO, width),
        "gpt.mel_head.weight": (codes, width),
        "gpt.mel_head.bias": (codes,),
    }
    for i in range(args.gpt_layers):
        layer = f"gpt.gpt.h.{i}"
        norms += [f"{layer}.ln_1", f"{layer}.ln_2"]
        for part, sizes in (
            ("attn.c_attn", (width, 3 * width)),
            ("attn.c_proj", (width, width)),
            ("mlp.c_fc", (width, 4 * width)),
            ("mlp.c_proj", (4 * width, width)),
        ):
            shapes |= {f"{layer}.{part}.weight": sizes, f"{layer}.{part}.bias": sizes[1:]}
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}
