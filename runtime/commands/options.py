"""Values of options, checked while the command line is parsed: before a file is opened or a model
is loaded.

Each is a `type` for argparse. It raises `UsageError`, which says the option, its value and what it
must be. An option that is not given keeps its default, which no type sees (but texts: theirs is
None): so `0` and an empty text are values, and never mean "not given".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from voxturn.runtime.audio.limits import LEAST_RATE, MOST_RATE
from voxturn.runtime.errors import UnsupportedLanguage, UsageError
from voxturn.runtime.text.language import AUTO, Languages, codes_of, is_auto
from voxturn.runtime.text.styles import style_name


def whole(option: str, least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least` to `most` (None: without end)."""
    bounds = f"must be {least} or more" if most is None else f"must be between {least} and {most}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise UsageError(f"{option} {text}: must be a whole number") from None
        if number < least or (most is not None and number > most):
            raise UsageError(f"{option} {number}: {bounds}")
        return number

    return parse


def filled(option: str) -> Callable[[str], str]:
    """A text with something in it; returned without the blanks around it."""

    def parse(text: str) -> str:
        if not text.strip():
            raise UsageError(f"{option}: is empty; give a value or leave the option out")
        return text.strip()

    return parse


def language(option: str, *, auto: bool = False) -> Callable[[str], str]:
    """A language tag, as it was written; with `auto`, also that word, or tags with commas between
    them."""

    def parse(text: str) -> str:
        tag = filled(option)(text)
        if auto and is_auto(tag):
            return AUTO
        try:
            Languages.of(tag) if auto else codes_of(tag)
        except UnsupportedLanguage as exc:
            raise UsageError(f"{option}: {exc}{', or auto' if auto else ''}") from None
        return tag

    return parse


def style_option(text: str) -> str:
    """The name of a style, for `--style STYLE`."""
    return style_name(text)


def raw_rate(text: str) -> int:
    """The rate of headerless PCM in Hz, for `--raw RATE`."""
    try:
        rate = int(text)
    except ValueError:
        rate = 0
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise UsageError(
            f"--raw {text}: {text} Hz is not a rate; it must be between {LEAST_RATE} and {MOST_RATE}"
        )
    return rate


def track_number(text: str) -> int:
    """Which audio track of a recording, for `--track N`.

    Whether it is there, its container knows.
    """
    return whole("--track", 1)(text)


def add_track(parser: argparse.ArgumentParser) -> None:
    """Add `--track`."""
    parser.add_argument(
        "--track",
        type=track_number,
        default=0,
        metavar="N",
        help="which audio track, from 1 (default: the one that is flagged so, else the first)",
    )


def check_track(args: argparse.Namespace) -> None:
    """Raise `UsageError` where a track is asked of raw PCM."""
    if args.track and args.raw:
        raise UsageError("--track goes with containers; raw PCM has one track")
