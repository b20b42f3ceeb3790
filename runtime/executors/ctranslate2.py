"""CTranslate2: Whisper. Its encoder takes any number of frames, so a short utterance costs little.
A reply: `ctranslate2_tokens`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.backend import Backend, ClosableTokens, LoadedArtifact
from voxturn.runtime.executors.loading import unloadable
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.manifest import reading, whole
from voxturn.runtime.protocols import Generated, SpeechToTextExecutor

_BEAM = 3  # measured on 120 clips: 1.5 points fewer word errors than 1, a fifth more time; 5 costs twice as much more
_LONGEST_BEAM = 665  # positions, of 12 s: on longer speech a beam leaves out sentences (18 % word errors, greedy 12 %)
_FEW_TOKENS = 108  # so many are asked for of short audio in a long window, too
_COMPUTE_TYPES = {"int8": "int8", "fp32": "float32", "fp16": "float16"}
_AS_STORED = ("", "source")


def load(kind: str, folder: Path, precision: str, budget: EngineBudget, device: str) -> Any:
    """A "Whisper" or a "Generator" of the library's.

    Raises `ExecutorUnavailable` or `CorruptModel`.
    """
    try:
        import ctranslate2
    except ImportError as exc:
        raise ExecutorUnavailable(
            "executor 'ctranslate2' needs ctranslate2; pip install 'voxturn[embedded]'"
        ) from exc
    compute = "default" if precision in _AS_STORED else _COMPUTE_TYPES.get(precision, precision)
    if device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise ExecutorUnavailable(
            "executor 'ctranslate2-cuda' finds no GPU, or no driver for it; see `voxturn doctor --gpu`"
        )
    if compute not in ("default", *ctranslate2.get_supported_compute_types(device)):
        raise ExecutorUnavailable(
            f"CTranslate2 does not compute in {precision} on this machine's {device}; it does in "
            f"{', '.join(sorted(ctranslate2.get_supported_compute_types(device)))}"
        )
    model = ctranslate2.Generator if kind == "Generator" else ctranslate2.models.Whisper
    try:
        return model(
            str(folder),
            device=device,
            compute_type=compute,
            inter_threads=1,
            intra_threads=budget.threads,
        )
    except (RuntimeError, ValueError, LookupError, MemoryError) as exc:
        # of its other files it says that they are no JSON, and not which
        file = folder if "json" in str(exc) else folder / "model.bin"
        raise unloadable(file, "CTranslate2", exc) from exc


class Ct2Whisper:
    """A Whisper folder in CTranslate2's format, on the CPU or with `device="cuda"` on a GPU.

    On a GPU its wheel wants CUDA 12: `gpu_report.CLASHES` says what not to have in the same
    process.
    """

    name = "ctranslate2"
    aligns = True  # by half of its layers where the model names no heads

    def __init__(
        self,
        folder: Path,
        precision: str,
        budget: EngineBudget,
        beam: int = _BEAM,
        device: str = "cpu",
    ) -> None:
        self._model: Any = load("Whisper", folder, precision, budget, device)
        import ctranslate2

        self._storage = ctranslate2.StorageView
        self._beam = beam
        self._cpu = ctranslate2.Device.cpu

    @property
    def multilingual(self) -> bool:
        """Whether it knows more languages than English."""
        return bool(self._model.is_multilingual)

    @property
    def mels(self) -> int:
        """How many mel bands its features have."""
        return int(self._model.n_mels)

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        try:
            return self._model.encode(
                self._storage.from_array(np.ascontiguousarray(features[None]))
            )
        except (RuntimeError, ValueError) as exc:
            raise InferenceFailed(f"whisper encoder: {exc}") from exc

    def extend(self, encoded: Any, other: Any, positions: int) -> Any:
        head, rest = (np.asarray(each.to_device(self._cpu)) for each in (encoded, other))
        whole = np.concatenate([head, rest[:, head.shape[1] : positions]], axis=1)
        return self._storage.from_array(np.ascontiguousarray(whole))

    def generate(self, encoded: Any, prompt: Sequence[int], max_tokens: int) -> Generated:
        short = encoded.shape[1] <= _LONGEST_BEAM or max_tokens <= _FEW_TOKENS
        try:
            (result,) = self._model.generate(
                encoded,
                [list(prompt)],
                beam_size=self._beam if short else 1,
                max_length=max(
                    len(prompt) + max_tokens, 2 * max_tokens
                ),  # it generates at most half of it
                return_scores=True,
                return_no_speech_prob=True,
                suppress_blank=False,
            )
        except (RuntimeError, ValueError) as exc:
            raise InferenceFailed(f"whisper decoder: {exc}") from exc
        ids = tuple(result.sequences_ids[0])
        given = _overlap(prompt, ids)  # the score counts them as certain
        score = float(result.scores[0]) * len(ids) / max(1, len(ids) - given)
        return Generated(ids[given : given + max_tokens], score, float(result.no_speech_prob))

    def detect_language(self, encoded: Any) -> dict[str, float]:
        try:
            (chances,) = self._model.detect_language(encoded)
        except (RuntimeError, ValueError) as exc:
            raise InferenceFailed(f"whisper's language detection: {exc}") from exc
        return {str(token).strip("<|>"): float(probability) for token, probability in chances}

    def align(
        self, encoded: Any, prompt: Sequence[int], ids: Sequence[int], positions: int
    ) -> list[int]:
        try:
            (result,) = self._model.align(encoded, list(prompt), [list(ids)], 2 * positions)
        except (RuntimeError, ValueError) as exc:
            raise InferenceFailed(f"whisper's alignment: {exc}") from exc
        begins: dict[int, int] = {}
        for token, position in result.alignments:
            begins.setdefault(int(token), int(position))
        return [begins.get(token, positions) for token in range(len(ids) + 1)]

    def close(self) -> None:
        self._model.unload_model()


class Ct2Backend(Backend):
    """CTranslate2 on the CPU: Whisper."""

    device = "cpu"

    def arithmetic(self, artifact: LoadedArtifact) -> str:
        return "" if artifact.precision in _AS_STORED else artifact.precision

    def whisper(self, artifact: LoadedArtifact) -> SpeechToTextExecutor:
        return Ct2Whisper(artifact.folder, artifact.precision, artifact.budget, device=self.device)


class Ct2CudaBackend(Ct2Backend):
    """CTranslate2 on a GPU: Whisper, and the tokens of text models."""

    device = "cuda"

    def tokens(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int, lane: Lane
    ) -> ClosableTokens:
        from voxturn.runtime.executors.ctranslate2_tokens import (
            Ct2Tokens,  # it builds on this module
        )

        manifest = artifact.manifest
        with reading(artifact.folder):
            longest = min(capacity, whole(manifest.properties, "context"))
        return Ct2Tokens(
            artifact.folder, artifact.precision, longest, artifact.budget, lane, self.device
        )


def _overlap(prompt: Sequence[int], ids: Sequence[int]) -> int:
    """How many ids come from the prompt: CTranslate2 gives back what follows the prompt's last
    mark."""
    lengths = range(min(len(prompt), len(ids)), -1, -1)
    return next(n for n in lengths if list(prompt[len(prompt) - n :]) == list(ids[:n]))
