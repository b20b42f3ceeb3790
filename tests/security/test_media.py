"""Recordings of strangers: whatever they are, nothing but their own bytes is opened, and what they
take is bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from voxturn.runtime import cli
from voxturn.runtime.audio import opening
from voxturn.runtime.audio.decode import decode_all, length_s
from voxturn.runtime.errors import UnreadableAudio

from tests.cli_fakes import use_fakes
from tests.recordings import RATE
from tests.security.audio_files import sound
from tests.security.audio_memory import heard
from tests.security.hostile_audio import AUDIO, READABLE
from tests.security.watching import audited, listening, was_called, watched

ROOT = Path(__file__).parents[2]
LONGEST_S = 5.0
MOST_MB = 1000.0
MOST_SOUND_S = 800.0
"""Minutes of silence, and minutes of sound: the most that a file of a few bytes is believed to
have."""
OWN_MEMORY = "/proc/self/statm"
POINTERS = [
    name
    for name in AUDIO
    if Path(name).suffix in (".m3u8", ".ffconcat", ".mpd", ".sdp", ".m3u", ".pls")
]


@pytest.fixture(scope="module")
def server() -> Iterator[socket]:
    with listening() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, server: socket, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where hostile files are written, after whatever is imported late has been."""
    monkeypatch.setenv("DECOY_PORT", str(server.getsockname()[1]))
    honest = tmp_path / "honest.wav"
    honest.write_bytes(sound("wav-s16"))
    assert heard(honest) == (RATE // 2, None)
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", AUDIO)
def test_it_ends_in_an_error_or_its_sound_and_nothing_else_is_opened(
    name: str, folder: Path, server: socket
) -> None:
    path = folder / name
    AUDIO[name](path)
    with watched(folder) as seen, audited() as events:
        began = time.monotonic()
        declared_s = length_s(path)
        count, error = heard(path)
        took = time.monotonic() - began
    assert set(seen) <= {(name, False)}
    opened = [(event, str(args[0])) for event, args in events if str(args[0]) != OWN_MEMORY]
    assert opened in ([], [("open", str(path))] * 2)
    assert not was_called(server)
    assert took < LONGEST_S
    assert declared_s >= 0
    assert count < MOST_SOUND_S * RATE
    if name in READABLE:
        assert error is None
        assert count > 0
    else:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)


def test_all_of_them_take_little_memory_and_time(tmp_path: Path) -> None:
    program = [sys.executable, "-P", "-m", "tests.security.audio_memory", str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(AUDIO)
    assert not [line for line in lines if line[3] > MOST_MB or line[4] > LONGEST_S]


def test_there_are_many() -> None:
    assert len(AUDIO) > 100
    assert set(AUDIO) > READABLE


@pytest.mark.parametrize("name", POINTERS)
def test_transcribe_says_that_it_is_a_playlist_and_prints_no_words(
    name: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_fakes(monkeypatch, tmp_path / "home")
    AUDIO[name](folder / name)
    assert cli.main(["transcribe", str(folder / name)]) == UnreadableAudio.exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "it is text, as a playlist is; give the recording itself" in printed.err


def _open_without_callback(
    self: opening.Opening, av: Any, reader: Any, options: dict[str, str]
) -> Any:
    return av.open(reader, mode="r", options=opening.open_options() | options)


@pytest.mark.parametrize("name", ["joined.m3u8", "list.ffconcat", "wave.m3u8", "address.m3u8"])
@pytest.mark.parametrize("guard", ["callback", "protocols"])
def test_were_a_playlist_read_it_would_still_open_nothing(
    name: str, guard: str, folder: Path, server: socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two other guards holds alone."""
    lists = opening.open_options() | {"format_whitelist": "hls,concat,wav,aac"}
    lists |= {"safe": "0", "allowed_extensions": "ALL", "extension_picky": "0"}
    if guard == "protocols":
        monkeypatch.setattr(opening.Opening, "_open", _open_without_callback)
    else:
        lists["protocol_whitelist"] = "file,http,tcp,crypto,data,concat"
    monkeypatch.setattr(opening, "open_options", lambda: lists)
    AUDIO[name](folder / name)
    with watched(folder) as seen, pytest.raises(UnreadableAudio):
        decode_all(folder / name, RATE)
    assert set(seen) == {(name, False)}
    assert not was_called(server)
