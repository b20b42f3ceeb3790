"""What a supervisor does about models that die, hang or are merely slow, on fakes of the server and
of its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from voxturn.runtime.errors import ModelNotInstalled, ServerDied, ServerUnavailable
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving import supervisor as supervising
from voxturn.runtime.serving.launcher import EmbeddedTriton
from voxturn.runtime.serving.processes import ProcessState
from voxturn.runtime.serving.supervisor import Silence, Supervisor

IDLE, STOPPED = ProcessState(False, 7), ProcessState(True, 7)


def looks(silence: Silence, states: list[ProcessState], waits: bool = False) -> list[bool]:
    return [silence.hangs(state, lambda: waits) for state in states]


def test_a_stopped_process_hangs_at_the_second_look() -> None:
    assert looks(Silence(), [STOPPED, STOPPED]) == [False, True]
    assert not any(looks(Silence(), [STOPPED, IDLE] * 3))  # it goes on each time


def test_a_process_that_works_is_busy_for_a_long_while() -> None:
    busy = [ProcessState(False, ticks) for ticks in range(100)]
    assert looks(Silence(), busy).index(True) == 74  # at 15 s
    assert looks(Silence(), [IDLE] * 20).index(True) == 15  # at 3 s: it does nothing


def test_a_process_that_waits_for_a_processor_or_a_disk_is_busy() -> None:
    assert looks(Silence(), [IDLE] * 100, waits=True).index(True) == 74
    assert looks(Silence(), [STOPPED] * 2, waits=True) == [False, True]


class Server:
    """A server whose models answer at once, or not `until` they are healed; loading ends in the
    next of `failures`."""

    address = "here:1"

    def __init__(self, failures: list[Exception | None] | None = None) -> None:
        self.calls: list[str] = []
        self.silent = False
        self.dead = False
        self.keeps = False
        self._failures = failures or []

    async def answers(self, model: str, timeout_s: float) -> bool:
        if self.silent:
            self.calls.append("asked")
            await asyncio.Event().wait()
        return not self.dead

    async def unload(self, model: str) -> None:
        self.calls.append(f"unload {model}")
        if self.keeps:
            await asyncio.Event().wait()

    async def load(self, model: str) -> None:
        self.calls.append(f"load {model}")
        if self._failures and (failure := self._failures.pop(0)) is not None:
            raise failure
        self.silent = self.dead = False


class Embedded:
    """A server as a child process, without one."""

    pid = 1

    def __init__(self, state: ProcessState | None) -> None:
        self.state = state
        self.alive = True
        self.stopped = False
        self.waits = False
        self.started = 0
        self.starts = True
        self.crashes = 0
        """How often it ends by itself before it starts."""
        self.crashed = False
        self.last_words = "it ended with code -11"

    def state_of(self, model: str) -> ProcessState | None:
        return self.state

    def waits_for_machine(self, model: str) -> bool:
        return self.waits

    def process_of(self, model: str) -> int | None:
        return None if self.state is None else 99

    def start_again(self) -> None:
        self.started += 1
        self.alive, self.stopped = True, False

    def wait_until_live(self) -> bool:
        self.crashed = self.crashes > 0
        self.crashes -= self.crashed
        return self.starts and not self.crashed


class Watched:
    """A supervisor at work, whose clock stands still but for `passes`."""

    def __init__(self, server: Server, embedded: Embedded | None) -> None:
        self.server = server
        self.embedded = embedded
        self.clock = ManualClock()
        self.lines: list[str] = []
        self.supervisor = Supervisor(
            cast(TritonServer, server),
            ["vits"],
            self.lines.append,
            cast(EmbeddedTriton, embedded),
            self.clock,
        )

    async def until(self, wanted: Callable[[], bool], most: int = 200) -> int:
        """Let fifths of a second pass until it is as wanted; how many did."""
        watching = asyncio.create_task(self.supervisor.watch())
        try:
            for passed in range(most):
                for _ in range(20):
                    await asyncio.sleep(0)
                if watching.done():
                    watching.result()
                if wanted():
                    return passed
                self.clock.advance(0.2)
            raise AssertionError(f"never: {self.lines}")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def healed(self) -> int:
        return await self.until(lambda: self.supervisor.healed > 0)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that were killed."""
    processes: list[int] = []
    monkeypatch.setattr(supervising.os, "kill", lambda pid, number: processes.append(pid))
    return processes


async def test_a_model_whose_process_ended_is_started_again_at_the_next_look(
    killed: list[int],
) -> None:
    watched = Watched(Server(), Embedded(None))
    assert await watched.healed() <= 2
    assert watched.server.calls == ["unload vits", "load vits"]
    assert watched.lines == ["vits: died; starting it again", "vits: answers again"]
    assert killed == []


