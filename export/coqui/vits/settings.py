"""What no tensor of a VITS says, from whichever configuration lies beside it: Coqui's, transformers',
Piper's, the original repository's (fairseq's MMS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxturn.export.checkpoint import read_table
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.speakers import languages_of
from voxturn.export.coqui.text import reading, text_property
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.files import read_text
from voxturn.runtime.text.language import base_code

_DILATIONS = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
_RATES = (8, 8, 2, 2)
_NOISE, _DURATION_NOISE = 0.667, 0.8
_UNREADABLE = "its texts go through uroman, which is not supported yet"


@dataclass(frozen=True)
class VitsSettings:
    """Of one voice. `rate` in Hz; `rates` and `dilations` of the vocoder's layers; `scales` are the
    noise of the prior, length, noise of the durations.

    `stretch`: frames of the vocoder a latent becomes. `flow_dilation`: how much wider each layer of
    the flow's WaveNets reaches than the one before. `tells_speaker`: the duration predictor knows
    who speaks. `languages` in the order of their ids; `text` are the properties that say how texts
    are read. `names`: of speakers, by their row, where the configuration has them.
    """

    rate: int
    rates: Sequence[int]
    dilations: Sequence[Sequence[int]]
    scales: tuple[float, float, float]
    languages: Sequence[str]
    text: Mapping[str, Any]
    stretch: float = 1.0
    flow_dilation: int = 1
    tells_speaker: bool = True
    names: Mapping[str, int] | None = None
    synthetic: bool = False


def settings_of(folder: CoquiFolder, languages: int) -> VitsSettings:
    """The settings of a folder whose model has so many rows of languages.

    Raises `ExportFailed`, and `LookupError`, `TypeError`, `ValueError` or `AttributeError` for a
    damaged configuration.
    """
    config = folder.config
    if "phoneme_id_map" in config:
        return _piper(folder)
    if "model_type" in config:
        return _transformers(folder)
    if isinstance(config.get("data"), Mapping):
        return _original(folder)
    return _coqui(folder, languages)


def _coqui(folder: CoquiFolder, languages: int) -> VitsSettings:
    config = folder.config
    args: Mapping[str, Any] = config.get("model_args") or {}
    rate = int(config["audio"]["sample_rate"])
    encoder_rate = args.get("encoder_sample_rate")
    stretch = rate / encoder_rate if encoder_rate and args.get("interpolate_z", True) else 1.0
    names = languages_of(folder, languages)
    return VitsSettings(
        rate=rate,
        rates=args.get("upsample_rates_decoder") or _RATES,
        dilations=args.get("resblock_dilation_sizes_decoder") or _DILATIONS,
        scales=(
            float(args.get("inference_noise_scale", _NOISE)),
            float(args.get("length_scale", 1.0)),
            float(args.get("inference_noise_scale_dp", 1.0)),
        ),
        languages=names,
        text={"text": reading({"add_blank": True, **config}, names)},  # upstream's default
        stretch=stretch,
        flow_dilation=int(args.get("dilation_rate_flow", 1)),
        tells_speaker=bool(args.get("condition_dp_on_speaker", True)),
        synthetic=bool(config.get("voxturn_synthetic", False)),
    )


def _transformers(folder: CoquiFolder) -> VitsSettings:
    config = folder.config
    tokenizer = read_table(folder.path / "tokenizer_config.json")
    if tokenizer.get("is_uroman"):
        raise ExportFailed(f"{folder.path}: {_UNREADABLE}")
    ids = read_table(folder.path / "vocab.json")
    language = base_code(str(tokenizer.get("language") or "en"))
    symbols = [symbol for symbol, _ in sorted(ids.items(), key=lambda item: int(item[1]))]
    phonemizers = (
        {language: {"name": "espeak", "voice": "en-us"}} if tokenizer.get("phonemize") else {}
    )
    blank = 0 if tokenizer.get("add_blank", True) else None
    return VitsSettings(
        rate=int(config["sampling_rate"]),
        rates=config["upsample_rates"],
        dilations=config["resblock_dilation_sizes"],
        scales=(
            float(config.get("noise_scale", _NOISE)),
            1.0 / float(config.get("speaking_rate", 1.0)),
            float(config.get("noise_scale_duration", _DURATION_NOISE)),
        ),
        languages=[language],
        text={"text": text_property(symbols, "basic_cleaners", phonemizers, blank)},
        flow_dilation=int(config.get("wavenet_dilation_rate", 1)),
    )


def _original(folder: CoquiFolder) -> VitsSettings:
    data, model = folder.config["data"], folder.config["model"]
    if str(data.get("training_files", "")).endswith("uroman"):
        raise ExportFailed(f"{folder.path}: {_UNREADABLE}")
    symbols = _lines(folder.path / "vocab.txt")
    blank = 0 if data.get("add_blank", True) else None
    return VitsSettings(
        rate=int(data["sampling_rate"]),
        rates=model["upsample_rates"],
        dilations=model["resblock_dilation_sizes"],
        scales=(_NOISE, 1.0, _DURATION_NOISE),
        languages=[_folder_language(folder)],
        text={"text": text_property(symbols, "basic_cleaners", {}, blank)},
    )


def _lines(path: Path) -> list[str]:
    """The lines of a file, one symbol each. Raises `CorruptModel`."""
    try:
        lines = read_text(path).split("\n")
    except (OSError, ValueError) as exc:
        raise CorruptModel(f"{path}: cannot be read ({exc}); get the checkpoint again") from exc
    return lines[:-1] if lines[-1] == "" else lines


def _folder_language(folder: CoquiFolder) -> str:
    """The language that MMS's folders are named after: `eng`, or `tts_models--eng--fairseq--vits`."""
    name = folder.path.resolve().name
    parts = name.split("--")
    return base_code(parts[1] if len(parts) > 1 else name)


def _piper(folder: CoquiFolder) -> VitsSettings:
    """Of Piper's trainings the vocoder's numbers are in the checkpoint itself."""
    config, trained = folder.config, folder.checkpoint.get("hyper_parameters")
    if not isinstance(trained, Mapping):
        raise ExportFailed(
            f"{folder.weights_file}: has no hyper_parameters; is it Piper's training?"
        )
    inference, espeak = config["inference"], str(config["espeak"]["voice"])
    return VitsSettings(
        rate=int(config["audio"]["sample_rate"]),
        rates=trained["upsample_rates"],
        dilations=trained["resblock_dilation_sizes"],
        scales=(
            float(inference["noise_scale"]),
            float(inference["length_scale"]),
            float(inference["noise_w"]),
        ),
        languages=[base_code(espeak)],
        text={"espeak_voice": espeak, "phoneme_id_map": config["phoneme_id_map"]},
        names={str(n): int(i) for n, i in (config.get("speaker_id_map") or {}).items()},
    )
