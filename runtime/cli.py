"""The command line `voxturn`. Commands of other packages join through entry points of the group
`voxturn.commands`.

This module is the way in, so it imports next to nothing: the commands, and numpy with them, are
imported in `main`, where an interruption is expected.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING

from voxturn.runtime.errors import VoxturnError

if TYPE_CHECKING:
    import argparse

_EXIT_CODES = """exit codes:
  0 good   1 doctor found problems, or an unexpected error   2 usage   3 input (audio, text, language)
  4 profile or registry   5 model files   6 disk, output or a missing library   7 a run failed   130 interrupted   143 terminated"""
_INTERRUPTED = 128 + signal.SIGINT
_LONGEST = 4000
"""Characters of an error."""
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "1")
"""Of numpy's products, as numpy reads it when it is imported. After a product its other threads spin
for up to 90 ms on cores that the models need."""
_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], "\ufffd")
"""What would steer a terminal."""


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command that is installed."""
    import argparse

    from voxturn.runtime.commands import (
        convert,
        keys,
        models,
        say,
        serve,
        talk,
        transcribe,
        tts,
        turns,
        voices,
    )
    from voxturn.runtime.models.plugins import entry_points

    parser = argparse.ArgumentParser(
        prog="voxturn",
        description="Spoken turns: Whisper hears, a language model answers, a voice speaks.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show tracebacks and what the library logs; the exit code of an error is then 1",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    turns.add_parsers(commands)
    talk.add_parser(commands)
    say.add_parser(commands)
    tts.add_parser(commands)
    convert.add_parser(commands)
    transcribe.add_parser(commands)
    models.add_parsers(commands)
    voices.add_parsers(commands)
    serve.add_parser(commands)
    keys.add_parsers(commands)
    for _, add_command in entry_points("voxturn.commands"):
        add_command(commands)
    return parser


def _version() -> str:
    from importlib import metadata

    return metadata.version("voxturn")


def _print_version(_: SimpleNamespace) -> int:
    print(_version())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is the error's.

    Without `arguments`, those of this process, which is then the command's.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = SimpleNamespace(debug=False)
    if arguments is None:
        os.environ.setdefault(*_ONE_THREAD)
    try:
        with _ended_at_once(owned=arguments is None):
            if words == ["--version"]:  # needs no command
                args.run = _print_version
            else:
                build_parser().parse_args(words, args)
        with _warnings_on_stderr(args.debug), _ended_by_sigterm():
            return _run(args)
    except BrokenPipeError:
        _forget_output()  # whoever read our output has gone
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as exc:
        if args.debug:
            raise
        text, code = str(exc), VoxturnError.exit_code
        if isinstance(exc, VoxturnError):
            code = exc.exit_code
        else:
            text = f"unexpected error: {type(exc).__name__}: {text}; run `voxturn --debug …` and report what it says"
        print(f"voxturn: {_one_line(text)}", file=sys.stderr)
        return code


def _one_line(text: str) -> str:
    """A message, which may quote a file of a stranger: in one line, no longer than a page, without
    control characters."""
    return " ".join(text.split())[:_LONGEST].translate(_CONTROL)


class _Lines(logging.Handler):
    """Log records as lines on standard error: `warning: …`, with `debug` the module and a traceback
    as well."""

    def __init__(self, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = _one_line(record.getMessage())
            if self._debug:
                text = f"{record.name}: {text}"
                if record.exc_info:
                    text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
            print(f"{record.levelname.lower()}: {text}", file=sys.stderr)
        except Exception:  # noqa: BLE001  as every handler: `logging` decides what becomes of it
            self.handleError(record)


@contextmanager
def _warnings_on_stderr(debug: bool) -> Iterator[None]:
    """Show what the library logs: warnings and errors; with `debug` all of it."""
    logger, handler = logging.getLogger("voxturn"), _Lines(debug)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _ended_at_once(owned: bool) -> Iterator[None]:
    """While commands are imported, Ctrl-C and SIGTERM end a process that is ours without a word.

    Nothing is begun that would have to be undone, and an exception may be swallowed by what is
    being imported. A signal that has another handler than a process begins with, or is ignored,
    keeps it.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    replaced = {
        number: handler
        for number, handler in usual.items()
        if owned
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) is handler
    }
    for number in replaced:
        signal.signal(number, lambda number, _: os._exit(128 + number))
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that nothing half-made is left; the exit code is
    the shell's for it.

    It takes Ctrl-C's way: an event loop cancels what runs in it, where an exception would end one
    of its tasks and be told as that task's. A command may have its own way (`serve`); in a thread,
    or where the signal has a handler, nothing is changed.
    """
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # a background job's, which ignores it
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        if received:
            raise SystemExit(128 + received[0]) from None
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(args: SimpleNamespace) -> int:
    import errno

    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        if exc.filename is None:  # what is printed: no writer of ours is in between
            _forget_output()
        from voxturn.runtime.audio.encode import output_error

        raise output_error(exc, str(exc.filename or "the output")) from exc


def _forget_output() -> None:
    """Keep the interpreter, when it ends, from flushing what cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
