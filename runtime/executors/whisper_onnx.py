"""Whisper on ONNX Runtime: the graphs of `export.whisper.graphs`, in either kind of operators.

Decoding is CTranslate2's: greedy; ids that are never said get no probability and the others share it; the score is the
sum of the log-probabilities, the end token's too, over the number of the others. Source: CTranslate2's `models/whisper.cc`
and `decoding.cc`. Timestamps are not decoded: a prompt ends with `<|notimestamps|>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.decoder_inputs import FusedInputs, PortableInputs
from voxturn.runtime.executors.loading import first_line
from voxturn.runtime.executors.onnx import OnnxGraph, check_names, session_of
from voxturn.runtime.executors.whisper_align import begins, follow
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.manifest import Manifest, reading, whole
from voxturn.runtime.protocols import Generated, Tensor

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the decoder needs of the audio: the keys and values of its cross-attention, by name."""

    cross: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Call:
    """A call bound to memory that stays: tokens and positions are changed in place, `logits` `[1,
    wanted, V]` too."""

    key: tuple[Encoded, int, tuple[int, ...]]
    inputs: FusedInputs | PortableInputs
    positions: npt.NDArray[np.int64]
    logits: Float
    queries: Mapping[str, Tensor]
    binding: Any
    arrays: Mapping[str, Tensor]


