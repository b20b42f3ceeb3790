"""What needs coqui-tts says so where it is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from voxturn.runtime import cli


def test_a_synthetic_checkpoint_says_what_to_install_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("torch", "torchaudio"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["export", "make-checkpoint", "xtts-v2", "-o", str(tmp_path / "made")]) == 6
    error = capsys.readouterr().err
    assert error.startswith("voxturn: coqui-tts cannot be imported")
    assert "pip install 'voxturn[coqui]'" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
