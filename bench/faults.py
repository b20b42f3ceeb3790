"""`voxturn bench faults`: the served models of the demo killed, and stopped as if they hung, at
random moments under load.

After every fault: until each stream in flight has ended, until the model answers again. Then what
must not happen: streams that hang, and streams that end as if they were whole with less audio or
text than the same request has otherwise. Runs in the server's environment: it starts the server
itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.harness import Result
from voxturn.bench.load import described
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.errors import InferenceFailed, ServerDied, VoxturnError
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.remote.contract import MODELS
from voxturn.runtime.remote.tensors import Tensors, text_of
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.launcher import EmbeddedTriton, repository
from voxturn.runtime.serving.supervisor import Supervisor, control
from voxturn.runtime.turn.trace import StageInfo

STAGES = {"whisper": "transcribe", "qwen3": "reply", "vits": "speak"}
"""The demo's stages by the models that serve them."""
STREAMS = ("vits", "vits", "qwen3", "whisper")
"""The load: four callers, each with one stream after the other and a pause between them."""
_SIGNALS = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP}
_BETWEEN_S, _PAUSE_S, _HUNG_S, _AWAY_S, _LOOK_S = (0.5, 2.0), 0.3, 30.0, 60.0, 0.02
_TEXT = "Please remember to close the windows before you leave the house tonight."
_QUESTION = "Name the months of the year."


@dataclass
class Stream:
    """One request of the load; `outcome` is "whole", "short" or the name of an error's class."""

    model: str
    begun: float
    ended: float | None = None
    outcome: str = ""


@dataclass
class Load:
    """Streams of every model, one after the other, until this is cancelled.

    `whole`: how much each request gives.
    """

    server: TritonServer
    inputs: dict[str, dict[str, Any]]
    whole: dict[str, int]
    streams: list[Stream] = field(default_factory=list)

    async def run(self, model: str) -> None:
        while True:
            stream = Stream(model, time.perf_counter())
            self.streams.append(stream)
            try:
                got = await amount(self.server, model, self.inputs[model])
                stream.outcome = "whole" if got == self.whole[model] else "short"
            except VoxturnError as exc:
                stream.outcome = type(exc).__name__
            stream.ended = time.perf_counter()
            await asyncio.sleep(_PAUSE_S)

    def in_flight(self) -> list[Stream]:
        return [stream for stream in self.streams if stream.ended is None]


async def pieces(
    server: TritonServer, model: str, inputs: dict[str, Any]
) -> AsyncGenerator[Tensors, None]:
    """The answers of a model, whether it streams or not."""
    if not MODELS[model].streams:
        yield await server.infer(model, inputs)
        return
    async with aclosing(server.stream(model, inputs)) as answers:
        async for tensors in answers:
            yield tensors


async def amount(server: TritonServer, model: str, inputs: dict[str, Any]) -> int:
    """How many samples or letters a request gives in all."""
    total = 0
    async with aclosing(pieces(server, model, inputs)) as answers:
        async for tensors in answers:
            total += tensors["pcm"].size if "pcm" in tensors else len(text_of(tensors["text"]))
    return total


async def until(wanted: Callable[[], bool], patience_s: float) -> bool:
    """Whether it came to be as wanted in time."""
    end = time.perf_counter() + patience_s
    while not wanted():
        if time.perf_counter() > end:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


async def answers_again(load: Load, triton: EmbeddedTriton, model: str, before: int) -> None:
    """Wait until another process than `before` runs the model and has begun to answer.

    Raises `ServerDied`.
    """
    end = time.perf_counter() + _AWAY_S
    await until(lambda: triton.process_of(model) not in (None, before), _AWAY_S)
    while time.perf_counter() < end:
        try:
            async with aclosing(pieces(load.server, model, load.inputs[model])) as answers:
                await anext(answers)
                return
        except VoxturnError:
            await asyncio.sleep(_LOOK_S)
    raise ServerDied(f"{model} did not answer again within {_AWAY_S:.0f} s")


@dataclass
class Faults:
    """What came of the faults of one kind, in ms."""

    ended: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    hung: int = 0
    others_failed: int = 0


