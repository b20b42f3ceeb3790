"""Synthetic Qwen3 checkpoints in the official layout: random weights, for builds, tests and
benchmarks."""

from __future__ import annotations

import json
import pydoc_data.topics
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.decoder.families import FAMILIES, DecoderConfig
from voxturn.runtime.errors import UsageError
from voxturn.runtime.text.tokenizer import read_tokenizer

SIZES: dict[str, dict[str, int | bool]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 4096, "tie_word_embeddings": True},
    "qwen3-0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
                   "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True},
    "qwen3-1.7b": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16,
                   "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True},
    "qwen3-4b": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
                 "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True},
    "qwen3-8b": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
                 "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False},
}  # fmt: skip
"""Of the configurations that Qwen published, and a tiny one."""
_LEARNT_TOKENS, _SHARD_BYTES = 3600, 2 << 30


def make_checkpoint(
    target: Path, model: str, size: str, seed: int, tokenizer: Path | None = None
) -> None:
    """Write a synthetic checkpoint in the official layout: bfloat16 shards, an index, a tokenizer
    with Qwen3's marks.

    `size` is "tiny" or "full" (those of `model`). Its answers are noise; `config.json` says so
    (`voxturn_synthetic`). The tokenizer is a byte-level BPE: the given `tokenizer.json`, or one
    that learnt English from Python's own documentation. Raises `UsageError` if the given one does
    not fit.
    """
    if model not in SIZES or size not in ("tiny", "full"):
        raise UsageError(
            f"{model} {size}: synthetic checkpoints are {', '.join(SIZES)}, each tiny or full"
        )
    sizes = SIZES[model if size == "full" else "tiny"]
    target.mkdir(parents=True, exist_ok=True)
    config = sizes | {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000, "max_position_embeddings": 40960, "attention_bias": False, "torch_dtype": "bfloat16",
        "voxturn_synthetic": True,
    }  # fmt: skip
    marks = _write_tokenizer(target / "tokenizer.json", int(sizes["vocab_size"]), tokenizer)
    config |= {"bos_token_id": marks["<|endoftext|>"], "eos_token_id": marks["<|im_end|>"]}
    (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (target / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
            }
        ),
        encoding="utf-8",
    )
    _write_weights(
        target, DecoderConfig.from_checkpoint(config), int(sizes["intermediate_size"]), seed
    )


def _write_weights(target: Path, c: DecoderConfig, inner: int, seed: int) -> None:
    import ml_dtypes
    from safetensors.numpy import save_file

    shapes = FAMILIES["qwen3"].shapes(c, inner)
    random, shard, files = np.random.default_rng(seed), dict[str, Any](), dict[str, str]()
    for name, shape in shapes.items():
        values = random.standard_normal(shape, np.float32)
        shard[name] = (values * 0.02 if len(shape) == 2 else 1 + values * 0.1).astype(
            ml_dtypes.bfloat16
        )
        if (
            sum(value.nbytes for value in shard.values()) >= _SHARD_BYTES
            or name == list(shapes)[-1]
        ):
            file = f"model-{len(set(files.values())) + 1:05d}.safetensors"
            save_file(shard, target / file)
            files |= dict.fromkeys(shard, file)
            shard = {}
    index = {"metadata": {}, "weight_map": files}
    (target / "model.safetensors.index.json").write_text(
        json.dumps(index, indent=1), encoding="utf-8"
    )


def _write_tokenizer(path: Path, vocabulary: int, given: Path | None) -> dict[str, int]:
    """A tokenizer with Qwen3's marks behind its learnt tokens; returns the marks' ids."""
    try:
        tokenizer = read_tokenizer(given) if given is not None else _learnt()
    except Exception as exc:  # the library raises a bare Exception
        raise UsageError(f"{given}: not a tokenizer.json ({exc})") from exc
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<think>", "</think>"])
    if tokenizer.get_vocab_size() > vocabulary:
        raise UsageError(
            f"{given}: {tokenizer.get_vocab_size()} tokens, the model has {vocabulary}; choose another"
        )
    tokenizer.save(str(path))
    return {mark: int(tokenizer.token_to_id(mark) or 0) for mark in ("<|endoftext|>", "<|im_end|>")}


def _learnt() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_LEARNT_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(pydoc_data.topics.topics.values(), trainer)
    return tokenizer
