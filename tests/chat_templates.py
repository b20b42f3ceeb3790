"""Small tokenizers with the marks of known models, and those models' chat templates."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

_TEMPLATES = Path(__file__).parent / "data" / "chat_templates"
KINDS = {
    "qwen2.5": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "smollm2": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "llama3.2": ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "llama2": ("<s>", "</s>"),
    "mistral": ("<s>", "</s>", "[INST]", "[/INST]"),
    "zephyr": ("<s>", "</s>"),
    "deepseek-r1": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
    "qwen3": ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"),
    "gemma": ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "vicuna": ("<s>", "</s>"),
}  # fmt: skip
"""Templates as their makers publish them, and the marks of their tokenizers: bos and eos first."""
SPACED = ("llama2", "mistral", "zephyr", "vicuna")
"""Those whose tokenizers are of SentencePiece's kind, with a space before every text."""


def template(name: str) -> str:
    """A chat template as its makers publish it."""
    return (_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


def bytes_tokenizer() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ċ", "Ċ"), ("a", "n"), ("o", "f")]
    vocabulary = {letter: i for i, letter in enumerate([*letters, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def spaced_tokenizer() -> Tokenizer:
    letters = ["▁", *(chr(i) for i in range(33, 127))]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("a", "n"), ("▁", "[")]
    tokens = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), *letters, *map("".join, merges)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def make_folder(folder: Path, kind: str, source: str) -> Path:
    """A tokenizer with the marks of `kind`, and a template."""
    tokenizer = spaced_tokenizer() if kind in SPACED else bytes_tokenizer()
    marks = list(KINDS[kind])
    tokenizer.add_special_tokens(marks)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": marks[0],
        "eos_token": {"__type": "AddedToken", "content": marks[1], "special": True},
        "chat_template": source,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    return folder