async def strike(
    load: Load, triton: EmbeddedTriton, model: str, number: signal.Signals, found: Faults
) -> None:
    """One fault, until everything is as before."""
    process = triton.process_of(model)
    assert process is not None
    at = time.perf_counter()
    os.kill(process, number)
    hit = load.in_flight()
    await answers_again(load, triton, model, process)
    found.answered.append(1000 * (time.perf_counter() - at))
    left = at + _HUNG_S - time.perf_counter()
    await until(lambda: all(stream.ended is not None for stream in hit), left)
    for stream in hit:
        if stream.ended is None:
            found.hung += 1
        elif stream.model == model:
            found.ended.append(1000 * (stream.ended - at))
        else:
            found.others_failed += stream.outcome not in ("whole", "short")


async def measured(
    result: Result, load: Load, triton: EmbeddedTriton, kills: int, hangs: int
) -> None:
    """Every fault in its turn, under load."""
    random = np.random.default_rng(0)
    plan = random.permutation(["kill"] * kills + ["hang"] * hangs).tolist()
    found = {kind: Faults() for kind in _SIGNALS}
    models = list(STAGES)
    running = [asyncio.create_task(load.run(model)) for model in STREAMS]
    try:
        for kind in plan:
            await asyncio.sleep(float(random.uniform(*_BETWEEN_S)))
            model = models[int(random.integers(len(models)))]
            await strike(load, triton, model, _SIGNALS[kind], found[kind])
    finally:
        for task in running:
            await cancel_and_wait(task)
    for kind, each in found.items():
        if each.answered:
            result.samples(f"faults.{kind}.stream_ended_ms", "ms", each.ended)
            result.samples(f"faults.{kind}.answers_again_ms", "ms", each.answered)
            result.value(f"faults.{kind}.hung", "count", each.hung)
            result.value(f"faults.{kind}.other_models_failed", "count", each.others_failed)
    outcomes = Counter(stream.outcome for stream in load.streams if stream.ended is not None)
    result.value("faults.lost_silently", "count", outcomes["short"])
    result.value("faults.streams", "count", outcomes.total())
    result.notes["outcomes"] = dict(sorted(outcomes.items()))


async def run(kills: int, hangs: int, path: Path | None) -> Result:
    """Everything."""
    result = Result("faults")
    question = resources.files("voxturn.runtime") / "demo" / "question.wav"
    with resources.as_file(question) as file:
        samples = decode_all(file, 16000)
    messages = json.dumps([{"role": "user", "text": _QUESTION}])
    inputs: dict[str, dict[str, Any]] = {
        "whisper": {"audio": samples, "language": ""},
        "qwen3": {"messages": messages},
        "vits": {"text": _TEXT},
    }
    with EmbeddedTriton(repository(), {PROFILE: "demo"}) as triton:
        server = control(triton)
        supervisor = Supervisor(server, list(STAGES), lambda _: None, triton)
        await supervisor.load()
        for model, stage in STAGES.items():
            about = await described(server, model)
            info = {each.name: about[each.name] for each in fields(StageInfo)}
            result.artifact(stage, StageInfo(**info))
        load = Load(server, inputs, await whole(server, inputs))
        watching = asyncio.create_task(supervisor.watch())
        await measured(result, load, triton, kills, hangs)
        await cancel_and_wait(watching)
        result.value("faults.healed", "count", supervisor.healed)
        result.value("faults.server_started_again", "count", supervisor.restarted)
        await server.aclose()
    if path:
        result.write(path)
    return result


async def whole(server: TritonServer, inputs: dict[str, dict[str, Any]]) -> dict[str, int]:
    """How much each request gives.

    Raises `InferenceFailed` unless it is the same every time: a loss would not be seen.
    """
    first, again = [
        {model: await amount(server, model, inputs[model]) for model in inputs} for _ in range(2)
    ]
    if first != again:
        raise InferenceFailed(f"the same requests gave {first}, then {again}; report this")
    return first


def main(kills: int, hangs: int, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(kills, hangs, path))
