"""Reads an XTTS v2 checkpoint as it lies in its folder: `model.pth`, `config.json`, `vocab.json`, `speakers_xtts.pth`.

The state dict is read with `weights_only`; the configuration classes that official files carry are allow-listed as
empty stand-ins, so coqui-tts is not needed and nothing of a pickle runs. coqui-tts's own `load_checkpoint` is not used:
it rewrites a legacy file in place. Source of the layout: coqui-tts 0.28, `TTS/tts/models/xtts.py`.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.export.quantize import BlockWeight
from voxturn.runtime.errors import CorruptModel, ExportFailed

Float = npt.NDArray[np.float32]

_CONFIG_CLASSES = (
    "TTS.tts.configs.xtts_config.XttsConfig",
    "TTS.tts.configs.xtts_config.XttsArgs",
    "TTS.tts.configs.xtts_config.XttsAudioConfig",
    "TTS.tts.models.xtts.XttsArgs",
    "TTS.tts.models.xtts.XttsAudioConfig",
    "TTS.config.shared_configs.BaseDatasetConfig",
)
TRAINING_ONLY = re.compile(
    r"gpt\.text_head\.|gpt\.gpt\.wte\.|gpt\.gpt_inference\.|.*\.num_batches_tracked$"
    r"|torch_mel_spectrogram_style_encoder\.|torch_mel_spectrogram_dvae\.|dvae\."
)
"""Parameters that inference never reads, or reads under another name (`wte` is the audio codes' embedding)."""


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


class Weights:
    """The state dict, float32 on demand. Notes what was taken, so that every parameter can be accounted for."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = tensors
        self.taken: set[str] = set()

    def names(self) -> set[str]:
        """All names but the training's."""
        return {name for name in self._tensors if not TRAINING_ONLY.match(name)}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter."""
        return tuple(self._tensors[name].shape)

    def take(self, name: str) -> Float:
        """A parameter."""
        self.taken.add(name)
        value: Float = np.ascontiguousarray(self._tensors[name].float().numpy())
        return value

    def weight(self, prefix: str) -> Float:
        """`prefix.weight`, or the weight that a weight norm's length and direction stand for (Salimans & Kingma 2016)."""
        for length, direction in weight_norm_names(prefix):
            if length in self:
                g, v = self.take(length).astype(np.float64), self.take(direction).astype(np.float64)
                norm = np.sqrt((v**2).sum(axis=tuple(range(1, v.ndim)), keepdims=True))
                return np.asarray(g * v / norm, np.float32)
        return self.take(f"{prefix}.weight")

    def check(self, wanted: set[str]) -> None:
        """Raise `ExportFailed` that names everything missing or left over."""
        missing, extra = sorted(wanted - self.names()), sorted(self.names() - wanted)
        if missing or extra:
            raise ExportFailed(
                f"the checkpoint is not an XTTS v2: missing {missing or 'nothing'}, left over {extra or 'nothing'}"
            )


def weight_norm_names(prefix: str) -> Iterator[tuple[str, str]]:
    """The names of a weight norm's length and direction, newer form first."""
    yield f"{prefix}.parametrizations.weight.original0", f"{prefix}.parametrizations.weight.original1"
    yield f"{prefix}.weight_g", f"{prefix}.weight_v"


@dataclass(frozen=True)
class XttsCheckpoint:
    """An opened folder. `config` is the whole `config.json`; `speakers` are the studio voices, by name."""

    folder: Path
    args: XttsArgs
    config: Mapping[str, Any]
    weights: Weights
    synthetic: bool

    @classmethod
    def open(cls, folder: Path) -> XttsCheckpoint:
        """Read a folder. Raises `CorruptModel` or `ExportFailed` with the file's name."""
        config = _read_config(folder / "config.json")
        state = _load(folder / "model.pth")
        state = state["model"] if isinstance(state, Mapping) and "model" in state else state
        if not isinstance(state, Mapping) or not all(hasattr(v, "shape") for v in state.values()):
            raise CorruptModel(f"{folder / 'model.pth'}: holds no state dict; get the checkpoint again")
        weights = Weights({name.removeprefix("xtts."): tensor for name, tensor in state.items()})
        args = _args(config, weights, folder)
        if not (folder / "vocab.json").is_file():
            raise CorruptModel(f"{folder}: vocab.json is missing; get the checkpoint again")
        return cls(folder, args, config, weights, bool(config.get("voxturn_synthetic", False)))

    @property
    def vocabulary(self) -> Path:
        """The tokenizer's file."""
        return self.folder / "vocab.json"

    def speakers(self) -> dict[str, dict[str, Float]]:
        """Studio voices: name → `gpt_cond_latent` `[1, 32, width]` and `speaker_embedding` `[1, 512, 1]`."""
        path = self.folder / "speakers_xtts.pth"
        return read_speakers(path) if path.is_file() else {}


def read_speakers(path: Path) -> dict[str, dict[str, Float]]:
    """The studio voices of a `speakers_xtts.pth`, as `XttsCheckpoint.speakers`. Raises `CorruptModel`."""
    loaded = _load(path)
    try:
        return {
            str(name): {
                key: np.asarray(voice[key].float().numpy(), np.float32)
                for key in ("gpt_cond_latent", "speaker_embedding")
            }
            for name, voice in loaded.items()
        }
    except (AttributeError, LookupError, TypeError, RuntimeError) as exc:
        raise CorruptModel(f"{path}: holds no voices of XTTS ({exc!r}); get the file again") from exc


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config["model_args"], Mapping):
            raise KeyError("model_args")
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CorruptModel(f"{path}: missing or not XTTS's configuration ({exc}); get the checkpoint again") from exc
    return config


