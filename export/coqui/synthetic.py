"""A synthetic XTTS in the official layout, made by coqui-tts: random weights, whose speech is
noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from voxturn.export.coqui.modules import LANGUAGES, build, xtts_module
from voxturn.runtime.errors import UsageError

TINY: dict[str, Any] = {
    "gpt_layers": 2, "gpt_n_model_channels": 64, "gpt_n_heads": 4, "decoder_input_dim": 64,
    "gpt_number_text_tokens": 96, "gpt_start_text_token": 1,
}  # fmt: skip
FULL: dict[str, Any] = {
    "gpt_layers": 30, "gpt_n_model_channels": 1024, "gpt_n_heads": 16, "decoder_input_dim": 1024,
    "gpt_number_text_tokens": 6681, "gpt_start_text_token": 261,
}  # fmt: skip
"""XTTS v2's own sizes; those above are tiny ones."""
_V1: dict[str, Any] = {
    "gpt_use_perceiver_resampler": False, "gpt_num_audio_tokens": 8194, "gpt_start_audio_token": 8192,
    "gpt_stop_audio_token": 8193,
}  # fmt: skip
"""What is different in XTTS v1.1."""
_V1_LATENTS = 50
"""Of its voice: one for each 46 ms of a recording."""


def make_checkpoint(target: Path, size: str, seed: int, version: str = "xtts-v2") -> None:
    """Write a synthetic checkpoint in the official layout: random weights, a vocabulary of letters,
    one voice `noise`.

    `size` is "tiny" or "full" (XTTS v2's own sizes), `version` is xtts-v2 or xtts-v1.1. What it says is noise; `config.json` says so
    (`voxturn_synthetic`), and so does every artifact made of it.
    """
    if size not in ("tiny", "full"):
        raise UsageError(f"checkpoint size {size!r}: must be tiny or full")
    xtts_module()  # says what to install where it cannot be had
    import torch

    old = version == "xtts-v1.1"
    args = (TINY if size == "tiny" else FULL) | (_V1 if old else {})
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = build(args)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith(
                "proj_out.weight"
            ):  # upstream begins with zeros there, which would hide mistakes
                value.normal_(std=0.02)
            elif name.endswith(("running_mean", "mel_stats")):
                value.uniform_(0.5, 1.5)
    torch.save({"model": model.state_dict()}, target / "model.pth")
    config = model.config.to_dict() | {"voxturn_synthetic": True}
    (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    write_vocabulary(
        target / "vocab.json", args["gpt_number_text_tokens"], args["gpt_start_text_token"]
    )
    width = args["gpt_n_model_channels"]
    voice = {
        "gpt_cond_latent": torch.randn(1, _V1_LATENTS if old else 32, width) * 0.1,
        "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1),
    }
    torch.save({"noise": voice}, target / "speakers_xtts.pth")


def write_vocabulary(path: Path, size: int, start: int) -> None:
    """A BPE vocabulary without merges in XTTS's form: `[STOP]` 0, `[START]` at `start`, languages,
    letters, fillers."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    marks = ["[UNK]", "[SPACE]", *(f"[{language}]" for language in LANGUAGES)]
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"]
    wanted = [*marks, *letters, *(f"<{i}>" for i in range(size))]
    ids = {"[STOP]": 0, "[START]": start}
    free = (i for i in range(1, size) if i != start)
    ids |= dict(zip(wanted, free, strict=False))
    tokenizer = Tokenizer(models.BPE(ids, [], unk_token="[UNK]"))  # noqa: S106  a token of the vocabulary
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[STOP]", "[START]", *marks])
    tokenizer.save(str(path))
