"""Reads Whisper checkpoints into one form: transformers' names, float32 on demand, sizes and token
ids.

Two layouts, told apart by their files: a transformers folder (`config.json`, `*.safetensors`,
`tokenizer.json`) and a CTranslate2 folder (`model.bin`, `config.json`, `tokenizer.json`). What a
checkpoint must hold is declared by `shapes`; everything missing, left over or of another shape is
named in one error, before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from voxturn.export.checkpoint import (
    Float,
    Safetensors,
    Shapes,
    check_content,
    check_layers,
    read_table,
    refuse_adapter,
    settings_of,
    shortened,
)
from voxturn.export.whisper.ct2 import Ct2Tensors
from voxturn.export.whisper.spec import (
    CONFIG_KEYS,
    EMBEDDING,
    Marks,
    Sizes,
    Tensors,
    check_sizes,
    shapes,
)
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.text.tokenizer import read_tokenizer

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
        """Read a folder of either layout.

        Raises `CorruptModel` or `ExportFailed` that says what is wrong.
        """
        refuse_adapter(folder)
        config = read_table(folder / "config.json")
        tensors: Tensors
        if is_ctranslate2(folder):
            tensors = Ct2Tensors(folder / "model.bin")
            sizes = tensors.sizes
            with settings_of(folder / "config.json"):
                marks = _ct2_marks(folder, config, sizes.vocabulary)
        else:
            if not any(folder.glob("*.safetensors")):
                raise CorruptModel(
                    f"{folder}: has neither *.safetensors nor a model.bin of CTranslate2; get the checkpoint again"
                )
            sizes = _hf_sizes(folder, config)
            tensors = Safetensors(folder)
            with settings_of(folder):
                marks = _hf_marks(folder, config)
        check_layers(folder, sizes.encoder_layers + sizes.decoder_layers, len(tensors.shapes()))
        _check(folder, shapes(sizes), tensors.shapes())
        _check_head(folder, tensors)
        return cls(folder, sizes, marks, tensors)

    def array(self, name: str) -> Float:
        """A parameter, float32."""
        return self.tensors.array(name)


def is_ctranslate2(folder: Path) -> bool:
    """Whether a folder is in CTranslate2's layout."""
    return (folder / "model.bin").exists()


def _check(folder: Path, wanted: Shapes, present: Shapes) -> None:
    missing, extra = (
        sorted(wanted.keys() - present.keys()),
        sorted(present.keys() - wanted.keys() - {_HEAD}),
    )
    if missing or extra:
        raise ExportFailed(
            f"{folder}: not a whole Whisper: missing {shortened(missing) or 'nothing'}, left over "
            f"{shortened(extra) or 'nothing'}; get the checkpoint again"
        )
    wrong = [
        f"{n} is {list(present[n])}, not {list(shape)}"
        for n, shape in wanted.items()
        if present[n] != shape
    ]
    if wrong:
        raise ExportFailed(
            f"{folder}: tensors do not fit the sizes: {'; '.join(shortened(wrong))}; get the checkpoint again with its config.json"
        )


def _check_head(folder: Path, tensors: Tensors) -> None:
    """Raise `ExportFailed` for a Whisper whose head is not its token embedding, as transformers
    would take it."""
    if _HEAD in tensors.shapes() and not np.array_equal(
        tensors.array(_HEAD), tensors.array(EMBEDDING)
    ):
        raise ExportFailed(
            f"{folder}: {_HEAD} differs from the token embedding; only Whispers whose head is the embedding are supported"
        )


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
        value = next(
            (i for token in tokens if (i := tokenizer.token_to_id(token)) is not None), None
        )
        if value is None:
            raise CorruptModel(f"{path}: has no {tokens[0]}; get the tokenizer of this Whisper")
        return int(value)

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
    check_content(path)
    try:
        tokenizer: Tokenizer = read_tokenizer(path)
    except Exception as exc:  # the library raises a bare Exception
        raise CorruptModel(
            f"{path}: is missing or not a tokenizer ({exc}); get the checkpoint again"
        ) from exc
    return tokenizer


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
    missing = [key for key in CONFIG_KEYS.values() if type(config.get(key)) is not int]
    if missing:
        raise CorruptModel(f"{folder}: config.json has no whole number for {', '.join(missing)}")
    sizes = Sizes(**{field: config[key] for field, key in CONFIG_KEYS.items()})
    check_sizes(folder, sizes)
    return sizes


def _hf_marks(folder: Path, config: Mapping[str, Any]) -> Marks:
    """From `generation_config.json`, or from `config.json` as older checkpoints have it."""
    path = folder / "generation_config.json"
    generation = read_table(path) if path.exists() else config
    languages, flag = list(generation.get("lang_to_id") or ()), generation.get("is_multilingual")
    vocabulary = int(config["vocab_size"])
    multilingual = (
        flag if isinstance(flag, bool) else bool(languages) or vocabulary > _ENGLISH_VOCABULARY
    )
    return _marks(folder, generation, languages, multilingual and vocabulary != _ENGLISH_VOCABULARY)


def _ct2_marks(folder: Path, config: Mapping[str, Any], vocabulary: int) -> Marks:
    """CTranslate2 keeps no word of it, and knows many languages by the token "", which English
    vocabularies lack."""
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    languages = [str(tokenizer.id_to_token(int(i))) for i in config.get("lang_ids") or ()]
    multilingual = vocabulary != _ENGLISH_VOCABULARY and tokenizer.token_to_id("") is not None
    return _marks(folder, config, languages, multilingual, ("suppress_ids", "suppress_ids_begin"))
