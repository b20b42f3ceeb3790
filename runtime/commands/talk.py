"""`voxturn talk`: a conversation by microphone and loudspeaker, or typed."""

from __future__ import annotations

import argparse
import asyncio
import codecs
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from voxturn.runtime.audio.echo import PACKAGE, EchoCanceller
from voxturn.runtime.audio.encode import WavFile, output_error
from voxturn.runtime.client.devices import Loudspeaker, check_devices, microphone, without_echo
from voxturn.runtime.client.recorder import Recorder
from voxturn.runtime.client.voice import VoiceClient
from voxturn.runtime.commands.console import add_command, text_from
from voxturn.runtime.commands.loading import load_assistant
from voxturn.runtime.errors import TextError, UsageError
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.handoff import Handoff, Overflow, cancel_all
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import (
    AudioFrame,
    Interrupted,
    Partial,
    Paused,
    PcmChunk,
    Resumed,
    Samples,
    Sentence,
    SessionError,
    SessionEvent,
    Transcript,
    TurnDone,
)
from voxturn.runtime.models.plugins import importable
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.voice_session import VoiceSession

_READ = 4096
_PROFILE = "demo"
_GATEWAYS = ("ws://", "wss://")
_TOLD_S = 0.1
"""How often the session is told how far the loudspeaker is."""


def talk(args: argparse.Namespace) -> int:
    """Talk until interrupted, or until the typed lines end."""
    if args.text and args.record:
        raise UsageError("--record keeps what a microphone hears; leave --text out")
    check_devices("output", *([] if args.text else ["input"]))
    interrupted = False
    with ExitStack() as stack:
        wav = stack.enter_context(WavFile(args.record, RATE, 2)) if args.record else None
        traced = wav is not None and (args.profile or not args.server)
        on_trace = _trace_writer(Path(args.record).with_suffix(".jsonl"), stack) if traced else None
        options = SessionOptions(on_trace=on_trace) if on_trace is not None else None
        try:
            asyncio.run(
                _talk(_session(args.profile, args.server, options), args.text, args.echo, wav)
            )
        except KeyboardInterrupt:  # the usual end: what was recorded is kept
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return 0


def _trace_writer(path: Path, stack: ExitStack) -> Callable[[Trace], None]:
    """Writes each turn's trace as a line of JSON."""
    try:
        file = stack.enter_context(path.open("w", encoding="utf-8"))
    except OSError as exc:
        raise output_error(exc, str(path)) from exc
    return lambda trace: print(
        json.dumps(trace.to_dict(), ensure_ascii=False), file=file, flush=True
    )


@asynccontextmanager
async def _session(
    profile: str, server: str, options: SessionOptions | None
) -> AsyncGenerator[VoiceSession, None]:
    """A session here; with a server's address there, or here on its engines if there is a profile."""
    if server:
        key = os.environ.get("VOXTURN_KEY", "") if server.startswith(_GATEWAYS) else ""
        client = VoiceClient(server, profile=profile, key=key)
        async with client, client.session(options) as held:
            yield held
        return
    async with load_assistant(profile or _PROFILE) as assistant:
        await assistant.warm()
        async with assistant.session(options) as session:
            yield session


async def _talk(
    opening: AbstractAsyncContextManager[VoiceSession], typed: bool, echo: str, wav: WavFile | None
) -> None:
    async with opening as session:
        clock, rate = WallClock(), session.rate
        recorder = Recorder(wav.write, rate) if wav is not None else None
        canceller = None if typed else _canceller(echo, rate)
        on_played = partial(_note_played, clock, recorder, canceller)
        with Loudspeaker(rate, on_played=on_played) as speaker:
            talk = Talk(session, speaker, rate, clock)
            if typed:
                await talk.hold(talk.type_lines())
            else:
                await talk.hold(session.feed(_heard(clock, recorder, canceller)))


def _canceller(echo: str, rate: int) -> EchoCanceller | None:
    """What `--echo` asks for. Raises `ExecutorUnavailable` where it is asked for and not here."""
    if echo == "off" or (echo == "auto" and not importable(PACKAGE)):
        hint = "" if echo == "off" else "; pip install 'voxturn[echo]', or wear headphones"
        print(f"no echo canceller{hint}", file=sys.stderr)
        return None
    canceller = EchoCanceller(rate)
    print("echo canceller: WebRTC's AEC3", file=sys.stderr)
    return canceller


def _note_played(
    clock: Clock, recorder: Recorder | None, canceller: EchoCanceller | None, samples: Samples
) -> None:
    """Called by the loudspeaker's own thread with what it is about to play."""
    if canceller is not None:
        canceller.played(samples, clock.now())
    if recorder is not None:
        recorder.played(samples)


def _heard(
    clock: Clock, recorder: Recorder | None, canceller: EchoCanceller | None
) -> AsyncIterator[AudioFrame]:
    """The microphone's frames, recorded as they come, then without the echo."""
    frames: AsyncIterator[AudioFrame] = microphone(clock=clock)
    if recorder is not None:
        frames = recorder.heard(frames)
    return frames if canceller is None else without_echo(frames, canceller)


