"""The options that every `voxturn export` command has, in one spelling: `--checkpoint`, `--for`,
`--precision`, `-o`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

_OLDER = {"tensorrt-onnx": "tensorrt"}
"""Engines under the names that they had before."""


def add_options(
    parser: argparse.ArgumentParser,
    engines: Sequence[str],
    about_engines: str,
    about_precisions: str,
    engine_needed: bool,
) -> None:
    """Add the options to `parser`; `args.engine` is one of `engines`, or "" where none is needed
    and none is given.

    `--to` and the older names of engines are accepted as well, and not shown.
    """
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="the folder with the model's files, in its official layout",
    )
    target = parser.add_mutually_exclusive_group(required=engine_needed)
    target.add_argument(
        "--for",
        dest="engine",
        type=engine_name,
        choices=list(engines),
        default="",
        help=about_engines,
    )
    target.add_argument(
        "--to",
        dest="engine",
        type=engine_name,
        choices=list(engines),
        default="",
        help=argparse.SUPPRESS,
    )
    parser.add_argument("--precision", default="", help=about_precisions)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="ARTIFACT",
        help="a new folder, or an artifact to replace",
    )


def engine_name(text: str) -> str:
    """An engine as it is called now, where `text` is the name that it had before."""
    return _OLDER.get(text, text)
