"""A Whisper artifact against transformers' own model with the checkpoint's weights, in numbers that the manifest keeps.

Over the whole window and a short one, of seeded noise as features: the largest difference of the encoder's outputs over
their largest value; along given tokens the same of the logits, the KL divergence (nats) of the next token and how often
the first choice agrees; and how many of the original's greedy tokens the artifact finds by itself. The logits of a
CTranslate2 artifact cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from voxturn.export.parity import log_softmax
from voxturn.export.whisper_checkpoint import WhisperCheckpoint
from voxturn.export.whisper_reference import Original
from voxturn.export.whisper_spec import Float
from voxturn.runtime.contract import Manifest
from voxturn.runtime.cores import Cores
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.ctranslate2 import Ct2Whisper
from voxturn.runtime.executors.whisper_onnx import OnnxWhisper

_STEPS = 24
_WORST: dict[str, Callable[[list[float]], float]] = {"greedy_same": sum, "greedy_steps": sum, "top1": min}
"""How a number of several windows becomes one, where it is not the largest."""
MOST = {
    "fp32": {"encoder.error": 1e-4, "logits.error": 1e-4},
    "fp16": {"kl": 1e-2},
    "int8": {"kl": 0.3},
}
"""What an artifact may reach at most, by precision; a float32 one also finds every greedy token."""


def reached(opened: WhisperCheckpoint, folder: Path, manifest: Manifest) -> dict[str, float]:
    """Measure an artifact. Raises `ExportFailed` that names every tolerance that was missed."""
    budget = Cores().budget("transcribe", 0)
    whisper = (
        OnnxWhisper(folder, manifest, budget)
        if manifest.graphs
        else Ct2Whisper(folder, "int8" if manifest.precision == "int8" else "fp32", budget, beam=1)
    )
    original, random = Original(opened), np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    try:
        for positions in (opened.sizes.audio_positions, opened.sizes.audio_positions // 5):
            mel = (random.standard_normal((opened.sizes.mels, 2 * positions)) * 0.4).astype(np.float32)
            given = [int(i) for i in random.integers(0, opened.marks.end, _STEPS)]
            for name, value in _compared(opened, original, whisper, mel, given).items():
                found.setdefault(name, []).append(value)
    finally:
        whisper.close()
    worst = {name: _WORST.get(name, max)(values) for name, values in found.items()}
    missed = [f"{k} {worst[k]:.3g} (at most {v:g})" for k, v in MOST[manifest.precision].items() if worst.get(k, 0) > v]
    if manifest.precision == "fp32" and worst["greedy_same"] < worst["greedy_steps"]:
        missed.append(f"greedy_same {worst['greedy_same']:g} (at least {worst['greedy_steps']:g})")
    if missed:
        raise ExportFailed(f"the artifact differs from transformers' Whisper: {'; '.join(missed)}")
    return {name: float(f"{value:.3g}") for name, value in worst.items()}


def _compared(
    opened: WhisperCheckpoint, original: Original, whisper: OnnxWhisper | Ct2Whisper, mel: Float, given: list[int]
) -> dict[str, float]:
    marks, states, encoded = opened.marks, original.states(mel), whisper.encode(mel)
    prompt = [marks.start, *list(marks.languages.values())[:1], marks.no_timestamps]
    theirs = original.greedy(states, prompt, _STEPS)
    ours = whisper.generate(encoded, prompt, 2 * _STEPS).ids  # CTranslate2 stops at about half of what it is told
    shorter = min(len(ours), len(theirs))
    out: dict[str, float] = {
        "greedy_steps": len(theirs),
        "greedy_same": next((i for i in range(shorter) if ours[i] != theirs[i]), shorter),
    }
    if isinstance(whisper, Ct2Whisper):
        return out | {"encoder.error": _error(np.array(encoded), states.numpy())}
    wanted = original.logits(states, [*prompt, *given])[len(prompt) - 1 :]
    logits = [whisper.logits(encoded, prompt, 0, [len(prompt) - 1])[0].copy()]
    logits += [whisper.logits(encoded, [token], len(prompt) + i)[0].copy() for i, token in enumerate(given)]
    p, q = log_softmax(wanted), log_softmax(np.stack(logits))
    return out | {
        "encoder.error": max(_error(encoded.cross[k], value) for k, value in original.cross(states).items()),
        "logits.error": _error(np.stack(logits), wanted),
        "kl": float((np.exp(p) * (p - q)).sum(-1).mean()),
        "top1": float((p.argmax(-1) == q.argmax(-1)).mean()),
    }


def _error(got: Float, wanted: Float) -> float:
    return float(np.abs(got.astype(np.float32) - wanted).max() / np.abs(wanted).max())
