"""A `tokenizer.json` from the tokenizer that a GGUF file carries."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from voxturn.export.checkpoint import GgufCheckpoint
from voxturn.runtime.errors import ExportFailed

_CONTROL = 3  # llama.cpp's token type for control tokens


def write_tokenizer(checkpoint: GgufCheckpoint, path: Path) -> None:
    """Write the byte-level BPE of a GGUF file. Source of the splitting rule: llama.cpp's pre-tokenizer "smollm"."""
    try:
        kind, rule, tokens, merges, types = (
            checkpoint.field(f"tokenizer.ggml.{key}") for key in ("model", "pre", "tokens", "merges", "token_type")
        )
    except KeyError as exc:
        raise ExportFailed(f"the GGUF file's tokenizer lacks {exc}; use another file of the model") from exc
    if (kind, rule) != ("gpt2", "smollm"):
        raise ExportFailed(f"tokenizer {kind}/{rule} is not supported; supported: gpt2/smollm")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True) for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(path))
