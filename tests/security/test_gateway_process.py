"""A gateway as it is started: where it listens, who may call it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.store import StoredConversations
from voxturn.runtime.gateway.stored_keys import create, revoke
from voxturn.runtime.messages import Message
from voxturn.runtime.serving.processes import descendants

from tests.security.ports import listening

_LIVE_S = 60.0
VOXTURN = [sys.executable, "-P", "-m", "voxturn.runtime"]
DIALOGUE = [Message("user", "Hello."), Message("assistant", "Good day.")]


class Started:
    """`voxturn serve gateway` in a process of its own, with what it printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        profile = folder / "fake" / "fake.toml"
        if not profile.exists():
            write_profile(profile.parent)
            with profile.open("a", encoding="utf-8") as file:
                file.write("\n[gateway]\ndrain_s = 5.0\n")
        self.database = folder / "gateway.sqlite"
        self.log = folder / "log"
        given = ["--profile", str(profile), "--port", "0", "--database", str(self.database)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*VOXTURN, "serve", "gateway", *given, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    @property
    def family(self) -> list[int]:
        """The process and its workers."""
        return [self.process.pid, *descendants(self.process.pid)]

    def ask(
        self, method: str, path: str, key: str = "", timeout: float = _LIVE_S
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer."""
        request = urllib.request.Request(self.url + path, method=method)
        if key:
            request.add_header("authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)

    def text(self, path: str) -> str:
        """An answer of text."""
        with urllib.request.urlopen(self.url + path, timeout=_LIVE_S) as answer:
            return str(answer.read().decode())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(_LIVE_S)

    def close(self) -> None:
        """End it, however."""
        family = self.family
        self.process.kill()
        self.process.wait(_LIVE_S)
        for pid in family[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def started(folder: Path, *options: str) -> Iterator[Started]:
    """A gateway that is ended with the block."""
    gateway = Started(folder, *options)
    try:
        assert gateway.url, gateway.log.read_text()
        yield gateway
    finally:
        gateway.close()


def refused(folder: Path, *options: str) -> str:
    """What a gateway says that does not start: one line."""
    (folder / "log").unlink(missing_ok=True)  # of one that did
    gateway = Started(folder, *options)
    try:
        assert gateway.url == ""
        assert gateway.process.wait(_LIVE_S) == 2
    finally:
        gateway.close()
    (line,) = gateway.log.read_text().splitlines()
    gateway.log.unlink()
    return line


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended may not have been buried yet."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells."""
    deadline = time.monotonic() + _LIVE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def conversation(path: Path, key: str) -> list[Message] | None:
    with Database(path) as database:
        return await StoredConversations(database, 30.0, 100).load(key, "1")


async def save(path: Path, key: str) -> None:
    with Database(path) as database:
        await StoredConversations(database, 30.0, 100).save(key, "1", DIALOGUE)


def test_it_listens_on_the_loopback_device_alone(tmp_path: Path) -> None:
    with started(tmp_path) as gateway:
        where = listening(gateway.family)
        assert where == {gateway.url.removeprefix("http://")}
        assert all(address.startswith("127.0.0.1:") for address in where)
        assert gateway.end() == 0


def test_elsewhere_it_needs_a_key(tmp_path: Path) -> None:
    assert "there is no key" in refused(tmp_path, "--host", "0.0.0.0")
    with Database(tmp_path / "gateway.sqlite") as database:
        key, secret = create(database, "ana")
    with started(tmp_path, "--host", "0.0.0.0") as gateway:
        assert listening(gateway.family) == {gateway.url.removeprefix("http://")}
        assert gateway.ask("DELETE", "/v1/conversations")[0] == 401
        assert gateway.ask("DELETE", "/v1/conversations", secret)[0] == 200
        with Database(tmp_path / "gateway.sqlite") as database:
            revoke(database, key.id)
        until(lambda: gateway.ask("DELETE", "/v1/conversations", secret)[0] == 401)
    assert "there is no key" in refused(tmp_path, "--host", "0.0.0.0")
    with started(tmp_path, "--host", "0.0.0.0", "--open") as gateway:
        assert gateway.ask("DELETE", "/v1/conversations")[0] == 200


def test_a_key_that_is_made_closes_it_to_the_others(tmp_path: Path) -> None:
    with started(tmp_path) as gateway:
        assert gateway.ask("DELETE", "/v1/conversations")[0] == 200
        command = [*VOXTURN, "keys", "create", "ana", "--database", str(gateway.database)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        secret = done.stdout.strip()
        until(lambda: gateway.ask("DELETE", "/v1/conversations")[0] == 401)
        assert gateway.ask("DELETE", "/v1/conversations", secret)[0] == 200
        assert secret not in gateway.log.read_text()


def test_files_and_options_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate " * 100)
    lines = [
        refused(tmp_path, "--certificate", str(text)),
        refused(tmp_path, "--certificate", str(text), "--key", str(text)),
        refused(tmp_path, "--database", str(text)),
        refused(tmp_path, "--workers", "0"),
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        lines.append(refused(tmp_path, "--port", port))
        lines.append(refused(tmp_path, "--port", port, "--workers", "2"))
    assert all(line.startswith("voxturn: ") for line in lines)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_it_speaks_tls_where_it_is_given_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]  # fmt: skip
    about = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *about, *files], check=True, capture_output=True)
    with started(tmp_path, "--certificate", str(certificate), "--key", str(key)) as gateway:
        assert gateway.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(
            f"{gateway.url}/healthz", timeout=_LIVE_S, context=context
        ) as answer:
            assert json.load(answer) == {"status": "ok"}
        plain = gateway.url.replace("https", "http")
        with pytest.raises(OSError):  # noqa: PT011
            urllib.request.urlopen(f"{plain}/healthz", timeout=_LIVE_S)
        assert gateway.end() == 0


def test_conversations_go_on_after_it_was_killed(tmp_path: Path) -> None:
    with Database(tmp_path / "gateway.sqlite") as database:
        key, secret = create(database, "ana")
    with started(tmp_path) as gateway:
        asyncio.run(save(gateway.database, key.id))
        gateway.end(signal.SIGKILL)
    assert asyncio.run(conversation(tmp_path / "gateway.sqlite", key.id)) == DIALOGUE
    with started(tmp_path) as gateway:
        status, told = gateway.ask("DELETE", "/v1/conversations/1", secret)
        assert (status, told["deleted"]) == (200, True)
        assert gateway.end() == 0


ENDLESS = """
import asyncio
from voxturn.runtime.commands.serving import signals

async def main():
    stop = asyncio.Event()
    with signals(stop):
        print("ready", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        await asyncio.sleep(3600)  # a turn that does not end

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", ENDLESS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in ("ready\n", "stopping\n"):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.wait(_LIVE_S) == 128 + number


def test_workers_share_keys_limits_and_conversations(tmp_path: Path) -> None:
    with Database(tmp_path / "gateway.sqlite") as database:
        key, secret = create(database, "ana", rate=10)
    asyncio.run(save(tmp_path / "gateway.sqlite", key.id))
    with started(tmp_path, "--workers", "2") as gateway:
        pids = gateway.family[1:]
        assert len(pids) == 2
        assert gateway.ask("DELETE", "/v1/conversations/1", secret)[0] == 200
        codes = [gateway.ask("DELETE", "/v1/conversations", secret)[0] for _ in range(12)]
        assert (codes.count(200), codes.count(429)) == (9, 3)
        counted = 'voxturn_requests_total{path="/v1/conversations",status="200"} 9.0'
        for _ in range(6):  # whichever of them answers, it tells what both have counted
            assert counted in gateway.text("/metrics")
        os.kill(pids[0], signal.SIGKILL)
        assert gateway.ask("GET", "/healthz")[0] == 200  # the other one answers
        until(lambda: len(gateway.family) == 3 and pids[0] not in gateway.family)
        assert gateway.end() == 0
        assert not any(map(alive, pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_began_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    with started(tmp_path, "--workers", "2") as gateway:
        pids = gateway.family[1:]
        gateway.end(number)
        until(lambda: not any(map(alive, pids)))
