"""`make gpu`: everything that needs a GPU, in one go, with one result file and one page; what
cannot run here is named.

Each executor that is here runs every graph, which is compared with ONNX Runtime on the CPU:
decoders by their first choices along the CPU's greedy continuation, other graphs by their signal to
noise; too far apart is a failure. Then it is timed. Then the tests marked for GPUs, by themselves
and under NVIDIA's compute-sanitizer, the latency of a turn, and a voice under load behind Triton,
by TensorRT or, where that is missing, ONNX Runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.gpu_speed import NO_CORES, measure
from voxturn.bench.harness import Result
from voxturn.export.artifact import contract_of
from voxturn.export.bfloat16 import computable
from voxturn.runtime.decode.engine import DecodeEngine, next_piece
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import ExportFailed, InferenceFailed, VoxturnError
from voxturn.runtime.executors.backend import Backend, Host, LoadedArtifact
from voxturn.runtime.executors.catalogue import executor_of, on_gpu
from voxturn.runtime.executors.cuda.report import gpu_report
from voxturn.runtime.executors.onnx import OnnxDecoder, OnnxGraph
from voxturn.runtime.models.manifest import Manifest, ModelContract
from voxturn.runtime.models.store import Store, write_atomic
from voxturn.runtime.profile import SHIPPED, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.protocols import DecoderExecutor

_SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
_DECODERS = ("token_decoder", "whisper_decoder")
_STAGES = {"text-generation": "--reply", "text-to-speech": "--voice"}
"""What `bench turn` calls the stage of an artifact's task."""
_FOR_KERNELS = ("driver", "device", "cuda-bindings")
_PROMPT = 300  # two pieces, and some positions twice
_TOKENS, _LEAST_SAME, _LEAST_SNR_DB = 64, 0.9, 20.0
"""In half precision a token now and then is another one."""


@dataclass(frozen=True)
class Outcome:
    """How a step went: "passed", "failed" or "skipped", and what there is to say of it."""

    step: str
    state: str
    reason: str


def compare(backend: Backend, artifact: Path, executor: str, result: Result) -> None:
    """Every graph of an artifact on the GPU against ONNX Runtime on the CPU.

    Raises `ExportFailed` for all that differ.
    """
    manifest, missed = Manifest.read(artifact), []
    for role, contract in manifest.graphs.items():
        name = f"gpu.{executor}.{manifest.model}.{Path(contract.file).stem}"
        check = _decoder_differs if role in _DECODERS else _graph_differs
        try:
            differs = check(_loaded(artifact, manifest, executor), backend, role, name, result)
        except VoxturnError as exc:  # the others are compared all the same
            differs = str(exc)
        if differs:
            missed.append(f"{contract.file}: {differs}")
    if missed:
        raise ExportFailed("; ".join(missed))


def _loaded(artifact: Path, manifest: Manifest, executor: str) -> LoadedArtifact:
    return LoadedArtifact("reply", executor, artifact, manifest, manifest.precision, NO_CORES)


def _decoder_differs(
    artifact: LoadedArtifact, backend: Backend, role: str, name: str, result: Result
) -> str:
    """What is wrong with a decoder; empty if nothing is."""
    with computable(artifact.path(role)) as readable:
        reference = OnnxDecoder(readable, contract_of(readable), NO_CORES, 2, 2048)
    with contextlib.closing(reference) as theirs:
        wanted = _logits(theirs)
    first = wanted.argmax(-1)
    with contextlib.closing(backend.decoder(artifact, role, 2, 0)) as ours:
        logits = _logits(ours, first)
        chosen = list(DecodeEngine(ours).generate(_prompt(ours), Sampling(), (), _TOKENS))
        agreement = float(np.mean(_logits(ours, chosen).argmax(-1) == chosen))
    same = float(np.mean(logits.argmax(-1) == first))
    result.value(f"{name}.first_choices_same", "ratio", same)
    result.value(f"{name}.chosen_same", "ratio", agreement)
    result.value(f"{name}.snr_db", "dB", _snr(logits, wanted))
    if same < _LEAST_SAME:
        return f"{same:.0%} of its first choices are the CPU's, {_LEAST_SAME:.0%} needed"
    return (
        ""
        if agreement == 1
        else f"of the tokens that it chose {agreement:.0%} are its logits' first choices"
    )


