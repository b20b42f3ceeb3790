"""What the library logs, as the command line shows it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from voxturn.runtime import cli
from voxturn.runtime.commands import models
from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.models.registry import Registry

LOG = logging.getLogger("voxturn.runtime.some.module")


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`voxturn models list` logs something of each level."""
    read = Registry.read

    def logged(path: Path | None = None) -> Registry:
        if path is not None:
            return read(path)
        LOG.debug("a detail")
        LOG.warning("tokens are chosen\non the host: %s", "no nvcc")
        try:
            raise LookupError("lost")
        except LookupError:
            LOG.exception("it failed")
        return read()

    monkeypatch.setattr(models.Registry, "read", logged)


@pytest.mark.usefixtures("logs")
def test_warnings_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # a handler is not left behind
        assert cli.main(["models", "list"]) == 0
        assert capsys.readouterr().err.splitlines() == [
            "warning: tokens are chosen on the host: no nvcc",
            "error: it failed",
        ]


@pytest.mark.usefixtures("logs")
def test_debug_shows_everything_with_its_module_and_tracebacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["--debug", "models", "list"]) == 0
    err = capsys.readouterr().err
    assert "debug: voxturn.runtime.some.module: a detail\n" in err
    assert "Traceback" in err
    assert err.endswith("LookupError: lost\n")


def test_an_error_that_quotes_a_stranger_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path | None = None) -> Registry:
        raise CorruptModel("model\x1b[2J\x9b1A\x07.bin\n" + "é" * 9999)

    monkeypatch.setattr(models.Registry, "read", refuse)
    assert cli.main(["models", "list"]) == CorruptModel.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("voxturn: model\ufffd[2J\ufffd1A\ufffd.bin éé")
    assert len(line) < 4100
