"""`voxturn demo | turn | say | chat`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.decode import check_file
from voxturn.runtime.audio.encode import (
    AudioSink,
    PipeSink,
    WavFile,
    check_suffix,
    file_behind,
    output_error,
)
from voxturn.runtime.commands.loading import load_assistant, load_parts, voice_artifact
from voxturn.runtime.commands.options import add_track, check_track, language, raw_rate
from voxturn.runtime.errors import (
    EmptyText,
    InputError,
    OutputNotWritable,
    TextError,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import PcmChunk, ReplyToken, Sentence, Transcript
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, write_atomic
from voxturn.runtime.parts import choose
from voxturn.runtime.prepare import bring
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.text.chat import Message
from voxturn.runtime.text.clauses import SpokenClauses
from voxturn.runtime.text.language import is_auto
from voxturn.runtime.text.spoken import SpokenText, spoken_pieces
from voxturn.runtime.turn.captions import webvtt
from voxturn.runtime.turn.memory import with_question
from voxturn.runtime.turn.plot import waterfall
from voxturn.runtime.turn.turn import Conversation

MAX_TEXT = 1_000_000
_LOG = logging.getLogger(__name__)


def demo(args: argparse.Namespace) -> int:
    """Everything at once: bring the models, answer the question that comes with the package, leave the results."""
    folder = Path(args.output)
    _make_folder(folder)
    with Bar() as bar:
        bring(load_profile(args.profile), Store(), Registry.read(), bar)
    with resources.as_file(
        resources.files("voxturn.runtime") / "demo" / "question.wav"
    ) as question:
        args.input, args.output, args.live, args.raw, args.json = (
            str(question),
            str(folder / "reply.wav"),
            True,
            0,
            False,
        )
        args.track = 0
        args.trace, args.plot = str(folder / "trace.json"), str(folder / "turn.png")
        args.transcript, args.captions = str(folder / "transcript.txt"), ""
        code = turn(args)
    print(f"in {folder}: reply.wav, transcript.txt, trace.json, turn.png", file=sys.stderr)
    return code


def turn(args: argparse.Namespace) -> int:
    """One spoken turn."""
    check_track(args)
    check_suffix(Path(args.plot), ".png", {".svg", ".pdf", ".jpg", ".jpeg", ".gif", ".webp"})
    check_suffix(Path(args.captions), ".vtt", {".srt", ".ass", ".ssa"})
    _check_outputs(
        [args.trace, args.plot, args.captions, args.transcript], [args.input, args.output]
    )
    trace, captions = asyncio.run(_turn(args))
    if args.json:
        print(json.dumps(trace, ensure_ascii=False))
    if args.trace:
        _write(Path(args.trace), (json.dumps(trace, indent=1, ensure_ascii=False) + "\n").encode())
    if args.plot:
        _write(Path(args.plot), waterfall(trace))
    if args.captions:
        _write(Path(args.captions), captions.encode())
    if args.transcript:
        _write(
            Path(args.transcript),
            f"question: {trace['transcript']}\nreply: {trace['reply']}\n".encode(),
        )
    return 0


def _check_outputs(outputs: Sequence[str], others: Sequence[str]) -> None:
    """Before anything is made: every output can be one, and none takes the place of another or of the input."""
    taken = [Path(os.path.realpath(name)) for name in others if name != "-"]
    taken += [file_behind(name) for name in outputs if name]
    if twice := [path.name for number, path in enumerate(taken) if path in taken[:number]]:
        raise UsageError(f"{twice[0]}: is named twice; one would take the place of the other")


async def _turn(args: argparse.Namespace) -> tuple[dict[str, object], str]:
    """The trace and the captions of a turn."""
    source = _source(args.input)  # what is not there is said before models are loaded
    async with load_assistant(args.profile) as assistant:
        _warn_synthetic(assistant)
        await assistant.warm()
        conversation = assistant.conversation()
        frames = frames_from(source, args.live, args.raw, track=args.track)
        with _sink(args.output, assistant.rate, raw=False) as sink:
            async with conversation.turn(frames, whole_input=not args.live) as turn:
                async for event in turn:
                    if isinstance(event, PcmChunk):
                        sink.write(event.samples)
                    elif isinstance(event, Transcript):
                        _tell(args, f"heard: {event.text or '(nothing)'}")
        trace = turn.trace.to_dict()
        _tell(args, f"said:  {trace['reply'] or '(nothing)'}")
        if trace["response_ms"] is not None:
            _tell(
                args, f"audible {trace['response_ms']:.0f} ms after the end of speech was certain"
            )
        return trace, webvtt(chunk for _, chunk in turn.trace.chunks)


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
        _make_folder(folder)
        asyncio.run(_say_batch(args, lines, folder))
        return 0
    if args.slots is not None:
        raise UsageError("--slots goes with --batch")
    asyncio.run(_say(args, _speakable(_given_text(args.text), "the text")))
    return 0


def _given_text(text: str) -> str:
    return _text(sys.stdin.read) if text == "-" else _text(lambda: text, "the text")


def _speakable(text: str, what: str) -> str:
    if len(text) > MAX_TEXT:
        raise UsageError(f"{what} has {len(text)} characters; at most {MAX_TEXT} at once")
    if not any(char.isalnum() for piece in spoken_pieces(text) for char in piece):
        raise EmptyText(f"{what} has nothing that can be spoken; give at least one word")
    return text


def _batch_lines(name: str) -> dict[int, str]:
    """The lines of a file by their numbers, without the blank ones."""
    try:
        text = _text(sys.stdin.read) if name == "-" else Path(name).read_text(encoding="utf-8")
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


_OPTIONS = ("voice", "temperature", "top_k", "top_p", "repetition_penalty", "seed", "speed")
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


class _Speaker:
    """A profile's voice, loaded. Close it when done."""

    def __init__(self, args: argparse.Namespace, lines: int = 1) -> None:
        _check_numbers(args)
        self._parts = load_parts(_say_profile(args, lines))
        try:
            self._voice = self._parts.voice()
        except BaseException:
            self._parts.close()
            raise
        if (info := self._parts.info["speak"]).synthetic:
            _LOG.warning("%s has synthetic weights; its voice is noise", info.model)
        self.rate = self._voice.rate
        self.at_once = min(self._parts.profile.speak.slots or _LINES_AT_ONCE, lines)
        self.close = self._parts.close

    def clauses(self, text: str) -> list[SpokenText]:
        """The text as it is spoken, piece by piece."""
        max_chars = self._parts.profile.speak.max_chars
        clauses = SpokenClauses(max_chars, self._voice.language)
        return [*clauses.push(text), *clauses.flush()]

    async def say(self, clauses: list[SpokenText], what: str) -> AsyncGenerator[PcmChunk, None]:
        """The audio of a text. Raises `EmptyText` where the voice finds nothing in it to speak."""
        chunks, spoke = spoken(self._voice, _sentences(clauses)), False
        try:
            async for chunk in chunks:
                spoke = True
                yield chunk
        finally:
            await chunks.aclose()
        if not spoke:
            raise EmptyText(f"{what} has nothing that this voice can speak")


