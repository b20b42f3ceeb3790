"""`make gpu` and `doctor --gpu` on a machine with nothing, and the comparison of engines on the
fake GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from voxturn.bench import gpu
from voxturn.bench.harness import Result
from voxturn.runtime import prepare, profile
from voxturn.runtime.cli import main
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.backend import Host
from voxturn.runtime.executors.cuda import report as gpu_report
from voxturn.runtime.executors.cuda import tensorrt_build
from voxturn.runtime.executors.cuda.gpu import Gpu, TensorRtBackend
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.onnx_cuda import PROVIDER
from voxturn.runtime.models.manifest import ONNX_CONTRIB, Manifest
from voxturn.runtime.models.store import quiet

from tests.gpu.conftest import Portable, Tiny
from tests.gpu.fakes import FakeCuda, FakeKernels, FakeTensorRt
from tests.gpu.test_tensorrt import serialized


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "driver_version", lambda: "")
    monkeypatch.setattr(gpu_report, "devices", list)


def test_without_a_gpu_every_step_says_what_it_lacks(nothing: None, tmp_path: Path) -> None:
    outcomes = gpu.run([], tmp_path)
    assert len(outcomes) == 11
    assert {outcome.state for outcome in outcomes} == {"skipped"}
    assert all("driver" in outcome.reason for outcome in outcomes)
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["metrics"] == {}
    page = (tmp_path / "gpu.html").read_text()
    assert "skipped" in page
    assert "nothing was run" in page


def test_the_doctor_names_each_problem_with_its_fix(nothing: None, capsys: Any) -> None:
    assert main(["doctor", "--gpu"]) == 1
    said = capsys.readouterr().out
    assert "driver" in said
    assert "→ install NVIDIA's driver" in said
    assert "executor tensorrt: no: needs driver, device" in said
    assert main(["doctor", "--gpu", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["executors"]["tensorrt"].startswith("driver, device")


def test_with_everything_the_executors_work(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(gpu_report, "driver_version", lambda: "CUDA 13.0")
    monkeypatch.setattr(gpu_report, "devices", lambda: ["L4, 23034 MiB, 8.9"])
    monkeypatch.setattr(gpu_report.metadata, "version", lambda name: "1.0")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDER])
    assert main(["doctor", "--gpu"]) == 0
    assert capsys.readouterr().out.count(": works") == 3
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(gpu_report, "kernels_version", str)
    assert main(["doctor", "--gpu"]) == 0
    said = capsys.readouterr().out
    assert (
        "executor onnx-cuda: no: needs onnxruntime-gpu" in said
    )  # installed, but the other one lies over it
    assert "tokens are chosen on the host" in said


def test_the_doctor_says_what_a_profile_lacks_of_a_gpu(
    nothing: None, portable: Portable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    mine = (Path(profile.__file__).parent / "profiles/gpu.toml").read_text()
    mine = mine.replace(
        'model = "qwen3-1.7b"\nexecutor = "tensorrt"',
        f'model = "{portable.fp16}"\nexecutor = "onnx-cuda"',
    )
    (tmp_path / "mine.toml").write_text(mine)
    assert main(["doctor", "--profile", str(tmp_path / "mine.toml")]) == 1
    said = capsys.readouterr().out.partition("profile " + str(tmp_path))[2]
    assert "reply: executor 'onnx-cuda' needs driver, device" in said
    assert f"models pull --profile {tmp_path / 'mine.toml'}" in said
    assert "reply: " + str(portable.fp16) not in said
    manifest = Manifest.read(portable.fp16)
    graphs = {role: replace(g, dialect=ONNX_CONTRIB) for role, g in manifest.graphs.items()}
    other = replace(manifest, graphs=graphs)
    monkeypatch.setattr(prepare.Store, "at", lambda self, path: (path, other))
    main(["doctor", "--profile", str(tmp_path / "mine.toml")])
    assert f"reply: {portable.fp16} (decoder) was not exported for a GPU" in capsys.readouterr().out


def test_make_gpu_takes_only_what_was_exported_for_one(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["gpu", str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as caught:
        gpu.main()
    assert caught.value.code == 2
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["decode", "--json", "{0}/no/x.json"], "its folder does not exist"),
        (["load", "--artifact", "{0}/no"], "is no folder"),
        (
            [
                "roofline",
                *(w for n in ("whisper", "reply", "voice") for w in (f"--{n}", "{0}")),
                "--built",
                "{0}/no.json",
            ],
            "is no result of `make verify-gpu`",
        ),
    ],
)
def test_what_a_bench_cannot_read_or_write_is_said_before_it_begins(
    tmp_path: Path, capsys: Any, words: list[str], said: str
) -> None:
    try:
        code = main(["bench", *(word.format(tmp_path) for word in words)])
    except SystemExit as exc:
        code = exc.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_engines_are_compared_with_the_cpu(
    tiny: Tiny, portable: Portable, tmp_path: Path, monkeypatch: Any, kernels: CudaKernels
) -> None:
    fake = FakeCuda()
    library = FakeTensorRt(
        fake, on_host=("latent_offset", "frame_offset", "frames", "before", "after")
    )
    monkeypatch.setattr(tensorrt_build, "build", lambda trt, path, *_: serialized(path))
    on_device: Any = FakeKernels(fake, kernels)
    monkeypatch.setattr(
        "voxturn.runtime.executors.cuda.gpu.Gpu",
        lambda root, progress: Gpu(root, progress, library, Cuda(fake), on_device),
    )
    host = Host(tmp_path, quiet)
    backend = TensorRtBackend(host)
    result = Result("gpu")
    gpu.compare(backend, portable.fp32, "tensorrt", result)
    assert result.metrics["gpu.tensorrt.qwen3-0.6b.decoder.first_choices_same"]["value"] == 1.0
    assert result.metrics["gpu.tensorrt.qwen3-0.6b.decoder.chosen_same"]["value"] == 1.0
    with monkeypatch.context() as patch:
        patch.setattr(gpu.DecodeEngine, "generate", lambda *_: iter(range(1, 65)))
        with pytest.raises(ExportFailed, match=r"decoder.onnx: of the tokens that it chose"):
            gpu.compare(backend, portable.fp32, "tensorrt", Result("gpu"))
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "_LEAST_SAME", 1.1)
        with pytest.raises(
            ExportFailed, match=r"100% of its first choices are the CPU's, 110% needed"
        ):
            gpu.compare(backend, portable.fp32, "tensorrt", Result("gpu"))
    vocoder = Manifest.read(tiny.fp32).graphs["windowed_waveform_decoder"]
    monkeypatch.setattr(
        gpu.Manifest,
        "read",
        lambda folder: Manifest(
            "xtts-v2", "xtts", "fp32", {}, {}, {"windowed_waveform_decoder": vocoder}
        ),
    )
    gpu.compare(backend, tiny.fp32, "tensorrt", result)
    assert result.metrics["gpu.tensorrt.xtts-v2.vocoder.snr_db"]["value"] > 100
    backend.close()
    host.close()
    assert fake.alive == 0


def test_without_tensorrt_a_turn_and_load_run_on_onnx_runtime(
    tiny: Tiny, portable: Portable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an artifact that differs does not keep the others from being compared."""
    executors = {"tensorrt": "tensorrt or tensorrt-rtx", "onnx-cuda": "", "ctranslate2-cuda": ""}
    compared: list[Path] = []
    ran: list[str] = []

    def compare(backend: Any, artifact: Path, executor: str, result: Result) -> None:
        compared.append(artifact)
        if artifact == portable.fp16:
            raise ExportFailed("decoder.onnx: differs")

    def command(words: Any, check: bool) -> Any:
        ran.append(" ".join(map(str, words)))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(gpu, "gpu_report", lambda: SimpleNamespace(items=(), executors=executors))
    monkeypatch.setattr(gpu, "compare", compare)
    monkeypatch.setattr(gpu, "measure", lambda *_: None)
    monkeypatch.setattr(gpu, "find_spec", lambda name: name)
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    monkeypatch.setattr(gpu.subprocess, "run", command)
    outcomes = {outcome.step: outcome for outcome in gpu.run([portable.fp16, tiny.fp32], tmp_path)}
    assert compared == [portable.fp16, tiny.fp32]
    parity = outcomes["parity of onnx-cuda with ONNX Runtime on the CPU"]
    assert (parity.state, parity.reason) == (
        "failed",
        "InferenceFailed: fp16: decoder.onnx: differs",
    )
    assert outcomes["speed of tensorrt"].state == "skipped"
    turn, load = (
        next(words for words in ran if f"bench {what}" in words) for what in ("turn", "load")
    )
    assert f"--profile gpu-onnx --reply {portable.fp16} --voice {tiny.fp32}" in turn
    assert f"--executor onnx-cuda --artifact {tiny.fp32}" in load
