"""What other packages bring: a broken one keeps nothing else from running."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from voxturn.runtime.models.plugins import entry_points, importable


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import not_there_at_all\n", "ModuleNotFoundError"),
        ("raise RuntimeError('of two\\nlines')\n", "RuntimeError: of two lines"),
        ("other = 1\n", "AttributeError"),
    ],
)
def test_an_entry_point_that_cannot_be_imported_is_passed_over_with_a_warning(
    source: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = f"plugin_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    info = tmp_path / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    points = f"[toys.group]\nbroken = {name}:ROW\nwhole = math:pi\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.WARNING):
        rows = [(point.name, row) for point, row in entry_points("toys.group")]
    assert [name for name, _ in rows] == ["whole"]
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert "toys" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_module_in_a_package_that_is_not_here_is_not_here() -> None:
    assert importable("json")
    assert not importable("not_there_at_all")
    assert not importable("not_there_at_all.inside")
