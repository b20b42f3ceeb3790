"""The page of `examples/` has a line for each of them, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clients.conftest import ROOT

FOLDER = ROOT / "examples"
PAGES = sorted(FOLDER.rglob("README.md"))
TABLE = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_example_is_in_the_table() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/README.md")}
    assert folders == {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert folders == set(re.findall(r"\]\((\w+)/README\.md\)", TABLE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_and_files_of_commands_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    files = re.findall(r"(?:examples|runtime)/[\w/.]+", text)
    missing += [name for name in files if not (ROOT / name).exists()]
    assert missing == []
