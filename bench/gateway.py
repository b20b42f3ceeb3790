"""`voxturn bench gateway`: applications' way in against the session in process, and under load.

The gateway is a process of its own, with the profile's models; its clients are in this one. What is
measured, by parts:

- `pairs`: the last sample of a spoken question → the first chunk of the answer, in a session at the
  voice endpoint and in one without a gateway, in a third process, by turns.
- `load`: conversations that arrive at random (Poisson), at more and more a minute: audible first
  audio, underruns of a simulated loudspeaker, refusals.
- `soak`: so many conversations at the voice endpoint: chunks lost, repeated or out of order, memory.
- `idle`: so many connections that say nothing: processor time and memory of each.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.gateway_clients import dialled
from voxturn.bench.gateway_process import Server, own_profile, serving
from voxturn.bench.harness import Result
from voxturn.bench.peer import Peer, session_peer
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.encode import from_int16, to_int16
from voxturn.runtime.audio.level import first_audible, last_audible
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.messages import PcmChunk, Samples, SessionEvent, TurnDone
from voxturn.runtime.turn.trace import StageInfo
from voxturn.runtime.turn.voice_session import VoiceSession

RATE, FRAME_S = 24_000, 0.02
_LEAD_S, _REST_S = 0.3, 2.0
_TURNS, _BETWEEN_S = 3, 1.0
_MOST_S = 60.0
_PLACES, _SETTLE_S = 1024, 2.0
_QUESTIONS = (
    "What is the capital of France?",
    "What is the largest planet?",
    "Who wrote Hamlet?",
    "How many days has a week?",
)


@dataclass
class Answer:
    """What came for one question: when it ended, and the answer's pieces with their times."""

    asked_s: float = 0.0
    pieces: list[tuple[float, Samples]] = field(default_factory=list)
    status: str = ""

    @property
    def audible_ms(self) -> float:
        """The question's last sample → the answer's first audible sample, as it is played."""
        for came, samples in self.pieces:
            if (first := first_audible(samples)) is not None:
                return 1000 * (came + first / RATE - self.asked_s)
        return float("nan")

    @property
    def underruns(self) -> int:
        """How often a loudspeaker that starts at once had nothing to play."""
        at, count = self.pieces[0][0] if self.pieces else 0.0, 0
        for came, samples in self.pieces:
            if came > at + 1e-3:
                count += 1
                at = came
            at += samples.size / RATE
        return count


def question(rate: int) -> tuple[Samples, float]:
    """The shipped question with silence before and after it, and where its last sound lies, in
    seconds."""
    with resources.as_file(resources.files("voxturn.runtime") / "demo" / "question.wav") as path:
        sound = decode_all(path, rate)
    last = last_audible(sound)
    assert last is not None
    silence = [np.zeros(round(s * rate), np.float32) for s in (_LEAD_S, _REST_S)]
    sound = from_int16(to_int16(sound))  # what a wire carries: beams depend on the last bit
    return np.concatenate([silence[0], sound, silence[1]]), _LEAD_S + (last + 1) / rate


