"""`voxturn bench gateway-faults`: a gateway whose clients vanish and send nonsense, and that is killed.

The gateway is a process of its own. In parts, everything by chance with a seed:

- `broken`: connections of Realtime, of `/ws/voice` and of spoken texts that end at random moments,
  without a word.
- `malformed`: requests of HTTP, messages of both protocols and recordings with wrong bytes.
- `kills`: SIGKILL when the file of the database has just been written, and a start again.
- `engines`: the gateway on a Triton server whose models' processes are killed; where the `voxturn`
  of the server's environment is named.

Meanwhile an honest client has to be answered within 5 s. Afterwards the process must hold no
session, thread or descriptor more than before, nor grow; and no turn that a client was told to be
over may be lost.
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from voxturn.bench import gateway_clients as clients
from voxturn.bench.gateway_clients import Answers
from voxturn.bench.gateway_engines import engines
from voxturn.bench.gateway_process import Server, own_profile, serving
from voxturn.bench.harness import Result
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.handoff import cancel_and_wait

_AT_ONCE, _LONGEST_S = 8, 1.5
_TURN_S, _WRITE_S = 120.0, 30.0
_TALKERS = ("voice", "realtime", "voice", "realtime")
_WARMING = 3
"""Rounds of every kind before memory is looked at."""
_SETTINGS = {"sessions": 1024, "grace_s": 2.0, "keep_messages": 100_000}


async def side_by_side(works: list[Callable[[], Awaitable[None]]]) -> None:
    """Do all of them, some at once."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await work()

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(one(work))


async def broken(server: Server, count: int, dice: random.Random, found: Answers) -> None:
    """So many connections of every kind in turn that end at random moments."""
    plan = [
        (clients.KINDS[i % len(clients.KINDS)], dice.uniform(0.0, _LONGEST_S)) for i in range(count)
    ]
    await side_by_side(
        [partial(clients.vanishing, server.port, kind, after_s, found) for kind, after_s in plan]
    )


async def malformed(server: Server, count: int, dice: random.Random, found: Answers) -> None:
    """So many requests and messages with wrong bytes: half of them HTTP."""
    works: list[Callable[[], Awaitable[None]]] = []
    recordings = [clients.webm()]
    for number in range(count):
        if number % 2:
            sent = clients.mangled(dice, clients.REQUESTS)
            works.append(partial(clients.malformed_request, server.port, sent, found))
            continue
        kind, honest, binary = (
            ("realtime", clients.REALTIME, False),
            ("voice", clients.VOICE, False),
            ("voice", recordings, True),
            ("realtime", recordings, True),
        )[number // 2 % 4]
        sent = clients.mangled(dice, honest)
        works.append(partial(clients.malformed_message, server.port, kind, sent, binary, found))
    await side_by_side(works)


class Talkers:
    """Clients in conversations of their own: what each was told to be kept."""

    def __init__(self, dice: random.Random) -> None:
        self.kept: dict[str, list[str]] = {f"c{i}": [] for i in range(len(_TALKERS))}
        self._dice = dice

    async def until_killed(self, server: Server, number: int) -> bool:
        """Talk, until the gateway is killed as it writes; whether it wrote. That is after some
        turns were told to be over."""
        before = sum(map(len, self.kept.values()))
        tasks = [
            asyncio.create_task(self._talk(server, kind, name, number))
            for kind, name in zip(_TALKERS, self.kept, strict=True)
        ]
        try:
            async with asyncio.timeout(_TURN_S):
                while sum(map(len, self.kept.values())) < before + len(tasks):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(self._dice.uniform(0.0, 1.0))
            writes = await _written(server.database)
            server.end(signal.SIGKILL)
            return writes
        finally:
            for task in tasks:
                await asyncio.wait([task], timeout=clients.ANSWER_S)
                await cancel_and_wait(task)

    async def _talk(self, server: Server, kind: str, name: str, number: int) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async with clients.dialled(server.port, kind, conversation=name) as socket:
                for each in range(10_000):
                    question = f"{number}.{each}: {clients.TEXT}"
                    if await clients.turn(socket, kind, question):
                        self.kept[name].append(question)
        except (ConnectionClosed, OSError):
            return  # it was killed

    def lost(self, server: Server) -> int:
        """How many questions it does not have any more of those that were acknowledged."""
        count = 0
        for name, acknowledged in self.kept.items():
            told = server.ask(f"/v1/conversations/{name}").get("messages", [])
            said = {each["text"] for each in told if each["role"] == "user"}
            count += sum(question not in said for question in acknowledged)
        return count


async def _written(database: Path) -> bool:
    """Wait until the database is being written, or for some time; whether it was."""
    log = database.with_name(f"{database.name}-wal")
    begun, end = log.stat().st_mtime_ns, time.perf_counter() + _WRITE_S
    while log.stat().st_mtime_ns == begun and time.perf_counter() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.0005)
    return log.stat().st_mtime_ns != begun


