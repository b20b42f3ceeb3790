"""`voxturn bench load`: XTTS behind Triton against the same artifact in this process, in turn; then many streams at once.

Both make the same codes (same texts, same seeds). Runs in the server's environment: it starts the server itself.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from voxturn.bench.harness import Result
from voxturn.runtime import profile
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.client.wire import TritonServer
from voxturn.runtime.contract import Manifest
from voxturn.runtime.errors import VoxturnError
from voxturn.runtime.messages import PcmChunk
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.launcher import EmbeddedTriton, repository
from voxturn.runtime.serving.supervisor import Supervisor
from voxturn.runtime.store import write_atomic
from voxturn.runtime.trace import play
from voxturn.runtime.xtts import XTTS

TEXTS = (
    "The train to the coast leaves at nine in the morning from platform four.",
    "Please remember to close the windows before you leave the house tonight.",
    "She said that the meeting would take place on Thursday in the large room.",
    "A short walk along the river is the best way to begin a long day.",
)
_SLOTS, _ARRIVALS_S = 4, 2.0
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
        took = {name: await together(say, _SLOTS) for name, say in sides[:: 1 if number % 2 else -1]}
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
        result.samples(f"triton.load.{count}.first_audio_ms", "ms", [each.first_ms for each in heard])
        starved = sum(play(each.chunks).underruns > 0 for each in heard)
        result.value(f"triton.load.{count}.underrun_rate", "ratio", starved / max(1, len(heard)))
        result.value(f"triton.load.{count}.errors", "count", failed)


def profile_of(artifact: Path, path: Path) -> Path:
    """A profile that speaks with an XTTS artifact by ONNX Runtime, all of whose streams fit."""
    demo = Path(profile.__file__).parent / "profiles/demo.toml"
    hearing = demo.read_text(encoding="utf-8").split("[speak]")[0]
    speak = f'model = "{artifact.resolve()}"\nexecutor = "onnx"\nprecision = "{Manifest.read(artifact).precision}"\n'
    write_atomic(path, f"{hearing}[speak]\n{speak}slots = {_SLOTS}\n\n[vocode]\n{speak}".encode())
    return path


async def run(artifact: Path, streams: list[int], runs: int, folder: Path, path: Path | None) -> Result:
    """Everything."""
    result = Result("load")
    settings = profile_of(artifact, folder / "load.toml")
    with (
        EmbeddedTriton(repository(), {PROFILE: str(settings)}) as triton,
        XTTS.load(artifact, slots=_SLOTS, vocoder="onnx") as voice,
    ):
        address = f"127.0.0.1:{triton.grpc}"
        control = TritonServer(address)
        await Supervisor(control, ["xtts"], lambda _: None).load()
        await voice.awarm()
        async with VoiceClient(address) as client:

            def served(number: int) -> AsyncGenerator[PcmChunk, None]:
                return client.say(TEXTS[number % len(TEXTS)], language="en", seed=number)

            def embedded(number: int) -> AsyncGenerator[PcmChunk, None]:
                return voice.astream(TEXTS[number % len(TEXTS)], language="en", seed=number)

            await against_in_process(result, served, embedded, runs)
            await under_load(result, served, streams, max(2, runs // 4))
        await control.aclose()
        result.artifact("speak", voice.info)
    if path:
        result.write(path)
    return result


def main(artifact: Path, streams: list[int], runs: int, path: Path | None) -> Result:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(artifact, streams, runs, Path(folder), path))