async def _say(args: argparse.Namespace, text: str) -> None:
    speaker = _Speaker(args)
    try:
        clauses = speaker.clauses(text)
        with Bar() as bar, _sink(args.output, speaker.rate, args.raw) as sink:
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
                async with aclosing(
                    speaker.say(speaker.clauses(line), f"{args.batch}: line {number}")
                ) as chunks:
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
    """Wait for all tasks; where one fails, or this is cancelled, stop the others and wait for their end."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sentences(clauses: list[SpokenText]) -> AsyncIterator[Sentence]:
    for index, clause in enumerate(clauses):
        yield Sentence(clause, index)


def chat(args: argparse.Namespace) -> int:
    """A typed dialogue; with -o the answers are spoken into files."""
    if args.output:
        _make_folder(Path(args.output))
    asyncio.run(_chat(args))
    return 0


async def _chat(args: argparse.Namespace) -> None:
    async with load_assistant(args.profile) as assistant:
        conversation = assistant.conversation()
        await assistant.stages.replier.warm(conversation.messages)
        interactive = sys.stdin.isatty()
        for number, line in enumerate(_lines(interactive), 1):
            output = Path(args.output) / f"turn-{number}.wav" if args.output else None
            try:
                await _chat_turn(assistant, conversation, line, output)
            except InputError as exc:  # this line's alone: the next may be a better one
                print(f"voxturn: {' '.join(str(exc).split())}", file=sys.stderr)


async def _chat_turn(
    assistant: Assistant, conversation: Conversation, line: str, output: Path | None
) -> None:
    """Answer a line. The dialogue has both when the answer is whole; where this raises it stays as it was."""
    answer: list[ReplyToken] = []
    asked = with_question(conversation.messages, line)
    dialogue = assistant.stages.replier.fitted(asked)

    async def tokens() -> AsyncIterator[ReplyToken]:
        async with aclosing(assistant.stages.replier(dialogue)) as replies:
            async for token in replies:
                print(token.text, end="", flush=True)
                answer.append(token)
                yield token

    try:
        if output is None:
            async for _ in tokens():
                pass
        else:
            chunks = assistant.say(assistant.stages.split(tokens()))
            with WavFile(output, assistant.rate) as sink:
                try:
                    async for chunk in chunks:
                        sink.write(chunk.samples)
                finally:
                    await chunks.aclose()
    except VoxturnError:
        if answer:
            print(flush=True)  # the error begins a line of its own
        raise
    print(flush=True)
    if dropped := len(asked) - len(dialogue):
        print(
            f"voxturn: the dialogue is long; its oldest {dropped} messages were dropped",
            file=sys.stderr,
        )
    ids = tuple(i for token in answer for i in token.ids)
    text = "".join(token.text for token in answer)
    conversation.messages[:] = [*dialogue, Message("assistant", text, ids)]


def _lines(interactive: bool) -> Iterator[str]:
    while True:
        if interactive:
            print("> ", end="", file=sys.stderr, flush=True)
        line = _text(partial(_interruptible, sys.stdin.readline))
        if not line:
            return
        if line.strip():
            yield line.strip()


def _interruptible(read: Callable[[], str]) -> str:
    """`read`, ended by Ctrl-C: the event loop, which would hear of it, waits for what is read."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.SIG_IGN:
        return read()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return read()
    finally:
        signal.signal(signal.SIGINT, handler)


