"""Builds the ONNX graph of a decoder-only transformer from a configuration and a state dict. No torch.

One graph serves prefill and step. Past and present keys and values are the same fixed-size buffers: the attention
operator writes the new positions in place. Only the last position goes through the head.

    input_ids              int64    [B, S]                    the new tokens
    seqlens_k              int32    [B]                       positions of each sequence after this call, minus one
    total_sequence_length  int32    []                        the most positions of any sequence after this call
    past_key.N, past_value.N        float32 [B, kv_heads, P, head_dim]
    logits                 float32  [B, 1, vocabulary]        of the last new token
    hidden                 float32  [B, 1, width]             what the head saw
    present_key.N, present_value.N  the same buffers
    rows                   float32  [R, width]                only with learned positions: see below

With learned positions an input id is composite: `position * STRIDE + token`, both counted from 0 in the family's two
tables. The last row of the embedding and row 0 of the positions are zero. Tokens beyond the embedding's last row take
rows of the input `rows` instead, whose row 0 must be zero: so embeddings that are no token's enter as ids do.

A family is a row in `export.families`: where its weights are, and what differs in its arithmetic.
Operators: ONNX Runtime's contrib `GroupQueryAttention` and `MatMulNBits`. Source of the architecture:
transformers' `modeling_llama.py`.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from voxturn.export import parity
from voxturn.export.artifact import write_manifest
from voxturn.export.checkpoint import Checkpoint, GgufCheckpoint, open_checkpoint
from voxturn.export.families import FAMILIES, PRECISIONS, STRIDE, DecoderConfig, Family, Precision, bias_of
from voxturn.export.graph import MICROSOFT, GraphBuilder
from voxturn.export.quantize import BlockWeight, quantize
from voxturn.export.tokenizer import write_tokenizer
from voxturn.runtime.contract import Manifest
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.fetch import Progress

Float = npt.NDArray[np.float32]


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
        g.input("input_ids", "int64", ["B", "S"])
        g.input("seqlens_k", "int32", ["B"])
        g.input("total_sequence_length", "int32", [])
        if not f.positions:
            self._rotary_tables()
        hidden = self._embedded()
        normed = self._norm(hidden, f.attention_norm.format(0))
        for layer in range(c.layers):
            normed, hidden = self._layer(layer, normed, hidden)
        last = g.node("Slice", [normed, *self._ints("last", [-1], [2**31 - 1], [1])])
        for name in f.final_norms[1:]:
            last = self._norm(last, name)
        g.node("Identity", [last], ["hidden"])
        self._linear(last, [f.embedding if c.tied else f.head], "head", output="logits")
        g.output("logits", "float32", ["B", 1, c.vocabulary])
        g.output("hidden", "float32", ["B", 1, c.width])
        return g

    def _embedded(self) -> str:
        g, f = self.graph, self.family
        if not f.positions:
            return self._rows(f.embedding, "input_ids")
        null = len(self.checkpoint.array(f.embedding)) - 1
        g.input("rows", "float32", ["R", self.config.width])
        (stride, last, zero) = (
            g.constant(f"ids.{name}", np.array(value, np.int64))
            for name, value in (("stride", STRIDE), ("null", null), ("zero", 0))
        )
        token = g.node("Mod", ["input_ids", stride])
        table = self._rows(f.embedding, g.node("Min", [token, last]))
        row = g.node("Gather", ["rows", g.node("Max", [g.node("Sub", [token, last]), zero])])
        position = self._rows(f.positions, g.node("Div", ["input_ids", stride]))
        return g.node("Add", [g.node("Add", [table, position]), row])

    def _rows(self, name: str, ids: str) -> str:
        table = self.checkpoint.array(name).astype(np.float32 if self.precision.bits == 32 else np.float16)
        return self.graph.node("Cast", [self.graph.node("Gather", [self.graph.constant(name, table), ids])], to=1)

    def _layer(self, i: int, normed: str, hidden: str) -> tuple[str, str]:
        f = self.family
        qkv = self._linear(normed, [name.format(i) for name in f.qkv], f"qkv.{i}")
        attention = self._linear(self._attention(qkv, i), [f.attention_out.format(i)], f"attention_out.{i}")
        normed, hidden = self._add_norm(attention, hidden, f.mlp_norm.format(i), f"attention.{i}")
        out = self._linear(self._mlp(normed, i), [f.down.format(i)], f"down.{i}")
        last = i + 1 == self.config.layers
        following = f.final_norms[0] if last else f.attention_norm.format(i + 1)
        return self._add_norm(out, hidden, following, f"mlp.{i}")

    def _mlp(self, x: str, i: int) -> str:
        g = self.graph
        first, *second = (
            self._linear(x, [name.format(i)], f"mlp{number}.{i}") for number, name in enumerate(self.family.mlp)
        )
        if not second:
            return g.node("FastGelu", [first], domain=MICROSOFT)
        return g.node("Mul", [g.node("QuickGelu", [first], domain=MICROSOFT, alpha=1.0), *second])

    def _attention(self, qkv: str, i: int) -> str:
        g, c = self.graph, self.config
        cache: list[int | str] = ["B", c.kv_heads, "P", c.head_dim]
        for kind in ("key", "value"):
            g.input(f"past_{kind}.{i}", "float32", cache)
            g.output(f"present_{kind}.{i}", "float32", cache)
        rotary = [] if self.family.positions else ["cos", "sin"]
        return g.node(
            "GroupQueryAttention",
            [qkv, "", "", f"past_key.{i}", f"past_value.{i}", "seqlens_k", "total_sequence_length", *rotary],
            [f"attention.{i}", f"present_key.{i}", f"present_value.{i}"],
            domain=MICROSOFT,
            num_heads=c.heads,
            kv_num_heads=c.kv_heads,
            do_rotary=len(rotary) // 2,
        )

    def _rotary_tables(self) -> None:
        c = self.config
        inverse = 1.0 / c.rope_theta ** (np.arange(0, c.head_dim, 2, dtype=np.float64) / c.head_dim)
        angles = np.arange(c.context, dtype=np.float64)[:, None] * inverse[None]
        self.graph.constant("cos", np.cos(angles).astype(np.float32))
        self.graph.constant("sin", np.sin(angles).astype(np.float32))

    def _norm(self, x: str, name: str) -> str:
        op = "SimplifiedLayerNormalization" if self.family.norm == "rms" else "LayerNormalization"
        return self.graph.node(op, [x, *self._norm_weights(name)], epsilon=self.config.epsilon, axis=-1)

    def _add_norm(self, x: str, hidden: str, weight: str, name: str) -> tuple[str, str]:
        """The norm of `x + hidden`; returns the normed value and the sum."""
        normed, total = f"{name}.normed", f"{name}.sum"
        op = "SkipSimplifiedLayerNormalization" if self.family.norm == "rms" else "SkipLayerNormalization"
        self.graph.node(
            op,
            [hidden, x, *self._norm_weights(weight)],
            [normed, "", "", total],
            domain=MICROSOFT,
            epsilon=self.config.epsilon,
        )
        return normed, total

    def _norm_weights(self, name: str) -> list[str]:
        names = [name, bias_of(name)] if self.family.norm == "layer" else [name]
        return [self.graph.constant(n, self.checkpoint.array(n)) for n in names]

    def _ints(self, name: str, *values: list[int]) -> list[str]:
        return [self.graph.constant(f"{name}.{i}", np.array(v, np.int64)) for i, v in enumerate(values)]

    def _linear(self, x: str, names: list[str], name: str, output: str | None = None) -> str:
        """`x @ W.T + b` with the weights (and biases) of `names` stacked row-wise."""
        g, outputs = self.graph, [output or f"{name}.out"]
        bias = []
        if self.family.bias:
            stacked = np.concatenate([self.checkpoint.array(bias_of(n)) for n in names])
            bias = [g.constant(f"{name}.bias", stacked)]
        bits = self.precision.head_bits if name == "head" and self.precision.head_bits else self.precision.bits
        if bits == 32:
            weight = np.concatenate([self.checkpoint.array(n) for n in names])
            product = [x, g.constant(f"{name}.weight", weight.T)]
            return (
                g.node("Add", [g.node("MatMul", product), *bias], outputs)
                if bias
                else g.node("MatMul", product, outputs)
            )
        blocks = self._blocks(names, bits)
        inputs = [x, g.constant(f"{name}.codes", blocks.packed_codes()), g.constant(f"{name}.scales", blocks.scales)]
        zeros = blocks.packed_zeros()
        if zeros is not None or bias:
            inputs.append("" if zeros is None else g.constant(f"{name}.zeros", zeros))
        if bias:
            inputs += ["", *bias]
        return g.node(
            "MatMulNBits",
            inputs,
            outputs,
            domain=MICROSOFT,
            K=blocks.columns,
            N=blocks.rows,
            bits=bits,
            block_size=blocks.block,
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
        block = self.family.blocks.get(bits, self.precision.block)
        return quantize(weight, bits, block, self.precision.symmetric or bits == 8)


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
