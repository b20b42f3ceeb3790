"""A gateway on a Triton server whose models' processes are killed: what its clients see.

A part of `voxturn bench gateway-faults`. Clients at both protocols put one typed question after the
other, each in one session for as long as it lives. Every answer has to end, whole or in an error,
and the session has to answer the next question that the models can.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxturn.bench import gateway_clients as clients
from voxturn.bench.faults import until
from voxturn.bench.gateway_process import Server, own_profile, serving
from voxturn.bench.harness import Result
from voxturn.runtime.errors import ServerDied
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.serving.processes import command_of, descendants

_CALLERS = ("voice", "realtime", "voice", "realtime")
_STAGES = {"transcribe": "whisper", "reply": "qwen3", "speak": "vits"}
_STRUCK = ("qwen3", "vits")
"""What a typed question needs."""
_BETWEEN_S, _PAUSE_S, _AGAIN_S = (1.0, 3.0), 0.2, 60.0
_LOST = "lost"
_QUESTION = "Name the months of the year."
_LISTEN = '[listen]\nmodel = "silero-vad"\nexecutor = "onnx"\nprecision = "fp32"\nthreads = 1\n\n'


@contextmanager
def triton(voxturn: str, profile: str) -> Iterator[tuple[int, str]]:
    """A Triton server by the `voxturn` of its own environment: its process and its address.

    Raises `ServerDied` unless it starts.
    """
    command = [voxturn, "serve", "triton", "--profile", profile]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        if words[:1] != ["grpc"]:
            raise ServerDied(f"{' '.join(command)} did not start; run it by itself to see why")
        yield process.pid, words[1]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def on_server(address: str, folder: Path) -> Path:
    """A profile whose stages are the models of a server, but for the voice detector."""
    path = folder / "there.toml"
    stages = "".join(
        f'[{stage}]\nmodel = "{model}"\nexecutor = "remote"\nserver = "{address}"\n\n'
        for stage, model in _STAGES.items()
    )
    path.write_text(f'about = "There"\nlanguage = "en"\n\n{_LISTEN}{stages}', encoding="utf-8")
    return own_profile(str(path), folder, {"sessions": 2 * len(_CALLERS)})


@dataclass
class Answer:
    """One question of a caller, in seconds of the clock; `failure` is the code of its error."""

    asked_s: float
    caller: object = None
    ended_s: float | None = None
    failure: str = ""

    def end(self, failure: str) -> None:
        self.ended_s = time.perf_counter()
        self.failure = failure

    @property
    def whole(self) -> bool:
        return self.ended_s is not None and not self.failure


@dataclass
class Seen:
    """What the callers saw. `lost`: sessions that ended by themselves."""

    answers: list[Answer] = field(default_factory=list)
    lost: int = 0

    def in_flight(self) -> list[Answer]:
        return [each for each in self.answers if each.ended_s is None]

    def answered_since(self, begin_s: float) -> int:
        """How many callers asked something after that and had a whole answer."""
        return len({each.caller for each in self.answers if each.whole and each.asked_s > begin_s})


async def caller(server: Server, kind: str, seen: Seen) -> None:
    """Ask in one session again and again; a session that ends by itself is lost, and another one is
    begun."""
    from websockets.exceptions import WebSocketException

    me = object()
    while True:
        try:
            async with clients.dialled(server.port, kind) as socket:
                while True:
                    await _turn(socket, kind, seen, me)
                    await asyncio.sleep(_PAUSE_S)
        except (WebSocketException, OSError):
            seen.lost += 1
            await asyncio.sleep(_PAUSE_S)


async def _turn(socket: Any, kind: str, seen: Seen, me: object) -> None:
    """One question until its answer has ended. A caller that is not answered asks no more: the next
    wait for all of them ends the benchmark."""
    answer = Answer(time.perf_counter(), me)
    seen.answers.append(answer)
    try:
        await clients.ask(socket, kind, _QUESTION)
        ended = await clients.until(socket, ("turn.done", "response.done"))
    except Exception:
        answer.end(_LOST)
        raise
    answer.end(_failure(ended))


def _failure(ended: dict[str, Any]) -> str:
    """The code of an answer's error; empty for one that was given."""
    if ended["type"] == "turn.done":
        return "" if ended["outcome"] == "done" else str(ended["outcome"])
    response = ended["response"]
    if response["status"] == "completed":
        return ""
    error = (response.get("status_details") or {}).get("error") or {}
    return str(error.get("code") or response["status"])


