"""`voxturn demo | turn | chat`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from importlib import resources
from pathlib import Path

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.encode import (
    WavFile,
    check_suffix,
    file_behind,
    output_error,
)
from voxturn.runtime.commands.console import Sink, add_command, audio_source, make_folder, text_from
from voxturn.runtime.commands.loading import load_assistant
from voxturn.runtime.commands.options import add_track, check_track, raw_rate
from voxturn.runtime.errors import (
    InputError,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import PcmChunk, ReplyToken, Transcript
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, write_atomic
from voxturn.runtime.prepare import bring
from voxturn.runtime.profile import load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.text.chat import Message
from voxturn.runtime.turn.captions import webvtt
from voxturn.runtime.turn.memory import with_question
from voxturn.runtime.turn.plot import waterfall
from voxturn.runtime.turn.turn import Conversation

_LOG = logging.getLogger(__name__)


def demo(args: argparse.Namespace) -> int:
    """Everything at once: bring the models, answer the question that comes with the package, leave
    the results."""
    folder = Path(args.output)
    make_folder(folder)
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
    """Before anything is made: every output can be one, and none takes the place of another or of
    the input."""
    taken = [Path(os.path.realpath(name)) for name in others if name != "-"]
    taken += [file_behind(name) for name in outputs if name]
    if twice := [path.name for number, path in enumerate(taken) if path in taken[:number]]:
        raise UsageError(f"{twice[0]}: is named twice; one would take the place of the other")


async def _turn(args: argparse.Namespace) -> tuple[dict[str, object], str]:
    """The trace and the captions of a turn."""
    source = audio_source(args.input)  # what is not there is said before models are loaded
    async with load_assistant(args.profile) as assistant:
        _warn_synthetic(assistant)
        await assistant.warm()
        conversation = assistant.conversation()
        longest_s = assistant.profile.listen.longest_s
        frames = frames_from(source, args.live, args.raw, track=args.track, longest_s=longest_s)
        with Sink(args.output, assistant.rate, raw=False) as sink:
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


def chat(args: argparse.Namespace) -> int:
    """A typed dialogue; with -o the answers are spoken into files."""
    if args.output:
        make_folder(Path(args.output))
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
    """Answer a line.

    The dialogue has both when the answer is whole; where this raises it stays as it was.
    """
    answer: list[ReplyToken] = []
    asked = with_question(conversation.messages, line)
    dialogue = assistant.stages.replier.fitted(asked)

    async def tokens() -> AsyncIterator[ReplyToken]:
        async with aclosing(assistant.stages.replier(dialogue)) as replies:
            async for token in replies:
                assert isinstance(token, ReplyToken)  # it was given no tools
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
        line = text_from(partial(_interruptible, sys.stdin.readline))
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


def _tell(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, file=sys.stderr)


def _warn_synthetic(assistant: Assistant) -> None:
    for stage, info in assistant.setup.info.items():
        if info.synthetic:
            _LOG.warning("%s: %s has synthetic weights; what it gives is noise", stage, info.model)


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(file_behind(path), data)
    except OSError as exc:
        raise output_error(exc, str(path)) from exc


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's commands."""

    parser = add_command(
        commands,
        "demo",
        "bring the demo's models and hold one spoken turn",
        "  voxturn demo\n  voxturn demo -o /tmp/first",
    )
    parser.add_argument("-o", "--output", default="demo-output", metavar="DIR")
    parser.set_defaults(run=demo)

    parser = add_command(
        commands,
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
    parser.set_defaults(run=turn, transcript="")

    parser = add_command(
        commands, "chat", "a typed dialogue", "  voxturn chat\n  voxturn chat -o answers/"
    )
    parser.add_argument(
        "-o", "--output", default="", metavar="DIR", help="also speak the answers into files there"
    )
    parser.set_defaults(run=chat)
