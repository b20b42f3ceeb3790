"""`examples/audiobook` at a gateway that speaks one text at a time, and refuses more with 429."""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.conftest import MOST_S, ROOT, heard, served, words

FOLDER = ROOT / "examples/audiobook"
BOOK = (FOLDER / "book.txt").read_text(encoding="utf-8")
CHAPTERS = [chapter.strip() for chapter in BOOK.split("# ") if chapter]
PROFILE = (ROOT / "runtime/profiles/demo.toml").read_text(encoding="utf-8")
PAUSE_S = 0.5


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("profile") / "narrow.toml"
    path.write_text(f"{PROFILE}\n[gateway]\nspeeches_of_key = 1\n", encoding="utf-8")
    with served(str(path)) as where:
        yield where


def read(gateway: str, book: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The program reads a book, three chapters at once."""
    arguments = [book, folder, "--gateway", gateway, "--at-once", "3"]
    return subprocess.run(
        [sys.executable, "-P", FOLDER / "audiobook.py", *arguments],
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )


@pytest.fixture(scope="module")
def spoken(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's book, read."""
    folder = tmp_path_factory.mktemp("spoken")
    done = read(gateway, FOLDER / "book.txt", folder)
    assert (done.returncode, done.stderr) == (0, "")
    names = {Path(line).name for line in done.stdout.splitlines()}
    assert names == {"01.wav", "02.wav", "03.wav"}
    return folder


def refusals(gateway: str) -> float:
    """How many texts the gateway had no room for."""
    with urllib.request.urlopen(f"{gateway}/metrics") as answer:
        text = answer.read().decode()
    found = re.search(r'^voxturn_refusals_total\{code="too_many_requests"\} (\S+)', text, re.M)
    return float(found[1]) if found else 0.0


def timed(path: Path) -> list[tuple[str, float, float]]:
    return [tuple(each) for each in json.loads(path.read_text(encoding="utf-8"))]


def alike(heard_words: str, text: str) -> bool:
    """Whether words are a text's, but for the few that Whisper's base model hears otherwise."""
    match = difflib.SequenceMatcher(None, heard_words.split(), text.split(), autojunk=False)
    return match.ratio() > 0.85


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_chapter_says_its_text(gateway: str, spoken: Path, number: int) -> None:
    with wave.open(str(spoken / f"{number:02}.wav")) as file:
        rate, length_s = file.getframerate(), file.getnframes() / file.getframerate()
        pcm = file.readframes(file.getnframes())
    text = words(CHAPTERS[number - 1])
    told = timed(spoken / f"{number:02}.json")
    assert words(" ".join(word for word, *_ in told)) == text
    times = [time for _, *span in told for time in span]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= length_s - PAUSE_S + 0.01
    assert alike(await heard(f"{gateway}/v1", pcm, rate), text)
    last = CHAPTERS[number - 1].split("\n\n")[-1]
    begin_s = told[-len(last.split())][1]
    ending = await heard(f"{gateway}/v1", pcm[2 * int(begin_s * rate) :], rate)
    assert alike(ending, words(last))


def test_it_waited_where_the_gateway_had_no_room(gateway: str, spoken: Path) -> None:
    assert refusals(gateway) > 0


def test_it_goes_on_with_what_is_missing_or_was_changed(
    gateway: str, spoken: Path, tmp_path: Path
) -> None:
    (spoken / "02.json").unlink()
    book = tmp_path / "book.txt"
    book.write_text(BOOK.replace("walked home", "walked away"), encoding="utf-8")
    done = read(gateway, book, spoken)
    assert {Path(line).name for line in done.stdout.splitlines()} == {"02.wav", "03.wav"}
    assert read(gateway, book, spoken).stdout == ""


def test_errors_are_one_line(gateway: str, tmp_path: Path) -> None:
    for where, book in (("http://127.0.0.1:1", "book.txt"), (gateway, "none.txt")):
        done = read(where, FOLDER / book, tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
