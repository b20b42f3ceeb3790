"""A decoder-only transformer in numpy, one layer's weights in memory at a time: what its graphs are
compared with.

The tests compare it with transformers itself. Sources: transformers' `modeling_llama.py`,
`modeling_qwen3.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.decoder.checkpoint import Checkpoint
from voxturn.export.decoder.families import FAMILIES, DecoderConfig, bias_of, inverse_frequencies


def logits_of(checkpoint: Checkpoint, sequences: Sequence[Sequence[int]], last: int) -> list[Float]:
    """For each sequence of token ids, the logits `[last, vocabulary]` after each of its last `last`
    tokens."""
    family = FAMILIES[checkpoint.family]
    config = DecoderConfig.from_checkpoint(checkpoint.config, family.defaults)
    lengths = [len(ids) for ids in sequences]
    ends = np.cumsum(lengths)
    spans = [slice(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)]
    positions = np.concatenate([np.arange(length) for length in lengths])
    angles = positions[:, None] * inverse_frequencies(config)[None]
    cos, sin = (
        np.cos(angles).astype(np.float32)[:, None],
        np.sin(angles).astype(np.float32)[:, None],
    )
    sizes = [config.heads, config.kv_heads, config.kv_heads]

    names = checkpoint.names()
    embedding = family.embedding if family.embedding in names else family.head
    head = family.head if family.head in names else family.embedding

    def linear(x: Float, name: str) -> Float:
        y = x @ checkpoint.array(name).T
        return y + checkpoint.array(bias_of(name)) if bias_of(name) in names else y

    def norm(x: Float, name: str) -> Float:
        scale = 1.0 / np.sqrt((x**2).mean(-1, keepdims=True) + config.epsilon)
        return np.asarray(x * scale * checkpoint.array(name), np.float32)

    def rotated(x: Float) -> Float:
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    x = checkpoint.array(embedding)[np.concatenate([np.asarray(ids) for ids in sequences])]
    for layer in range(config.layers):
        normed = norm(x, family.attention_norm.format(layer))
        heads = [
            linear(normed, name.format(layer)).reshape(len(x), size, config.head_dim)
            for name, size in zip(family.qkv, sizes, strict=True)
        ]
        for i, name in enumerate(family.qk_norm):
            heads[i] = norm(heads[i], name.format(layer))
        q, k, v = rotated(heads[0]), rotated(heads[1]), heads[2]
        mixed = np.concatenate([_attention(q[span], k[span], v[span]) for span in spans])
        x = x + linear(mixed, family.attention_out.format(layer))
        normed = norm(x, family.mlp_norm.format(layer))
        gate, up = (linear(normed, name.format(layer)) for name in family.mlp)
        x = x + linear(gate / (1 + np.exp(-gate)) * up, family.down.format(layer))
    wanted = norm(np.concatenate([x[span][-last:] for span in spans]), family.final_norms[0])
    return np.split(linear(wanted, head), len(sequences))


def _attention(q: Float, k: Float, v: Float) -> Float:
    """Causal attention of one sequence: `[tokens, heads, head_dim]`, keys shared by groups of
    heads."""
    tokens, heads, size = q.shape
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(np.sqrt(size))
    scores = np.where(np.tri(tokens, dtype=bool), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed: Float = np.einsum("hqk,khd->qhd", shares, v).reshape(tokens, -1)
    return mixed
