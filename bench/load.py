"""`voxturn bench load`: XTTS behind Triton against the same artifact in this process, in turn; then
many streams at once.

Both make the same codes (same texts, same seeds). Then NVIDIA's perf_analyzer against the same
server, if it is here, and the model's process killed at random moments under load. Runs in the
server's environment: it starts the server itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.harness import Result
from voxturn.runtime import profile
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed, VoxturnError
from voxturn.runtime.executors.catalogue import executor_of
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.messages import PcmChunk
from voxturn.runtime.models.manifest import MANIFEST, Manifest
from voxturn.runtime.models.store import write_atomic
from voxturn.runtime.profile import best_executor
from voxturn.runtime.remote.access import headers
from voxturn.runtime.remote.contract import INFO, MODELS
from voxturn.runtime.remote.tensors import text_of
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.launcher import EmbeddedTriton, repository
from voxturn.runtime.serving.supervisor import Supervisor, control
from voxturn.runtime.turn.trace import play
from voxturn.runtime.xtts import XTTS

TEXTS = (
    "The train to the coast leaves at nine in the morning from platform four.",
    "Please remember to close the windows before you leave the house tonight.",
    "She said that the meeting would take place on Thursday in the large room.",
    "A short walk along the river is the best way to begin a long day.",
)
_SLOTS, _ARRIVALS_S, _CODES, KILLS, _AWAY_S = 4, 2.0, 64, 20, 60.0
_MODELS = ("whisper", "qwen3", "xtts")
Say = Callable[[int], AsyncGenerator[PcmChunk, None]]


@dataclass
class Heard:
    """One stream: when each chunk came, in seconds since it was asked for."""

    chunks: list[tuple[float, PcmChunk]] = field(default_factory=list)

    @property
    def first_ms(self) -> float:
        return 1000 * self.chunks[0][0]

    @property
    def samples(self) -> int:
        return sum(chunk.samples.size for _, chunk in self.chunks)


async def listen(stream: AsyncGenerator[PcmChunk, None]) -> Heard:
    """A whole stream."""
    begin, heard = time.perf_counter(), Heard()
    async for chunk in stream:
        heard.chunks.append((time.perf_counter() - begin, chunk))
    return heard


async def together(say: Say, count: int) -> float:
    """Seconds that `count` streams at once take."""
    begin = time.perf_counter()
    await asyncio.gather(*(listen(say(number)) for number in range(count)))
    return time.perf_counter() - begin


async def against_in_process(result: Result, served: Say, embedded: Say, runs: int) -> None:
    """First audio, and four streams at once, through the server and in this process, in turn."""
    firsts: dict[str, list[float]] = {"served": [], "embedded": []}
    shares = []
    for number in range(runs + 1):
        sides = [("served", served), ("embedded", embedded)]
        heard = {name: await listen(say(number)) for name, say in sides[:: 1 if number % 2 else -1]}
        if heard["served"].samples != heard["embedded"].samples:
            result.notes["differs"] = f"run {number}: the two made different audio"
        if number:
            for name, each in heard.items():
                firsts[name].append(each.first_ms)
    for number in range(max(2, runs // 4)):
        sides = [("served", served), ("embedded", embedded)]
        took = {
            name: await together(say, _SLOTS) for name, say in sides[:: 1 if number % 2 else -1]
        }
        shares.append(took["embedded"] / took["served"])
    result.samples("triton.first_audio_ms", "ms", firsts["served"])
    result.samples("triton.in_process.first_audio_ms", "ms", firsts["embedded"])
    overhead = [a - b for a, b in zip(firsts["served"], firsts["embedded"], strict=True)]
    result.samples("triton.first_audio_overhead_ms", "ms", overhead)
    result.samples("triton.throughput4_share", "ratio", shares)


async def under_load(result: Result, say: Say, streams: list[int], rounds: int) -> None:
    """So many streams, arriving at random within two seconds whatever the server does."""
    random, number = np.random.default_rng(0), itertools.count()
    for count in streams:
        heard: list[Heard] = []
        failed = 0

        async def one(delay: float) -> None:
            nonlocal failed
            await asyncio.sleep(delay)
            try:
                heard.append(await listen(say(next(number))))  # noqa: B023  awaited within the round
            except VoxturnError:
                failed += 1

        for _ in range(rounds):
            await asyncio.gather(*(one(float(d)) for d in random.uniform(0, _ARRIVALS_S, count)))
        result.samples(
            f"triton.load.{count}.first_audio_ms", "ms", [each.first_ms for each in heard]
        )
        starved = sum(play(each.chunks).underruns > 0 for each in heard)
        result.value(f"triton.load.{count}.underrun_rate", "ratio", starved / max(1, len(heard)))
        result.value(f"triton.load.{count}.errors", "count", failed)


async def killed(result: Result, client: VoiceClient, triton: EmbeddedTriton, kills: int) -> None:
    """The model's process killed under two streams: how long each client waits for its error, and
    the model is away."""
    random, waits, away, hung = np.random.default_rng(1), [], [], 0
    for number in range(kills):
        streams = [asyncio.create_task(until_error(client, number)) for _ in range(2)]
        await asyncio.sleep(float(random.uniform(0.1, 1.5)))
        begin = time.perf_counter()
        process = triton.process_of("xtts")
        assert process is not None
        os.kill(process, signal.SIGKILL)
        for stream in streams:
            try:
                async with asyncio.timeout(30):
                    await stream
            except VoxturnError:
                waits.append(1000 * (time.perf_counter() - begin))
            except TimeoutError:
                hung += 1
        async with asyncio.timeout(_AWAY_S):
            while not await answered(client):  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0.05)
        away.append(1000 * (time.perf_counter() - begin))
    result.samples("triton.kill.error_ms", "ms", waits)
    result.samples("triton.kill.answers_again_ms", "ms", away)
    result.value("triton.kill.hung", "count", hung)


async def answered(client: VoiceClient) -> bool:
    """Whether a short text begins to be spoken."""
    try:
        async with contextlib.aclosing(client.say("Hello there.", language="en")) as stream:
            await anext(stream)
    except VoxturnError:
        return False
    return True


async def until_error(client: VoiceClient, number: int) -> None:
    """Streams one after the other, until one fails."""
    while True:
        await listen(client.say(TEXTS[number % len(TEXTS)], language="en", seed=number))


async def cancelled(result: Result, client: VoiceClient, server: TritonServer, rounds: int) -> None:
    """From a client's closing a stream that speaks until its slot is free in the server."""
    times = []
    for number in range(rounds):
        stream = client.say(TEXTS[number % len(TEXTS)], language="en", seed=number)
        await anext(stream)
        begin = time.perf_counter()
        await stream.aclose()
        while (await described(server, "xtts"))["slots_held"]:  # noqa: ASYNC110  it is asked
            await asyncio.sleep(0.002)
        times.append(1000 * (time.perf_counter() - begin))
    result.samples("triton.cancel_frees_slot_ms", "ms", times)


