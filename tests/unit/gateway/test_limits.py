from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest
from voxturn.runtime.gateway.core import Gateway, Shared
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import ANYONE, Caller
from voxturn.runtime.gateway.leases import Leases
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.server import wire_limits
from voxturn.runtime.gateway.windows import StoredWindows
from voxturn.runtime.gateway_settings import GatewaySettings

ANA, BO = Caller("ana"), Caller("bo")


@pytest.fixture
def shared() -> Iterator[Leases]:
    """Three places in a file that this process alone has open."""
    with tempfile.TemporaryFile() as file:
        yield Leases(file.fileno(), 3)


@pytest.fixture(params=["own", "shared"])
def limits(request: pytest.FixtureRequest, shared: Leases) -> Limits:
    settings = GatewaySettings(sessions=3, sessions_of_key=2)
    return Limits(settings, 1, places=shared if request.param == "shared" else None)


def test_a_full_house_says_so_at_once(limits: Limits) -> None:
    with contextlib.ExitStack() as stack:
        for caller in (ANA, ANA, BO):
            stack.enter_context(limits.session(caller))
        assert limits.sessions == 3
        with pytest.raises(ApiError, match="all 3 places") as caught, limits.session(BO):
            pass
        assert (caught.value.status, caught.value.code) == (429, "session_limit_reached")
        assert caught.value.headers["retry-after"] == "5"
    assert limits.sessions == 0
    with limits.session(ANA):
        assert limits.sessions == 1


def test_a_key_has_its_own_share(limits: Limits) -> None:
    with limits.session(ANA), limits.session(ANA):
        with pytest.raises(ApiError, match="this key has 2"), limits.session(ANA):
            pass
        with limits.session(BO):
            pass
    one = Caller("ana", sessions=1)
    with (
        limits.session(one),
        pytest.raises(ApiError, match="this key has 1"),
        limits.session(one),
    ):
        pass


def test_places_are_as_many_as_the_engines_have_slots() -> None:
    limits = Limits(GatewaySettings(), 1)
    with (
        limits.session(ANYONE),
        pytest.raises(ApiError, match="all 1 places"),
        limits.session(ANYONE),
    ):
        pass


async def test_callers_without_a_key_are_counted_by_their_addresses() -> None:
    here, there = (Caller("", "anyone", address=each) for each in ("10.0.0.1", "10.0.0.2"))
    limits = Limits(GatewaySettings(sessions_of_key=1, requests_per_minute=1), 3)
    with (
        limits.session(here),
        limits.session(there),
        pytest.raises(ApiError, match="has 1 conversations"),
        limits.session(here),
    ):
        pass
    await limits.request(here)
    await limits.request(there)
    with pytest.raises(ApiError, match="more than 1"):
        await limits.request(here)
    assert (await limits.window(there))[1] == 0
    assert (await limits.window(ANYONE))[1] == 1


@pytest.mark.parametrize("kind", ["memory", "database"])
async def test_requests_are_counted_by_key_and_time(kind: str) -> None:
    with Database() as database:
        storage = StoredWindows(database) if kind == "database" else None
        limits = Limits(GatewaySettings(requests_per_minute=3), 1, storage)
        for _ in range(3):
            await limits.request(ANA)
        with pytest.raises(ApiError, match="more than 3 requests a minute") as caught:
            await limits.request(ANA)
        assert caught.value.status == 429
        assert 1 <= int(caught.value.headers["retry-after"]) <= 61
        await limits.request(BO)
        quick = Caller("quick", rate=5)
        for _ in range(5):
            await limits.request(quick)
        with pytest.raises(ApiError, match="more than 5"):
            await limits.request(quick)


async def test_a_window_moves_on() -> None:
    now = 1000.0
    with Database() as database:
        windows = StoredWindows(database, lambda: now)
        assert [await windows.acquire_entry("a", 2, 60) for _ in range(3)] == [True, True, False]
        assert await windows.get_moving_window("a", 2, 60) == (1000.0, 2)
        now += 59.9
        assert not await windows.acquire_entry("a", 2, 60)
        now += 0.1
        assert await windows.acquire_entry("a", 2, 60)
        assert await windows.get_moving_window("a", 2, 60) == (now, 1)
        await windows.clear("a")
        assert await windows.get_moving_window("a", 2, 60) == (now, 0)
        assert await windows.acquire_entry("b", 2, 60)
        assert await windows.reset() == 1
        assert await windows.check()


def take(file: int, key: str, count: int, told: Connection) -> None:
    """Take places in another process, and keep them until it is ended."""
    places = Leases(os.dup(file), 3)
    told.send([places.take(key, 2) for _ in range(count)])
    told.recv()


@contextmanager
def taken_elsewhere() -> Iterator[tuple[int, Connection, BaseProcess]]:
    """A file of places of which another process has two, how it is told to end, and that
    process."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryFile() as file:
        here, there = fork.Pipe()
        process = fork.Process(target=take, args=(file.fileno(), "ana", 2, there))
        process.start()
        assert here.recv() == [0, 1]
        yield file.fileno(), here, process


def test_places_are_shared_and_die_with_their_process() -> None:
    with taken_elsewhere() as (file, _, process):
        places = Leases(file, 3)
        assert (places.taken(), places.taken("ana"), places.taken("bo")) == (2, 2, 0)
        assert places.take("ana", 2) == "key"
        assert places.take("bo", 2) == 2
        assert places.take("bo", 2) == "all"
        process.kill()
        process.join()
        assert (places.taken(), places.taken("ana")) == (1, 0)
        assert [places.take("ana", 2) for _ in range(2)] == [0, 1]
        places.leave(2)
        assert places.taken("bo") == 0


def test_whoever_comes_after_one_that_was_killed_has_none_of_its_places() -> None:
    with taken_elsewhere() as (file, _, process):
        process.kill()
        process.join()
        assert Leases(file, 3).taken() == 0


def test_fewer_places_leave_those_of_others_where_they_are() -> None:
    """A profile was changed before a worker was begun again."""
    with taken_elsewhere() as (file, here, process):
        fewer = Leases(file, 1)
        assert fewer.take("bo", 1) == "all"
        here.send(None)
        process.join()
        assert process.exitcode == 0
        assert fewer.take("bo", 1) == 0


async def test_what_is_counted_together_is_refused_together(gateway: Gateway) -> None:
    """As two workers of one machine, which share the places of the other."""
    shared = Shared(OwnPlaces(2), OwnPlaces(2), OwnPlaces(8), OwnPlaces(1))
    settings = replace(gateway.settings, speeches_of_key=1, connections_of_key=1)
    first, second = (Gateway(gateway.assistant, settings, shared=shared) for _ in range(2))
    async with first.calls.call(ANA):
        with pytest.raises(ApiError, match="this key has 1 requests and connections"):
            await second.calls.call(ANA).__aenter__()
        async with second.calls.call(BO):
            pass
    async with second.calls.call(ANA):
        pass
    with first.speeches.place(ANA):
        with pytest.raises(ApiError, match="1 texts of this key"), second.speeches.place(ANA):
            pass
        with second.speeches.place(BO), pytest.raises(ApiError), first.speeches.place(ANYONE):
            pass
    with first.limits.session(ANA), second.limits.session(ANA):
        assert (first.limits.sessions, second.limits.sessions) == (2, 2)
    transports = [asyncio.Transport(), asyncio.Transport()]
    doors = [wire_limits(each).connections for each in (first, second)]
    assert [door.enter(each) for door, each in zip(doors, transports, strict=True)] == [True, False]
    doors[1].leave(transports[1])
    doors[0].leave(transports[0])
    assert doors[1].enter(transports[1])