async def test_a_stopped_model_is_killed_and_started_again_within_a_second(
    killed: list[int],
) -> None:
    server = Server()
    server.silent = True
    watched = Watched(server, Embedded(STOPPED))
    assert await watched.healed() <= 5
    assert watched.lines == ["vits: hangs; starting it again", "vits: answers again"]
    assert killed == [99]


async def test_a_model_that_works_is_left_alone_while_its_canary_is_late(
    killed: list[int],
) -> None:
    server, embedded = Server(), Embedded(ProcessState(False, 0))
    server.silent = True
    watched = Watched(server, embedded)
    looked = 0

    def works() -> bool:
        nonlocal looked
        looked += 1
        embedded.state = ProcessState(False, looked)
        return looked > 60  # 12 s

    await watched.until(works)
    assert watched.lines == []
    assert server.calls == ["asked"]  # once: the first canary may still be answered
    assert killed == []


async def test_a_model_that_the_machine_lets_wait_is_left_alone_for_a_while(
    killed: list[int],
) -> None:
    server, embedded = Server(), Embedded(IDLE)
    server.silent = embedded.waits = True
    watched = Watched(server, embedded)
    assert 70 < await watched.healed() < 80  # 15 s: it may wait for ever
    assert killed == [99]


async def test_a_model_in_a_container_is_asked_twice() -> None:
    server = Server()
    server.dead = True
    watched = Watched(server, None)
    await watched.healed()
    assert watched.lines == ["vits: died; starting it again", "vits: answers again"]


@pytest.mark.parametrize("how", ["alive", "stopped"])
async def test_a_server_that_died_or_hangs_is_started_again_before_its_models_are(how: str) -> None:
    embedded = Embedded(IDLE)
    embedded.alive, embedded.stopped = how != "alive", how == "stopped"
    watched = Watched(Server(), embedded)
    await watched.until(lambda: watched.supervisor.restarted == 1, 1_000_000)  # by a thread
    assert embedded.started == 1
    assert watched.lines == [
        f"the server {'died' if how == 'alive' else 'hangs'}; starting it again"
    ]


async def test_a_server_that_crashes_at_its_start_is_started_once_more(killed: list[int]) -> None:
    embedded = Embedded(IDLE)
    embedded.alive, embedded.crashes = False, 1
    watched = Watched(Server(), embedded)
    await watched.until(lambda: watched.supervisor.restarted == 1, 1_000_000)
    assert embedded.started == 2
    assert "the server did not start: it ended with code -11" in watched.lines
    assert killed == []


async def test_a_server_that_crashes_at_every_start_is_the_end() -> None:
    embedded = Embedded(IDLE)
    embedded.alive, embedded.crashes = False, 9
    watched = Watched(Server(), embedded)
    with pytest.raises(ServerDied, match="does not start again"):
        await watched.until(lambda: False, 1_000_000)
    assert embedded.started == 2


async def test_a_server_that_does_not_start_again_is_the_end(killed: list[int]) -> None:
    embedded = Embedded(IDLE)
    embedded.alive = embedded.starts = False
    watched = Watched(Server(), embedded)
    with pytest.raises(ServerDied, match="does not start again"):
        await watched.until(lambda: False, 1_000_000)
    assert killed == []


async def test_a_server_that_does_not_unload_a_dead_model_is_ended(
    killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "_UNLOADED_S", 0.0)
    server, embedded = Server(), Embedded(STOPPED)
    server.silent = server.keeps = True
    watched = Watched(server, embedded)
    await watched.until(lambda: len(killed) == 2)
    assert killed == [99, embedded.pid]
    assert watched.lines[-1] == "vits: the server does not unload it"


async def test_a_model_that_has_gone_from_the_disk_is_healed_once_it_is_back() -> None:
    server = Server([ModelNotInstalled("it has gone"), None])
    server.dead = True
    watched = Watched(server, None)
    await watched.healed()
    assert watched.lines == [
        "vits: died; starting it again",
        "it has gone",
        "vits: died; starting it again",
        "vits: answers again",
    ]


async def test_a_model_that_loads_but_does_not_answer_is_named_with_a_remedy() -> None:
    class Mute(Server):
        async def answers(self, model: str, timeout_s: float) -> bool:
            return False

    watched = Watched(Mute(), None)
    with pytest.raises(ServerUnavailable, match=r"'vits' was loaded but did not answer.*; serve"):
        await watched.supervisor.load()
    await watched.until(lambda: len(watched.lines) > 1)
    assert watched.lines[:2] == [
        "vits: died; starting it again",
        "vits: was loaded but does not answer",
    ]


async def test_every_model_is_loaded_and_reported() -> None:
    watched = Watched(Server(), None)
    await watched.supervisor.load()
    assert watched.server.calls == ["load vits"]
    assert watched.lines == ["vits: answers"]
