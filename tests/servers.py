"""Servers of other projects, started for tests: PostgreSQL and Redis, where they are installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIVE_S = 30.0
SECRET = "hunter-2"  # pragma: allowlist secret
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class PostgresServer:
    """A server of its own, which listens at a socket in its folder."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = user

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"postgresql://tester:{SECRET}@/postgres?host={self._folder}"

    def make(self) -> None:
        """Make its files."""
        (self._folder / "secret").write_text(SECRET, encoding="utf-8")
        secure = ["--auth=scram-sha-256", f"--pwfile={self._folder}/secret"]
        self._run("initdb", "--username=tester", "--no-sync", "--encoding=UTF8", *secure)

    def start(self) -> None:
        """Start it; it answers when this returns."""
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "--wait", f"--options={options}", f"--log={self._folder}/log", "start")

    def stop(self) -> None:
        """Stop it, and end its connections."""
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def _run(self, name: str, *options: str) -> None:
        command = [str(self._binaries / name), "-D", str(self._folder / "data"), *options]
        subprocess.run(
            command,
            user=self._user,
            cwd="/",
            check=True,
            timeout=_LIVE_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs while the block does. Skips the test where none is installed."""
    found = shutil.which("initdb")
    binaries = Path(found).resolve().parent if found else next(reversed(_BINARIES), None)
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        if user is not None:
            shutil.chown(name, user)
        server = PostgresServer(binaries, Path(name), user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
                server.stop()


@contextmanager
def redis_server() -> Iterator[str]:
    """The address of a server that runs while the block does. Skips the test where none is
    installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("Redis is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", SECRET]
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            _answers(port)
            yield f"redis://:{SECRET}@127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _answers(port: int) -> None:
    deadline = time.monotonic() + _LIVE_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)
