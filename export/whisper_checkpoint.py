"""Reads Whisper checkpoints into one form: transformers' names, float32 on demand, sizes and token ids.

Two layouts, told apart by their files: a transformers folder (`config.json`, `*.safetensors`, `tokenizer.json`) and a
CTranslate2 folder (`model.bin`, `config.json`, `tokenizer.json`). What a checkpoint must hold is declared by `shapes`;
everything missing, left over or of another shape is named in one error, before anything is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 -- gives numpy the type bfloat16
import numpy as np
from tokenizers import Tokenizer
from voxturn.export.whisper_ct2 import Ct2Tensors
from voxturn.export.whisper_spec import CONFIG_KEYS, Float, Marks, Shapes, Sizes, Tensors, shapes
from voxturn.runtime.errors import CorruptModel, ExportFailed

_ENGLISH_VOCABULARY = 51864
"""Of the Whispers that know English alone; the others have a token more, or several."""
_HEAD = "proj_out.weight"
"""The head is the token embedding; some checkpoints hold it a second time under this name."""


@dataclass(frozen=True)
class WhisperCheckpoint:
    """An opened and checked folder."""

    folder: Path
    sizes: Sizes
    marks: Marks
    tensors: Tensors

    @classmethod
    def open(cls, folder: Path) -> WhisperCheckpoint:
        """Read a folder of either layout. Raises `CorruptModel` or `ExportFailed` that says what is wrong."""
        config = _read_json(folder / "config.json")
        tensors: Tensors
        if is_ctranslate2(folder):
            tensors = Ct2Tensors(folder / "model.bin")
            sizes, marks = tensors.sizes, _ct2_marks(folder, config, tensors.sizes.vocabulary)
        else:
            sizes, tensors, marks = (
                _hf_sizes(folder, config),
                HfTensors(folder),
                _hf_marks(folder, config),
            )
        _check(folder, shapes(sizes), tensors.shapes())
        return cls(folder, sizes, marks, tensors)

    def array(self, name: str) -> Float:
        """A parameter, float32."""
        return self.tensors.array(name)


def is_ctranslate2(folder: Path) -> bool:
    """Whether a folder is in CTranslate2's layout."""
    return (folder / "model.bin").is_file()


