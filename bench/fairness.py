"""`voxturn bench fairness`: four clients of a served voice, alone and beside one that sends the
worst texts it may.

Everyone of the four says short texts, one after the other, with a pause at random before each. The
greedy one has so many texts of 10,000 characters under way all the time, each of which takes
minutes by itself. Alone and beside it alternate, round by round. Runs in the server's environment:
it starts the server itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import numpy as np
from voxturn.bench.harness import Result
from voxturn.bench.load import TEXTS, listen
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.errors import VoxturnError
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.launcher import EmbeddedTriton, repository
from voxturn.runtime.serving.supervisor import Supervisor, control

WORST = ("1," * 5000, "Ab. " * 2500, "a\u0628 " * 3333, "9" * 10_000)
_MODEL, _CLIENTS, _TEXTS, _PAUSE_S = "vits", 4, 4, 1.0


async def first_audios(clients: Sequence[VoiceClient], seed: int) -> list[float]:
    """A round: milliseconds to the first audio of each text of each client."""
    firsts: list[float] = []

    async def talk(number: int, client: VoiceClient) -> None:
        random = np.random.default_rng([seed, number])
        for turn in range(_TEXTS):
            await asyncio.sleep(float(random.uniform(0, _PAUSE_S)))
            heard = await listen(client.say(TEXTS[(number + turn) % len(TEXTS)], _MODEL))
            firsts.append(heard.first_ms)

    await asyncio.gather(*(talk(number, client) for number, client in enumerate(clients)))
    return firsts


@contextlib.asynccontextmanager
async def greedy(address: str, streams: int) -> AsyncGenerator[None, None]:
    """A client that has so many of the worst texts under way."""

    async def send(client: VoiceClient, number: int) -> None:
        while True:
            with contextlib.suppress(VoxturnError):  # a limit that it has reached; it goes on
                async for _ in client.say(WORST[number % len(WORST)], _MODEL):
                    pass

    async with VoiceClient(address) as client:
        sending = [asyncio.create_task(send(client, number)) for number in range(streams)]
        try:
            await asyncio.sleep(_PAUSE_S)  # it is at it
            yield
        finally:
            for task in sending:
                await cancel_and_wait(task)


async def measured(result: Result, address: str, streams: Sequence[int], runs: int) -> None:
    """Everything on a server that answers."""
    firsts: dict[int, list[float]] = {0: [], **{count: [] for count in streams}}
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(VoiceClient(address)) for _ in range(_CLIENTS)]
        await first_audios(clients, 0)
        for run in range(1, runs + 1):
            for count in firsts:
                async with greedy(address, count) if count else contextlib.nullcontext():
                    firsts[count] += await first_audios(clients, run)
    alone = firsts.pop(0)
    result.samples("fairness.alone.first_audio_ms", "ms", alone)
    for count, times in firsts.items():
        result.samples(f"fairness.beside.{count}.first_audio_ms", "ms", times)
        for share in (50, 95):
            later = float(np.percentile(times, share) / np.percentile(alone, share))
            result.value(f"fairness.beside.{count}.p{share}_ratio", "ratio", later)


async def run(profile: str, streams: Sequence[int], runs: int, path: Path | None) -> Result:
    """Everything."""
    result = Result("fairness")
    result.notes["clients"] = f"{_CLIENTS} clients, {_TEXTS} texts each in every round"
    result.notes["greedy"] = (
        f"one client with N streams at once, texts of 10,000 characters: {[w[:12] for w in WORST]}"
    )
    parts = LoadedParts(load_profile(profile))
    try:
        parts.voice()
        for stage in ("speak", "vocode"):
            result.artifact(stage, parts.info[stage])
    finally:
        parts.close()
    with EmbeddedTriton(repository(), {PROFILE: profile}) as triton:
        server = control(triton)
        await Supervisor(server, [_MODEL], lambda _: None, triton).load()
        await measured(result, server.address, streams, runs)
        await server.aclose()
    if path:
        result.write(path)
    return result


def main(profile: str, streams: Sequence[int], runs: int, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, streams, runs, path))