class Caller:
    """A client of the realtime protocol, which asks the same question again and again."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        samples, self._end_s = question(RATE)
        step = round(RATE * FRAME_S)
        self._frames = [
            json.dumps(
                {
                    "type": "input_audio_buffer.append",
                    "audio": base64.b64encode(to_int16(samples[i : i + step])).decode(),
                }
            )
            for i in range(0, samples.size, step)
        ]

    async def ask(self) -> Answer:
        """One question at the pace of real time, and its whole answer."""
        answer = Answer()
        sending = asyncio.create_task(self._send(answer))
        try:
            async with asyncio.timeout(_MOST_S):
                while not answer.status:
                    self._take(json.loads(await self._socket.recv()), answer)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        return answer

    def _take(self, event: dict[str, Any], answer: Answer) -> None:
        match event["type"]:
            case "response.output_audio.delta":
                samples = from_int16(base64.b64decode(event["delta"]))
                answer.pieces.append((time.perf_counter(), samples))
            case "response.done":
                answer.status = event["response"]["status"]
            case "error":
                answer.status = event["error"]["code"] or "error"

    async def _send(self, answer: Answer) -> None:
        begin = time.perf_counter()
        answer.asked_s = begin + self._end_s
        for number, frame in enumerate(self._frames, 1):
            await asyncio.sleep(max(0.0, begin + number * FRAME_S - time.perf_counter()))
            await self._socket.send(frame)


async def pairs(result: Result, server: Server, peer: Peer, rounds: int) -> None:
    """The same question in a session at the gateway and in one of `session_peer`, by turns."""
    for stage, info in peer.hello.items():
        result.artifact(stage, StageInfo(**info))
    taken: dict[str, list[float]] = {"gateway": [], "in_process": []}
    for number in range(rounds + 1):
        for name in list(taken)[:: 1 if number % 2 else -1]:
            first_ms = await (_gateway_ms(server) if name == "gateway" else _peer_ms(peer))
            if number:  # the first of both warms
                taken[name].append(first_ms)
    for name, values in taken.items():
        result.samples(f"gateway.pairs.{name}.first_audio_ms", "ms", values)
    added = [a - b for a, b in zip(taken["gateway"], taken["in_process"], strict=True)]
    result.samples("gateway.pairs.added_ms", "ms", added)


async def _gateway_ms(server: Server) -> float:
    async with VoiceClient(f"ws://127.0.0.1:{server.port}") as client:
        return await first_chunk_ms(client.session())


async def _peer_ms(peer: Peer) -> float:
    return float((await asyncio.to_thread(peer.ask))["first_ms"])


async def first_chunk_ms(opening: AbstractAsyncContextManager[VoiceSession]) -> float:
    """Ask aloud: milliseconds from the end of the question to the first sample of the answer."""
    samples, end_s = question(16_000)
    step = round(16_000 * FRAME_S)
    async with opening as session:
        begin = time.perf_counter()

        async def push() -> None:
            for number, at in enumerate(range(0, samples.size, step), 1):
                await asyncio.sleep(max(0.0, begin + number * FRAME_S - time.perf_counter()))
                session.push(samples[at : at + step])

        pushing = asyncio.create_task(push())
        first = 0.0
        try:
            async for event in session:
                if isinstance(event, PcmChunk) and not first:
                    first = time.perf_counter()
                if isinstance(event, TurnDone):
                    break
        finally:
            pushing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pushing
    return 1000 * (first - begin - end_s)


class Crowd:
    """Conversations of three turns that arrive at random."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.answers: list[Answer] = []
        self.refused = 0
        self.failed = 0
        self.at_once = 0
        self._now = 0

    async def arrive(self, rate: float, minutes: float) -> int:
        """Have so many a minute arrive, and wait for the last one's end; how many arrived."""
        random = np.random.default_rng(0)
        callers = []
        end_s = time.perf_counter() + 60 * minutes
        while time.perf_counter() < end_s:
            callers.append(asyncio.create_task(self._one()))
            await asyncio.sleep(float(random.exponential(60 / rate)))
        await asyncio.gather(*callers)
        return len(callers)

    async def _one(self) -> None:
        from websockets.exceptions import InvalidStatus, WebSocketException

        try:
            async with dialled(self._server.port, "realtime") as socket:
                self._now += 1
                self.at_once = max(self.at_once, self._now)
                try:
                    await self._talk(Caller(socket))
                finally:
                    self._now -= 1
        except InvalidStatus as exc:
            self.refused += exc.response.status_code == 429
            self.failed += exc.response.status_code != 429
        except (TimeoutError, OSError, WebSocketException):
            self.failed += 1

    async def _talk(self, caller: Caller) -> None:
        for _ in range(_TURNS):
            answer = await caller.ask()
            self.answers.append(answer)
            await asyncio.sleep(sum(p.size for _, p in answer.pieces) / RATE + _BETWEEN_S)


async def load(result: Result, server: Server, rates: list[float], minutes: float) -> None:
    """Crowds of so many conversations a minute, one after the other."""
    for rate in rates:
        crowd, name = Crowd(server), f"gateway.load.{rate:g}"
        result.value(f"{name}.conversations", "count", await crowd.arrive(rate, minutes))
        whole = [answer for answer in crowd.answers if answer.pieces]
        if whole:
            result.samples(f"{name}.audible_ms", "ms", [each.audible_ms for each in whole])
            starved = sum(each.underruns > 0 for each in whole)
            result.value(f"{name}.underrun_rate", "ratio", starved / len(whole))
        result.value(f"{name}.unanswered", "count", len(crowd.answers) - len(whole))
        result.value(f"{name}.at_once", "count", crowd.at_once)
        result.value(f"{name}.refused", "count", crowd.refused)
        result.value(f"{name}.failed", "count", crowd.failed)