def _graph_differs(
    artifact: LoadedArtifact, backend: Backend, role: str, name: str, result: Result
) -> str:
    """What is wrong with a stateless graph; empty if nothing is."""
    contract = artifact.contract(role)
    inputs = _inputs(contract)
    with contextlib.closing(backend.graph(artifact.beside("vocode"), role)) as graph:
        outputs = graph.run(inputs)
    with contextlib.closing(OnnxGraph(artifact.path(role), contract, NO_CORES)) as reference:
        wanted = reference.run(inputs)
    worst = min(_snr(outputs[spec.name], wanted[spec.name]) for spec in contract.outputs)
    if not np.isfinite(worst):
        return f"{worst} dB against the CPU"
    result.value(f"{name}.snr_db", "dB", worst)
    return (
        ""
        if worst >= _LEAST_SNR_DB
        else f"{worst:.1f} dB against the CPU, {_LEAST_SNR_DB:g} needed"
    )


def _logits(executor: DecoderExecutor, tokens: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
    """Logits `[_TOKENS, vocabulary]` behind a prompt and each of `tokens`, or of its own first
    choices.

    Others' tokens are followed, for where logits lie close together, as those of random weights do,
    one other choice makes all that come after it others, too.
    """
    prompt, done = _prompt(executor), 0
    logits: list[np.ndarray[Any, Any]] = []
    while done < len(prompt):  # in the engine's pieces
        begin, end = next_piece(done, len(prompt), executor.lengths)
        logits = [executor.run(0, np.array([prompt[begin:end]]), [begin]).logits[0].copy()]
        done = end
    while len(logits) < _TOKENS:
        token = logits[-1].argmax() if tokens is None else tokens[len(logits) - 1]
        logits.append(
            executor.run(0, np.array([[token]]), [len(prompt) + len(logits) - 1]).logits[0].copy()
        )
    return np.array(logits)


def _prompt(executor: DecoderExecutor) -> list[int]:
    return [
        int(i)
        for i in np.random.default_rng(0).integers(1, min(executor.vocabulary, 1000), _PROMPT)
    ]


def _inputs(contract: ModelContract) -> dict[str, np.ndarray[Any, Any]]:
    """Noise of a usual size, positive as powers are; of a vocoder, a window without context."""
    random, free = np.random.default_rng(0), {"T": 520, "N": 12, "B": 1, "frames": 500}
    sizes = {"latent_offset": 0, "frame_offset": 0, "frames": 40, "before": 0, "after": 0}
    arrays = {}
    for spec in contract.inputs:
        shape = tuple(free[size] if isinstance(size, str) else size for size in spec.shape)
        if spec.name in sizes:
            arrays[spec.name] = np.full(shape, sizes[spec.name], spec.dtype)
        else:
            arrays[spec.name] = np.abs(random.standard_normal(shape)).astype(spec.dtype)
    return arrays


def _snr(computed: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    noise = float(np.mean((computed.astype(np.float64) - wanted) ** 2))
    return float(10 * np.log10(np.mean(wanted.astype(np.float64) ** 2) / max(noise, 1e-30)))


def run(artifacts: Sequence[Path], folder: Path) -> list[Outcome]:
    """Every step that can run; the rest is skipped with its reason."""
    report = gpu_report()
    result = Result("gpu")
    out: list[Outcome] = []

    def step(name: str, lacks: str, work: Callable[[], str]) -> None:
        if lacks:
            out.append(Outcome(name, "skipped", f"needs {lacks}"))
            return
        try:
            out.append(Outcome(name, "passed", work()))
        except Exception as exc:  # noqa: BLE001  one step's failure is not the others'
            out.append(Outcome(name, "failed", f"{type(exc).__name__}: {exc}"))

    def each(
        work: Callable[[Backend, Path, str, Result], None], executor: str
    ) -> Callable[[], str]:
        def call() -> str:
            failed = []
            with contextlib.closing(Host(Store().root / "engines", Bar())) as host:
                backend = executor_of(executor).load()(host)
                for artifact in artifacts:
                    try:
                        work(backend, artifact, executor, result)
                    except Exception as exc:  # noqa: BLE001  the others run all the same
                        failed.append(f"{artifact.name}: {exc}")
            if failed:
                raise InferenceFailed("; ".join(failed))
            return f"{len(artifacts)} artifacts"

        return call

    def command(*words: str) -> Callable[[], str]:
        def call() -> str:
            command = " ".join(Path(word).name if word.startswith("/") else word for word in words)
            if code := subprocess.run(words, check=False).returncode:
                raise InferenceFailed(f"{command}: exit code {code}")
            return command

        return call

    decoding = [row.name for row in on_gpu() if "speak" in row.stages]
    none = "" if artifacts else "artifacts: name some, exported with --for tensorrt"
    for executor in decoding:
        lacks = report.executors[executor] or none
        step(f"parity of {executor} with ONNX Runtime on the CPU", lacks, each(compare, executor))
        step(f"speed of {executor}", lacks, each(measure, executor))
    device = ", ".join(
        item.name for item in report.items if item.name in _FOR_KERNELS and not item.version
    )
    kernels = (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu/test_real.py")
    step("tests on the GPU", device, command(*kernels))
    sanitizer = "" if shutil.which("compute-sanitizer") else "compute-sanitizer"
    for tool in _SANITIZERS:
        checked = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *kernels)
        step(f"compute-sanitizer over the kernels: {tool}", device or sanitizer, command(*checked))
    voxturn = str(Path(sys.executable).with_name("voxturn"))
    best = next((name for name in decoding if not report.executors[name]), decoding[0])
    tasks = {Manifest.read(artifact).task: str(artifact) for artifact in reversed(artifacts)}
    given = [
        word for task, option in _STAGES.items() if task in tasks for word in (option, tasks[task])
    ]
    turn = (
        voxturn,
        "bench",
        "turn",
        "--profile",
        _profile_with(best),
        *given,
        "--json",
        str(folder / "turn-gpu.json"),
    )
    lacking = (
        report.executors[name]
        for name in (best, load_profile(_profile_with(best)).transcribe.executor)
    )
    everything = ", ".join(
        dict.fromkeys(each for needs in lacking for each in needs.split(", ") if each)
    )
    step("latency of a turn", everything, command(*turn))
    voice = tasks.get("text-to-speech", "")
    load = (voxturn, "bench", "load", "--executor", best, "--artifact", voice)
    server = "" if find_spec("pytriton") else "nvidia-pytriton"
    lacks = report.executors[best] or ("" if voice else "artifacts: an XTTS among them") or server
    step("load behind Triton", lacks, command(*load, "--json", str(folder / "load-gpu.json")))
    result.notes["steps"] = [vars(outcome) for outcome in out]
    result.notes["machine"] = {item.name: item.version for item in report.items}
    result.write(folder / "gpu.json")
    write_atomic(folder / "gpu.html", page(out, result.metrics, result.notes["machine"]).encode())
    return out


def _profile_with(executor: str) -> str:
    """The shipped profile whose voice an executor of a GPU runs."""
    return next(name for name in SHIPPED if load_profile(name).speak.executor == executor)


def page(
    outcomes: Sequence[Outcome],
    metrics: Mapping[str, Mapping[str, Any]],
    machine: Mapping[str, str],
) -> str:
    """The report as a page."""

    def table(rows: Sequence[Sequence[str]]) -> str:
        cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"

    values = [
        (name, f"{m.get('p50', m.get('value'))}", str(m["unit"])) for name, m in metrics.items()
    ]
    style = "body{font:16px sans-serif;margin:2em}td{padding:.2em 1em .2em 0}"
    return (
        f"<!doctype html><meta charset=utf-8><title>voxturn on a GPU</title><style>{style}</style>"
        f"<h1>voxturn on a GPU</h1>{table([(o.step, o.state, o.reason) for o in outcomes])}"
        f"<h2>Machine</h2>{table([(name, version or 'missing') for name, version in machine.items()])}"
        f"<h2>Figures</h2>{table(values) if values else '<p>none: nothing was run</p>'}\n"
    )


def main() -> None:
    """Run, and print a line a step.

    The exit code is 1 if a step failed; what is skipped is no failure.
    """
    parser = argparse.ArgumentParser(description="everything that needs a GPU")
    parser.add_argument("artifacts", nargs="*", type=Path, metavar="ARTIFACT")
    parser.add_argument("--output", type=Path, default=Path("build/gpu"), metavar="DIR")
    args = parser.parse_args()
    for artifact in args.artifacts:
        try:
            dialects = {graph.dialect for graph in Manifest.read(artifact).graphs.values()}
            unread = [row for row in on_gpu() if "speak" in row.stages and dialects - row.dialects]
            if unread or not dialects:
                parser.error(f"{artifact}: {(unread or on_gpu())[0].advice}")
        except VoxturnError as exc:
            parser.error(str(exc))
    args.output.mkdir(parents=True, exist_ok=True)
    outcomes = run(args.artifacts, args.output)
    for outcome in outcomes:
        print(f"{outcome.state:8} {outcome.step}: {outcome.reason}")
    print(
        json.dumps({"page": str(args.output / "gpu.html"), "result": str(args.output / "gpu.json")})
    )
    sys.exit(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    main()
