"""`voxturn convert`: speech in another voice."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import length_s
from voxturn.runtime.audio.opening import check_file
from voxturn.runtime.commands.console import Sink
from voxturn.runtime.commands.options import add_track, check_track, filled, raw_rate, whole
from voxturn.runtime.conversion import VoiceConverter
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import ConversionOptions
from voxturn.runtime.progress import Bar

MODEL = "voice_conversion_models/multilingual/multi-dataset/openvoice_v2"
_MOST_SEED = (1 << 64) - 1
_LOG = logging.getLogger(__name__)


def convert(args: argparse.Namespace) -> int:
    """Speech in another voice."""
    check_track(args)
    for name in (*args.to, *args.speaker, *([args.input] if args.input != "-" else [])):
        check_file(Path(name))
    manner = ConversionOptions(live=args.live, seed=args.seed, noise=args.noise)
    report = ReadReport()
    with VoiceConverter.load(args.model, progress=Bar()) as converter, ExitStack() as stack:
        if converter.info.synthetic:
            _LOG.warning("%s has synthetic weights; what it gives is noise", args.model)
        if args.live:
            delay_s = converter.using(manner).converter.delay_s
            print(f"what is said is given {delay_s:.1f} s later", file=sys.stderr)
        chunks = converter.stream(
            _source(args),
            args.to,
            speaker=args.speaker,
            live=args.live,
            seed=args.seed,
            noise=args.noise,
            raw_rate=args.raw,
            track=args.track,
            report=report,
        )
        total = 0.0 if args.input == "-" or args.raw else length_s(args.input)
        bar = stack.enter_context(Bar())
        sink = stack.enter_context(Sink(args.output, converter.rate, False))
        for chunk in chunks:
            sink.write(chunk.samples)
            seconds = (chunk.start + chunk.samples.size) // converter.rate
            bar("convert", seconds, round(total))
    if report.damaged:
        _LOG.warning("%s: %s", args.input, report)
    return 0


def _source(args: argparse.Namespace) -> str | IO[bytes]:
    """What is converted. Of somebody who speaks into a pipe, what there is is read at once."""
    if args.input != "-":
        return str(args.input)
    pipe = sys.stdin.buffer
    return cast(IO[bytes], _Promptly(pipe)) if args.live and args.raw else pipe


class _Promptly:
    """A pipe whose `read` gives what there is, and waits for the first of it alone."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        read1 = getattr(self._pipe, "read1", self._pipe.read)
        return bytes(read1(size))


def _noise(text: str) -> float:
    """A number; its range the options know."""
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--noise {text}: must be a number") from None


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's command."""
    parser = commands.add_parser(
        "convert",
        help="give speech another voice",
        epilog="examples:\n  voxturn convert me.wav --to ana.wav -o as-ana.wav --model openvoice\n"
        "  arecord -f S16_LE -r 16000 -t raw | voxturn convert - --raw 16000 --live --to ana.wav -o - | aplay",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="IN", help="audio of any kind, or - for standard input")
    parser.add_argument(
        "--to",
        required=True,
        nargs="+",
        metavar="REF",
        help="recordings of the voice that it is to have, with its owner's consent",
    )
    parser.add_argument(
        "--from",
        dest="speaker",
        nargs="+",
        default=[],
        metavar="REF",
        help="recordings of who speaks (default: he is heard in IN)",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="a WAV file, or - for standard output"
    )
    parser.add_argument(
        "--model",
        type=filled("--model"),
        default=MODEL,
        metavar="ARTIFACT",
        help="a converter's folder or its name in the registry (default: OpenVoice v2)",
    )
    parser.add_argument(
        "--raw",
        type=raw_rate,
        default=0,
        metavar="RATE",
        help="the input is headerless 16-bit mono PCM",
    )
    add_track(parser)
    parser.add_argument(
        "--live", action="store_true", help="convert while it is said, with little delay"
    )
    parser.add_argument(
        "--seed", type=whole("--seed", 0, _MOST_SEED), metavar="N", help="another seed, other noise"
    )
    parser.add_argument(
        "--noise",
        type=_noise,
        metavar="N",
        help="how much its sound varies, 0 is not at all (default: its own)",
    )
    parser.set_defaults(run=convert)
