"""What the README says of the gateway works as it is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clients.conftest import ASKED, QUESTION, ROOT, words

SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("## For applications")[1]
SECTION = SECTION.split("\n## ")[0]
WRITTEN = "http://127.0.0.1:8080"


def code(kind: str) -> list[str]:
    """The blocks of code of a kind."""
    return re.findall(rf"```{kind}\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(QUESTION, tmp_path / "question.wav")
    return tmp_path


def test_the_curl_lines(address: str, folder: Path) -> None:
    lines = code("sh")[1].replace(WRITTEN, address).replace("curl ", "curl -sS --fail-with-body ")
    done = subprocess.run(
        ["bash", "-ec", lines], cwd=folder, capture_output=True, text=True, check=True
    )
    assert (folder / "four.mp3").stat().st_size > 4000
    heard, answer = (json.loads(line) for line in done.stdout.replace("}{", "}\n{").splitlines())
    assert re.sub("4|four", "four", words(heard["text"])) in (
        "it is four oclock",
        "it is four o clock",
    )
    assert answer["choices"][0]["message"]["content"]


def test_the_ten_lines_of_python(address: str, folder: Path) -> None:
    program = code("python")[0].replace(WRITTEN, address)
    program += "\nimport sys; sys.stdout.write(question)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert words(done.stdout) == ASKED
    assert (folder / "answer.mp3").stat().st_size > 2000
