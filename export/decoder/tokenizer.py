"""A `tokenizer.json` from the tokenizer that a GGUF file carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.runtime.errors import CorruptModel, ExportFailed

_CONTROL, _USER_DEFINED = 3, 4  # llama.cpp's types of tokens
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class _Rule:
    """How text is cut before the merges; `whole` takes a piece that is a token without merging it."""

    pieces: tuple[Any, ...]
    normalizer: Any = None
    whole: bool = False


def _split(digits: str) -> tuple[Any, ...]:
    by_regex = pre_tokenizers.Split(Regex(f"{_WORDS}|{digits}|{_REST}"), "isolated")
    return by_regex, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


_RULES = {
    "smollm": _Rule(
        (
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        )
    ),
    "qwen2": _Rule(_split(r"\p{N}"), normalizers.NFC()),
    "llama-bpe": _Rule(_split(r"\p{N}{1,3}"), whole=True),
}
"""By the name that the file gives it.

Sources: llama.cpp's `llama-vocab.cpp`, the models' own `tokenizer.json`.
"""


def read_tokenizer(checkpoint: GgufCheckpoint) -> Tokenizer:
    """The byte-level BPE of a GGUF file.

    Raises `ExportFailed` for one of another kind, `CorruptModel` for a damaged one.
    """
    try:
        kind, rule, tokens, merges, types = (
            checkpoint.field(f"tokenizer.ggml.{key}")
            for key in ("model", "pre", "tokens", "merges", "token_type")
        )
    except KeyError as exc:
        raise ExportFailed(
            f"the GGUF file's tokenizer lacks {exc}; use another file of the model"
        ) from exc
    if kind != "gpt2" or not isinstance(rule, str) or rule not in _RULES:
        raise ExportFailed(
            f"tokenizer {str(kind)[:80]}/{str(rule)[:80]} is not supported; supported: gpt2/{', gpt2/'.join(_RULES)}"
        )
    chosen = _RULES[rule]
    try:
        pairs = [tuple(merge.split(" ")) for merge in merges]
        ids = {token: i for i, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(ids, pairs, ignore_merges=chosen.whole))
        added = [
            AddedToken(token, special=kind == _CONTROL, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind in (_CONTROL, _USER_DEFINED)
        ]
    except Exception as exc:  # the library raises a bare Exception
        raise CorruptModel(
            f"the GGUF file's tokenizer is damaged ({exc}); pull the model again"
        ) from exc
    if chosen.normalizer is not None:
        tokenizer.normalizer = chosen.normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(chosen.pieces))
    tokenizer.decoder = decoders.ByteLevel()
    for token in added:
        tokenizer.add_tokens([token])
    return tokenizer
