"""`voxturn transcribe`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import length_s
from voxturn.runtime.commands.loading import load_parts
from voxturn.runtime.commands.options import add_track, check_track, language, raw_rate
from voxturn.runtime.errors import AudioError, UsageError
from voxturn.runtime.flow.handoff import Ahead, close_iterator
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import AudioFrame, Transcript, Utterance, Word
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser

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
            heard = listen(_counted(frames, bar, total, failures))
            utterances = Ahead(
                (item async for item in heard if isinstance(item, Utterance) and item.final), 4
            )
            spoken_in = ""
            try:
                async for utterance in utterances:
                    transcript = await recogniser.transcribe(
                        utterance.samples, spoken_in, args.words
                    )
                    if transcript.text:
                        spoken_in = transcript.language
                        print(
                            _line(utterance, transcript, report.begin_s)
                            if args.json
                            else transcript.text,
                            flush=True,
                        )
            finally:
                await utterances.aclose()
                await heard.aclose()
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


def for_files(settings: Endpointing) -> Endpointing:
    """Nobody waits for an answer: pieces as long as the model takes, which it hears better, cut
    where there is a pause."""
    long = 2000
    return replace(
        settings,
        suspect_ms=long,
        finished_ms=long,
        end_ms=long,
        unfinished_ms=long,
        eager=0.5,
        cut_s=15.0,
        cut_pause_ms=160,
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


def _line(utterance: Utterance, transcript: Transcript, sound_begins: float) -> str:
    """An utterance as JSON.

    None begins before the recording's sound does, which silence stands before.
    """
    begin = utterance.start / utterance.rate
    end = begin + utterance.samples.size / utterance.rate
    line: dict[str, object] = {
        "begin_s": round(max(begin, sound_begins), 2),
        "end_s": round(end, 2),
        "text": transcript.text,
    }
    line["language"] = transcript.language
    if transcript.words:
        line["words"] = [asdict(_later(word, begin, sound_begins)) for word in transcript.words]
    return json.dumps(line, ensure_ascii=False)


def _damage_line(report: ReadReport) -> str:
    """The last line of a recording that was damaged."""
    line = {"lost_packets": report.lost_packets, "lost_s": round(report.lost_s, 2)}
    if report.left_out_s:
        line["left_out_s"] = round(report.left_out_s, 2)
    return json.dumps(line)


def _later(word: Word, seconds: float, earliest: float) -> Word:
    begin, end = (round(max(at + seconds, earliest), 2) for at in (word.begin_s, word.end_s))
    return Word(word.text, begin, end)


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
