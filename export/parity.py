"""The original against the artifact, in numbers that the manifest keeps.

For decoder-only graphs the reference is `export.reference` with the checkpoint's weights in float32 (which the tests
compare with transformers); along greedy answers to fixed prompts: KL divergence of the next token's distribution, and
how often the first choice agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from voxturn.export import reference
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Checkpoint
from voxturn.export.families import DecoderConfig
from voxturn.runtime.cores import Cores
from voxturn.runtime.executors.onnx import OnnxDecoder

Float = npt.NDArray[np.float64]
PROMPTS = (
    "What is the capital of France?",
    "Tell me a short story about a lighthouse.",
    "How do I boil an egg?",
    "Why is the sky blue?",
    "What should I wear when it rains?",
)
_STEPS = 40


def log_softmax(logits: npt.NDArray[np.float32]) -> Float:
    """Over the last axis, in double."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def open_decoder(path: Path, capacity: int = 512) -> OnnxDecoder:
    """A graph of `export.decoder` with one slot."""
    return OnnxDecoder(path, contract_of(path), Cores().budget("reply", 0, spin=True), 1, capacity)


def after(graph: OnnxDecoder, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
    """A copy of the logits `[vocabulary]` after appending `ids` to the one slot."""
    logits: npt.NDArray[np.float32] = graph.run(0, np.array([ids], np.int64), [past]).logits[0].copy()
    return logits


def greedy(graph: OnnxDecoder, prompt: list[int], steps: int) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Greedy tokens after `prompt`, and the logits `[steps, vocabulary]` that they were chosen from."""
    logits = [after(graph, prompt, 0)]
    tokens = [int(np.argmax(logits[-1]))]
    while len(tokens) < steps:
        logits.append(after(graph, tokens[-1:], len(prompt) + len(tokens) - 1))
        tokens.append(int(np.argmax(logits[-1])))
    return tokens, np.stack(logits)


def forced(graph: OnnxDecoder, prompt: list[int], tokens: list[int]) -> npt.NDArray[np.float32]:
    """The logits `[len(tokens), vocabulary]` along given tokens."""
    logits = [after(graph, prompt, 0)]
    logits += [after(graph, [token], len(prompt) + i) for i, token in enumerate(tokens[:-1])]
    return np.stack(logits)


def decoder_reached(folder: Path, checkpoint: Checkpoint, config: DecoderConfig) -> dict[str, float]:
    """KL (nats, mean and 99th percentile) and top-1 agreement of `folder/decoder.onnx` against float32.

    Along the graph's own greedy answers, so that a wrong turn costs only once.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    prompts = [tokenizer.encode(template.format(text), add_special_tokens=False).ids for text in PROMPTS]
    graph = open_decoder(folder / "decoder.onnx", min(512, config.context))
    answers = [greedy(graph, prompt, _STEPS) for prompt in prompts]
    graph.close()
    given = [prompt + tokens[:-1] for prompt, (tokens, _) in zip(prompts, answers, strict=True)]
    divergence, agreement = [], []
    for wanted, (_, logits) in zip(reference.logits_of(checkpoint, given, _STEPS), answers, strict=True):
        p, q = log_softmax(wanted), log_softmax(logits)
        divergence.append((np.exp(p) * (p - q)).sum(-1))
        agreement.append(p.argmax(-1) == q.argmax(-1))
    kl = np.concatenate(divergence)
    return {
        "kl.mean": float(f"{kl.mean():.3g}"),
        "kl.p99": float(f"{np.percentile(kl, 99):.3g}"),
        "top1_agreement": round(float(np.concatenate(agreement).mean()), 4),
    }
