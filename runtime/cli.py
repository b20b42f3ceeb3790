"""The command line `voxturn`. Commands of other packages join through entry points of the group `voxturn.commands`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from voxturn.runtime.commands import models, talk
from voxturn.runtime.errors import VoxturnError

_EXIT_CODES = """exit codes:
  0 good   1 doctor found problems, or an unexpected error   2 usage   3 input (audio, text, language)
  4 profile or registry   5 model files   6 disk, output or a missing library   7 a run failed   130 interrupted"""


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command that is installed."""
    parser = argparse.ArgumentParser(
        prog="voxturn",
        description="Spoken turns: Whisper hears, a language model answers, a voice speaks.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=metadata.version("voxturn"))
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    talk.add_parsers(commands)
    models.add_parsers(commands)
    for point in metadata.entry_points(group="voxturn.commands"):
        point.load()(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is the error's."""
    args = build_parser().parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except VoxturnError as exc:
        if args.debug:
            raise
        print(f"voxturn: {' '.join(str(exc).split())}", file=sys.stderr)
        return exc.exit_code
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from flushing into the closed pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
