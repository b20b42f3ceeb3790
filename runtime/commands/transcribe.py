"""`voxturn transcribe`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

from voxturn.runtime.audio.decode import length_s
from voxturn.runtime.commands.loading import load_parts
from voxturn.runtime.commands.options import language, raw_rate
from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import AudioFrame, Transcript, Utterance, Word
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser


def transcribe(args: argparse.Namespace) -> int:
    """Speech to text."""
    if args.words and not args.json:
        raise UsageError("--words goes with --json")
    asyncio.run(_transcribe(args))
    return 0


async def _transcribe(args: argparse.Namespace) -> None:
    piped = args.input == "-"
    parts = load_parts(_profile(args, piped))
    try:
        listen = Listen(parts.activity(), parts.profile.endpointing)
        recogniser = FilteredRecogniser(parts.recogniser(), parts.content_filter())
        total = 0.0 if piped or args.raw else length_s(args.input)
        with Bar() as bar:
            frames = frames_from(sys.stdin.buffer if piped else args.input, raw_rate=args.raw)
            heard = listen(_counted(frames, bar, total))
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
                            _line(utterance, transcript) if args.json else transcript.text,
                            flush=True,
                        )
            finally:
                await utterances.aclose()
                await heard.aclose()
    finally:
        parts.close()


def _profile(args: argparse.Namespace, piped: bool) -> Profile:
    """The profile with what the command line says. A file is taken in longer pieces than someone who is speaking."""
    profile = load_profile(args.profile)
    names = tuple(name.strip() for name in args.names.split(",") if name.strip())
    return replace(
        profile,
        language=args.language or profile.language,
        transcribe=replace(profile.transcribe, names=(*profile.transcribe.names, *names)),
        endpointing=profile.endpointing if piped else for_files(profile.endpointing),
    )


def for_files(settings: Endpointing) -> Endpointing:
    """Nobody waits for an answer: pieces as long as the model takes, which it hears better, cut where there is a pause."""
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
    frames: AsyncIterator[AudioFrame], bar: Bar, total: float
) -> AsyncIterator[AudioFrame]:
    async for frame in frames:
        yield frame
        bar("transcribe", (frame.start + frame.samples.size) // frame.rate, round(total))


def _line(utterance: Utterance, transcript: Transcript) -> str:
    begin = utterance.start / utterance.rate
    end = begin + utterance.samples.size / utterance.rate
    line: dict[str, object] = {
        "begin_s": round(begin, 2),
        "end_s": round(end, 2),
        "text": transcript.text,
    }
    line["language"] = transcript.language
    if transcript.words:
        line["words"] = [asdict(_later(word, begin)) for word in transcript.words]
    return json.dumps(line, ensure_ascii=False)


def _later(word: Word, seconds: float) -> Word:
    return Word(word.text, round(word.begin_s + seconds, 2), round(word.end_s + seconds, 2))


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
    parser.add_argument("--json", action="store_true", help="a JSON object a line, with times")
    parser.add_argument("--words", action="store_true", help="with --json: also every word's times")
    parser.add_argument(
        "--names", default="", metavar="A,B", help="names and terms that are likely to be said"
    )
    parser.add_argument(
        "--language",
        type=language("--language", auto=True),
        metavar="TAG",
        help="as en, ar or pt-BR, or auto (default: the profile's)",
    )
    parser.set_defaults(run=transcribe)