@dataclass
class Strikes:
    """What came of the kills, in ms; `unanswered`: answers that did not end."""

    failed: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    unanswered: int = 0


async def strike(pid: int, model: str, seen: Seen, found: Strikes) -> None:
    """Kill a model's process and wait until what was in flight has ended, and then until every
    caller is answered again. Raises `ServerDied`."""
    process = next(
        (each for each in descendants(pid) if f"/{model}/1/model.py" in command_of(each)), None
    )
    if process is None:
        raise ServerDied(f"{model} has no process")
    begin, hit = time.perf_counter(), seen.in_flight()
    os.kill(process, signal.SIGKILL)
    await until(lambda: all(each.ended_s is not None for each in hit), _AGAIN_S)
    for each in hit:
        if each.ended_s is None:
            found.unanswered += 1
        elif each.failure:
            found.failed.append(1000 * (each.ended_s - begin))
    await answered(seen, begin)
    found.again.append(1000 * (time.perf_counter() - begin))


async def answered(seen: Seen, begin_s: float) -> None:
    """Wait until every caller has had a whole answer to what it asked since. Raises `ServerDied`."""
    if not await until(lambda: seen.answered_since(begin_s) >= len(_CALLERS), _AGAIN_S):
        raise ServerDied("not every caller was answered again")


async def measured(result: Result, server: Server, pid: int, kills: int, seed: int) -> None:
    """Every kill in its turn, under the callers' load."""
    dice, seen, found = random.Random(seed), Seen(), Strikes()
    callers = [asyncio.create_task(caller(server, kind, seen)) for kind in _CALLERS]
    try:
        await answered(seen, time.perf_counter())
        before = await asyncio.to_thread(server.held)
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(*_BETWEEN_S))
            await strike(pid, dice.choice(_STRUCK), seen, found)
        after = await asyncio.to_thread(server.held)
    finally:
        for task in callers:
            await cancel_and_wait(task)
    failures = Counter(each.failure for each in seen.answers if each.failure)
    name = "gateway_faults.engines"
    result.value(f"{name}.kills", "count", kills)
    if found.failed:
        result.samples(f"{name}.failed_ms", "ms", found.failed)
    result.samples(f"{name}.all_answered_again_ms", "ms", found.again)
    result.value(f"{name}.answers", "count", sum(each.whole for each in seen.answers))
    result.value(f"{name}.failed", "count", failures.total() - failures[_LOST])
    result.value(f"{name}.unanswered", "count", found.unanswered)
    result.value(f"{name}.sessions_lost", "count", seen.lost)
    result.value(f"{name}.internal_errors", "count", failures["internal_error"])
    result.value(f"{name}.stacks_logged", "count", server.stacks())
    result.value(f"{name}.threads_left", "count", after.threads - before.threads)
    result.value(f"{name}.memory_grown", "MB", after.rss_mb - before.rss_mb)
    result.notes["engine_failures"] = dict(sorted(failures.items()))


def engines(
    result: Result, folder: Path, voxturn: str, profile: str, kills: int, seed: int
) -> None:
    """A Triton server, a gateway on it, and so many kills."""
    with (
        triton(voxturn, profile) as (pid, address),
        serving(folder, on_server(address, folder)) as server,
    ):
        asyncio.run(measured(result, server, pid, kills, seed))
