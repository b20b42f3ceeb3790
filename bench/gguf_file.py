"""A Hugging Face folder of a Qwen3 as a GGUF file, for llama.cpp: the peer gets the very same
weights, then quantised."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
from gguf import GGMLQuantizationType
from voxturn.export.decoder.checkpoint import SafetensorsCheckpoint
from voxturn.export.decoder.families import DecoderConfig
from voxturn.export.decoder.gguf import GGUF_LAYER_NAMES, GGUF_NAMES
from voxturn.export.decoder.template import folder_template

_LAYER = {ours: theirs for theirs, ours in GGUF_LAYER_NAMES.items()}
_OTHERS = {ours: theirs for theirs, ours in GGUF_NAMES.items()}


def write(checkpoint: Path, target: Path, kind: str) -> None:
    """Write `target`.

    `kind` is a type of GGML for the layers' matrices: F32, Q8_0 or Q4_0; the embedding is Q8_0
    then.
    """
    opened = SafetensorsCheckpoint(checkpoint)
    c = DecoderConfig.from_checkpoint(opened.config)
    writer = gguf.GGUFWriter(str(target), opened.family)
    writer.add_block_count(c.layers)
    writer.add_embedding_length(c.width)
    writer.add_feed_forward_length(int(opened.config["intermediate_size"]))
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_layer_norm_rms_eps(c.epsilon)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_context_length(c.context)
    _tokenizer(writer, checkpoint / "tokenizer.json", c.vocabulary)
    template = folder_template(checkpoint)
    if template is not None:
        writer.add_chat_template(template.source)
    layers = GGMLQuantizationType[kind]
    table = layers if kind == "F32" else GGMLQuantizationType.Q8_0
    for name in sorted(opened.names()):
        values = opened.array(name)
        stored = (
            GGMLQuantizationType.F32 if values.ndim == 1 else table if name in _OTHERS else layers
        )
        writer.add_tensor(_name(name), gguf.quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name: str) -> str:
    if name in _OTHERS:
        return _OTHERS[name]
    _, _, layer, *parts, kind = name.split(".")
    return f"blk.{layer}.{_LAYER['.'.join(parts)]}.{kind}"


def _tokenizer(writer: gguf.GGUFWriter, path: Path, vocabulary: int) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    known = dict(data["model"]["vocab"])
    marks = {token["content"]: token["id"] for token in data["added_tokens"]}
    by_id = {i: token for token, i in (known | marks).items()}
    special = {token["id"] for token in data["added_tokens"] if token["special"]}
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(vocabulary)]
    types = [
        3 if i in special or i not in by_id else 4 if by_id[i] in marks else 1
        for i in range(vocabulary)
    ]
    merges = [
        merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"]
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(marks["<|im_end|>"])
    writer.add_bos_token_id(marks["<|endoftext|>"])
