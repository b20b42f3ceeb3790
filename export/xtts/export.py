"""The exporter `xtts`: an XTTS folder, of v2 or v1.1, to graphs, tokenizer, mel constants, studio voices and
manifest.

gpt.onnx           `export.decoder.export`, family "xtts-gpt"; composite input ids, see `export.decoder.graph`
conditioning.onnx, speaker.onnx, vocoder.onnx   `export.xtts.graphs`; float32, the vocoder float16 in an fp16 artifact
vocab.json         the checkpoint's tokenizer
mel.npz            constants of the two mel front ends: filters, windows, norms
voices.npz         studio voices: `NAME/latents` [count, width], `NAME/speaker` [512]
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.artifact import write_manifest
from voxturn.export.checkpoint import Shapes
from voxturn.export.decoder.export import build_decoder
from voxturn.export.decoder.families import STRIDE, engine_for
from voxturn.export.weights import Weights
from voxturn.export.xtts import graphs, parity
from voxturn.export.xtts.checkpoint import (
    CLONE_RATE,
    LONGEST_REFERENCE_S,
    GptWeights,
    XttsArgs,
    XttsCheckpoint,
    flat,
    gpt_shapes,
)
from voxturn.export.xtts.vocoder_margin import measure
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.families.xtts.mel import hann_window, mel_filters
from voxturn.runtime.families.xtts.voices import VoiceShape, checked
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import WHOLE_POSITIONS, Manifest

_LOG = logging.getLogger(__name__)

GRAPHS = {
    "token_decoder": "gpt.onnx",
    "conditioning_encoder": "conditioning.onnx",
    "speaker_encoder": "speaker.onnx",
    "windowed_waveform_decoder": "vocoder.onnx",
    "sequence_waveform_decoder": "vocoder_whole.onnx",
}
_CLONE_BANDS = 80
_CLONE_HIGH = 8000.0
_MIN_SNR_DB = 60.0


def export(
    checkpoint: Path,
    source: Manifest,
    target: Path,
    precision: str,
    progress: Progress,
    engine: str = "",
) -> None:
    """Write the artifact into the empty folder `target`.

    Raises `CorruptModel` or `ExportFailed`.
    """
    engine = engine or engine_for(precision)
    what = f"export {source.model} {precision}"
    progress(what, 0, 6)
    opened = XttsCheckpoint.open(checkpoint)
    weights, args = opened.weights, opened.args
    if engine == "tensorrt" and not args.gpt_use_perceiver_resampler:
        raise ExportFailed(
            f"{checkpoint}: is an XTTS v1.1, whose voices are longer than the engines of TensorRT "
            "are built for; export it for onnx"
        )
    wanted = shapes(args, weights)
    weights.check(wanted)
    voices = _studio_voices(opened)
    progress(what, 1, 6)
    config = build_decoder(
        GptWeights(args, weights), precision, target / GRAPHS["token_decoder"], engine
    )
    progress(what, 2, 6)
    _write_other_graphs(args, weights, target, half=engine == "tensorrt" and precision != "fp32")
    progress(what, 3, 6)
    np.savez(target / "mel.npz", **_mel_constants(args, weights))  # type: ignore[arg-type]
    np.savez(target / "voices.npz", **voices)  # type: ignore[arg-type]
    shutil.copyfile(opened.vocabulary, target / "vocab.json")
    weights.check_taken(wanted)
    progress(what, 4, 6)
    margin, snr = measure(target / GRAPHS["windowed_waveform_decoder"], args)
    if not snr >= _MIN_SNR_DB:
        raise ExportFailed(
            f"{checkpoint}: streamed audio reaches {snr:.1f} dB against the full decode, {_MIN_SNR_DB} needed"
        )
    progress(what, 5, 6)
    properties = _properties(opened, engine, config.context, margin)
    reached = {"stream.snr_db": round(snr, 1)}
    if find_spec("TTS"):
        reached |= parity.reached(opened, target, properties, precision) | {"parity": 1}
    else:
        reached["parity"] = 0
        why = "not compared with coqui-tts, which is not installed; pip install 'voxturn[coqui]'"
        _LOG.warning("%s: %s", source.model, why)
    write_manifest(
        target,
        source,
        kind="xtts",
        task="text-to-speech",
        precision=precision,
        graphs=GRAPHS,
        properties=properties,
        reached=reached,
        engine=engine,
        synthetic=opened.synthetic,
    )
    progress(what, 6, 6)


def _write_other_graphs(args: XttsArgs, weights: Weights, target: Path, half: bool) -> None:
    """Write every graph but the GPT's; with `half` the vocoder's weights are float16."""
    graphs.conditioning(args, weights, target / GRAPHS["conditioning_encoder"])
    graphs.speaker(weights, target / GRAPHS["speaker_encoder"])
    vocoder = target / GRAPHS["windowed_waveform_decoder"]
    graphs.vocoder(args, weights, vocoder, np.float16 if half else np.float32)
    graphs.whole_vocoder(args, vocoder, target / GRAPHS["sequence_waveform_decoder"])


def _properties(opened: XttsCheckpoint, engine: str, context: int, margin: int) -> dict[str, Any]:
    """What the runtime must know of the model beside its graphs."""
    args = opened.args
    return asdict(args) | {
        "engine": engine,
        "id_stride": STRIDE,
        "context": context,
        "margin": margin,
        WHOLE_POSITIONS: True,
        "languages": opened.languages,
        "max_latents": args.max_latents,
        "clone": {"rate": CLONE_RATE, "fft": args.clone_mel.fft, "hop": args.clone_mel.hop}
        | _reference(opened),
        "speaker_encoder": {"rate": 16000, "fft": 512, "hop": 160},
        "sampling": {
            key: opened.config[key]
            for key in ("temperature", "top_k", "top_p", "repetition_penalty")
            if key in opened.config
        },
    }


def shapes(args: XttsArgs, weights: Weights) -> Shapes:
    """Every parameter that the artifact consumes, each exactly once; everything else is
    training-only or an error."""
    front = graphs.conditioning_shapes(args) | graphs.speaker_shapes(args)
    return (
        gpt_shapes(args)
        | front
        | graphs.vocoder_shapes(args, weights)
        | {"mel_stats": (_CLONE_BANDS,)}
    )


def _reference(opened: XttsCheckpoint) -> dict[str, float]:
    """How much of a reference is heeded, in seconds, under the names of coqui-tts's `XttsConfig`,
    with its defaults. v1.1 hears it in one piece."""
    defaults = {"gpt_cond_len": 12, "gpt_cond_chunk_len": 4, "max_ref_len": 10}
    given = {key: opened.config.get(key, default) for key, default in defaults.items()}
    if opened.args.gpt_use_perceiver_resampler:
        return given
    heeded = given["gpt_cond_len"]
    longest = min(heeded, LONGEST_REFERENCE_S) if heeded > 0 else LONGEST_REFERENCE_S
    return given | {"gpt_cond_len": longest, "gpt_cond_chunk_len": longest}


def _mel_constants(args: XttsArgs, weights: Weights) -> dict[str, np.ndarray]:
    emphasis, window, filters = (weights.take(name) for name in graphs.SPEAKER_MEL)
    return {
        "clone_filters": mel_filters(
            CLONE_RATE, args.clone_mel.fft, _CLONE_BANDS, 0.0, _CLONE_HIGH
        ),
        "clone_window": hann_window(args.clone_mel.window),
        "clone_norms": weights.take("mel_stats"),
        "speaker_filters": filters,
        "speaker_window": window,
        "speaker_emphasis": emphasis.reshape(-1),
    }


def _studio_voices(opened: XttsCheckpoint) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    args = opened.args
    shape = VoiceShape(args.gpt_n_model_channels, args.max_latents)
    for name, values in opened.speakers().items():
        try:
            voice = checked(name, shape, *flat(values))
        except ValueError as exc:
            path = opened.folder / "speakers_xtts.pth"
            raise CorruptModel(
                f"{path}: voice {name!r} is not whole ({exc}); get the checkpoint again"
            ) from exc
        out |= {f"{name}/latents": voice.latents, f"{name}/speaker": voice.speaker}
    return out
