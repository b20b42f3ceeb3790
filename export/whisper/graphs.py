"""Whisper's two graphs, over operators that a subclass chooses.

    encoder  mel float32 [B, mels, frames] → cross_key.N, cross_value.N [B, heads, ⌈frames / 2⌉, head_dim]
    decoder  input_ids, positions     int64    [B, S]     the new tokens and where they stand
             wanted                   int64    [R]        which of the new tokens go through the head
             past_key.N, past_value.N          [B, heads, P, head_dim]
             cross_key.N, cross_value.N        [B, heads, T, head_dim], the encoder's
             → logits                 float32  [B, R, vocabulary]
             → present_key.N, present_value.N  the same buffers, with the new positions
             → cross_query.N          [B, S, width]   of the layers that have heads which follow the audio

Any number of frames up to twice the encoder's positions is taken: Whisper was trained on 30 s, a
shorter window costs less. The keys and values of the cross-attention depend on the audio alone, so
the encoder computes them, once. One decoder graph serves prefill and step, over keys and values in
buffers of a fixed size.

`FusedWhisper` is for ONNX Runtime, with its contrib operators. Beyond the inputs above its decoder
takes

    seqlens_k              int32    [B]    positions of each sequence after this call, minus one
    total_sequence_length  int32    []     the most positions of any sequence after this call

`PortableWhisper` has standard operators alone, in one type T, float32 or float16, which its buffers
have too:

    write_index            int64    [B]           positions of each sequence before this call
    mask                   T        [B, 1, S, P]  added to the scores: 0 where a new token may look, -30000 elsewhere

and P is the decoder's number of positions.

Source of the architecture: transformers' `modeling_whisper.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.graph import GraphBuilder
from voxturn.export.whisper.checkpoint import WhisperCheckpoint
from voxturn.export.whisper.spec import EMBEDDING

EPSILON = 1e-5


class WhisperGraphs(ABC):
    """Makes the graphs of a checkpoint with weights of `bits` bits."""

    opset: int

    def __init__(self, checkpoint: WhisperCheckpoint, bits: int) -> None:
        self.checkpoint = checkpoint
        self.sizes = checkpoint.sizes
        self.bits = bits
        self.type = "float16" if bits == 16 else "float32"
        self.capacity: int | str = "P"
        self.g: GraphBuilder

    def encoder(self, path: Path) -> None:
        """Write the encoder to `path` and `path.data`."""
        s = self.sizes
        self.g = g = GraphBuilder("encoder", path, self.opset)
        x = self.enter(g.input("mel", "float32", ["B", s.mels, "frames"]))
        for i, stride in ((1, 1), (2, 2)):
            x = self.gelu(self._conv(x, f"model.encoder.conv{i}", stride))
        x = g.node("Transpose", [x], perm=[0, 2, 1])
        length = g.node("Shape", [x], start=1, end=2)
        positions = self.param("model.encoder.embed_positions.weight")
        x = g.node("Add", [x, g.node("Slice", [positions, self.ints([0]), length, self.ints([0])])])
        normed = self.norm(x, "model.encoder.layers.0.self_attn_layer_norm")
        for i in range(s.encoder_layers):
            layer = f"model.encoder.layers.{i}"
            q, k, v = (self.linear(normed, f"{layer}.self_attn.{part}_proj") for part in "qkv")
            y = self.linear(self.attention(q, k, v, s.encoder_heads), f"{layer}.self_attn.out_proj")
            normed, x = self.add_norm(y, x, f"{layer}.final_layer_norm")
            last = i + 1 == s.encoder_layers
            following = "layer_norm" if last else f"layers.{i + 1}.self_attn_layer_norm"
            normed, x = self.add_norm(self._mlp(normed, layer), x, f"model.encoder.{following}")
        for i in range(s.decoder_layers):
            for kind in ("key", "value"):
                y = self.linear(normed, f"model.decoder.layers.{i}.encoder_attn.{kind[0]}_proj")
                self.split_heads(y, s.decoder_heads, f"cross_{kind}.{i}")
                g.output(f"cross_{kind}.{i}", self.type, self._cache("T"))
        g.save()

    def decoder(self, path: Path) -> None:
        """Write the decoder to `path` and `path.data`."""
        s = self.sizes
        self.g = g = GraphBuilder("decoder", path, self.opset)
        for name in ("input_ids", "positions"):
            g.input(name, "int64", ["B", "S"])
        g.input("wanted", "int64", ["R"])
        self.begin_decoder()
        places = g.node("Gather", [self.param("model.decoder.embed_positions.weight"), "positions"])
        x = g.node("Add", [self.tokens("input_ids"), places])
        normed = self.norm(x, "model.decoder.layers.0.self_attn_layer_norm")
        for i in range(s.decoder_layers):
            for kind in ("key", "value"):
                g.input(f"past_{kind}.{i}", self.type, self._cache(self.capacity))
                g.input(f"cross_{kind}.{i}", self.type, self._cache("T"))
                g.output(f"present_{kind}.{i}", self.type, self._cache(self.capacity))
            layer = f"model.decoder.layers.{i}"
            qkv = self.linear(normed, *(f"{layer}.self_attn.{part}_proj" for part in "qkv"))
            y = self.linear(self.self_attention(qkv, i), f"{layer}.self_attn.out_proj")
            normed, x = self.add_norm(y, x, f"{layer}.encoder_attn_layer_norm")
            q = self.linear(normed, f"{layer}.encoder_attn.q_proj")
            if i in {layer for layer, _ in self.checkpoint.marks.alignment_heads}:
                g.node("Identity", [q], [f"cross_query.{i}"])
                g.output(f"cross_query.{i}", self.type, ["B", "S", s.width])
            y = self.cross_attention(q, i)
            normed, x = self.add_norm(
                self.linear(y, f"{layer}.encoder_attn.out_proj"), x, f"{layer}.final_layer_norm"
            )
            last = i + 1 == s.decoder_layers
            following = "layer_norm" if last else f"layers.{i + 1}.self_attn_layer_norm"
            normed, x = self.add_norm(self._mlp(normed, layer), x, f"model.decoder.{following}")
        self.leave(self.head(g.node("Gather", [normed, "wanted"], axis=1)))
        g.output("logits", "float32", ["B", "R", s.vocabulary])
        g.save()

    def linear(self, x: str, *names: str) -> str:
        """`x` times the weights of these names, stacked, plus their biases (the keys' are zero)."""
        weight = np.concatenate([self.checkpoint.array(f"{name}.weight") for name in names])
        biases = [
            np.zeros(self.sizes.width, np.float32)
            if n.endswith("k_proj")
            else self.checkpoint.array(f"{n}.bias")
            for n in names
        ]
        bias = np.concatenate(biases)
        return self.product(x, weight, names[0], bias if bias.any() else None)

    def _mlp(self, x: str, layer: str) -> str:
        return self.linear(self.gelu(self.linear(x, f"{layer}.fc1")), f"{layer}.fc2")

    def _conv(self, x: str, prefix: str, stride: int) -> str:
        inputs = [x, *(self.param(f"{prefix}.{kind}") for kind in ("weight", "bias"))]
        return self.g.node("Conv", inputs, kernel_shape=[3], pads=[1, 1], strides=[stride])

    def _cache(self, positions: int | str) -> list[int | str]:
        heads = self.sizes.decoder_heads
        return ["B", heads, positions, self.sizes.width // heads]

    def norm(self, x: str, prefix: str) -> str:
        """A layer norm."""
        inputs = [x, *(self.param(f"{prefix}.{kind}") for kind in ("weight", "bias"))]
        return self.g.node("LayerNormalization", inputs, axis=-1, epsilon=EPSILON)

    def head(self, x: str) -> str:
        """The logits: `x` times the token embedding, which `tokens` has declared."""
        return self.g.node("MatMul", [x, self.g.node("Transpose", [EMBEDDING], perm=[1, 0])])

    def gelu(self, x: str) -> str:
        """The exact one."""
        return self.g.node("Gelu", [x])

    def param(self, name: str) -> str:
        """A parameter in the graph's type."""
        return self.g.constant(name, self.checkpoint.array(name).astype(self.type))

    def ints(self, values: list[int]) -> str:
        return self.g.constant(f"ints_{self.g.fresh()}", np.array(values, np.int64))

    def split_heads(self, x: str, heads: int, output: str | None = None) -> str:
        """`[B, S, width]` to `[B, heads, S, head_dim]`."""
        y = self.g.node("Reshape", [x, self.ints([0, 0, heads, -1])])
        return self.g.node("Transpose", [y], [output] if output else None, perm=[0, 2, 1, 3])

    @abstractmethod
    def enter(self, mel: str) -> str:
        """The features in the graph's type."""

    @abstractmethod
    def leave(self, logits: str) -> None:
        """Name the output `logits`, float32."""

    @abstractmethod
    def tokens(self, ids: str) -> str:
        """The token embedding's rows of `ids`."""

    @abstractmethod
    def product(self, x: str, weight: Float, name: str, bias: Float | None = None) -> str:
        """`x` `[…, in]` times `weight` `[out, in]`, plus `bias`."""

    @abstractmethod
    def add_norm(self, x: str, hidden: str, prefix: str) -> tuple[str, str]:
        """The layer norm of `x + hidden`, and the sum."""

    @abstractmethod
    def attention(self, q: str, k: str, v: str, heads: int) -> str:
        """Every position looks at every other; `[B, S, width]` in and out."""

    @abstractmethod
    def begin_decoder(self) -> None:
        """Declare the inputs that say how many positions there are."""

    @abstractmethod
    def self_attention(self, qkv: str, layer: int) -> str:
        """The new positions look at themselves and at the buffers, which they are added to."""

    @abstractmethod
    def cross_attention(self, q: str, layer: int) -> str:
        """The new positions look at the audio."""
