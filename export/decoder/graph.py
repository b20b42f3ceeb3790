"""The architecture of decoder-only transformers, over operators that a subclass chooses.

Common to all graphs:

    input_ids              int64    [B, S]                    the new tokens
    past_key.N, past_value.N        [B, kv_heads, P, head_dim]    P: `capacity`
    rows                   float32  [R, width]                only with learned positions: see below
    logits                 float32  [B, 1, vocabulary]        of the last new token
    hidden                 float32  [B, 1, width]             what the head saw
    present_key.N, present_value.N  the same buffers, with the new positions

One graph serves prefill and step, over keys and values in buffers of a fixed size. Only the last
position goes through the head. With learned positions an input id is composite: `position * STRIDE
+ token`, both counted from 0 in the family's two tables. The last row of the embedding and row 0 of
the positions are zero. Tokens beyond the embedding's last row take rows of the input `rows`
instead, whose row 0 must be zero: so embeddings that are no token's enter as ids do.

Sources: transformers' `modeling_llama.py`, `modeling_qwen3.py`, `modeling_gpt2.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from voxturn.export.checkpoint import Float
from voxturn.export.decoder.checkpoint import Checkpoint
from voxturn.export.decoder.families import (
    STRIDE,
    DecoderConfig,
    Family,
    Precision,
    bias_of,
    inverse_frequencies,
)
from voxturn.export.graph import GraphBuilder


class DecoderGraph(ABC):
    """A graph in the making; `build` writes it to `path`."""

    opset: int
    bits: frozenset[int]
    """The widths of weights that it can have."""
    halves: frozenset[str] = frozenset({"float16"})
    """The types of 16 bits that it can compute in."""
    capacity: int | str = "P"
    """How many positions the buffers hold; a name where they may hold any number."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: Family,
        config: DecoderConfig,
        precision: Precision,
        path: Path,
    ) -> None:
        self.checkpoint = checkpoint
        self.family = family
        self.config = config
        self.precision = precision
        self.graph = GraphBuilder("decoder", path, self.opset)

    def build(self) -> None:
        """Write the graph and its weights."""
        g, c, f = self.graph, self.config, self.family
        g.input("input_ids", "int64", ["B", "S"])
        self.begin()
        hidden = self._embedded()
        normed = self.norm(hidden, f.attention_norm.format(0))
        for layer in range(c.layers):
            normed, hidden = self._layer(layer, normed, hidden)
        last = g.node("Slice", [normed, *(self.ints([value]) for value in (-1, 2**31 - 1, 1))])
        for name in f.final_norms[1:]:
            last = self.norm(last, name)
        self.output("hidden", last, c.width)
        self.output(
            "logits", self.linear(last, [f.embedding if c.tied else f.head], "head"), c.vocabulary
        )
        g.save()

    @abstractmethod
    def begin(self) -> None:
        """Declare the inputs beyond the common ones, and tables."""

    @abstractmethod
    def output(self, name: str, value: str, size: int) -> None:
        """Make a value `[B, 1, size]` an output in float32."""

    @abstractmethod
    def rows(self, name: str, ids: str) -> str:
        """Rows of a table of the checkpoint."""

    @abstractmethod
    def given_rows(self) -> str:
        """The input `rows`, declared, in the graph's type."""

    @abstractmethod
    def norm(self, x: str, name: str) -> str:
        """The family's norm with the weight `name`."""

    @abstractmethod
    def add_norm(self, x: str, hidden: str, name: str) -> tuple[str, str]:
        """The norm of `x + hidden`; returns the normed value and the sum."""

    @abstractmethod
    def gelu(self, x: str) -> str:
        """GELU in its tanh form."""

    @abstractmethod
    def silu(self, x: str) -> str:
        """x · sigmoid(x)."""

    @abstractmethod
    def attention(self, qkv: str, layer: int) -> str:
        """Causal attention over `[B, S, (heads + 2 kv_heads) · head_dim]` and the layer's buffers,
        which it extends."""

    @abstractmethod
    def linear(self, x: str, names: list[str], name: str) -> str:
        """`x @ W.T + b` with the weights (and biases) of `names` stacked row-wise."""

    def _embedded(self) -> str:
        g, f = self.graph, self.family
        if not f.positions:
            return self.rows(f.embedding, "input_ids")
        null = len(self.checkpoint.array(f.embedding)) - 1
        stride, last, zero = (
            g.constant(f"ids.{value}", np.array(value, np.int64)) for value in (STRIDE, null, 0)
        )
        token = g.node("Mod", ["input_ids", stride])
        table = self.rows(f.embedding, g.node("Min", [token, last]))
        row = g.node(
            "Gather", [self.given_rows(), g.node("Max", [g.node("Sub", [token, last]), zero])]
        )
        position = self.rows(f.positions, g.node("Div", ["input_ids", stride]))
        return g.node("Add", [g.node("Add", [table, position]), row])

    def _layer(self, i: int, normed: str, hidden: str) -> tuple[str, str]:
        f = self.family
        qkv = self.linear(normed, [name.format(i) for name in f.qkv], f"qkv.{i}")
        attended = self.linear(
            self.attention(qkv, i), [f.attention_out.format(i)], f"attention_out.{i}"
        )
        normed, hidden = self.add_norm(attended, hidden, f.mlp_norm.format(i))
        out = self.linear(self._mlp(normed, i), [f.down.format(i)], f"down.{i}")
        last = i + 1 == self.config.layers
        return self.add_norm(
            out, hidden, f.final_norms[0] if last else f.attention_norm.format(i + 1)
        )

    def _mlp(self, x: str, i: int) -> str:
        first, *second = (
            self.linear(x, [name.format(i)], f"mlp{number}.{i}")
            for number, name in enumerate(self.family.mlp)
        )
        return self.graph.node("Mul", [self.silu(first), *second]) if second else self.gelu(first)

    def caches(self, layer: int, dtype: str) -> None:
        """Declare the buffers of a layer, in and out."""
        shape: list[int | str] = ["B", self.config.kv_heads, self.capacity, self.config.head_dim]
        for kind in ("key", "value"):
            self.graph.input(f"past_{kind}.{layer}", dtype, shape)
            self.graph.output(f"present_{kind}.{layer}", dtype, shape)

    def rotary_tables(self, dtype: npt.DTypeLike) -> None:
        """The constants `cos` and `sin`, `[context, head_dim / 2]`."""
        angles = (
            np.arange(self.config.context, dtype=np.float64)[:, None]
            * inverse_frequencies(self.config)[None]
        )
        self.graph.constant("cos", np.cos(angles).astype(dtype))
        self.graph.constant("sin", np.sin(angles).astype(dtype))

    def norm_weights(self, name: str) -> list[Float]:
        """The weight of a norm and, if the family has one, its bias."""
        names = [name, bias_of(name)] if self.family.norm == "layer" else [name]
        return [self.checkpoint.array(n) for n in names]

    def stacked(self, names: Sequence[str]) -> Float:
        """Weights `[out, in]` one under the other."""
        return np.concatenate([self.checkpoint.array(n) for n in names])

    def stacked_bias(self, names: Sequence[str], name: str) -> Float | None:
        """The biases of stacked weights, None if the family has none there."""
        f = self.family
        templates = {
            "qkv": f.qkv[0],
            "attention_out": f.attention_out,
            "mlp0": f.mlp[0],
            "down": f.down,
            "head": f.head,
        }
        if templates.get(name.split(".")[0]) not in f.biased:
            return None
        return np.concatenate([self.checkpoint.array(bias_of(n)) for n in names])

    def ints(self, values: list[int]) -> str:
        """A constant int64 vector."""
        return self.graph.constant(f"ints_{self.graph.fresh()}", np.array(values, np.int64))