class Speaker(Protocol):
    """What `client.devices.Loudspeaker` does for a conversation."""

    @property
    def played(self) -> int: ...

    @property
    def end(self) -> int: ...

    def play(self, chunk: PcmChunk) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def stop(self) -> None: ...

    async def drain(self) -> None: ...


class Talk:
    """A session at a loudspeaker: its events are played, then shown, and it is told how far the
    loudspeaker is."""

    def __init__(
        self,
        session: VoiceSession,
        speaker: Speaker,
        rate: int,
        clock: Clock,
        shown: Callable[[SessionEvent], None] | None = None,
    ) -> None:
        self._session = session
        self._shown = shown or show
        self._speaker = speaker
        self._rate = rate
        self._clock = clock
        self._begin: int | None = None
        self._answered = asyncio.Event()

    async def hold(self, hear: Coroutine[Any, Any, None]) -> None:
        """Talk until what is heard ends."""
        tasks = [asyncio.create_task(each) for each in (self._play(), hear, self._tell())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in filter(done.__contains__, tasks):  # why a session ended, its events know
                task.result()
        finally:
            await cancel_all(tasks)

    async def type_lines(self) -> None:
        """Ask what is typed.

        A line at a terminal cuts the answer to the one before; one of a pipe waits for its end.
        """
        interactive, asked = sys.stdin.isatty(), False
        async with aclosing(_lines()) as lines:
            async for line in lines:
                if asked and not interactive:
                    await self._sounded()
                self._answered.clear()
                self._session.ask(line)
                asked = True
        if asked:
            await self._sounded()

    async def _sounded(self) -> None:
        await self._answered.wait()
        await self._speaker.drain()
        self._tell_played()

    async def _play(self) -> None:
        async for event in self._session:
            match event:
                case PcmChunk():
                    if not event.start:
                        self._begin = self._speaker.end
                    self._speaker.play(event)
                case Paused():
                    self._speaker.pause()
                case Resumed():
                    self._speaker.resume()
                case Interrupted():
                    self._tell_played()
                    self._speaker.stop()
                    self._begin = None
                case TurnDone():
                    self._answered.set()
            self._shown(event)

    async def _tell(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + _TOLD_S)
            self._tell_played()

    def _tell_played(self) -> None:
        if self._begin is not None:
            samples = max(0, self._speaker.played - self._begin)
            self._session.played(1000 * samples / self._rate)


def show(event: SessionEvent) -> None:
    """Print what was heard and said; partial transcripts at a terminal alone, where the next line
    takes their place."""
    terminal = sys.stdout.isatty()
    begin = "\r\033[K" if terminal else ""
    match event:
        case Partial() if terminal:
            print(f"{begin}> {event.stable}{event.unstable}", end="", flush=True)
        case Transcript() if event.text:
            print(f"{begin}> {event.text}", flush=True)
        case Sentence():
            print(f"{begin}{event.text}", flush=True)
        case Interrupted():
            print(f"{begin}[{event.reason}]", flush=True)
        case SessionError():
            print(f"voxturn: {' '.join(str(event.error).split())}", file=sys.stderr)


async def _lines() -> AsyncGenerator[str, None]:
    """The lines of standard input that are not empty, as they come. Raises `TextError`."""
    loop, input_fd = asyncio.get_running_loop(), sys.stdin.fileno()
    handoff: Handoff[str] = Handoff(1, Overflow.GROW)

    def read() -> None:
        # not of `sys.stdin`, whose lock the interpreter wants when it ends while this waits
        decoder, rest = codecs.getincrementaldecoder("utf-8")(), ""
        try:
            while data := os.read(input_fd, _READ):
                *lines, rest = (rest + text_from(partial(decoder.decode, data))).split("\n")
                for line in lines:
                    loop.call_soon_threadsafe(handoff.put_now, line)
            loop.call_soon_threadsafe(handoff.put_now, rest)
            loop.call_soon_threadsafe(handoff.close)
        except TextError as exc:
            loop.call_soon_threadsafe(handoff.fail, exc)
        except RuntimeError:  # the loop is closed: nobody waits for lines any more
            return

    # nobody can wake a thread that waits for a line: it is left behind, and ends with the process
    threading.Thread(target=read, daemon=True).start()
    async for line in handoff:
        if line.strip():
            yield line.strip()


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "talk",
        "a conversation by microphone and loudspeaker",
        "  voxturn talk\n  voxturn talk --text\n  voxturn talk --record call.wav\n"
        "  voxturn talk --server ws://localhost:8080\n  voxturn talk --server localhost:8001",
    )
    parser.add_argument(
        "--server",
        default="",
        metavar="ADDRESS",
        help="hold it at a gateway (ws://HOST:PORT, its key in $VOXTURN_KEY), or at a Triton server's "
        "voice_turn; with --profile here, on that server's engines",
    )
    parser.add_argument("--text", action="store_true", help="type the questions")
    parser.add_argument(
        "--echo",
        choices=("auto", "on", "off"),
        default="auto",
        help="take the loudspeaker out of the microphone; auto: where voxturn[echo] is installed",
    )
    parser.add_argument(
        "--record",
        default="",
        metavar="WAV",
        help="keep both sides in stereo, and each turn's trace as a line of a .jsonl beside it; "
        "what a server drives leaves no traces here",
    )
    parser.set_defaults(run=talk, profile="")
