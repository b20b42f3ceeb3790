"""TensorRT-RTX builds every tiny graph for a GPU that is not here, and refuses the broken ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from voxturn.export import verify_gpu
from voxturn.export.graph import GraphBuilder
from voxturn.export.xtts import export as xtts
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.executors.cuda.tensorrt_build import (
    PROFILES,
    EngineCache,
    Log,
    Profile,
    build,
    load_library,
    shapes,
)
from voxturn.runtime.models.manifest import Manifest, ModelContract, TensorSpec
from voxturn.runtime.models.store import quiet

from tests.gpu.conftest import Portable, Tiny

GPU = ["SM89"]


@pytest.fixture(scope="module")
def trt() -> Any:
    return load_library(["tensorrt_rtx"])


@pytest.fixture(scope="module")
def voice(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny XTTS for TensorRT, in float16."""
    folder = tmp_path_factory.mktemp("voice") / "fp16"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xtts, "find_spec", lambda name: None)  # its parity is another test's
        xtts.export(
            tiny.checkpoint,
            Manifest("xtts-v2", "checkpoint", "source", {}, {}),
            folder,
            "fp16",
            quiet,
            "tensorrt",
        )
    return folder


def test_graphs_that_must_be_refused_are(trt: Any) -> None:
    assert verify_gpu.accepted(trt, GPU) == []


