"""VITS: a folder to `acoustic.onnx`, `decoder.onnx` and, for a model of several speakers, their rows in
`speakers.npz`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export import checkpoint
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Float, Shapes
from voxturn.export.coqui.artifact import Exported
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.speakers import embedded_speakers, in_order, vector_speakers
from voxturn.export.coqui.vits import graphs
from voxturn.export.coqui.vits.layouts import coqui_names
from voxturn.export.coqui.vits.settings import VitsSettings, settings_of
from voxturn.export.coqui.vits.sizes import (
    DECODER,
    TRAINING_ONLY,
    DurationSizes,
    FlowSizes,
    TextSizes,
    VitsSizes,
)
from voxturn.export.hifigan import HifiganSizes
from voxturn.export.weights import Weights
from voxturn.export.windows import LatentDecoder, check_stream, computing
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.flow.scheduling import Cores

GRAPHS = {"acoustic_encoder": "acoustic.onnx", "waveform_decoder": "decoder.onnx"}
SPEAKERS = "speakers.npz"
_NOISE_FRAMES = 1024
_TABLE = "emb_g.weight"


def write(folder: CoquiFolder, target: Path) -> Exported:
    """Write the files of a VITS into `target`. Raises `ExportFailed` or `CorruptModel`."""
    weights, settings, sizes = read(folder)
    wanted = wanted_shapes(weights, sizes)
    weights.check(wanted)
    names, rows = _speakers(folder, weights, settings, sizes)
    _check_symbols(folder, settings, sizes)
    graphs.acoustic(weights, sizes, target / GRAPHS["acoustic_encoder"])
    graphs.decoder(weights, sizes, target / GRAPHS["waveform_decoder"])
    weights.check_taken(wanted)
    told = {}
    if names:
        np.savez(target / SPEAKERS, rows=rows)
        told = {"speaker": rows[:1, :, None]}
    _check_runs(target / GRAPHS["acoustic_encoder"])
    path = target / GRAPHS["waveform_decoder"]
    with computing(path):
        hop, margin, snr = check_stream(LatentDecoder(path, told), folder.path)
    noise, length, duration_noise = settings.scales
    properties = {
        "sample_rate": settings.rate,
        "hop": hop,
        "margin": margin,
        "noise_frames": _NOISE_FRAMES,
        "channels": sizes.text.channels,
        "noise_scale": noise,
        "length_scale": length,
        "noise_w": duration_noise,
        "duration_hop": round(hop * sizes.stretch),
        "languages": list(settings.languages),
        "language_ids": sizes.text.languages > 0,
        "speakers": names,
        **settings.text,
    }
    reached = {"stream.snr_db": round(snr, 1)}
    return Exported("vits", GRAPHS, properties, reached, settings.synthetic)


def read(folder: CoquiFolder) -> tuple[Weights, VitsSettings, VitsSizes]:
    """The weights of a folder by Coqui's names, its settings and the sizes of both."""
    tensors = coqui_names(folder.tensors())
    file = folder.weights_file
    languages = Weights(tensors).rows("emb_l.weight")
    with checkpoint.settings_of(folder.path / CONFIG):
        settings = settings_of(folder, languages)
    if not settings.tells_speaker:  # it is there and is not heeded
        tensors = {n: t for n, t in tensors.items() if not n.startswith("duration_predictor.cond.")}
    weights = Weights(tensors, file.name, "a VITS", TRAINING_ONLY)
    with _a_vits(file):
        sizes = VitsSizes(
            text=TextSizes.of(weights),
            durations=DurationSizes.of(weights, settings.tells_speaker),
            flow=FlowSizes.of(weights, settings.flow_dilation),
            decoder=HifiganSizes.of(weights, DECODER, settings.rates, settings.dilations),
            stretch=settings.stretch,
        )
    return weights, settings, sizes


def wanted_shapes(weights: Weights, sizes: VitsSizes) -> Shapes:
    """Every parameter that the artifact consumes, each exactly once."""
    shapes = sizes.shapes(weights)
    if _TABLE in weights:
        shapes |= {_TABLE: (weights.rows(_TABLE), sizes.voice)}
    return shapes


@contextmanager
def _a_vits(file: Path) -> Iterator[None]:
    """For reading sizes: a tensor that is missing or of another form is no VITS's."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError) as exc:
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())[:200]
        raise ExportFailed(f"{file}: the checkpoint is not a VITS ({reason})") from exc


def _speakers(
    folder: CoquiFolder, weights: Weights, settings: VitsSettings, sizes: VitsSizes
) -> tuple[list[str], Float]:
    """The speakers' names and rows `[speakers, voice]`; none for a model of one voice."""
    if _TABLE in weights:
        rows = weights.take(_TABLE)
        if settings.names is not None:
            return in_order(settings.names, len(rows), "speakers", folder), rows
        return embedded_speakers(folder, len(rows)), rows
    if sizes.voice:
        return vector_speakers(folder, sizes.voice)
    return [], np.empty((0, 0), np.float32)


def _check_symbols(folder: CoquiFolder, settings: VitsSettings, sizes: VitsSizes) -> None:
    """Raise `ExportFailed` for a vocabulary of another model."""
    count, rows = _count(settings.text), sizes.text.symbols
    exact = "text" in settings.text
    if count > rows or (exact and count != rows):
        raise ExportFailed(
            f"{folder.path}: its vocabulary has {count} symbols, the model embeds {rows}; they do not "
            "belong together"
        )


def _check_runs(path: Path) -> None:
    """Raise an error of ours where the acoustic graph cannot be computed, of three symbols."""
    contract, sizes = contract_of(path), {"phonemes": 3, "noise_frames": 8}
    inputs = {
        spec.name: np.zeros([n if isinstance(n, int) else sizes[n] for n in spec.shape], spec.dtype)
        for spec in contract.inputs
    }
    graph = OnnxGraph(path, contract, Cores().budget("speak", 0))
    try:
        outputs = graph.run(inputs | {"scales": np.array([0, 1, 0], np.float32)})
    finally:
        graph.close()
    if not all(np.isfinite(value).all() for value in outputs.values()):
        raise ExportFailed(f"{path.name}: gives NaN or infinite values; are the weights a VITS's?")


def _count(text: Mapping[str, Any]) -> int:
    """How many symbols a vocabulary has, by its largest id."""
    if "text" in text:
        return 1 + max(text["text"]["symbols"].values())
    return 1 + max(int(i) for ids in text["phoneme_id_map"].values() for i in ids)