def _text(read: Callable[[], str], what: str = "standard input") -> str:
    """Text that is one. Some locales read any bytes, and what is no text stands in it as halves of characters."""
    try:
        text = read()
        text.encode()
        return text
    except UnicodeError as exc:
        raise TextError(f"{what}: is not UTF-8 text; give text") from exc


def _source(name: str) -> str | IO[bytes]:
    if name == "-":
        return sys.stdin.buffer
    check_file(Path(name))
    return name


def _sink(name: str, rate: int, raw: bool) -> _Sink:
    return _Sink(name, rate, raw)


class _Sink(ExitStack):
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


def _tell(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, file=sys.stderr)


def _warn_synthetic(assistant: Assistant) -> None:
    for stage, info in assistant.setup.info.items():
        if info.synthetic:
            _LOG.warning("%s: %s has synthetic weights; what it gives is noise", stage, info.model)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputNotWritable(
            f"{folder}: is not a folder and cannot be made ({exc.strerror})"
        ) from exc


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(file_behind(path), data)
    except OSError as exc:
        raise output_error(exc, str(path)) from exc


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's commands."""

    def command(name: str, text: str, examples: str) -> argparse.ArgumentParser:
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
        parser.set_defaults(trace="", plot="", transcript="", captions="", json=False)
        return parser

    parser = command(
        "demo",
        "bring the demo's models and hold one spoken turn",
        "  voxturn demo\n  voxturn demo -o /tmp/first",
    )
    parser.add_argument("-o", "--output", default="demo-output", metavar="DIR")
    parser.set_defaults(run=demo)

    parser = command(
        "turn",
        "answer a spoken question",
        "  voxturn turn question.wav -o reply.wav --plot turn.png\n  arecord -f S16_LE -r 16000 -t raw | voxturn turn - --raw 16000 --live -o - | aplay",
    )
    parser.add_argument("input", metavar="IN", help="audio of any kind, or - for standard input")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="a WAV file, or - for standard output"
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="feed at the pace of real time and answer the first utterance",
    )
    parser.add_argument(
        "--raw",
        type=raw_rate,
        default=0,
        metavar="RATE",
        help="the input is headerless 16-bit mono PCM",
    )
    add_track(parser)
    parser.add_argument("--json", action="store_true", help="print the trace as JSON")
    parser.add_argument("--trace", default="", metavar="FILE", help="write the trace")
    parser.add_argument("--plot", default="", metavar="PNG", help="draw the waterfall")
    parser.add_argument("--captions", default="", metavar="VTT", help="write the answer's captions")
    parser.set_defaults(run=turn)

    parser = command(
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
        help="a speaker of the voice; XTTS's are in `voxturn voices list` (default: the first)",
    )
    parser.add_argument(
        "--language",
        type=language("--language", auto=True),
        metavar="TAG",
        help="as en, ar or pt-BR, or auto, the voice's own (default: the profile's)",
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
    parser.set_defaults(run=say)

    parser = command("chat", "a typed dialogue", "  voxturn chat\n  voxturn chat -o answers/")
    parser.add_argument(
        "-o", "--output", default="", metavar="DIR", help="also speak the answers into files there"
    )
    parser.set_defaults(run=chat)
