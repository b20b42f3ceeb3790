"""A synthetic Whisper large-v3-turbo in the official layout: random weights, for sizes and builds, never for hearing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from voxturn.export.whisper_reference import import_transformers
from voxturn.runtime.errors import UsageError

CONFIG = {
    "vocab_size": 51866, "num_mel_bins": 128, "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120, "decoder_layers": 4, "decoder_attention_heads": 20, "decoder_ffn_dim": 5120,
    "max_source_positions": 1500, "max_target_positions": 448,
}  # fmt: skip
"""Of the configuration that OpenAI published for large-v3-turbo."""


def make_checkpoint(target: Path, seed: int, tokenizer: Path | None) -> None:
    """Write the checkpoint in float16. `tokenizer` is a Whisper's `tokenizer.json`, whose marks name the languages.

    Raises `UsageError` without it or where it has no marks, `ExportFailed` without transformers.
    """
    import torch

    transformers = import_transformers()
    if tokenizer is None:
        raise UsageError("a synthetic Whisper needs --tokenizer, the tokenizer.json of a Whisper")
    try:
        added = {
            str(t["content"]): int(t["id"]) for t in json.loads(tokenizer.read_text(encoding="utf-8"))["added_tokens"]
        }
        start, end = added["<|startoftranscript|>"], added["<|endoftext|>"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{tokenizer}: not the tokenizer.json of a Whisper ({exc})") from exc
    torch.manual_seed(seed)
    marks = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    with torch.device("cpu"):
        model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**CONFIG, **marks))
    languages = {name: i for name, i in added.items() if start < i <= start + 100}
    model.generation_config = transformers.GenerationConfig(
        alignment_heads=[[2, 4], [2, 11], [3, 3], [3, 6]], lang_to_id=languages, **marks
    )
    model.to(torch.float16).save_pretrained(target)
    config = target / "config.json"
    about = json.loads(config.read_text(encoding="utf-8")) | {"voxturn_synthetic": True}
    config.write_text(json.dumps(about, indent=1), encoding="utf-8")
    shutil.copyfile(tokenizer, target / "tokenizer.json")
