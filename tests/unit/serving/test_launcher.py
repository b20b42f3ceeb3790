"""How the embedded server is started, on a program in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from voxturn.runtime.errors import ServerUnavailable
from voxturn.runtime.serving import launcher
from voxturn.runtime.serving.launcher import EmbeddedTriton

CRASH = "kill -KILL $$"
SILENT = "exit 1"
WRONG = "echo 'error: creating server: Internal - failed to stat file /nowhere'; exit 1"
PORT = """echo "failed to start GRPC service: Socket '127.0.0.1:1' already in use"; exit 1"""
LIVES = "touch {up}; exec sleep 60"


class Server:
    """A program in the server's place, that does one of `deeds` at each start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._up = folder / "up"
        self._starts = folder / "starts"
        (folder / "bin").mkdir()

    def does(self, *deeds: str) -> None:
        cases = "".join(
            f"{number}) {deed.format(up=self._up)};;\n" for number, deed in enumerate(deeds, 1)
        )
        program = self._folder / "bin/tritonserver"
        program.write_text(
            f"#!/bin/sh\necho . >> {self._starts}\n"
            f"case $(wc -l < {self._starts} | tr -d ' ') in\n{cases}esac\n"
        )
        program.chmod(0o755)

    @property
    def starts(self) -> int:
        return len(self._starts.read_text().splitlines())

    def is_live(self, grpc: int, runs: Callable[[], bool], patience_s: float) -> bool:
        """As the launcher's, of this program."""
        while runs() and not self._up.exists():
            pass
        return runs()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path)
    monkeypatch.setattr(launcher, "_wheel", lambda: (tmp_path, tmp_path))
    monkeypatch.setattr(launcher, "_backends", lambda distribution, folder: folder)
    monkeypatch.setattr(launcher, "is_live", server.is_live)
    return server


@pytest.mark.parametrize("deed", [CRASH, SILENT], ids=["by a signal", "without a word"])
def test_a_server_that_ends_by_itself_is_started_once_more(
    deed: str, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.does(deed, LIVES)
    with EmbeddedTriton(tmp_path, {}) as embedded:
        assert embedded.alive
        assert not embedded.crashed
    assert server.starts == 2
    (line,) = caplog.messages
    assert line.startswith("the server did not start, and is started once more: it ended with code")


def test_one_that_ends_by_itself_twice_does_not_start(server: Server, tmp_path: Path) -> None:
    server.does(CRASH, CRASH, LIVES)
    with pytest.raises(ServerUnavailable, match="did not start: it ended with code -9; its log:"):
        EmbeddedTriton(tmp_path, {})
    assert server.starts == 2


def test_one_that_says_what_is_wrong_is_not_started_again(server: Server, tmp_path: Path) -> None:
    server.does(WRONG, LIVES)
    with pytest.raises(ServerUnavailable, match="failed to stat file /nowhere"):
        EmbeddedTriton(tmp_path, {})
    assert server.starts == 1


def test_a_port_that_was_taken_leaves_a_crash_its_second_start(
    server: Server, tmp_path: Path
) -> None:
    server.does(PORT, CRASH, LIVES)
    with EmbeddedTriton(tmp_path, {}) as embedded:
        assert embedded.alive
    assert server.starts == 3