class OnnxWhisper:
    """A Whisper artifact of ONNX graphs.

    The buffers of its self-attention hold one sequence and stay for its life.
    """

    name = "onnx"

    def __init__(self, folder: Path, manifest: Manifest, budget: EngineBudget) -> None:
        with reading(folder):
            encoder = manifest.graphs["whisper_encoder"]
            decoder = manifest.graphs["whisper_decoder"]
            self._read(manifest.properties)
        specs = {spec.name: spec for spec in decoder.inputs}
        self._file = decoder.file
        self._encoder = OnnxGraph(folder / encoder.file, encoder, budget)
        self._session: Any = session_of(folder / decoder.file, budget)
        check_names(self._session, decoder, folder / decoder.file)
        self._queries = [spec for spec in decoder.outputs if spec.name.startswith("cross_query.")]
        self._mask = np.dtype(specs["mask"].dtype) if "mask" in specs else None
        with reading(folder):
            self._caches = {
                name: np.zeros((1, int(s.shape[1]), self._capacity, int(s.shape[3])), s.dtype)
                for name, s in specs.items()
                if name.startswith("past_")
            }
        self._bound: _Call | None = None

    def _read(self, p: Mapping[str, Any]) -> None:
        """Sizes and ids from an artifact's properties."""
        self.mels = whole(p, "mels")
        self._vocabulary = whole(p, "vocabulary")
        self._capacity = whole(p, "text_positions")
        self._frames = 2 * whole(p, "audio_positions")
        self._start = whole(p, "start", 0)
        self._end = whole(p, "end", 0)
        self._no_speech = whole(p, "no_speech", 0)
        self._languages = {str(code): int(i) for code, i in p["languages"].items()}
        self.multilingual = bool(p["multilingual"])
        self._no_timestamps = whole(p, "no_timestamps", 0)
        self._suppress = [int(i) for i in p["suppress"]]
        self._heads = [(int(layer), int(head)) for layer, head in p["alignment_heads"]]
        self.aligns = bool(self._heads)

    def encode(self, features: Float) -> Encoded:
        if features.shape[1] > self._frames:
            raise InferenceFailed(
                f"whisper encoder: {features.shape[1]} frames; it takes {self._frames} at most"
            )
        return Encoded(self._encoder.run({"mel": np.ascontiguousarray(features[None])}))

    def extend(self, encoded: Encoded, other: Encoded, positions: int) -> Encoded:
        joined = {
            name: np.concatenate(
                [values, other.cross[name][:, :, values.shape[2] : positions]], axis=2
            )
            for name, values in encoded.cross.items()
        }
        return Encoded(joined)

    def generate(self, encoded: Encoded, prompt: Sequence[int], max_tokens: int) -> Generated:
        if self._start not in prompt:
            raise InferenceFailed("whisper decoder: the prompt has no <|startoftranscript|>")
        wanted = prompt.index(self._start), len(prompt) - 1
        start, logits = self.logits(encoded, prompt, 0, wanted)
        no_speech = float(np.exp(_log_softmax(start)[self._no_speech]))
        ids: list[int] = []
        total = 0.0
        limit = min(max_tokens, self._capacity - len(prompt) + 1)
        while len(ids) < limit:
            if ids:
                (logits,) = self.logits(encoded, ids[-1:], len(prompt) + len(ids) - 1)
            logits[self._suppress] = -np.inf
            token = int(np.argmax(logits))
            total += float(_log_softmax(logits)[token])
            if token == self._end:
                break
            ids.append(token)
        return Generated(tuple(ids), total / max(1, len(ids)), no_speech)

    def detect_language(self, encoded: Encoded) -> dict[str, float]:
        if not self._languages:
            raise InferenceFailed(
                "whisper's language detection: the model names no languages; set the language"
            )
        (logits,) = self.logits(encoded, [self._start], 0)
        chances = np.exp(_log_softmax(logits[list(self._languages.values())]))
        return dict(zip(self._languages, chances.tolist(), strict=True))

    def logits(
        self, encoded: Encoded, ids: Sequence[int], past: int, wanted: Sequence[int] = (0,)
    ) -> Float:
        """Append `ids` after `past` positions; the logits `[wanted, vocabulary]` that follow those
        of them.

        They are the executor's own memory, valid until its next call.
        """
        if past + len(ids) > self._capacity:
            raise InferenceFailed(
                f"{self._file}: {len(ids)} tokens after {past} do not fit buffers of {self._capacity}; shorten the prompt"
            )
        key = encoded, len(ids), tuple(wanted)
        if self._bound is None or self._bound.key != key:
            self._bound = self._bind(key)
        call = self._bound
        call.inputs.set(np.array([ids], np.int64), [past])
        call.positions[0] = np.arange(past, past + len(ids))
        try:
            self._session.run_with_iobinding(call.binding)
        except Exception as exc:
            raise InferenceFailed(f"{self._file}: {first_line(exc)}") from exc
        logits: Float = call.logits[0]
        return logits

    def align(
        self, encoded: Encoded, prompt: Sequence[int], ids: Sequence[int], positions: int
    ) -> list[int]:
        if not self._heads:
            raise InferenceFailed(
                "whisper's alignment: the model names no heads that follow the audio"
            )
        if not positions:
            return [0] * (len(ids) + 1)
        tokens = [*prompt, self._no_timestamps, *ids, self._end]
        self.logits(encoded, tokens, 0)
        assert self._bound is not None
        scores = []
        for layer, head in self._heads:
            keys = encoded.cross[f"cross_key.{layer}"][0, head, :positions].astype(np.float32)
            size = keys.shape[1]
            queries = self._bound.queries[f"cross_query.{layer}"][
                0, :, head * size : (head + 1) * size
            ]
            scores.append(queries.astype(np.float32) @ keys.T / np.float32(np.sqrt(size)))
        return begins(follow(np.stack(scores))[len(prompt) : -1])

    def close(self) -> None:
        self._encoder.close()
        self._caches, self._bound, self._session = {}, None, None

    def _bind(self, key: tuple[Encoded, int, tuple[int, ...]]) -> _Call:
        encoded, length, wanted = key
        inputs = (
            FusedInputs(1, length)
            if self._mask is None
            else PortableInputs(1, length, self._capacity, self._mask)
        )
        positions = np.zeros((1, length), np.int64)
        logits = np.zeros((1, len(wanted), self._vocabulary), np.float32)
        fixed: dict[str, Tensor] = {"positions": positions, "wanted": np.array(wanted, np.int64)}
        arrays = {**inputs.arrays, **fixed, **encoded.cross, **self._caches}
        queries: dict[str, Tensor] = {
            spec.name: np.zeros((1, length, int(spec.shape[2])), spec.dtype)
            for spec in self._queries
        }
        outputs = queries | {
            name.replace("past_", "present_"): cache for name, cache in self._caches.items()
        }
        binding = self._session.io_binding()
        for name, array in arrays.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in (outputs | {"logits": logits}).items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return _Call(key, inputs, positions, logits, queries, binding, arrays)


def _log_softmax(logits: Float) -> Float:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum(dtype=np.float64)), np.float32)