async def described(server: TritonServer, model: str) -> dict[str, Any]:
    """What a model says of itself."""
    asked = {INFO: np.array([True])}
    if not MODELS[model].streams:
        answer = await server.infer(model, asked)
    else:
        (answer,) = [tensors async for tensors in server.stream(model, asked)]
    description: dict[str, Any] = json.loads(text_of(answer["answer"]))
    return description


def analysed(result: Result, address: str, secret: str, streams: list[int], folder: Path) -> None:
    """perf_analyzer's own first responses: of decoupled models it prints none, but exports every
    response's time.

    It asks for the server's statistics, which only those get who know its secret.
    """
    program = shutil.which("perf_analyzer", path=f"{sys.exec_prefix}/bin")
    if program is None:
        raise ExecutorUnavailable(
            "perf_analyzer is not here; pip install 'voxturn[triton-embedded]' brings it"
        )
    data = folder / "inputs.json"
    rows = [{"text": [text], "language": ["en"]} for text in TEXTS]
    data.write_text(json.dumps({"data": rows}), encoding="utf-8")
    environment = dict(os.environ) | {"LD_LIBRARY_PATH": str(_libraries(folder))}
    for count in streams:
        export = folder / f"profile-{count}.json"  # it wants one that is not there
        command = [program, "-m", "xtts", "-u", address, "-i", "grpc", "--streaming", "--async"]
        command += [
            "--input-data",
            str(data),
            "--concurrency-range",
            str(count),
            "--profile-export-file",
            str(export),
        ]
        command += [word for header in headers(secret).items() for word in ("-H", ":".join(header))]
        command += [
            "--request-count",
            str(max(8, 2 * count)),
            "--shape",
            "text:1",
            "--shape",
            "language:1",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=600
        )
        if done.returncode or not export.exists():
            raise InferenceFailed(
                f"perf_analyzer: {' '.join((done.stderr or done.stdout).split())[:300]}"
            )
        try:
            requests = json.loads(export.read_text(encoding="utf-8"))["experiments"][0]["requests"]
        except ValueError as exc:
            raise InferenceFailed("perf_analyzer wrote half of its file; run it again") from exc
        firsts = [
            (r["response_timestamps"][0] - r["timestamp"]) / 1e6
            for r in requests
            if r["response_timestamps"]
        ]
        result.samples(f"triton.perf_analyzer.{count}.first_response_ms", "ms", firsts)


