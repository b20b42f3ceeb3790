"""`voxturn say`: a text, or every line of a file, as speech."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.commands.console import Sink, add_command, make_folder, text_from
from voxturn.runtime.commands.loading import load_parts, voice_artifact
from voxturn.runtime.commands.options import language, style_option
from voxturn.runtime.errors import EmptyText, TextError, UsageError
from voxturn.runtime.families.base import MOST_NOISE, styles_of
from voxturn.runtime.families.pipe import said
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import choose
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.text.judge import judge_of
from voxturn.runtime.text.language import is_auto
from voxturn.runtime.text.spoken import spoken_pieces
from voxturn.runtime.turn.split import Split

MAX_TEXT = 1_000_000
_LOG = logging.getLogger(__name__)


def say(args: argparse.Namespace) -> int:
    """Text to speech: one text, or every line of a file."""
    if bool(args.batch) == (args.text is not None):
        raise UsageError("give a text or --batch FILE, one of them")
    if args.batch:
        if args.raw or args.output == "-":
            raise UsageError("--batch writes WAV files into a folder: -o DIR, without --raw")
        if args.slots is not None and args.slots < 1:
            raise UsageError(f"--slots {args.slots}: must be 1 or more")
        lines, folder = _batch_lines(args.batch), Path(args.output)
        make_folder(folder)
        asyncio.run(_say_batch(args, lines, folder))
        return 0
    if args.slots is not None:
        raise UsageError("--slots goes with --batch")
    asyncio.run(_say(args, _speakable(_given_text(args.text), "the text")))
    return 0


def _given_text(text: str) -> str:
    return text_from(sys.stdin.read) if text == "-" else text_from(lambda: text, "the text")


def _speakable(text: str, what: str) -> str:
    if len(text) > MAX_TEXT:
        raise UsageError(f"{what} has {len(text)} characters; at most {MAX_TEXT} at once")
    if not any(char.isalnum() for piece in spoken_pieces(text) for char in piece):
        raise EmptyText(f"{what} has nothing that can be spoken; give at least one word")
    return text


def _batch_lines(name: str) -> dict[int, str]:
    """The lines of a file by their numbers, without the blank ones."""
    try:
        text = text_from(sys.stdin.read) if name == "-" else Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise TextError(
            f"{name}: is not UTF-8 text; give a text file with a sentence a line"
        ) from exc
    except OSError as exc:
        raise TextError(
            f"{name}: cannot be read ({exc.strerror}); give a text file with a sentence a line"
        ) from exc
    lines = {
        number: line.strip() for number, line in enumerate(text.splitlines(), 1) if line.strip()
    }
    if not lines:
        raise EmptyText(f"{name}: has no line that can be spoken")
    return {number: _speakable(line, f"{name}: line {number}") for number, line in lines.items()}


_OPTIONS = (
    "voice",
    "style",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "seed",
    "speed",
    "noise",
    "noise_w",
)
"""Options of the command line that are keys of the profile's stage speak."""
_FLAGS = {"guard": "--no-guard"}
_LINES_AT_ONCE = 4


def _say_profile(args: argparse.Namespace, lines: int) -> Profile:
    """The profile with what the command line says of the voice, for a batch of so many lines."""
    profile, store, registry = load_profile(args.profile), Store(), Registry.read()
    if args.language and not (is_auto(args.language) and not args.model):
        profile = replace(profile, language=args.language)
    if args.model:
        folder, manifest, named = voice_artifact(args.model, store)
        profile = profile.with_voice(folder, manifest, tuple(named.roles))
    choice = choose(profile, "speak", store, registry)
    family = choice.family
    options = {key: value for key in _OPTIONS if (value := getattr(args, key)) is not None}
    if args.no_guard:
        options["guard"] = False
    if args.slots is not None:
        options["slots"] = args.slots
    allowed = family.options.get("speak", frozenset()) if family is not None else frozenset()
    if lines > 1 and "slots" in allowed and "slots" not in choice.executor.lacks:
        at_once = args.slots or profile.speak.slots or _LINES_AT_ONCE
        options["slots"] = min(at_once, lines)
    if unknown := sorted(set(options) - allowed):
        names = ", ".join(_FLAGS.get(key, f"--{key.replace('_', '-')}") for key in unknown)
        raise UsageError(f"{names}: this voice has no such option; name another with --model")
    return replace(profile, speak=replace(profile.speak, **options))


def _check_numbers(args: argparse.Namespace) -> None:
    """Raise `UsageError` for numbers that no voice takes."""
    if args.speed is not None and not 0.25 <= args.speed <= 4.0:
        raise UsageError(f"--speed {args.speed:g}: must be between 0.25 and 4")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed {args.seed}: must be 0 or more")
    for name, value in (("--noise", args.noise), ("--noise-w", args.noise_w)):
        if value is not None and not 0.0 <= value <= MOST_NOISE:
            raise UsageError(f"{name} {value:g}: must be between 0 and {MOST_NOISE:g}")


