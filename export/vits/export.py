"""Cuts a Piper VITS in two, so that its audio can be streamed: text to latents, and latents to
audio.

    acoustic: input int64 [1, phonemes], input_lengths int64 [1], scales float32 [3],
              duration_noise float32 [1, 2, phonemes], prior_noise float32 [1, 192, N]
              → latents float32 [1, 192, frames]
    decoder:  latents float32 [1, 192, frames] → audio float32 [1, 1, samples], 256 samples a frame

The two random nodes become inputs, so that the same seed gives the same audio; the prior's noise
repeats after N frames. The decoder's receptive field is measured, and the windowed decode compared
with the whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, utils
from voxturn.export.artifact import write_manifest
from voxturn.export.checkpoint import check_content
from voxturn.export.windows import LatentDecoder, check_stream, computing
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.executors.loading import sentence
from voxturn.runtime.files import read_json
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest

_NOISE_FRAMES = 1024
_MOST_BYTES = 1 << 29
"""Of a voice's graph: four times the largest that Piper publishes."""


def export(
    checkpoint: Path,
    source: Manifest,
    target: Path,
    precision: str,
    progress: Progress,
    engine: str = "",
) -> None:
    """The exporter `vits`: a Piper voice to `acoustic.onnx`, `decoder.onnx` and manifest."""
    if engine not in ("", "onnx"):
        raise ExportFailed(f"a Piper voice has no graph for {engine}; leave out --for")
    what = f"export {source.model} {precision}"
    progress(what, 0, 3)
    for name in ("voice.onnx.json", "voice.onnx"):
        check_content(checkpoint / name, _MOST_BYTES)
    try:
        voice = read_json(checkpoint / "voice.onnx.json")
        model = _load(checkpoint / "voice.onnx")
        settings, rate = voice["inference"], int(voice["audio"]["sample_rate"])
        espeak, id_map = voice["espeak"]["voice"], voice["phoneme_id_map"]
        scales = {key: float(settings[key]) for key in ("noise_scale", "length_scale", "noise_w")}
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as exc:
        raise CorruptModel(
            f"{checkpoint}: not a Piper voice ({exc}); pull the model again"
        ) from exc
    with computing(checkpoint / "voice.onnx"):
        cut_voice(model, target)
        progress(what, 1, 3)
        hop, margin, snr = check_stream(LatentDecoder(target / "decoder.onnx"), checkpoint)
    progress(what, 2, 3)
    properties = {
        "sample_rate": rate,
        "hop": hop,
        "margin": margin,
        "noise_frames": _NOISE_FRAMES,
        "espeak_voice": espeak,
        "phoneme_id_map": id_map,
        **scales,
    }
    graphs = {"acoustic_encoder": "acoustic.onnx", "waveform_decoder": "decoder.onnx"}
    write_manifest(
        target,
        source,
        kind="vits",
        task="text-to-speech",
        precision=precision,
        graphs=graphs,
        properties=properties,
        reached={"stream.snr_db": round(snr, 1)},
    )
    progress(what, 3, 3)


def _load(path: Path) -> onnx.ModelProto:
    """The voice's graph.

    Weights that lie beside it, in its folder, are read with it; onnx refuses others.
    """
    try:
        return onnx.load(str(path))
    except (DecodeError, onnx.checker.ValidationError) as exc:
        raise CorruptModel(
            f"{path}: not a whole ONNX file ({sentence(exc)}); pull the model again"
        ) from exc


def cut_voice(model: onnx.ModelProto, target: Path) -> None:
    """Write the two halves of `model` into `target`."""
    _noise_as_inputs(model)
    latents, channels = _decoder_input(model)
    extractor = utils.Extractor(model)
    acoustic = extractor.extract_model([i.name for i in model.graph.input], [latents])
    decoder = extractor.extract_model([latents], [model.graph.output[0].name])
    for half in (acoustic, decoder):
        _rename(half, {latents: "latents", model.graph.output[0].name: "audio"})
    shape = [1, channels, "frames"]
    acoustic.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("latents", TensorProto.FLOAT, shape)
    )
    decoder.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("latents", TensorProto.FLOAT, shape)
    )
    decoder.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, 1, "samples"])
    )
    for value, fixed in zip(acoustic.graph.input, ([1, "phonemes"], [1]), strict=False):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.INT64, fixed))
    onnx.save(acoustic, str(target / "acoustic.onnx"))
    onnx.save(decoder, str(target / "decoder.onnx"))


def _decoder_input(model: onnx.ModelProto) -> tuple[str, int]:
    """The tensor that enters the vocoder's first convolution, and its channels."""
    weights = {w.name: w for w in model.graph.initializer}
    found = [
        n for n in model.graph.node if n.op_type == "Conv" and n.name.startswith("/dec/conv_pre")
    ]
    if len(found) != 1 or found[0].input[1] not in weights:
        raise ExportFailed("the voice's graph has no vocoder at /dec/conv_pre; is it a Piper VITS?")
    return found[0].input[0], weights[found[0].input[1]].dims[1]


def _noise_as_inputs(model: onnx.ModelProto) -> None:
    """Replace the two `RandomNormalLike` nodes by inputs."""
    random = {n.name: n for n in model.graph.node if n.op_type == "RandomNormalLike"}
    if set(random) != {"/dp/RandomNormalLike", "/RandomNormalLike"}:
        raise ExportFailed(
            f"the voice's graph has random nodes {sorted(random)}; two were expected"
        )
    duration, prior = random["/dp/RandomNormalLike"], random["/RandomNormalLike"]
    at = list(model.graph.node).index(prior)
    replacement = _cyclic("prior_noise", prior.input[0], prior.output[0])
    for node in (duration, prior):
        model.graph.node.remove(node)
    for offset, node in enumerate(replacement):
        model.graph.node.insert(at - 1 + offset, node)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == duration.output[0]:
                node.input[i] = "duration_noise"
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("duration_noise", TensorProto.FLOAT, [1, 2, "phonemes"]),
            helper.make_tensor_value_info(
                "prior_noise", TensorProto.FLOAT, [1, 192, "noise_frames"]
            ),
        ]
    )


def _cyclic(noise: str, like: str, out: str) -> list[onnx.NodeProto]:
    """Nodes that give `noise` as many frames as `like` has, from its beginning again after its end."""

    def constant(name: str, values: Sequence[int], scalar: bool = False) -> onnx.NodeProto:
        tensor = helper.make_tensor(
            name, TensorProto.INT64, [] if scalar else [len(values)], values
        )
        return helper.make_node("Constant", [], [name], value=tensor)

    def frames(of: str, name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Shape", [of], [f"{name}.shape"]),
            helper.make_node("Gather", [f"{name}.shape", "noise.axis"], [name], axis=0),
        ]

    return [
        constant("noise.axis", [2], scalar=True),
        constant("noise.zero", [0], scalar=True),
        constant("noise.one", [1], scalar=True),
        *frames(like, "noise.wanted"),
        *frames(noise, "noise.given"),
        helper.make_node("Range", ["noise.zero", "noise.wanted", "noise.one"], ["noise.count"]),
        helper.make_node("Mod", ["noise.count", "noise.given"], ["noise.index"]),
        helper.make_node("Gather", [noise, "noise.index"], [out], axis=2),
    ]


def _rename(model: onnx.ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        for values in (node.input, node.output):
            for i, name in enumerate(values):
                values[i] = names.get(name, name)
