"""`voxturn bench session --minutes N`: one long conversation, on a clock that runs faster than the
machine's.

Questions are asked, typed, answered, interrupted and cancelled at random moments; a listener says
"yeah", coughs, is silent. The dialogue is full from the beginning, so that the buffers of keys and
values, whose memory comes as it is first written, have their size. What a process has (memory,
threads, tasks, files) is counted every five minutes of the conversation's time, and after it was
closed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from voxturn.bench.corpus import Speakers
from voxturn.bench.harness import Result
from voxturn.bench.room import Acoustics, Room, SimulatedLoudspeaker
from voxturn.bench.sessions import Script, Watch, scripted
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands.talk import Talk
from voxturn.runtime.flow.clock import NEVER
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    Paused,
    PcmChunk,
    SessionError,
    SessionEvent,
    TurnDone,
)
from voxturn.runtime.profile import load_profile
from voxturn.runtime.turn.session import Session, SessionOptions

_COUNTED_EVERY_S, _WARM_S = 300.0, 900.0
_PATIENCE_S = 30.0
_FILLED = 200
"""Exchanges that a dialogue begins with: more than the model's context takes."""
_QUIET = Acoustics(echo_db=None, babble_db=None)


class FastClock:
    """A `Clock` that runs `speed` times as fast as the machine's."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def now(self) -> float:
        return time.monotonic() * self._speed

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(max(0.0, when - self.now()) / self._speed)

    def wait(self, condition: threading.Condition, until: float) -> None:
        left_s = max(0.0, until - self.now()) / self._speed
        condition.wait(None if until == NEVER else min(left_s, threading.TIMEOUT_MAX))


class Caller:
    """Somebody who talks at random, from a seed."""

    def __init__(
        self, session: Session, script: Script, room: Room, watch: Watch, clock: FastClock
    ) -> None:
        self._session = session
        self._script = script
        self._room = room
        self._watch = watch
        self._clock = clock
        self._random = np.random.default_rng(17)
        self._number = 0
        self.did: Counter[str] = Counter()

    async def exchange(self) -> None:
        """One question, and what becomes of its answer."""
        self._number += 1
        asked_s = self._clock.now()
        if self._random.random() < 0.15:
            self.did["typed"] += 1
            self._session.ask("What is the capital of France?")
        else:
            self.did["asked"] += 1
            await self._room.say(await self._script.question(self._number, 0.0))
        if await self._watch.first(asked_s, self._clock.now() + _PATIENCE_S, PcmChunk) is None:
            self.did["unanswered"] += 1
            return
        await self._wait(0.0, 4.0)
        await self._over_the_answer()
        await self._wait(0.0, 3.0)
        self._watch.told.clear()

    async def _over_the_answer(self) -> None:
        choice = self._random.choice(
            ["interrupt", "noise", "cancel", "listen"], p=[0.55, 0.2, 0.1, 0.15]
        )
        self.did[str(choice)] += 1
        at_s = self._clock.now()
        match choice:
            case "interrupt":
                _, speech = await self._script.interruption(self._number)
                await self._room.say(speech)
                cut = await self._watch.first(at_s, self._clock.now() + _PATIENCE_S, Interrupted)
                self.did["interrupted"] += cut is not None
            case "noise":
                kind = ("cough", "backchannel")[self._number % 2]
                _, sound = await self._script.noise(kind, self._number)
                await self._room.say(sound)
            case "cancel":
                self._session.cancel()
            case _:
                await self._watch.first(at_s, self._clock.now() + _PATIENCE_S, TurnDone)

    async def _wait(self, least_s: float, most_s: float) -> None:
        seconds = float(self._random.uniform(least_s, most_s))
        await self._clock.sleep_until(self._clock.now() + seconds)


def counted() -> dict[str, float]:
    """What this process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "rss_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


async def run(profile_name: str, minutes: float, speed: float, path: Path | None) -> Result:
    """Hold one conversation of so many minutes."""
    profile, result, clock = load_profile(profile_name), Result("session-long"), FastClock(speed)
    speakers = Speakers(profile)
    try:
        script = Script.read(speakers)
        async with Assistant.load(profile, clock=clock) as assistant:
            await assistant.warm()
            scripted(assistant, lambda messages: _answer(script, messages))
            for stage, info in assistant.setup.info.items():
                result.artifact(stage, info)
            before = counted()
            rows, caller, events = await _hold(assistant, script, clock, minutes)
            after = counted()
            await assistant.warm()  # a cancelled sequence gives its slot back at a later step
            running = len(assistant.engine.running) if assistant.engine is not None else 0
    finally:
        speakers.close()
    report(result, rows, before, after)
    for what, count in sorted(caller.did.items()):
        result.value(f"session.long.{what}", "count", count)
    result.value("session.long.errors", "count", events["SessionError"])
    result.value("session.long.slots_left", "count", running)
    result.value("session.long.minutes", "min", minutes)
    result.value("session.long.speed", "ratio", speed)
    result.notes["events"] = dict(events)
    if path:
        result.write(path)
    return result


async def _hold(
    assistant: Assistant, script: Script, clock: FastClock, minutes: float
) -> tuple[list[dict[str, float]], Caller, Counter[str]]:
    speaker = SimulatedLoudspeaker(assistant.rate)
    watch, events = Watch(clock.now, speaker), Counter[str]()
    room = Room(_QUIET, clock, speaker, np.zeros(16000, np.float32))

    def shown(event: SessionEvent) -> None:
        events[type(event).__name__] += 1
        if isinstance(event, PcmChunk | Interrupted | TurnDone | Paused | SessionError):
            watch(event)

    rows: list[dict[str, float]] = []
    async with assistant.session(SessionOptions()) as session:
        session.messages = [*session.messages, *_full(script)]
        caller = Caller(session, script, room, watch, clock)
        talk = Talk(session, speaker, assistant.rate, clock, shown)
        held = asyncio.create_task(talk.hold(room.run(session.push)))
        begin = clock.now()
        try:
            while (now := clock.now() - begin) < minutes * 60:
                if now >= len(rows) * _COUNTED_EVERY_S:
                    rows.append({"at_s": round(now, 1)} | counted())
                await caller.exchange()
                if held.done():
                    held.result()
        finally:
            await cancel_and_wait(held)
    return rows, caller, events


def _full(script: Script) -> list[Message]:
    """A dialogue that has to forget."""
    exchange = (
        Message("user", "What is the capital of France?"),
        Message("assistant", script.long[0]),
    )
    return [*exchange] * _FILLED


def _answer(script: Script, messages: Sequence[Message]) -> str:
    texts = script.long if len(messages) % 4 else script.short
    return texts[len(messages) % len(texts)]


def report(
    result: Result,
    rows: list[dict[str, float]],
    before: dict[str, float],
    after: dict[str, float],
) -> None:
    """Memory once it is warm, and what is left when the conversation was closed."""
    warm = [row["rss_mb"] for row in rows if row["at_s"] >= _WARM_S] or [rows[-1]["rss_mb"]]
    result.samples("session.long.rss_mb", "MB", [row["rss_mb"] for row in rows])
    result.value("session.long.rss_spread_mb", "MB", max(warm) - min(warm))
    result.value("session.long.rss_growth_mb", "MB", warm[-1] - warm[0])
    for what in ("threads", "tasks", "files"):
        result.value(f"session.long.{what}_left", "count", after[what] - before[what])
    result.notes["counted"] = {"before": before, "every_5_minutes": rows, "after": after}


def main(profile: str, minutes: float, speed: float, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, minutes, speed, path))
