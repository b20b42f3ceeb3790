"""OpenVoice v1 and v2: a folder to `voice.onnx`, `latents.onnx` and `decoder.onnx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export import checkpoint
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.artifact import Exported
from voxturn.export.coqui.checks import streamed
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.openvoice import graphs
from voxturn.export.coqui.openvoice.sizes import (
    DECODER,
    OpenVoiceSizes,
    PosteriorSizes,
    ToneSizes,
    vits_names,
)
from voxturn.export.coqui.parity import graph_of
from voxturn.export.coqui.vits.sizes import FlowSizes
from voxturn.export.hifigan import HifiganSizes
from voxturn.export.weights import Weights, reading_sizes
from voxturn.export.windows import MIN_SNR_DB, computing, windowed_snr
from voxturn.runtime.errors import ExportFailed

GRAPHS = {
    "voice_encoder": "voice.onnx",
    "voice_converter": "latents.onnx",
    "waveform_decoder": "decoder.onnx",
}
_MODEL = "an OpenVoice"
_TAU = 0.3
"""How much noise upstream draws its latents with."""


@dataclass(frozen=True)
class OpenVoiceSettings:
    """What no tensor says: `rate` in Hz, `fft`, `hop` and `win` of spectra in samples, `rates` and
    `dilations` of the vocoder's layers. `zero`: upstream's `zero_g`."""

    rate: int
    fft: int
    hop: int
    win: int
    rates: Sequence[int]
    dilations: Sequence[Sequence[int]]
    zero: bool
    synthetic: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> OpenVoiceSettings:
        """Raises `LookupError`, `TypeError` or `ValueError` for a damaged configuration."""
        data, model = config["data"], config["model"]
        return cls(
            rate=int(data["sampling_rate"]),
            fft=int(data["filter_length"]),
            hop=int(data["hop_length"]),
            win=int(data["win_length"]),
            rates=model["upsample_rates"],
            dilations=model["resblock_dilation_sizes"],
            zero=bool(model.get("zero_g", True)),  # coqui-tts's default, of v1 as well
            synthetic=bool(config.get("voxturn_synthetic", False)),
        )


def is_openvoice(config: Mapping[str, Any]) -> bool:
    """Whether a configuration of two tables, as a VITS's of the original repository, is one of a
    model that reads no texts."""
    data, model = config.get("data"), config.get("model")
    if not isinstance(data, Mapping) or not isinstance(model, Mapping):
        return False
    return "filter_length" in data and not {"training_files", "text_cleaners"} & data.keys()


def write(folder: CoquiFolder, target: Path) -> Exported:
    """Write the files of an OpenVoice into `target`. Raises `ExportFailed` or `CorruptModel`."""
    weights, settings, sizes = read(folder)
    wanted = sizes.shapes(weights)
    weights.check(wanted)
    voice, latents, decoder = (target / file for file in GRAPHS.values())
    graphs.voice(weights, sizes, voice)
    graphs.latents(weights, sizes, latents, settings.zero)
    graphs.decoder(weights, sizes, decoder, settings.zero)
    weights.check_taken(wanted)
    width = sizes.tone.channels
    told = {} if settings.zero else {"speaker": np.ones((1, width, 1), np.float32)}
    hop, margin, snr = streamed(decoder, told, folder.path)
    converted = converted_snr(latents, sizes, folder.path)
    properties = {
        "sample_rate": settings.rate,
        "fft": settings.fft,
        "hop": hop,
        "win": settings.win,
        "channels": sizes.posterior.channels,
        "margin": margin,
        "reach": sizes.reach,
        "tau": _TAU,
        "tells_speaker": not settings.zero,
    }
    reached = {"stream.snr_db": round(snr, 1), "stream.latents_snr_db": round(converted, 1)}
    return Exported(
        "openvoice", GRAPHS, properties, reached, settings.synthetic, "voice-conversion"
    )


def read(folder: CoquiFolder) -> tuple[Weights, OpenVoiceSettings, OpenVoiceSizes]:
    """The weights of a folder, its settings and the sizes of both. Raises as `write`."""
    file, where = folder.weights_file, folder.path / CONFIG
    with checkpoint.settings_of(where):
        settings = OpenVoiceSettings.of(folder.config)
    weights = Weights(vits_names(folder.tensors()), file.name, _MODEL)
    with reading_sizes(file, _MODEL):
        sizes = OpenVoiceSizes(
            tone=ToneSizes.of(weights),
            posterior=PosteriorSizes.of(weights),
            flow=FlowSizes.of(weights, 1),
            decoder=HifiganSizes.of(weights, DECODER, settings.rates, settings.dilations),
        )
    if sizes.tone.bins != settings.fft // 2 + 1 or sizes.decoder.hop != settings.hop:
        raise ExportFailed(
            f"{where}: says {settings.hop} samples a frame of {settings.fft // 2 + 1} bins, the model has "
            f"{sizes.decoder.hop} of {sizes.tone.bins}; they do not belong together"
        )
    if not settings.hop <= settings.win <= settings.fft:
        raise ExportFailed(
            f"{where}: a window of {settings.win} samples is not between the hop {settings.hop} and "
            f"the FFT {settings.fft}"
        )
    return weights, settings, sizes


def converted_snr(path: Path, sizes: OpenVoiceSizes, where: Path) -> float:
    """The signal-to-noise ratio in dB of latents that were made window by window.

    Raises `ExportFailed` below the least, `CorruptModel`.
    """
    bins, channels, width = sizes.posterior.bins, sizes.posterior.channels, sizes.tone.channels
    source, target = np.random.default_rng(2).standard_normal((2, 1, width, 1), np.float32)
    with computing(path):
        graph = graph_of(path)
        try:

            def convert(both: Float) -> Float:
                """Spectra and noise, one below the other, to latents frame by frame."""
                spectrum, noise = np.split(both, [bins], axis=1)
                inputs = {"spectrum": np.abs(spectrum), "noise": noise}
                told = {"source": source, "target": target}
                return np.asarray(graph.run(inputs | told)["latents"][0].T).reshape(-1)

            snr = windowed_snr(convert, bins + channels, channels, sizes.reach)
        finally:
            graph.close()
    if not snr >= MIN_SNR_DB:
        raise ExportFailed(
            f"{where}: streamed latents reach {snr:.1f} dB against the whole, {MIN_SNR_DB} dB needed"
        )
    return snr
