"""How wide a window a vocoder of latents needs, measured; and whether its windows give the samples of
one whole decode (docs/decisions/0003)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime as ort
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Float
from voxturn.runtime.audio.window import schedule, with_margin
from voxturn.runtime.errors import CorruptModel, ExportFailed, VoxturnError
from voxturn.runtime.executors.loading import sentence
from voxturn.runtime.executors.memory import GraphMemory

Decode = Callable[[Float], Float]
"""Latents `[1, channels, frames]` to samples `[n]`."""
MIN_SNR_DB = 60.0


@contextmanager
def computing(path: Path) -> Iterator[None]:
    """For cutting and running the graph in a file: what its libraries raise becomes `CorruptModel`
    with the file's name. They get as much memory as such a file needs."""
    try:
        with GraphMemory(path).loading():
            yield
    except (VoxturnError, OSError):
        raise
    except Exception as exc:  # those of onnx, protobuf and ONNX Runtime have no common base
        raise CorruptModel(
            f"{path}: its graph cannot be computed ({sentence(exc)}); pull the model again"
        ) from exc


class LatentDecoder:
    """ONNX Runtime's session of a graph `latents` → `audio`; `inputs` are the graph's others."""

    def __init__(self, path: Path, inputs: Mapping[str, Float] | None = None) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4  # it would warn of shapes that a cut left open; errors raise
        self._session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self._inputs = dict(inputs or {})
        latents = next(spec for spec in contract_of(path).inputs if spec.name == "latents")
        self.channels = int(latents.shape[1])

    def __call__(self, latents: Float) -> Float:
        (audio,) = self._session.run(["audio"], {"latents": latents, **self._inputs})
        return np.asarray(audio).reshape(-1)


def check_stream(decoder: LatentDecoder, where: Path) -> tuple[int, int, float]:
    """Samples a frame, the margin in frames, and the SNR in dB of the windowed decode.

    Raises `ExportFailed` for a vocoder that cannot be streamed.
    """
    hop, margin = measure_margin(decoder, decoder.channels)
    snr = windowed_snr(decoder, decoder.channels, hop, margin)
    if not snr >= MIN_SNR_DB:
        raise ExportFailed(
            f"{where}: streamed audio reaches {snr:.1f} dB against the full decode, {MIN_SNR_DB} dB needed"
        )
    return hop, margin, snr


def measure_margin(decode: Decode, channels: int, frames: int = 96) -> tuple[int, int]:
    """Samples a frame, and how many frames on either side of a frame its value can change: by
    changing one frame."""
    random = np.random.default_rng(0)
    base = random.standard_normal((1, channels, frames), np.float32)
    changed = base.copy()
    changed[0, :, frames // 2] += 1.0
    before, after = decode(base), decode(changed)
    hop = before.size // frames
    if not hop:
        raise ExportFailed("the vocoder makes less than a sample a frame; is it a VITS?")
    touched = np.flatnonzero(before != after)
    if not touched.size:
        raise ExportFailed("the vocoder's audio does not depend on its latents; is it a VITS?")
    first, last = touched[0] // hop, touched[-1] // hop
    margin = max(frames // 2 - first, last - frames // 2)
    if first == 0 or last == frames - 1:
        raise ExportFailed(
            "the vocoder's receptive field is wider than the probe; it cannot be streamed"
        )
    return hop, int(margin)


def windowed_snr(decode: Decode, channels: int, hop: int, margin: int, frames: int = 400) -> float:
    """Signal-to-noise ratio in dB of the windowed decode against the full one, on random latents."""
    latents = np.random.default_rng(1).standard_normal((1, channels, frames), np.float32)
    full = decode(latents).astype(np.float64)
    pieces = []
    for begin, end in schedule(frames):
        low, high, before = with_margin(begin, end, frames, margin)
        pieces.append(decode(latents[:, :, low:high])[before * hop : (before + end - begin) * hop])
    error = np.concatenate(pieces) - full
    return float(10 * np.log10((full**2).sum() / max((error**2).sum(), 1e-30)))