def _check(folder: Path, wanted: Shapes, present: Shapes) -> None:
    missing, extra = (
        sorted(wanted.keys() - present.keys()),
        sorted(present.keys() - wanted.keys() - {_HEAD}),
    )
    if missing or extra:
        raise ExportFailed(
            f"{folder}: not a whole Whisper: missing {missing or 'nothing'}, left over {extra or 'nothing'}; "
            "get the checkpoint again"
        )
    wrong = [
        f"{n} is {list(present[n])}, not {list(shape)}"
        for n, shape in wanted.items()
        if present[n] != shape
    ]
    if wrong:
        raise ExportFailed(
            f"{folder}: tensors do not fit the sizes: {'; '.join(wrong)}; get the checkpoint again with its config.json"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CorruptModel(f"{path}: is missing or not JSON; get the checkpoint again") from exc
    if not isinstance(raw, dict):
        raise CorruptModel(f"{path}: is not a table; get the checkpoint again")
    return raw


def _marks(
    folder: Path,
    config: Mapping[str, Any],
    languages: Sequence[str],
    multilingual: bool,
    suppress: tuple[str, str] = ("suppress_tokens", "begin_suppress_tokens"),
) -> Marks:
    """`languages` are tokens as `<|en|>`; `suppress` are the keys of the two lists of ids that are never said."""
    path = folder / "tokenizer.json"
    tokenizer = open_tokenizer(path)

    def of(*tokens: str) -> int:
        found = next(
            (i for token in tokens if (i := tokenizer.token_to_id(token)) is not None), None
        )
        if found is None:
            raise CorruptModel(f"{path}: has no {tokens[0]}; get the tokenizer of this Whisper")
        return int(found)

    never, never_first = (tuple(int(i) for i in config.get(key) or ()) for key in suppress)
    return Marks(
        start=of("<|startoftranscript|>"),
        end=of("<|endoftext|>"),
        no_speech=of("<|nospeech|>", "<|nocaptions|>"),
        no_timestamps=of("<|notimestamps|>"),
        languages={token.strip("<|>"): of(token) for token in languages} if multilingual else {},
        suppress=never,
        suppress_begin=never_first,
        alignment_heads=tuple(
            (int(layer), int(head)) for layer, head in config.get("alignment_heads") or ()
        ),
        multilingual=multilingual,
    )


def open_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json`. Raises `CorruptModel`."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises a bare Exception
        raise CorruptModel(
            f"{path}: is missing or not a tokenizer ({exc}); get the checkpoint again"
        ) from exc


class HfTensors:
    """The safetensors of a folder: `model.safetensors`, or the shards that its index names. Read when asked for."""

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._files: dict[str, Any] = {}
        for file in _shards(folder):
            try:
                handle = safe_open(str(file), framework="np")
            except (SafetensorError, OSError) as exc:
                raise CorruptModel(
                    f"{file}: not a whole safetensors file ({exc}); get the checkpoint again"
                ) from exc
            self._files |= dict.fromkeys(list(handle.keys()), handle.get_slice)  # type: ignore[no-untyped-call]
        types = {name: get(name).get_dtype() for name, get in self._files.items()}
        wrong = [
            f"{name} is {kind}"
            for name, kind in sorted(types.items())
            if kind not in ("F32", "F16", "BF16")
        ]
        if wrong:
            raise ExportFailed(f"{folder}: {'; '.join(wrong)}; weights must be F32, F16 or BF16")

    def shapes(self) -> Shapes:
        return {name: tuple(get(name).get_shape()) for name, get in self._files.items()}

    def array(self, name: str) -> Float:
        return np.asarray(self._files[name](name)[:], np.float32)


def _shards(folder: Path) -> list[Path]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise CorruptModel(
            f"{folder}: has no model.safetensors, no index of shards and no model.bin of CTranslate2"
        )
    try:
        names = sorted({str(name) for name in _read_json(index)["weight_map"].values()})
    except (KeyError, AttributeError) as exc:
        raise CorruptModel(f"{index}: has no weight_map; get the checkpoint again") from exc
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CorruptModel(
            f"{folder}: shards are missing: {', '.join(missing)}; get the checkpoint again"
        )
    return [folder / name for name in names]


def _hf_sizes(folder: Path, config: Mapping[str, Any]) -> Sizes:
    if config.get("model_type") != "whisper":
        raise ExportFailed(
            f"{folder}: config.json says model_type {config.get('model_type')!r}, not 'whisper'"
        )
    if config.get("activation_function", "gelu") != "gelu" or not config.get(
        "tie_word_embeddings", True
    ):
        raise ExportFailed(
            f"{folder}: only Whispers with gelu and the token embedding as their head are supported"
        )
    missing = [key for key in CONFIG_KEYS.values() if not isinstance(config.get(key), int)]
    if missing:
        raise CorruptModel(f"{folder}: config.json has no whole number for {', '.join(missing)}")
    return Sizes(**{field: config[key] for field, key in CONFIG_KEYS.items()})


def _hf_marks(folder: Path, config: Mapping[str, Any]) -> Marks:
    """From `generation_config.json`, or from `config.json` as older checkpoints have it."""
    path = folder / "generation_config.json"
    generation = _read_json(path) if path.is_file() else config
    languages, said = list(generation.get("lang_to_id") or ()), generation.get("is_multilingual")
    vocabulary = int(config["vocab_size"])
    multilingual = (
        said if isinstance(said, bool) else bool(languages) or vocabulary > _ENGLISH_VOCABULARY
    )
    return _marks(folder, generation, languages, multilingual and vocabulary != _ENGLISH_VOCABULARY)


def _ct2_marks(folder: Path, config: Mapping[str, Any], vocabulary: int) -> Marks:
    """CTranslate2 keeps no word of it, and knows many languages by the token "", which English vocabularies lack."""
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    languages = [str(tokenizer.id_to_token(int(i))) for i in config.get("lang_ids") or ()]
    multilingual = vocabulary != _ENGLISH_VOCABULARY and tokenizer.token_to_id("") is not None
    return _marks(folder, config, languages, multilingual, ("suppress_ids", "suppress_ids_begin"))
