"""A decoder-only checkpoint against its artifact, in numbers that the manifest keeps.

The reference is `export.decoder.reference` with the checkpoint's weights in float32 (which the
tests compare with transformers); along greedy answers to fixed prompts: KL divergence of the next
token's distribution, and how often the first choice agrees. CTranslate2's decoders are measured in
the same way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from voxturn.export.artifact import contract_of
from voxturn.export.bfloat16 import computable
from voxturn.export.decoder import reference
from voxturn.export.decoder.checkpoint import Checkpoint
from voxturn.export.decoder.families import DecoderConfig
from voxturn.export.parity import log_softmax, missed
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxDecoder
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.text.tokenizer import read_tokenizer

PROMPTS = (
    "What is the capital of France?",
    "Tell me a short story about a lighthouse.",
    "How do I boil an egg?",
    "Why is the sky blue?",
    "What should I wear when it rains?",
)
_STEPS = 40
MOST = {
    "fp32": {"kl.mean": 1e-4},
    "fp16": {"kl.mean": 1e-2},
    "bf16": {"kl.mean": 0.1},
    "int8": {"kl.mean": 0.1},
    "int4": {"kl.mean": 1.0},
    "q4_1": {"kl.mean": 1.0},
}
"""What a decoder may reach at most, by precision: far above what sound ones reach, far below what
broken ones do."""
Answer = tuple[list[int], npt.NDArray[np.float32]]
"""Greedy tokens, and the logits `[tokens, vocabulary]` that they were chosen from."""


def open_decoder(path: Path, capacity: int = 512) -> OnnxDecoder:
    """A graph of `export.decoder.export` with one slot; one in bfloat16 is computed as
    `export.bfloat16` says."""
    with computable(path) as readable:
        return OnnxDecoder(
            readable, contract_of(readable), Cores().budget("reply", 0, spin=True), 1, capacity
        )


def after(graph: OnnxDecoder, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
    """A copy of the logits `[vocabulary]` after appending `ids` to the one slot."""
    logits: npt.NDArray[np.float32] = (
        graph.run(0, np.array([ids], np.int64), [past]).logits[0].copy()
    )
    return logits


def greedy(graph: OnnxDecoder, prompt: list[int], steps: int) -> Answer:
    """`steps` tokens after `prompt`."""
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


def decoder_reached(
    folder: Path, checkpoint: Checkpoint, config: DecoderConfig, precision: str
) -> dict[str, float]:
    """KL (nats, mean and 99th percentile) and top-1 agreement of an artifact's decoder against
    float32.

    Along its own greedy answers, so that a wrong turn costs only once. Raises `ExportFailed` beyond
    `MOST`.
    """
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    prompts = [
        tokenizer.encode(template.format(text), add_special_tokens=False).ids for text in PROMPTS
    ]
    if (folder / "decoder.onnx").is_file():
        graph = open_decoder(folder / "decoder.onnx", min(512, config.context))
        answers = [greedy(graph, prompt, _STEPS) for prompt in prompts]
        graph.close()
    else:
        answers = _ctranslate2_answers(folder, prompts, precision)
    given = [prompt + tokens[:-1] for prompt, (tokens, _) in zip(prompts, answers, strict=True)]
    divergence, agreement = [], []
    for wanted, (_, logits) in zip(
        reference.logits_of(checkpoint, given, _STEPS), answers, strict=True
    ):
        p, q = log_softmax(wanted), log_softmax(logits)
        divergence.append((np.exp(p) * (p - q)).sum(-1))
        agreement.append(p.argmax(-1) == q.argmax(-1))
    kl = np.concatenate(divergence)
    reached = {
        "kl.mean": float(f"{kl.mean():.3g}"),
        "kl.p99": float(f"{np.percentile(kl, 99):.3g}"),
        "top1_agreement": round(float(np.concatenate(agreement).mean()), 4),
    }
    if beyond := missed(reached, MOST[precision]):
        raise ExportFailed(f"the artifact differs from the checkpoint: {'; '.join(beyond)}")
    return reached


def _ctranslate2_answers(
    folder: Path, prompts: Sequence[list[int]], precision: str
) -> list[Answer]:
    """`_STEPS` tokens after each prompt, and their logits from one pass over both."""
    import ctranslate2

    try:
        generator = ctranslate2.Generator(
            str(folder),
            device="cpu",
            compute_type="int8" if precision == "int8" else "float32",
            intra_threads=Cores().budget("reply", 0).threads,
        )
    except (RuntimeError, ValueError) as exc:
        raise ExportFailed(f"CTranslate2 cannot load what it converted ({exc})") from exc
    names = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    answers = []
    for prompt in prompts:
        (result,) = generator.generate_batch(
            [[names[i] for i in prompt]],
            min_length=_STEPS,
            max_length=_STEPS,
            include_prompt_in_result=False,
        )
        tokens = list(result.sequences_ids[0])
        logits = np.array(generator.forward_batch([prompt + tokens[:-1]]))[0, len(prompt) - 1 :]
        answers.append((tokens, logits))
    return answers
