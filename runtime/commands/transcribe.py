"""`voxturn transcribe`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict, replace

from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import length_s
from voxturn.runtime.commands.loading import load_parts
from voxturn.runtime.commands.options import add_track, check_track, language, raw_rate
from voxturn.runtime.errors import AudioError, UsageError
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import AudioFrame
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.recording import Passage, for_files, passages

_LOG = logging.getLogger(__name__)


def transcribe(args: argparse.Namespace) -> int:
    """Speech to text."""
    if args.words and not args.json:
        raise UsageError("--words goes with --json")
    check_track(args)
    asyncio.run(_transcribe(args))
    return 0


async def _transcribe(args: argparse.Namespace) -> None:
    piped = args.input == "-"
    parts = load_parts(_profile(args, piped))
    try:
        listen = Listen(parts.activity(), parts.profile.endpointing)
        recogniser = FilteredRecogniser(parts.recogniser(), parts.content_filter())
        total = 0.0 if piped or args.raw else length_s(args.input)
        report = ReadReport()
        with Bar() as bar:
            source = sys.stdin.buffer if piped else args.input
            frames = frames_from(
                source,
                raw_rate=args.raw,
                track=args.track,
                report=report,
                longest_s=parts.profile.listen.longest_s,
            )
            failures: list[AudioError] = []
            counted = _counted(frames, bar, total, failures)
            spoken = passages(listen, recogniser, counted, report, args.words)
            async with aclosing(spoken):
                async for passage in spoken:
                    if passage is None:
                        continue
                    print(_line(passage) if args.json else passage.transcript.text, flush=True)
        if failures:
            raise failures[0]
        if report.damaged:
            _LOG.warning("%s: %s", "standard input" if piped else args.input, report)
            if args.json:
                print(_damage_line(report), flush=True)
    finally:
        parts.close()


def _profile(args: argparse.Namespace, piped: bool) -> Profile:
    """The profile with what the command line says.

    A file is taken in longer pieces than someone who is speaking.
    """
    profile = load_profile(args.profile)
    names = tuple(name.strip() for name in args.names.split(",") if name.strip())
    return replace(
        profile,
        language=args.language or profile.language,
        transcribe=replace(profile.transcribe, names=(*profile.transcribe.names, *names)),
        endpointing=profile.endpointing if piped else for_files(profile.endpointing),
    )


async def _counted(
    frames: AsyncIterator[AudioFrame], bar: Bar, total: float, failures: list[AudioError]
) -> AsyncIterator[AudioFrame]:
    """The frames up to an error, which is noted: what was said before it is still written down."""
    try:
        async for frame in frames:
            yield frame
            bar("transcribe", (frame.start + frame.samples.size) // frame.rate, round(total))
    except AudioError as exc:
        failures.append(exc)
    finally:
        await close_iterator(frames)


def _line(passage: Passage) -> str:
    """An utterance as JSON."""
    transcript = passage.transcript
    line: dict[str, object] = {
        "begin_s": round(passage.begin_s, 2),
        "end_s": round(passage.end_s, 2),
        "text": transcript.text,
    }
    line["language"] = transcript.language
    if transcript.words:
        line["words"] = [
            asdict(replace(word, begin_s=round(word.begin_s, 2), end_s=round(word.end_s, 2)))
            for word in transcript.words
        ]
    return json.dumps(line, ensure_ascii=False)


def _damage_line(report: ReadReport) -> str:
    """The last line of a recording that was damaged."""
    line = {"lost_packets": report.lost_packets, "lost_s": round(report.lost_s, 2)}
    if report.left_out_s:
        line["left_out_s"] = round(report.left_out_s, 2)
    return json.dumps(line)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `transcribe` to the command line."""
    parser = commands.add_parser(
        "transcribe",
        help="write down speech, of any length",
        epilog="examples:\n  voxturn transcribe lecture.mp3 --names 'Ada Lovelace, Babbage'\n"
        "  voxturn transcribe lecture.mp3 --json --words\n  voxturn transcribe - --json < call.ogg",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--profile",
        default="demo",
        metavar="P",
        help="a shipped profile or a .toml file (default: demo)",
    )
    parser.add_argument("input", metavar="IN", help="audio of any kind, or - for standard input")
    parser.add_argument(
        "--raw",
        type=raw_rate,
        default=0,
        metavar="RATE",
        help="the input is headerless 16-bit mono PCM",
    )
    add_track(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="a JSON object a line, with times; of a damaged recording the last one says what is lost",
    )
    parser.add_argument("--words", action="store_true", help="with --json: also every word's times")
    parser.add_argument(
        "--names", default="", metavar="A,B", help="names and terms that are likely to be said"
    )
    parser.add_argument(
        "--language",
        type=language("--language", auto=True),
        metavar="TAG",
        help="as en, ar or pt-BR; several, as ar,en; or auto (default: the profile's)",
    )
    parser.set_defaults(run=transcribe)
