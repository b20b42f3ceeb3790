"""A `tokenizer.json` from the tokenizer that a GGUF file carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from voxturn.export.checkpoint import GgufCheckpoint
from voxturn.runtime.errors import ExportFailed

_CONTROL, _USER_DEFINED = 3, 4  # llama.cpp's types of tokens
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_RULES: dict[str, list[Any]] = {
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "qwen2": [
        pre_tokenizers.Split(Regex(_QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}
"""How text is cut before the merges, by the name that the file gives it. Source: llama.cpp's `llama-vocab.cpp`."""


def write_tokenizer(checkpoint: GgufCheckpoint, path: Path) -> None:
    """Write the byte-level BPE of a GGUF file. Raises `ExportFailed` for a tokenizer of another kind."""
    try:
        kind, rule, tokens, merges, types = (
            checkpoint.field(f"tokenizer.ggml.{key}") for key in ("model", "pre", "tokens", "merges", "token_type")
        )
    except KeyError as exc:
        raise ExportFailed(f"the GGUF file's tokenizer lacks {exc}; use another file of the model") from exc
    if kind != "gpt2" or rule not in _RULES:
        raise ExportFailed(f"tokenizer {kind}/{rule} is not supported; supported: gpt2/{', gpt2/'.join(_RULES)}")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_RULES[rule])
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, types, strict=True):
        if kind in (_CONTROL, _USER_DEFINED):
            tokenizer.add_tokens([AddedToken(token, special=kind == _CONTROL, normalized=False)])
    tokenizer.save(str(path))
