"""`voxturn demo | turn | say | transcribe | chat`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import IO

from voxturn.runtime.assemble import Assembler, Assistant
from voxturn.runtime.audio.encode import AudioSink, PipeSink, WavFile, output_error
from voxturn.runtime.errors import EmptyText, OutputNotWritable, TextError, UsageError
from voxturn.runtime.frames import frames_from
from voxturn.runtime.handoff import Ahead
from voxturn.runtime.messages import PcmChunk, ReplyToken, Sentence, Transcript, Utterance
from voxturn.runtime.plot import waterfall
from voxturn.runtime.prepare import bring
from voxturn.runtime.profile import load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.registry import Registry
from voxturn.runtime.store import Store, write_atomic
from voxturn.runtime.text.chat import Message
from voxturn.runtime.text.split import ClauseSplitter
from voxturn.runtime.turn import Conversation

MAX_TEXT = 1_000_000


def demo(args: argparse.Namespace) -> int:
    """Everything at once: bring the models, answer the question that comes with the package, leave the results."""
    folder = Path(args.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputNotWritable(f"{folder}: cannot be made ({exc.strerror})") from exc
    with Bar() as bar:
        bring(load_profile(args.profile), Store(), Registry.read(), bar)
    with resources.as_file(resources.files("voxturn.runtime") / "demo" / "question.wav") as question:
        args.input, args.output, args.live, args.raw, args.json = (
            str(question),
            str(folder / "reply.wav"),
            True,
            0,
            False,
        )
        args.trace, args.plot = str(folder / "trace.json"), str(folder / "turn.png")
        args.transcript = str(folder / "transcript.txt")
        code = turn(args)
    print(f"in {folder}: reply.wav, transcript.txt, trace.json, turn.png", file=sys.stderr)
    return code


def turn(args: argparse.Namespace) -> int:
    """One spoken turn."""
    trace = asyncio.run(_turn(args))
    if args.json:
        print(json.dumps(trace, ensure_ascii=False))
    if args.trace:
        _write(Path(args.trace), (json.dumps(trace, indent=1, ensure_ascii=False) + "\n").encode())
    if args.plot:
        _write(Path(args.plot), waterfall(trace))
    if args.transcript:
        _write(Path(args.transcript), f"question: {trace['transcript']}\nreply: {trace['reply']}\n".encode())
    return 0


async def _turn(args: argparse.Namespace) -> dict[str, object]:
    async with Assistant.load(args.profile) as assistant:
        _warn_synthetic(assistant)
        await assistant.warm()
        conversation = assistant.conversation()
        frames = frames_from(_source(args.input), args.live, args.raw)
        with _sink(args.output, assistant.stages.vocode.rate, raw=False) as sink:
            async with conversation.turn(frames, whole_input=not args.live) as turn:
                async for event in turn:
                    if isinstance(event, PcmChunk):
                        sink.write(event.samples)
                    elif isinstance(event, Transcript):
                        _tell(args, f"heard: {event.text or '(nothing)'}")
        trace = turn.trace.to_dict()
        _tell(args, f"said:  {trace['reply'] or '(nothing)'}")
        if trace["response_ms"] is not None:
            _tell(args, f"audible {trace['response_ms']:.0f} ms after the end of speech was certain")
        return trace


def say(args: argparse.Namespace) -> int:
    """Text to speech."""
    text = _text(sys.stdin.read) if args.text == "-" else args.text
    if not any(char.isalnum() for char in text):
        raise EmptyText("the text has nothing that can be spoken; give at least one word")
    if len(text) > MAX_TEXT:
        raise UsageError(f"the text has {len(text)} characters; at most {MAX_TEXT} at once")
    asyncio.run(_say(args, text))
    return 0


async def _say(args: argparse.Namespace, text: str) -> None:
    profile = load_profile(args.profile)
    make = Assembler(profile)
    try:
        speak, vocode = make.speak(), make.vocode()
        splitter = ClauseSplitter(max_chars=profile.speak.max_chars)
        clauses = [*splitter.push(text), *splitter.flush()]
        codes = Ahead(speak(_sentences(clauses)), 2)
        chunks = Ahead(vocode(codes), 4)
        with Bar() as bar, _sink(args.output, vocode.rate, args.raw) as sink:
            try:
                async for chunk in chunks:
                    sink.write(chunk.samples)
                    bar("say", chunk.sentence.index + 1, len(clauses))
            finally:
                await chunks.aclose()
    finally:
        make.close()


async def _sentences(clauses: list[str]) -> AsyncIterator[Sentence]:
    for index, clause in enumerate(clauses):
        yield Sentence(clause, index)


def transcribe(args: argparse.Namespace) -> int:
    """Speech to text."""
    asyncio.run(_transcribe(args))
    return 0


async def _transcribe(args: argparse.Namespace) -> None:
    make = Assembler(load_profile(args.profile))
    try:
        listen, stage = make.listen(), make.transcribe()
        heard = listen(frames_from(_source(args.input), raw_rate=args.raw))
        utterances = Ahead((item async for item in heard if isinstance(item, Utterance) and item.final), 4)
        try:
            async for utterance in utterances:
                transcript = await stage.transcribe(utterance.samples)
                if not transcript.text:
                    continue
                if args.json:
                    begin = utterance.start / utterance.rate
                    end = begin + utterance.samples.size / utterance.rate
                    line = {"begin_s": round(begin, 2), "end_s": round(end, 2), "text": transcript.text}
                    print(json.dumps(line | {"language": transcript.language}, ensure_ascii=False), flush=True)
                else:
                    print(transcript.text, flush=True)
        finally:
            await utterances.aclose()
            await heard.aclose()
    finally:
        make.close()


def chat(args: argparse.Namespace) -> int:
    """A typed dialogue; with -o the answers are spoken into files."""
    if args.output and not Path(args.output).is_dir():
        raise OutputNotWritable(f"{args.output}: is not a folder; make it first")
    asyncio.run(_chat(args))
    return 0


async def _chat(args: argparse.Namespace) -> None:
    async with Assistant.load(args.profile) as assistant:
        conversation = assistant.conversation()
        await assistant.stages.reply.warm(conversation.messages)
        interactive = sys.stdin.isatty()
        for number, line in enumerate(_lines(interactive), 1):
            await _chat_turn(
                assistant, conversation, line, Path(args.output) / f"turn-{number}.wav" if args.output else None
            )


async def _chat_turn(assistant: Assistant, conversation: Conversation, line: str, output: Path | None) -> None:
    said: list[str] = []

    async def tokens() -> AsyncIterator[ReplyToken]:
        async for token in assistant.stages.reply([*conversation.messages, Message("user", line)]):
            print(token.text, end="", flush=True)
            said.append(token.text)
            yield token

    if output is None:
        async for _ in tokens():
            pass
    else:
        chunks = assistant.say(assistant.stages.split(tokens()))
        with WavFile(output, assistant.stages.vocode.rate) as sink:
            try:
                async for chunk in chunks:
                    sink.write(chunk.samples)
            finally:
                await chunks.aclose()
    print()
    conversation.messages += [Message("user", line), Message("assistant", "".join(said).strip())]


def _lines(interactive: bool) -> Iterator[str]:
    while True:
        if interactive:
            print("> ", end="", file=sys.stderr, flush=True)
        line = _text(sys.stdin.readline)
        if not line:
            return
        if line.strip():
            yield line.strip()


def _text(read: Callable[[], str]) -> str:
    try:
        return read()
    except UnicodeDecodeError as exc:
        raise TextError("standard input: is not UTF-8 text; give text") from exc


def _source(name: str) -> str | IO[bytes]:
    return sys.stdin.buffer if name == "-" else name


def _sink(name: str, rate: int, raw: bool) -> _Sink:
    return _Sink(name, rate, raw)


class _Sink(ExitStack):
    """A WAV file, or a pipe for `-`."""

    def __init__(self, name: str, rate: int, raw: bool) -> None:
        super().__init__()
        if raw and name != "-":
            raise UsageError("--raw goes with -o -; files are WAV")
        self._sink: AudioSink = (
            PipeSink(sys.stdout.buffer, rate, raw) if name == "-" else self.enter_context(WavFile(Path(name), rate))
        )
        self.write = self._sink.write


def _tell(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, file=sys.stderr)


def _warn_synthetic(assistant: Assistant) -> None:
    for stage, info in assistant.setup.info.items():
        if info.synthetic:
            print(f"warning: {stage}: {info.model} has synthetic weights; what it gives is noise", file=sys.stderr)


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as exc:
        raise output_error(exc, str(path)) from exc


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's commands."""

    def command(name: str, text: str, examples: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name, help=text, epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument(
            "--profile", default="demo", metavar="P", help="a shipped profile or a .toml file (default: demo)"
        )
        parser.set_defaults(trace="", plot="", transcript="", json=False)
        return parser

    parser = command(
        "demo", "bring the demo's models and hold one spoken turn", "  voxturn demo\n  voxturn demo -o /tmp/first"
    )
    parser.add_argument("-o", "--output", default="demo-output", metavar="DIR")
    parser.set_defaults(run=demo)

    parser = command(
        "turn",
        "answer a spoken question",
        "  voxturn turn question.wav -o reply.wav --plot turn.png\n  arecord -f S16_LE -r 16000 -t raw | voxturn turn - --raw 16000 --live -o - | aplay",
    )
    parser.add_argument("input", metavar="IN", help="audio of any kind, or - for standard input")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a WAV file, or - for standard output")
    parser.add_argument(
        "--live", action="store_true", help="feed at the pace of real time and answer the first utterance"
    )
    parser.add_argument("--raw", type=int, default=0, metavar="RATE", help="the input is headerless 16-bit mono PCM")
    parser.add_argument("--json", action="store_true", help="print the trace as JSON")
    parser.add_argument("--trace", default="", metavar="FILE", help="write the trace")
    parser.add_argument("--plot", default="", metavar="PNG", help="draw the waterfall")
    parser.set_defaults(run=turn)

    parser = command(
        "say",
        "speak a text",
        '  voxturn say "It is four o\'clock." -o four.wav\n  echo Hello there. | voxturn say - -o - | aplay',
    )
    parser.add_argument("text", metavar="TEXT", help="the text, or - for standard input")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a WAV file, or - for standard output")
    parser.add_argument("--raw", action="store_true", help="with -o -: PCM without a header")
    parser.set_defaults(run=say)

    parser = command(
        "transcribe",
        "write down speech, of any length",
        "  voxturn transcribe lecture.mp3\n  voxturn transcribe - --json < call.ogg",
    )
    parser.add_argument("input", metavar="IN", help="audio of any kind, or - for standard input")
    parser.add_argument("--raw", type=int, default=0, metavar="RATE", help="the input is headerless 16-bit mono PCM")
    parser.add_argument("--json", action="store_true", help="a JSON object a line, with times")
    parser.set_defaults(run=transcribe)

    parser = command("chat", "a typed dialogue", "  voxturn chat\n  voxturn chat -o answers/")
    parser.add_argument("-o", "--output", default="", metavar="DIR", help="also speak the answers into files there")
    parser.set_defaults(run=chat)
