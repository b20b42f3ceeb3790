"""`voxturn bench parity`: the reply's graph against transformers, on the very same weights.

The float32 graph must give transformers' greedy tokens; the shipped precision is compared by top-1
agreement and KL along them. Needs torch and transformers (the extra `test`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from voxturn.bench.harness import Result
from voxturn.export.decoder import export as decoder
from voxturn.export.decoder import parity
from voxturn.export.decoder.checkpoint import open_checkpoint
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.imports import keep_torchaudio_in_python
from voxturn.export.parity import log_softmax
from voxturn.runtime.errors import UsageError
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.text.chat import CHAT_FORMATS, Chat, Message
from voxturn.runtime.text.tokenizer import JsonTokenizer

PROMPTS = (
    "What is the capital of France?",
    "How many days are in a week?",
    "What color is the sky?",
    "Tell me a fun fact about cats.",
    "What is two plus two?",
    "Who wrote Romeo and Juliet?",
    "Why do leaves fall in autumn?",
    "What should I cook for dinner tonight?",
    "Explain gravity to a child.",
    "Write a short poem about the sea.",
)
_STEPS = 64


def reference_tokens(checkpoint: GgufCheckpoint, prompts: list[list[int]]) -> list[list[int]]:
    """Greedy tokens of transformers' Llama with the checkpoint's dequantised weights, stop tokens
    ignored."""
    keep_torchaudio_in_python()  # transformers imports it where it is installed
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    c = checkpoint.config
    sizes = {
        k: c[k]
        for k in (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "vocab_size",
            "rms_norm_eps",
        )
    }
    heads = {
        k: c[k] for k in ("num_attention_heads", "num_key_value_heads", "max_position_embeddings")
    }
    rope = {"rope_type": "default", "rope_theta": c["rope_theta"]}
    model = LlamaForCausalLM(
        LlamaConfig(**sizes, **heads, rope_parameters=rope, tie_word_embeddings=True)
    ).eval()
    state = {name: torch.from_numpy(checkpoint.array(name)) for name in checkpoint.names()}
    left = model.load_state_dict(state, strict=False)
    if left.unexpected_keys or set(left.missing_keys) - {"lm_head.weight"}:
        raise ValueError(f"transformers and the checkpoint disagree: {left}")
    tokens = []
    for prompt in prompts:
        with torch.no_grad():
            ids = torch.tensor([prompt])
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=_STEPS,
                do_sample=False,
                eos_token_id=None,
            )
        tokens.append(out[0][len(prompt) :].tolist())
    return tokens


def main(profile_name: str, path: Path | None) -> Result:
    """Compare on ten prompts of 64 tokens."""
    profile = load_profile(profile_name)
    registry, store = Registry.read(), Store()
    model, _ = registry.resolve(profile.reply.model)
    store.artifact(model, profile.reply.precision)
    checkpoint = store.checkpoint_path(model)
    store.at(checkpoint)
    opened = open_checkpoint(checkpoint)
    if not isinstance(opened, GgufCheckpoint):
        raise UsageError(
            f"profile {profile.name}.reply: {model.id!r} is no GGUF file, which this compares; "
            "use --model with --checkpoint"
        )
    parts = LoadedParts(profile)
    try:
        parts.replier()  # what is compared is what loads
        loaded = parts.choice("reply")
        chat = Chat(JsonTokenizer(loaded.folder / "tokenizer.json"), CHAT_FORMATS["chatml"])
        prompts = [
            chat.prompt([Message("system", profile.system_prompt), Message("user", text)])
            for text in PROMPTS
        ]
        wanted = reference_tokens(opened, prompts)
        with tempfile.TemporaryDirectory() as temporary:
            exact = Path(temporary) / "fp32.onnx"
            decoder.build_decoder(opened, "fp32", exact)
            graph = parity.open_decoder(exact)
            answers = [parity.greedy(graph, prompt, _STEPS) for prompt in prompts]
            graph.close()
        shipped = parity.open_decoder(loaded.folder / "decoder.onnx")
        divergence, agreement = [], []
        for prompt, (tokens, logits) in zip(prompts, answers, strict=True):
            p, q = (
                log_softmax(logits),
                log_softmax(parity.forced(shipped, prompt, tokens)),
            )
            divergence.append((np.exp(p) * (p - q)).sum(-1))
            agreement.append(p.argmax(-1) == q.argmax(-1))
        shipped.close()
        result = Result("parity")
        same = sum(
            a == b
            for (tokens, _), reference in zip(answers, wanted, strict=True)
            for a, b in zip(tokens, reference, strict=True)
        )
        result.value("decode.fp32.token_agreement", "ratio", same / (_STEPS * len(prompts)))
        result.value(
            "decode.fp32.prompts_identical",
            "count",
            sum(a == w for (a, _), w in zip(answers, wanted, strict=True)),
        )
        result.value(
            "decode.shipped.top1_agreement", "ratio", float(np.concatenate(agreement).mean())
        )
        result.samples("decode.shipped.kl", "nats", np.concatenate(divergence).tolist())
        result.value("decode.shipped.kl_mean", "nats", float(np.concatenate(divergence).mean()))
        result.artifact("reply", parts.info["reply"])
        result.notes["prompts"] = list(PROMPTS)
        result.notes["steps"] = _STEPS
    finally:
        parts.close()
    if path:
        result.write(path)
    return result