def _libraries(folder: Path) -> Path:
    """The two libraries that perf_analyzer looks for, under the names it has for them, out of
    pytriton's wheel."""
    target = folder / "libraries"
    target.mkdir()
    spec = importlib.util.find_spec("pytriton")
    assert spec is not None
    assert spec.submodule_search_locations
    wheel = Path(spec.submodule_search_locations[0]).parent / "nvidia_pytriton.libs"
    for name, pattern in (("libb64.so.0d", "libb64-*"), ("libcudart.so.12", "libcudart-*")):
        for library in wheel.glob(pattern):
            (target / name).symlink_to(library)
    return target


def server_times(result: Result, address: str) -> None:
    """The server's own account of where requests spent their time, in ms on the average."""
    page = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    counters = {
        m[1]: float(m[2])
        for m in re.finditer(r'^(\w+)\{model="xtts"[^}]*\} (\S+)$', page, re.MULTILINE)
    }
    requests = counters.get("nv_inference_request_success", 0.0)
    for name in ("queue", "compute_input", "compute_infer", "compute_output"):
        if requests and (total := counters.get(f"nv_inference_{name}_duration_us")) is not None:
            result.value(f"triton.server.{name}_ms", "ms", total / requests / 1000)


def short(artifact: Path, target: Path) -> Path:
    """The artifact with `_CODES` codes at most: random weights never stop by themselves."""
    target.mkdir()
    for file in artifact.iterdir():
        if file.name != MANIFEST:
            (target / file.name).symlink_to(file.resolve())
    manifest = Manifest.read(artifact)
    properties = dict(manifest.properties) | {"gpt_max_audio_tokens": _CODES + 3}
    (target / MANIFEST).write_text(
        replace(manifest, properties=properties).to_json(), encoding="utf-8"
    )
    return target


def profile_of(artifact: Path, path: Path, executor: str) -> Path:
    """A profile that speaks with an XTTS artifact, all of whose streams fit.

    `executor` is the GPT's.
    """
    demo = Path(profile.__file__).parent / "profiles/demo.toml"
    hearing = demo.read_text(encoding="utf-8").split("[speak]")[0]
    model = f'model = "{artifact.resolve()}"\nprecision = "{Manifest.read(artifact).precision}"\n'
    speak = f'[speak]\n{model}executor = "{executor}"\nslots = {_SLOTS}\n'
    vocode = f'[vocode]\n{model}executor = "{_vocoder(executor, artifact)}"\ncompute = "auto"\n'
    write_atomic(path, f"{hearing}{speak}\n{vocode}".encode())
    return path


def _vocoder(executor: str, artifact: Path) -> str:
    """What runs the vocoder beside a GPT: the same GPU, or what this processor does it best with."""
    return (
        executor
        if executor_of(executor).on_gpu
        else best_executor("vocode", Manifest.read(artifact))
    )


