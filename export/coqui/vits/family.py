"""VITS: a folder to `acoustic.onnx`, `decoder.onnx` and, for a model of several speakers, their rows in
`speakers.npz`."""

from __future__ import annotations

from pathlib import Path

from voxturn.export import checkpoint
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.artifact import GRAPHS, NOISE_FRAMES, Exported
from voxturn.export.coqui.checks import check_runs, check_symbols, streamed
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.speakers import TABLE, speakers_of, write_speakers
from voxturn.export.coqui.vits import graphs
from voxturn.export.coqui.vits.layouts import coqui_names
from voxturn.export.coqui.vits.settings import VitsSettings, settings_of
from voxturn.export.coqui.vits.sizes import (
    DECODER,
    TRAINING_ONLY,
    DurationSizes,
    FlowSizes,
    SplineSizes,
    TextSizes,
    VitsSizes,
)
from voxturn.export.hifigan import HifiganSizes
from voxturn.export.weights import Weights, reading_sizes


def write(folder: CoquiFolder, target: Path) -> Exported:
    """Write the files of a VITS into `target`. Raises `ExportFailed` or `CorruptModel`."""
    weights, settings, sizes = read(folder)
    wanted = wanted_shapes(weights, sizes)
    weights.check(wanted)
    names, rows = speakers_of(folder, weights, sizes.voice, settings.names)
    check_symbols(folder, settings.text, sizes.text.symbols)
    acoustic, decoder = (target / file for file in GRAPHS.values())
    graphs.acoustic(weights, sizes, acoustic)
    graphs.decoder(weights, sizes, decoder)
    weights.check_taken(wanted)
    write_speakers(target, names, rows)
    check_runs(acoustic)
    told = {"speaker": rows[:1, :, None]} if names else {}
    hop, margin, snr = streamed(decoder, told, folder.path)
    noise, length, duration_noise = settings.scales
    stochastic = isinstance(sizes.durations.predictor, SplineSizes)
    properties = {
        "sample_rate": settings.rate,
        "hop": hop,
        "margin": margin,
        "noise_frames": NOISE_FRAMES,
        "channels": sizes.text.channels,
        "noise_scale": noise,
        "length_scale": length,
        "noise_w": duration_noise if stochastic else None,
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
    with reading_sizes(file, "a VITS"):
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
    if TABLE in weights:
        shapes |= {TABLE: (weights.rows(TABLE), sizes.voice)}
    return shapes