def test_every_graph_of_a_voice_and_a_reply_is_built(
    trt: Any,
    voice: Path,
    portable: Portable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    built = {f"voice/{k}": v for k, v in verify_gpu.verify(trt, voice, GPU).items()}
    built |= {f"reply/{k}": v for k, v in verify_gpu.verify(trt, portable.fp16, GPU).items()}
    assert set(built) == {
        "voice/gpt.onnx", "voice/conditioning.onnx", "voice/speaker.onnx", "voice/vocoder.onnx", "voice/vocoder_whole.onnx",
        "reply/decoder.onnx",
    }  # fmt: skip
    assert all(
        about["bytes"] > 1000 and sum(about["kernels"].values()) > 10 for about in built.values()
    )
    for about in built.values():  # signals between TensorRT's own streams are no launches
        nothing = sum(
            about["kinds"].get(kind, 0)
            for kind in ("wait", "signal", "shape_call", "ShapeHostToDevice")
        )
        assert sum(about["kernels"].values()) == sum(about["kinds"].values()) - nothing
    assert built["voice/conditioning.onnx"]["kinds"]["wait"]
    assert set(built["reply/decoder.onnx"]["kernels"]) == {"0", "1"}  # prefill and step
    command = [
        "verify_gpu",
        str(portable.fp16),
        "--for",
        ",".join(GPU),
        "--json",
        str(tmp_path / "out.json"),
    ]
    monkeypatch.setattr("sys.argv", command)
    verify_gpu.main()
    assert "fp16/decoder.onnx: " in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    kernels = built["reply/decoder.onnx"]["kernels"]["1"]
    assert written["metrics"]["kernels.fp16/decoder.onnx.1"]["value"] == kernels


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_a_decoder_of_another_precision_is_built_with_fused_attention(
    trt: Any, portable: Portable, precision: str
) -> None:
    assert set(verify_gpu.verify(trt, getattr(portable, precision), GPU)) == {"decoder.onnx"}


def test_weights_that_are_unpacked_before_their_product_are_found(
    trt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bits in blocks, which TensorRT does not fuse: why `decoder_portable` has a scale for
    each output."""
    codes = np.random.default_rng(0).integers(-127, 128, (1024, 1024)).astype(np.int8)

    def check(name: str, scales: np.ndarray, **how: int) -> None:
        g = GraphBuilder(name, tmp_path / f"{name}.onnx", 24)
        x = g.input("x", "float16", ["n", 1024])
        for number in range(2):
            stored = [g.constant(f"codes.{number}", codes), g.constant(f"scales.{number}", scales)]
            weight = g.node("DequantizeLinear", stored, **how)
            x = g.node("MatMul", [x, weight], ["y"] if number else None)
        g.output("y", "float16", ["n", 1024])
        g.save()
        contract = ModelContract(f"{name}.onnx", (TensorSpec("x", "float16", ("n", 1024)),), ())
        log = Log()
        engine = build(
            trt, tmp_path / contract.file, contract, [Profile({"n": (1, 1, 8)})], log, GPU
        )
        verify_gpu.check_weights(name, tmp_path / f"{name}.onnx.data", len(engine), log)

    fused = np.full(1024, 0.01, np.float16)
    check("fused", fused, axis=1)
    with pytest.raises(ExportFailed, match="2 weights are unpacked before their product"):
        check("loose", np.full((8, 1024), 0.01, np.float16), axis=0, block_size=128)
    monkeypatch.setattr(verify_gpu, "_LARGER", 0.5)
    with pytest.raises(ExportFailed, match=r"the engine has \d+ bytes for weights of \d+"):
        check("large", fused, axis=1)


def test_a_decoder_whose_attention_is_not_fused_is_refused(trt: Any, portable: Portable) -> None:
    contract = Manifest.read(portable.fp16).graphs["token_decoder"]
    log = Log()
    build(trt, portable.fp16 / contract.file, contract, PROFILES["token_decoder"], log, GPU)
    verify_gpu.check_decoder("x", contract, log, 2)
    kept = list(log.lines)
    log.lines = [line.replace("_mha", "_gone") for line in kept]
    with pytest.raises(ExportFailed, match="attention is fused in 0 layers of 2, profile 0"):
        verify_gpu.check_decoder("x", contract, log, 2)
    log.lines = [re.sub(r"_mha(?=\S*_myl1_)", "_gone", line) for line in kept]
    with pytest.raises(ExportFailed, match="attention is fused in 0 layers of 2, profile 1"):
        verify_gpu.check_decoder("x", contract, log, 2)
    log.lines = [re.sub(r"(Name: \S*_mha.*?Datatype: )Half", r"\1Float", line) for line in kept]
    with pytest.raises(ExportFailed, match="attention is computed in Float, Half, not in Half"):
        verify_gpu.check_decoder("x", contract, log, 2)
    other = Manifest.read(portable.bf16).graphs["token_decoder"]
    with pytest.raises(ExportFailed, match="attention is computed in Half, not in BFloat16"):
        verify_gpu.check_decoder("x", other, SimpleNamespace(lines=kept), 2)
    log.lines = [line for line in kept if not line.startswith("KVCACHE_UPDATE")]
    with pytest.raises(ExportFailed, match="0 of 4 caches are updated in place"):
        verify_gpu.check_decoder("x", contract, log, 2)


def test_an_engine_is_built_once_and_again_when_what_it_is_made_of_changes(
    portable: Portable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    built = []

    def fake(trt: Any, path: Path, *_: Any) -> bytes:
        built.append(path)
        return b"engine %d" % len(built)

    monkeypatch.setattr("voxturn.runtime.executors.cuda.tensorrt_build.build", fake)
    monkeypatch.setattr(
        "voxturn.runtime.executors.cuda.tensorrt_build.sha256_of",
        lambda path: pytest.fail("read whole"),
    )
    contract = Manifest.read(portable.fp16).graphs["token_decoder"]
    library = SimpleNamespace(__name__="tensorrt", __version__="11.4")
    cache = EngineCache(tmp_path / "engines", "L4 sm89")

    def engine(trt: Any, cache: EngineCache, folder: Path) -> bytes:
        return cache.engine(trt, folder / contract.file, contract, "token_decoder", quiet)

    assert (
        engine(library, cache, portable.fp16)
        == engine(library, cache, portable.fp16)
        == b"engine 1"
    )
    assert (
        engine(library, EngineCache(tmp_path / "engines", "H100 sm90"), portable.fp16)
        == b"engine 2"
    )
    assert (
        engine(SimpleNamespace(__name__="tensorrt", __version__="11.5"), cache, portable.fp16)
        == b"engine 3"
    )
    assert engine(library, cache, portable.fp32) == b"engine 4"  # another graph
    monkeypatch.setitem(PROFILES, "token_decoder", (Profile({"B": (1, 1, 2)}),))
    assert engine(library, cache, portable.fp16) == b"engine 5"
    assert engine(library, cache, portable.fp16) == b"engine 5"
    with pytest.raises(CorruptModel, match="no TensorRT profiles"):
        cache.engine(library, portable.fp16 / contract.file, contract, "teapot", quiet)


def test_a_free_size_without_a_profile_is_named() -> None:
    contract = ModelContract("g.onnx", (TensorSpec("x", "float32", ("n", 4, "m")),), ())
    with pytest.raises(CorruptModel, match=r"g\.onnx: no profile says how large m may be"):
        shapes(contract, Profile({"n": (1, 2, 3)}))
    assert shapes(contract, Profile({"n": (1, 2, 3), "m": (5, 6, 7)})) == {
        "x": ((1, 4, 5), (2, 4, 6), (3, 4, 7))
    }


def test_a_half_precision_graph_gives_the_same_in_steps_as_in_one_pass(portable: Portable) -> None:
    from voxturn.runtime.executors.onnx import OnnxDecoder
    from voxturn.runtime.flow.scheduling import EngineBudget

    contract = Manifest.read(portable.fp16).graphs["token_decoder"]
    ids = list(range(300, 324))
    outputs = []
    for pieces in ([24], [16, *[1] * 8]):
        executor = OnnxDecoder(
            portable.fp16 / contract.file, contract, EngineBudget(1, False, 0), 1, 2048
        )
        at = 0
        for size in pieces:
            made = executor.run(0, np.array([ids[at : at + size]], np.int64), [at])
            at += size
        outputs.append(made.logits[0].copy())
        executor.close()
    np.testing.assert_allclose(outputs[0], outputs[1], atol=2e-3)


def test_nothing_that_a_half_precision_voice_computes_overflows(voice: Path) -> None:
    """Ten times louder latents than any code gives: the vocoder's float16 stays finite; perceiver
    and norms are float32."""
    import onnx

    manifest = Manifest.read(voice)
    for role in ("conditioning_encoder", "speaker_encoder"):
        model = onnx.load(str(voice / manifest.graphs[role].file), load_external_data=False)
        assert not [
            t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16
        ], role
    contract = manifest.graphs["windowed_waveform_decoder"]
    session = ort.InferenceSession(str(voice / contract.file), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    kind = np.dtype(contract.inputs[0].dtype)
    inputs = {
        "latents": (10 * random.standard_normal((1, 12, int(contract.inputs[0].shape[2])))).astype(
            kind
        ),
        "speaker": random.standard_normal((1, 512, 1)).astype(kind),
    } | {n: np.array(0, np.int64) for n in ("latent_offset", "frame_offset", "before", "after")}
    (audio,) = session.run(["audio"], inputs | {"frames": np.array(40, np.int64)})
    assert np.isfinite(audio).all()
