"""A Whisper artifact against transformers' own model with the checkpoint's weights, in numbers that
the manifest keeps.

Over the whole window and a short one, of seeded noise as features: the largest difference of the
encoder's outputs over their largest value, and the root of their mean square difference over that
of their mean square (`encoder.rms`, which a few rounded outliers do not rule); along given tokens
the same of the logits, the KL divergence (nats) of the next token and how often the first choice
agrees; and how many of the original's greedy tokens, the end never among them, the artifact finds
by itself. The logits of a CTranslate2 artifact along given tokens cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.parity import log_softmax, missed
from voxturn.export.whisper.checkpoint import WhisperCheckpoint
from voxturn.export.whisper.reference import Original
from voxturn.export.whisper.spec import Marks
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.whisper_onnx import OnnxWhisper
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.manifest import Manifest

_STEPS = 24
_WORST: Mapping[str, Callable[[list[float]], Any]] = {
    "greedy_same": np.sum,
    "greedy_steps": np.sum,
    "top1": np.min,
}
"""How a number of several windows becomes one, where it is not the largest."""
MOST = {
    "fp32": {"encoder.error": 1e-4, "logits.error": 1e-4},
    "fp16": {"encoder.rms": 2e-2, "kl": 1e-2},
    "int8": {"encoder.rms": 0.4, "kl": 0.3},
}
"""What an artifact may reach at most, by precision; a float32 one also finds every greedy token."""


class _Ct2:
    """A CTranslate2 artifact that never says the end."""

    def __init__(self, folder: Path, precision: str, marks: Marks) -> None:
        import ctranslate2

        self._storage, self._never = (
            ctranslate2.StorageView,
            [-1, marks.end],
        )  # -1: what its config.json names
        self._model: Any = ctranslate2.models.Whisper(
            str(folder),
            device="cpu",
            compute_type="int8" if precision == "int8" else "float32",
            intra_threads=Cores().budget("transcribe", 0).threads,
        )

    def encode(self, mel: Float) -> Any:
        return self._model.encode(self._storage.from_array(mel[None]))

    def greedy(self, encoded: Any, prompt: list[int], steps: int) -> list[int]:
        (result,) = self._model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=2 * steps,
            suppress_blank=False,
            suppress_tokens=self._never,
        )  # it generates at most half of `max_length`
        return [int(i) for i in result.sequences_ids[0][:steps]]

    def close(self) -> None:
        self._model.unload_model()


def reached(opened: WhisperCheckpoint, folder: Path, manifest: Manifest) -> dict[str, float]:
    """Measure an artifact. Raises `ExportFailed` that names every tolerance that was missed."""
    marks, most = opened.marks, MOST[manifest.precision]
    whisper: OnnxWhisper | _Ct2
    if manifest.graphs:
        endless = replace(
            manifest, properties={**manifest.properties, "suppress": [*marks.suppress, marks.end]}
        )
        whisper = OnnxWhisper(folder, endless, Cores().budget("transcribe", 0))
    else:
        whisper, most = (
            _Ct2(folder, manifest.precision, marks),
            {k: v for k, v in most.items() if k.startswith("encoder")},
        )
    original, random = Original(opened, manifest.precision == "fp32"), np.random.default_rng(0)
    errors: dict[str, list[float]] = {}
    try:
        for positions in (opened.sizes.audio_positions, opened.sizes.audio_positions // 5):
            mel = (random.standard_normal((opened.sizes.mels, 2 * positions)) * 0.4).astype(
                np.float32
            )
            given = [int(i) for i in random.integers(0, marks.end, _STEPS)]
            for name, value in _compared(opened, original, whisper, mel, given).items():
                errors.setdefault(name, []).append(value)
    finally:
        whisper.close()
    worst = {name: float(_WORST.get(name, np.max)(values)) for name, values in errors.items()}
    beyond = missed(worst, most)
    if manifest.precision == "fp32" and worst["greedy_same"] < worst["greedy_steps"]:
        beyond.append(f"greedy_same {worst['greedy_same']:g} (at least {worst['greedy_steps']:g})")
    if beyond:
        raise ExportFailed(f"the artifact differs from transformers' Whisper: {'; '.join(beyond)}")
    return {name: float(f"{value:.3g}") for name, value in worst.items()}


def _compared(
    opened: WhisperCheckpoint,
    original: Original,
    whisper: OnnxWhisper | _Ct2,
    mel: Float,
    given: list[int],
) -> dict[str, float]:
    marks, states, encoded = opened.marks, original.states(mel), whisper.encode(mel)
    prompt = [marks.start, *list(marks.languages.values())[:1], marks.no_timestamps]
    theirs = original.greedy(states, prompt, _STEPS)
    ours = (
        whisper.greedy(encoded, prompt, _STEPS)
        if isinstance(whisper, _Ct2)
        else whisper.generate(encoded, prompt, _STEPS).ids
    )
    shorter = min(len(ours), len(theirs))
    out: dict[str, float] = {
        "greedy_steps": len(theirs),
        "greedy_same": next((i for i in range(shorter) if ours[i] != theirs[i]), shorter),
    }
    if isinstance(whisper, _Ct2):
        return out | _encoder_errors([(np.array(encoded), states.float().numpy())])
    wanted = original.logits(states, [*prompt, *given])[len(prompt) - 1 :]
    logits = [whisper.logits(encoded, prompt, 0, [len(prompt) - 1])[0].copy()]
    logits += [
        whisper.logits(encoded, [token], len(prompt) + i)[0].copy() for i, token in enumerate(given)
    ]
    p, q = log_softmax(wanted), log_softmax(np.stack(logits))
    return {
        **out,
        **_encoder_errors(
            [(encoded.cross[name], value) for name, value in original.cross(states).items()]
        ),
        "logits.error": _error(np.stack(logits), wanted),
        "kl": float((np.exp(p) * (p - q)).sum(-1).mean()),
        "top1": float((p.argmax(-1) == q.argmax(-1)).mean()),
    }


def _encoder_errors(pairs: Sequence[tuple[Float, Float]]) -> dict[str, float]:
    return {
        "encoder.error": float(np.max([_error(got, wanted) for got, wanted in pairs])),
        "encoder.rms": float(np.max([_rms(got - wanted) / _rms(wanted) for got, wanted in pairs])),
    }


def _rms(values: Float) -> float:
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))


def _error(got: Float, wanted: Float) -> float:
    return float(np.abs(got.astype(np.float32) - wanted).max() / np.abs(wanted).max())