class _Speaker:
    """A profile's voice, loaded. Close it when done."""

    def __init__(self, args: argparse.Namespace, lines: int = 1) -> None:
        _check_numbers(args)
        self._parts = load_parts(_say_profile(args, lines))
        try:
            self._voice = self._parts.voice()
            self._split = Split(
                self._parts.content_filter(),
                self._parts.profile.speak.max_chars,
                self._voice.language,
                judge=judge_of(self._parts.languages, self._voice.languages),
                styles=styles_of(self._voice),
            )
        except BaseException:
            self._parts.close()
            raise
        if (info := self._parts.info["speak"]).synthetic:
            _LOG.warning("%s has synthetic weights; its voice is noise", info.model)
        self.rate = self._voice.rate
        self.at_once = min(self._parts.profile.speak.slots or _LINES_AT_ONCE, lines)
        self.close = self._parts.close

    async def clauses(self, text: str) -> list[Sentence]:
        """The text as it is spoken, piece by piece."""
        return [sentence async for sentence in self._split.whole(text)]

    def say(self, clauses: list[Sentence], what: str) -> AsyncGenerator[PcmChunk, None]:
        """The audio of a text. Raises `EmptyText` where the voice finds nothing in it to speak."""
        return said(self._voice, _each(clauses), what)


async def _say(args: argparse.Namespace, text: str) -> None:
    speaker = _Speaker(args)
    try:
        clauses = await speaker.clauses(text)
        with Bar() as bar, Sink(args.output, speaker.rate, args.raw) as sink:
            async with aclosing(speaker.say(clauses, "the text")) as chunks:
                async for chunk in chunks:
                    sink.write(chunk.samples)
                    bar("say", chunk.sentence.index + 1, len(clauses))
    finally:
        speaker.close()


async def _say_batch(args: argparse.Namespace, lines: Mapping[int, str], folder: Path) -> None:
    """As many lines at once as there are slots; each file is what its line alone gives."""
    digits = max(3, len(str(max(lines))))
    speaker = _Speaker(args, len(lines))
    waiting, done = iter(lines.items()), 0

    async def work() -> None:
        nonlocal done
        for number, line in waiting:
            path = folder / f"{number:0{digits}}.wav"
            with WavFile(path, speaker.rate) as sink:
                clauses = await speaker.clauses(line)
                async with aclosing(speaker.say(clauses, f"{args.batch}: line {number}")) as chunks:
                    async for chunk in chunks:
                        sink.write(chunk.samples)
            done += 1
            bar("say", done, len(lines))
            print(path, flush=True)

    try:
        with Bar() as bar:
            await _all_or_first_error([asyncio.create_task(work()) for _ in range(speaker.at_once)])
    finally:
        speaker.close()


async def _all_or_first_error(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all tasks; where one fails, or this is cancelled, stop the others and wait for their
    end."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _each(sentences: list[Sentence]) -> AsyncIterator[Sentence]:
    for sentence in sentences:
        yield sentence


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's command."""
    parser = add_command(
        commands,
        "say",
        "speak a text",
        '  voxturn say "It is four o\'clock." -o four.wav\n  echo Hello there. | voxturn say - -o - | aplay\n'
        "  voxturn say مرحبا -o hello.wav --model xtts-int8 --voice Ana --language ar --seed 7\n"
        "  voxturn say --batch lines.txt -o folder --model xtts-int8 --slots 4",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text, or - for standard input")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a WAV file, or - for standard output; a folder for --batch",
    )
    parser.add_argument("--raw", action="store_true", help="with -o -: PCM without a header")
    parser.add_argument(
        "--batch",
        default="",
        metavar="FILE",
        help="speak every line of FILE into 001.wav, 002.wav, …",
    )
    parser.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="with --batch: lines at once (default: the profile's, or 4)",
    )
    parser.add_argument(
        "--model",
        default="",
        metavar="ARTIFACT",
        help="a voice's folder or a model of the registry, in place of the profile's; on a GPU with --profile gpu or gpu-onnx",
    )
    parser.add_argument(
        "--voice",
        metavar="NAME",
        help="a speaker of the voice; of XTTS also a mixture, as ana/happy:0.7+ben:0.3, and its speakers are in `voxturn voices list` "
        "(default: the first)",
    )
    parser.add_argument(
        "--style",
        type=style_option,
        metavar="STYLE",
        help="one of the speaker's styles; [STYLE] in the text changes to another",
    )
    parser.add_argument(
        "--language",
        type=language("--language", auto=True),
        metavar="TAG",
        help="as en, ar or pt-BR; several, as ar,en, or auto: told clause by clause (default: the profile's)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="another seed, another reading")
    parser.add_argument(
        "--no-guard", action="store_true", help="XTTS: let speech run on whose end was missed"
    )
    parser.add_argument("--speed", type=float, metavar="F", help="2 is twice as fast (default: 1)")
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="XTTS: 0 is greedy (default: 0.75)"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="XTTS: 0 is off (default: 50)")
    parser.add_argument("--top-p", type=float, metavar="P", help="XTTS: 1 is off (default: 0.85)")
    parser.add_argument(
        "--repetition-penalty", type=float, metavar="R", help="XTTS: 1 is off (default: 10)"
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="N",
        help="VITS: how much its sound varies (default: its own)",
    )
    parser.add_argument(
        "--noise-w",
        type=float,
        metavar="N",
        help="VITS: how much its durations vary (default: its own)",
    )
    parser.set_defaults(run=say)
