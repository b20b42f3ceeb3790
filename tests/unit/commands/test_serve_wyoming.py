"""Wyoming as a process, alone and beside the gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from voxturn.runtime.cli import main
from voxturn.runtime.commands import serve_wyoming
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.store import StoredConversations
from wyoming.asr import Transcript
from wyoming.ping import Ping

from tests.wyoming_client import Client

OPEN = ["gateway", "--host", "0.0.0.0", "--port", "0", "--open"]


@asynccontextmanager
async def served(words: list[str], profile: Path, home: Path) -> AsyncIterator[bytes]:
    """`voxturn serve`, which has to end well: where Wyoming listens."""
    command = [sys.executable, "-P", "-m", "voxturn.runtime", "serve", *words, "--profile", profile]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"VOXTURN_HOME": str(home)},
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        try:
            line = await process.stdout.readline()
            while not line.startswith(b"tcp://"):
                line = await process.stdout.readline()
            yield line
        finally:
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def port_of(line: bytes) -> int:
    return int(line.rsplit(b":", 1)[1])


@pytest.mark.parametrize(
    ("words", "host"),
    [
        (["wyoming", "--port", "0"], b"127.0.0.1"),
        (["gateway", "--port", "0", "--wyoming", "0"], b"127.0.0.1"),
        ([*OPEN, "--wyoming", "0"], b"127.0.0.1"),
        ([*OPEN, "--wyoming", "0", "--wyoming-host", "0.0.0.0"], b"0.0.0.0"),
    ],
    ids=["alone", "beside", "beside an open one", "open"],
)
async def test_it_serves_where_it_was_told_until_it_is_stopped(
    tmp_path: Path, words: list[str], host: bytes
) -> None:
    profile = write_profile(tmp_path / "fake")
    async with (
        served(words, profile, tmp_path / "home") as line,
        Client("127.0.0.1", port_of(line)) as client,
    ):
        assert line.startswith(b"tcp://%s:" % host)
        await client.tell(Ping())
        await client.until("pong")


async def test_alone_and_beside_the_gateway_it_goes_on_with_the_same_conversation(
    tmp_path: Path,
) -> None:
    alone, beside = ["wyoming", "--port", "0"], ["gateway", "--port", "0", "--wyoming", "0"]
    profile, home = write_profile(tmp_path / "fake"), tmp_path / "home"
    for words in (alone, alone, beside):
        async with (
            served(words, profile, home) as line,
            Client("127.0.0.1", port_of(line)) as client,
        ):
            question = Transcript("Where?", context={"conversation_id": "kitchen"})
            await client.tell(question)
            await client.until("handled-stop")
    database = Database(home / "gateway.sqlite")
    with database:
        kept = await StoredConversations(database, 1, 100).load("wyoming", "kitchen")
    assert kept is not None
    assert [each.text for each in kept if each.role == "user"] == ["Where?"] * 3


@pytest.mark.parametrize(
    "words",
    [
        ["wyoming", "--port", "65536"],
        ["wyoming", "--zeroconf"],
        ["wyoming", "--host", "192.0.2.1", "--zeroconf", "a.b"],
        ["gateway", "--zeroconf", "here"],
        ["gateway", "--host", "0.0.0.0", "--open", "--wyoming", "0", "--zeroconf", "here"],
        ["gateway", "--wyoming", "-1"],
    ],
)
def test_what_cannot_be_served_is_the_caller_s_fault(words: list[str]) -> None:
    assert main(["serve", *words]) == UsageError.exit_code


def test_without_the_package_it_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve_wyoming, "importable", lambda name: False)
    assert main(["serve", "wyoming"]) == ExecutorUnavailable.exit_code
    assert "voxturn[wyoming]" in capsys.readouterr().err