async def run(
    artifact: Path,
    streams: list[int],
    runs: int,
    folder: Path,
    path: Path | None,
    executor: str = "onnx",
) -> Result:
    """Everything."""
    result = Result("load")
    artifact = short(artifact, folder / "artifact")
    result.notes["codes"] = (
        f"every sentence has {_CODES} codes at most: random weights never stop by themselves"
    )
    settings = profile_of(artifact, folder / "load.toml", executor)
    begin = time.perf_counter()
    with EmbeddedTriton(repository(), {PROFILE: str(settings)}) as triton:
        server = control(triton)
        supervisor = Supervisor(server, _MODELS, lambda _: None, triton)
        await supervisor.load()
        loading = sum([(await described(server, model))["load_s"] for model in _MODELS])
        result.value("triton.start_s", "s", time.perf_counter() - begin - loading)
        result.value("triton.models_load_s", "s", loading)
        with XTTS.load(
            artifact, slots=_SLOTS, executor=executor, vocoder=_vocoder(executor, artifact)
        ) as voice:
            await measured(result, voice, triton, server, supervisor, streams, runs, folder)
            result.artifact("speak", voice.info)
            result.artifact("vocode", voice.vocoder_info)
        await server.aclose()
    if path:
        result.write(path)
        plot(result, path.with_suffix(".png"))
    return result


async def measured(
    result: Result,
    voice: XTTS,
    triton: EmbeddedTriton,
    server: TritonServer,
    supervisor: Supervisor,
    streams: list[int],
    runs: int,
    folder: Path,
) -> None:
    """Everything on a server that answers."""
    address = f"127.0.0.1:{triton.grpc}"
    await voice.awarm()
    chosen = (await described(server, "xtts"))["windows"]
    voice.windows = Plan(**chosen)  # both sides chose by their own speed
    result.notes["windows"] = chosen
    async with VoiceClient(address) as client:

        def served(number: int) -> AsyncGenerator[PcmChunk, None]:
            return client.say(TEXTS[number % len(TEXTS)], language="en", seed=number)

        def embedded(number: int) -> AsyncGenerator[PcmChunk, None]:
            return voice.astream(TEXTS[number % len(TEXTS)], language="en", seed=number)

        await against_in_process(result, served, embedded, runs)
        await under_load(result, served, streams, max(2, runs // 4))
        await cancelled(result, client, server, runs)
        server_times(result, f"127.0.0.1:{triton.metrics}")
        await asyncio.to_thread(analysed, result, address, triton.secret, streams, folder)
        watching = asyncio.create_task(supervisor.watch())
        await killed(result, client, triton, KILLS)
        result.value("triton.kill.healed", "count", supervisor.healed)
        result.value("triton.kill.server_died", "count", supervisor.restarted)
        await cancel_and_wait(watching)


def plot(result: Result, path: Path) -> None:
    """First audio and stalls against streams at once."""
    from matplotlib.figure import Figure

    pattern = re.compile(r"triton\.load\.(\d+)\.first_audio_ms")
    counts = sorted(int(m[1]) for name in result.metrics if (m := pattern.fullmatch(name)))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for share, style in (("p50", "o-"), ("p95", "o--")):
        values = [result.metrics[f"triton.load.{n}.first_audio_ms"][share] for n in counts]
        axes.plot(counts, values, style, label=f"first audio, {share}", color="tab:blue")
    axes.set(
        xlabel="streams arriving within two seconds",
        ylabel="first audio in ms",
        xticks=counts,
        ylim=(0, None),
    )
    stalls = axes.twinx()
    rates = [100 * result.metrics[f"triton.load.{n}.underrun_rate"]["value"] for n in counts]
    stalls.plot(counts, rates, "s-", label="streams that stall", color="tab:red")
    stalls.set(ylabel="streams that stall, %", ylim=(0, 100))
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=110)


def main(
    artifact: Path, streams: list[int], runs: int, path: Path | None, executor: str = "onnx"
) -> Result:
    """Run the benchmark; `executor` runs the GPT."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(artifact, streams, runs, Path(folder), path, executor))