def _args(config: Mapping[str, Any], weights: Weights, folder: Path) -> XttsArgs:
    """Sizes from the configuration; the vocabulary's from the weights, since fine-tuned ones differ."""
    raw = {
        f.name: config["model_args"][f.name] for f in fields(XttsArgs) if config["model_args"].get(f.name) is not None
    }
    for size, name in (
        ("gpt_number_text_tokens", "gpt.text_embedding.weight"),
        ("gpt_num_audio_tokens", "gpt.mel_embedding.weight"),
    ):
        if name in weights:
            raw[size] = weights.shape(name)[0]
    vocabulary = _special_ids(folder / "vocab.json")
    raw |= {
        key: vocabulary[mark]
        for key, mark in (("gpt_start_text_token", "[START]"), ("gpt_stop_text_token", "[STOP]"))
        if mark in vocabulary
    }
    try:
        args = XttsArgs(**raw)
    except TypeError as exc:
        raise CorruptModel(f"{folder / 'config.json'}: {exc}; get the checkpoint again") from exc
    if not args.gpt_use_perceiver_resampler:
        raise ExportFailed(f"{folder}: is an XTTS v1 checkpoint (no perceiver); supported: v2")
    largest = max(vocabulary.values(), default=0)
    if vocabulary and largest >= args.gpt_number_text_tokens:
        raise ExportFailed(
            f"{folder}: vocab.json has ids up to {largest}, the model embeds {args.gpt_number_text_tokens}; "
            f"they do not belong together"
        )
    return args


def _special_ids(path: Path) -> dict[str, int]:
    """Ids of all tokens in a `vocab.json` (a tokenizers file); empty if there is none."""
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        ids = {str(token): int(i) for token, i in raw["model"]["vocab"].items()}
        return ids | {str(token["content"]): int(token["id"]) for token in raw.get("added_tokens", [])}
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CorruptModel(f"{path}: not a tokenizer ({exc}); get the checkpoint again") from exc


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError as exc:
        raise ExportFailed("reading an XTTS checkpoint needs torch; pip install 'voxturn[export-xtts]'") from exc
    allowed = [(type(name.rsplit(".", 1)[1], (), {}), name) for name in _CONFIG_CLASSES]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise CorruptModel(f"{path}: is missing; get the checkpoint again") from exc
    except pickle.UnpicklingError as exc:
        reason = next((line for line in str(exc).splitlines() if "GLOBAL" in line), _first_line(exc))
        raise CorruptModel(
            f"{path}: is damaged or holds more than weights, and is not unpickled ({reason.strip()})"
        ) from exc
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as exc:
        raise CorruptModel(f"{path}: cannot be read, is it cut short? ({_first_line(exc)})") from exc


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]


class GptWeights:
    """XTTS's GPT as `export.decoder` reads a checkpoint: rows are outputs, text and audio codes share one table.

    Row ids: text tokens, then audio codes, then a zero row. Position ids: a zero row, then text, then audio positions.
    """

    family = "xtts-gpt"

    def __init__(self, args: XttsArgs, weights: Weights) -> None:
        self._weights = weights
        self.config = {
            "num_hidden_layers": args.gpt_layers,
            "hidden_size": args.gpt_n_model_channels,
            "num_attention_heads": args.gpt_n_heads,
            "vocab_size": args.gpt_num_audio_tokens,
            "rms_norm_eps": 1e-5,
            "rope_theta": 0.0,
            "max_position_embeddings": 32 + args.gpt_max_text_tokens + 2 + args.gpt_max_audio_tokens + 3,
            "tie_word_embeddings": False,
        }

    def names(self) -> set[str]:
        used = {name for name in gpt_names(int(self.config["num_hidden_layers"])) if not name.startswith(_TABLES)}
        return used | {"embedding.weight", "positions.weight"}

    def array(self, name: str) -> Float:
        if name == "embedding.weight":
            parts = [self._weights.take(f"gpt.{kind}_embedding.weight") for kind in ("text", "mel")]
            return np.concatenate([*parts, np.zeros_like(parts[0][:1])])
        if name == "positions.weight":
            parts = [self._weights.take(f"gpt.{kind}_pos_embedding.emb.weight") for kind in ("text", "mel")]
            return np.concatenate([np.zeros_like(parts[0][:1]), *parts])
        value = self._weights.take(name)
        return (
            np.ascontiguousarray(value.T) if ".gpt.h." in name and value.ndim == 2 else value
        )  # GPT-2 stores [in, out]

    def blocks(self, name: str) -> BlockWeight | None:
        return None


_TABLES = ("gpt.text_embedding", "gpt.mel_embedding", "gpt.text_pos_embedding", "gpt.mel_pos_embedding")


def gpt_names(layers: int) -> set[str]:
    """Every parameter that the GPT's graph consumes."""
    layer = ("ln_1", "ln_2", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    modules = [f"gpt.gpt.h.{i}.{part}" for i in range(layers) for part in layer]
    modules += ["gpt.gpt.ln_f", "gpt.final_norm", "gpt.mel_head"]
    tables = {f"{t}.emb.weight" if t.endswith("pos_embedding") else f"{t}.weight" for t in _TABLES}
    return {f"{m}.{kind}" for m in modules for kind in ("weight", "bias")} | tables