async def kills(result: Result, folder: Path, profile: Path, count: int, seed: int) -> None:
    """Kill it so often as it writes, and start it again."""
    talkers = Talkers(random.Random(seed))
    again_ms: list[float] = []
    lost = writing = 0
    for number in range(count):
        with serving(folder, profile) as server:
            writing += await talkers.until_killed(server, number)
        begin = time.perf_counter()
        with serving(folder, profile) as server:
            server.ask("/healthz")
            again_ms.append(1000 * (time.perf_counter() - begin))
            lost = max(lost, talkers.lost(server))
    acknowledged = sum(map(len, talkers.kept.values()))
    result.value("gateway_faults.kills", "count", count)
    result.value("gateway_faults.killed_while_writing", "count", writing)
    result.samples("gateway_faults.answers_again_ms", "ms", again_ms)
    result.value("gateway_faults.turns_acknowledged", "count", acknowledged)
    result.value("gateway_faults.turns_lost", "count", lost)


async def hostile(
    result: Result, server: Server, connections: int, messages: int, seed: int
) -> None:
    """Clients that vanish, then clients that send nonsense, beside an honest one."""
    dice, others, found = random.Random(seed), Answers(), Answers()
    for _ in range(_WARMING):
        await broken(server, len(clients.KINDS) * _AT_ONCE, dice, Answers())
        await malformed(server, 8 * _AT_ONCE, dice, Answers())
    before = await server.rested()
    beside = asyncio.create_task(clients.honest(server.port, others))
    try:
        await broken(server, connections // 2, dice, found)
        await malformed(server, messages // 2, dice, found)
        midst = await server.rested(before)
        await broken(server, connections - connections // 2, dice, found)
        await malformed(server, messages - messages // 2, dice, found)
    finally:
        await cancel_and_wait(beside)
    after = await server.rested(before)
    result.value("gateway_faults.broken", "count", connections)
    result.value("gateway_faults.malformed", "count", messages)
    result.samples("gateway_faults.honest.answered_ms", "ms", others.ms)
    result.samples("gateway_faults.malformed.answered_ms", "ms", found.ms)
    result.value("gateway_faults.unanswered", "count", others.unanswered + found.unanswered)
    result.value("gateway_faults.internal_errors", "count", others.internal + found.internal)
    result.value("gateway_faults.memory_before", "MB", before.rss_mb)
    # what is only loaded or made room for once grows no further in the second half
    result.value("gateway_faults.memory_grown", "MB", after.rss_mb - before.rss_mb)
    result.value("gateway_faults.memory_grown_in_second_half", "MB", after.rss_mb - midst.rss_mb)
    result.value("gateway_faults.descriptors_left", "count", after.descriptors - before.descriptors)
    result.value("gateway_faults.threads_left", "count", after.threads - before.threads)
    result.value("gateway_faults.sessions_left", "count", after.sessions)


def main(
    profile: str | None,
    connections: int,
    messages: int,
    count: int,
    triton: str,
    engine_kills: int,
    seed: int,
    json_path: Path | None,
) -> Result:
    """Run all parts and write the result file. `profile` None: stages without models. `triton`: the
    `voxturn` of the server's environment; empty: no engine is killed."""
    result = Result("gateway-faults")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = profile or str(write_profile(folder / "fake", answer="Yes, they are closed."))
        own = own_profile(known, folder, _SETTINGS)
        with serving(folder, own) as server:
            asyncio.run(hostile(result, server, connections, messages, seed))
            code = server.end(signal.SIGTERM)
        asyncio.run(kills(result, folder, own, count, seed))
        stacks = server.stacks()
    result.value("gateway_faults.exit_code", "count", code)
    result.value("gateway_faults.stacks_logged", "count", stacks)
    result.notes |= {"profile": profile or "without models", "seed": seed}
    if triton:
        with tempfile.TemporaryDirectory() as name:
            engines(result, Path(name), triton, profile or "demo", engine_kills, seed)
    if json_path is not None:
        result.write(json_path)
    return result
