"""What the commands that talk share: their options, texts from outside, outputs that are a WAV file
or a pipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from voxturn.runtime.audio.encode import AudioSink, PipeSink, WavFile
from voxturn.runtime.audio.opening import check_file
from voxturn.runtime.errors import OutputNotWritable, TextError, UsageError


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A command with `--profile`."""
    parser = commands.add_parser(
        name,
        help=text,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--profile",
        default="demo",
        metavar="P",
        help="a shipped profile or a .toml file (default: demo)",
    )
    return parser


def text_from(read: Callable[[], str], what: str = "standard input") -> str:
    """Text that is one.

    Some locales read any bytes, and what is no text stands in it as halves of characters.
    """
    try:
        text = read()
        text.encode()
        return text
    except UnicodeError as exc:
        raise TextError(f"{what}: is not UTF-8 text; give text") from exc


def audio_source(name: str) -> str | IO[bytes]:
    """A file of that name, or standard input for `-`. Raises `AudioError`."""
    if name == "-":
        return sys.stdin.buffer
    check_file(Path(name))
    return name


class Sink(ExitStack):
    """A WAV file, or a pipe for `-`."""

    def __init__(self, name: str, rate: int, raw: bool) -> None:
        super().__init__()
        if raw and name != "-":
            raise UsageError("--raw goes with -o -; files are WAV")
        self._sink: AudioSink = (
            PipeSink(sys.stdout.buffer, rate, raw)
            if name == "-"
            else self.enter_context(WavFile(Path(name), rate))
        )
        self.write = self._sink.write


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there. Raises `OutputNotWritable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputNotWritable(
            f"{folder}: is not a folder and cannot be made ({exc.strerror})"
        ) from exc
