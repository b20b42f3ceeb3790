"""Builds the ONNX graph of a decoder-only transformer from a configuration and a state dict. No torch.

One graph serves prefill and step. Past and present keys and values are the same fixed-size buffers: the attention
operator writes the new positions in place. Only the last position goes through the head.

    input_ids              int64    [1, S]                    the new tokens
    seqlens_k              int32    [1]                       positions after this call, minus one
    total_sequence_length  int32    []                        positions after this call
    past_key.N, past_value.N        float32 [1, kv_heads, P, head_dim]
    logits                 float32  [1, 1, vocabulary]        of the last new token
    present_key.N, present_value.N  the same buffers

A family is a row in `FAMILIES`: where its weights are. What differs in arithmetic is a field of `DecoderConfig`.
Operators: ONNX Runtime's contrib `GroupQueryAttention` and `MatMulNBits`. Source of the architecture:
transformers' `modeling_llama.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.export import parity
from voxturn.export.artifact import write_manifest
from voxturn.export.checkpoint import Checkpoint, GgufCheckpoint, open_checkpoint
from voxturn.export.graph import MICROSOFT, GraphBuilder
from voxturn.export.quantize import BlockWeight, quantize
from voxturn.export.tokenizer import write_tokenizer
from voxturn.runtime.contract import Manifest
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.fetch import Progress

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a decoder-only transformer. `context` is the number of positions of its rotary table."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    epsilon: float
    rope_theta: float
    context: int
    tied: bool

    @classmethod
    def from_checkpoint(cls, config: Mapping[str, Any]) -> DecoderConfig:
        """Read Hugging Face's field names; a missing one is an `ExportFailed` that names it."""
        if config.get("hidden_act", "silu") != "silu":
            raise ExportFailed(f"activation {config['hidden_act']!r} is not supported; supported: silu")
        try:
            heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
            return cls(
                layers=int(config["num_hidden_layers"]),
                width=width,
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or width // heads),
                vocabulary=int(config["vocab_size"]),
                epsilon=float(config["rms_norm_eps"]),
                rope_theta=_rope_theta(config),
                context=int(config["max_position_embeddings"]),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
        except KeyError as exc:
            raise ExportFailed(f"the checkpoint's configuration lacks {exc}; pull the model again") from exc


def _rope_theta(config: Mapping[str, Any]) -> float:
    """`rope_theta`, which transformers 5 moved into `rope_parameters`."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind != "default":
        raise ExportFailed(f"rotary scaling {kind!r} is not supported; supported: default")
    return float(parameters.get("rope_theta") or config["rope_theta"])


@dataclass(frozen=True)
class Family:
    """Where a family keeps its weights; `{}` stands for the layer's number. Several names are stacked row-wise."""

    embedding: str
    attention_norm: str
    qkv: tuple[str, str, str]
    attention_out: str
    mlp_norm: str
    gate_up: tuple[str, str]
    down: str
    final_norm: str
    head: str

    def names(self, config: DecoderConfig) -> set[str]:
        """Every tensor that a checkpoint of this family must have."""
        layer = (self.attention_norm, *self.qkv, self.attention_out, self.mlp_norm, *self.gate_up, self.down)
        wanted = {name.format(i) for name in layer for i in range(config.layers)}
        return wanted | {self.embedding, self.final_norm} | (set() if config.tied else {self.head})


_LAYER = "model.layers.{}."
FAMILIES = {
    "llama": Family(
        embedding="model.embed_tokens.weight",
        attention_norm=_LAYER + "input_layernorm.weight",
        qkv=(
            _LAYER + "self_attn.q_proj.weight",
            _LAYER + "self_attn.k_proj.weight",
            _LAYER + "self_attn.v_proj.weight",
        ),
        attention_out=_LAYER + "self_attn.o_proj.weight",
        mlp_norm=_LAYER + "post_attention_layernorm.weight",
        gate_up=(_LAYER + "mlp.gate_proj.weight", _LAYER + "mlp.up_proj.weight"),
        down=_LAYER + "mlp.down_proj.weight",
        final_norm="model.norm.weight",
        head="lm_head.weight",
    ),
}


@dataclass(frozen=True)
class Precision:
    """How linear weights are stored. `bits` 32, 8 or 4; `native` takes a checkpoint's own 4-bit blocks as they are."""

    bits: int
    block: int = 0
    symmetric: bool = True
    native: bool = False
    head_bits: int = 0


PRECISIONS = {
    "fp32": Precision(32),
    "int8": Precision(8, block=64),
    "int4": Precision(4, block=32, symmetric=False, head_bits=8),
    "q4_1": Precision(4, block=32, native=True, head_bits=8),
}
_ACCURACY_LEVEL = 4  # activations are rounded to int8 in the product; judged by the recorded KL


def build_decoder(checkpoint: Checkpoint, precision: Precision, path: Path) -> DecoderConfig:
    """Write the graph for `checkpoint` to `path` (and `path.data`). Raises `ExportFailed` with all missing names."""
    family = FAMILIES.get(checkpoint.family)
    if family is None:
        raise ExportFailed(f"model family {checkpoint.family!r} is not supported; supported: {', '.join(FAMILIES)}")
    config = DecoderConfig.from_checkpoint(checkpoint.config)
    wanted, present = family.names(config), checkpoint.names()
    unused = {"lm_head.weight"} if config.tied else set()
    if wanted - present or present - wanted - unused:
        raise ExportFailed(
            f"the checkpoint does not fit family {checkpoint.family!r}: "
            f"missing {sorted(wanted - present) or 'nothing'}, left over {sorted(present - wanted - unused) or 'nothing'}"
        )
    _DecoderBuilder(checkpoint, family, config, precision).build().save(path)
    return config


class _DecoderBuilder:
    def __init__(self, checkpoint: Checkpoint, family: Family, config: DecoderConfig, precision: Precision) -> None:
        self.checkpoint, self.family, self.config, self.precision = checkpoint, family, config, precision
        self.graph = GraphBuilder("decoder")

    def build(self) -> GraphBuilder:
        g, c, f = self.graph, self.config, self.family
        g.input("input_ids", "int64", [1, "S"])
        g.input("seqlens_k", "int32", [1])
        g.input("total_sequence_length", "int32", [])
        self._rotary_tables()
        table = self.checkpoint.array(f.embedding).astype(np.float32 if self.precision.bits == 32 else np.float16)
        hidden = g.node("Cast", [g.node("Gather", [g.constant("embedding", table), "input_ids"])], to=1)
        normed = g.node(
            "SimplifiedLayerNormalization", [hidden, self._norm(f.attention_norm.format(0))], epsilon=c.epsilon, axis=-1
        )
        for layer in range(c.layers):
            normed, hidden = self._layer(layer, normed, hidden)
        last = g.node("Slice", [normed, *self._ints("last", [-1], [2**31 - 1], [1])])
        self._linear(last, [f.embedding if c.tied else f.head], "head", output="logits")
        g.output("logits", "float32", [1, 1, c.vocabulary])
        return g

    def _layer(self, i: int, normed: str, hidden: str) -> tuple[str, str]:
        g, f = self.graph, self.family
        qkv = self._linear(normed, [name.format(i) for name in f.qkv], f"qkv.{i}")
        attention = self._linear(self._attention(qkv, i), [f.attention_out.format(i)], f"attention_out.{i}")
        normed, hidden = self._add_norm(attention, hidden, f.mlp_norm.format(i), f"attention.{i}")
        gate, up = (
            self._linear(normed, [name.format(i)], f"{kind}.{i}")
            for kind, name in zip(("gate", "up"), f.gate_up, strict=True)
        )
        inner = g.node("Mul", [g.node("QuickGelu", [gate], domain=MICROSOFT, alpha=1.0), up])
        out = self._linear(inner, [f.down.format(i)], f"down.{i}")
        last = i + 1 == self.config.layers
        following = f.final_norm if last else f.attention_norm.format(i + 1)
        return self._add_norm(out, hidden, following, f"mlp.{i}")

    def _attention(self, qkv: str, i: int) -> str:
        g, c = self.graph, self.config
        cache: list[int | str] = [1, c.kv_heads, "P", c.head_dim]
        for kind in ("key", "value"):
            g.input(f"past_{kind}.{i}", "float32", cache)
            g.output(f"present_{kind}.{i}", "float32", cache)
        return g.node(
            "GroupQueryAttention",
            [qkv, "", "", f"past_key.{i}", f"past_value.{i}", "seqlens_k", "total_sequence_length", "cos", "sin"],
            [f"attention.{i}", f"present_key.{i}", f"present_value.{i}"],
            domain=MICROSOFT,
            num_heads=c.heads,
            kv_num_heads=c.kv_heads,
            do_rotary=1,
        )

    def _rotary_tables(self) -> None:
        c = self.config
        inverse = 1.0 / c.rope_theta ** (np.arange(0, c.head_dim, 2, dtype=np.float64) / c.head_dim)
        angles = np.arange(c.context, dtype=np.float64)[:, None] * inverse[None]
        self.graph.constant("cos", np.cos(angles).astype(np.float32))
        self.graph.constant("sin", np.sin(angles).astype(np.float32))

    def _add_norm(self, x: str, hidden: str, weight: str, name: str) -> tuple[str, str]:
        """RMS norm of `x + hidden`; returns the normed value and the sum."""
        normed, total = f"{name}.normed", f"{name}.sum"
        self.graph.node(
            "SkipSimplifiedLayerNormalization",
            [hidden, x, self._norm(weight)],
            [normed, "", "", total],
            domain=MICROSOFT,
            epsilon=self.config.epsilon,
        )
        return normed, total

    def _norm(self, name: str) -> str:
        return self.graph.constant(name, self.checkpoint.array(name))

    def _ints(self, name: str, *values: list[int]) -> list[str]:
        return [self.graph.constant(f"{name}.{i}", np.array(v, np.int64)) for i, v in enumerate(values)]

    def _linear(self, x: str, names: list[str], name: str, output: str | None = None) -> str:
        """`x @ W.T` with the weights of `names` stacked row-wise."""
        g, outputs = self.graph, [output or f"{name}.out"]
        bits = self.precision.head_bits if name == "head" and self.precision.head_bits else self.precision.bits
        if bits == 32:
            weight = np.concatenate([self.checkpoint.array(n) for n in names])
            return g.node("MatMul", [x, g.constant(f"{name}.weight", weight.T)], outputs)
        weight_blocks = self._blocks(names, bits)
        inputs = [
            x,
            g.constant(f"{name}.codes", weight_blocks.packed_codes()),
            g.constant(f"{name}.scales", weight_blocks.scales),
        ]
        zeros = weight_blocks.packed_zeros()
        if zeros is not None:
            inputs.append(g.constant(f"{name}.zeros", zeros))
        return g.node(
            "MatMulNBits",
            inputs,
            outputs,
            domain=MICROSOFT,
            K=weight_blocks.columns,
            N=weight_blocks.rows,
            bits=bits,
            block_size=weight_blocks.block,
            accuracy_level=_ACCURACY_LEVEL,
        )

    def _blocks(self, names: list[str], bits: int) -> BlockWeight:
        if self.precision.native and bits == self.precision.bits:
            found = [self.checkpoint.blocks(n) for n in names]
            parts = [part for part in found if part is not None]
            if len(parts) == len(names):
                zeros = np.concatenate([part.zeros for part in parts if part.zeros is not None])
                return BlockWeight(
                    np.concatenate([part.codes for part in parts]),
                    np.concatenate([part.scales for part in parts]),
                    zeros,
                    4,
                    parts[0].columns,
                )
        weight = np.concatenate([self.checkpoint.array(n) for n in names])
        return quantize(weight, bits, self.precision.block, self.precision.symmetric or bits == 8)


def export(checkpoint: Path, source: Manifest, target: Path, precision: str, progress: Progress) -> None:
    """The exporter `decoder`: a GGUF file or a Hugging Face folder to `decoder.onnx`, tokenizer and manifest."""
    opened = open_checkpoint(checkpoint)
    progress(f"export {source.model} {precision}", 0, 2)
    config = build_decoder(opened, PRECISIONS[precision], target / "decoder.onnx")
    progress(f"export {source.model} {precision}", 1, 2)
    if isinstance(opened, GgufCheckpoint):
        write_tokenizer(opened, target / "tokenizer.json")
    else:
        if not (checkpoint / "tokenizer.json").is_file():
            raise CorruptModel(f"{checkpoint}: tokenizer.json is missing; pull the model again")
        shutil.copyfile(checkpoint / "tokenizer.json", target / "tokenizer.json")
    properties = asdict(config) | {"chat": "chatml", "family": opened.family}
    reached = parity.decoder_reached(target, opened, config)
    write_manifest(target, source, "decoder", precision, {"decoder": "decoder.onnx"}, properties, reached)
    progress(f"export {source.model} {precision}", 2, 2)