async def idle(result: Result, server: Server, connections: int, seconds: float) -> None:
    """So many connections that say nothing."""
    async with dialled(server.port, "realtime"):
        await asyncio.sleep(_SETTLE_S)
        before_mb, alone = server.rss_mb, await _core_share(server, seconds)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(connections):
                await stack.enter_async_context(dialled(server.port, "realtime"))
            await asyncio.sleep(_SETTLE_S)
            share = await _core_share(server, seconds)
            grown_kb = 1000 * (server.rss_mb - before_mb) / connections
    result.value("gateway.idle.connections", "count", connections)
    result.value("gateway.idle.core_share", "ratio", share)
    result.value("gateway.idle.core_share_of_one", "ratio", alone)
    result.value("gateway.idle.memory_each", "kB", grown_kb)


async def _core_share(server: Server, seconds: float) -> float:
    begin_s, cpu_s = time.perf_counter(), server.cpu_s
    await asyncio.sleep(seconds)
    return (server.cpu_s - cpu_s) / (time.perf_counter() - begin_s)


class Talker:
    """A conversation at the voice endpoint that asks one typed question after the other."""

    def __init__(self, server: Server) -> None:
        self._address = f"ws://127.0.0.1:{server.port}"
        self.turns = 0
        self.chunks = 0
        self.broken = 0
        """Chunks that did not begin where the one before ended: lost, repeated or out of order."""

    async def talk(self, until_s: float) -> None:
        """Ask until it is `until_s`."""
        async with VoiceClient(self._address) as client, client.session() as session:
            events = aiter(session)
            while time.perf_counter() < until_s:
                session.ask(_QUESTIONS[self.turns % len(_QUESTIONS)])
                await self._hear(events)
                self.turns += 1

    async def _hear(self, events: AsyncIterator[SessionEvent]) -> None:
        due = 0
        async with asyncio.timeout(_MOST_S):
            async for event in events:
                if isinstance(event, PcmChunk):
                    self.chunks += 1
                    self.broken += event.start != due
                    due = event.start + event.samples.size
                if isinstance(event, TurnDone):
                    return


async def soak(result: Result, server: Server, conversations: int, minutes: float) -> None:
    """So many conversations at once: whether every chunk comes once and in order, and memory."""
    talkers = [Talker(server) for _ in range(conversations)]
    until_s = time.perf_counter() + 60 * minutes
    tasks = [asyncio.create_task(each.talk(until_s)) for each in talkers]
    memory_mb = []
    while not all(task.done() for task in tasks):
        memory_mb.append(server.rss_mb)
        await asyncio.wait(tasks, timeout=5.0)
    for task in tasks:
        task.result()
    result.value("gateway.soak.conversations", "count", conversations)
    result.value("gateway.soak.turns", "count", sum(each.turns for each in talkers))
    result.value("gateway.soak.least_turns", "count", min(each.turns for each in talkers))
    result.value("gateway.soak.most_turns", "count", max(each.turns for each in talkers))
    result.value("gateway.soak.chunks", "count", sum(each.chunks for each in talkers))
    result.value("gateway.soak.broken", "count", sum(each.broken for each in talkers))
    result.samples("gateway.soak.memory", "MB", memory_mb)
    result.value("gateway.soak.memory_grown", "MB", memory_mb[-1] - memory_mb[len(memory_mb) // 2])


@contextmanager
def _served(profile: str, places: int) -> Iterator[Server]:
    """A gateway with so many places for conversations (0: as many as it takes by itself)."""
    settings = {"idle_s": 3600} | ({"sessions": places} if places else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder, own_profile(profile, folder, settings)) as server:
            yield server


def main(
    profile: str,
    rounds: int,
    rates: list[float],
    minutes: float,
    connections: int,
    places: int,
    soaking: tuple[int, float],
    json_path: Path | None,
) -> Result:
    """Run all parts and write the result file."""
    result = Result("gateway")
    if connections:
        with _served(profile, _PLACES) as server:
            asyncio.run(idle(result, server, connections, 30.0))
    conversations, soak_minutes = soaking
    if conversations:
        with _served(profile, conversations) as server:
            asyncio.run(soak(result, server, conversations, soak_minutes))
    result.notes["places"] = places or "as many as the engines have slots"
    with _served(profile, places) as server:
        if rounds:
            with session_peer(profile) as peer:
                asyncio.run(pairs(result, server, peer, rounds))
        if rates:
            asyncio.run(load(result, server, rates, minutes))
    if json_path is not None:
        result.write(json_path)
    return result
