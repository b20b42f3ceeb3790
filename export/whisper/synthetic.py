"""A synthetic Whisper large-v3-turbo in the official layout: random weights, for builds and counts,
never for hearing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from voxturn.export.imports import import_transformers
from voxturn.runtime.errors import UsageError
from voxturn.runtime.files import read_json

_COMMON = {
    "vocab_size": 51866,
    "num_mel_bins": 128,
    "max_source_positions": 1500,
    "max_target_positions": 448,
}
SIZES = {
    "tiny": {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_layers": 2,
             "decoder_attention_heads": 4, "decoder_ffn_dim": 96},
    "full": {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120,
             "decoder_layers": 4, "decoder_attention_heads": 20, "decoder_ffn_dim": 5120},
}  # fmt: skip
"""Of the configuration that OpenAI published for large-v3-turbo, and a tiny one."""


def make_checkpoint(target: Path, size: str, seed: int, tokenizer: Path | None) -> None:
    """Write the checkpoint in float16. `tokenizer` is a Whisper's `tokenizer.json`, whose marks
    name the languages.

    Raises `UsageError` without it or where it has no marks, `ExportFailed` without transformers.
    """
    import torch

    transformers = import_transformers()
    if tokenizer is None:
        raise UsageError("a synthetic Whisper needs --tokenizer, the tokenizer.json of a Whisper")
    try:
        added = {str(t["content"]): int(t["id"]) for t in read_json(tokenizer)["added_tokens"]}
        start, end = added["<|startoftranscript|>"], added["<|endoftext|>"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{tokenizer}: not the tokenizer.json of a Whisper ({exc})") from exc
    torch.manual_seed(seed)
    marks = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }
    config = transformers.WhisperConfig(**_COMMON, **SIZES[size], **marks)
    model = transformers.WhisperForConditionalGeneration(config)
    languages = {name: i for name, i in added.items() if start < i <= start + 100}
    model.generation_config = transformers.GenerationConfig(
        alignment_heads=[[1, 0], [1, 1], [1, 2], [1, 3]], lang_to_id=languages, **marks
    )
    model.to(torch.float16).save_pretrained(target)
    written = target / "config.json"
    about = json.loads(written.read_text(encoding="utf-8")) | {"voxturn_synthetic": True}
    written.write_text(json.dumps(about, indent=1), encoding="utf-8")
    shutil.copyfile(tokenizer, target / "tokenizer.json")
