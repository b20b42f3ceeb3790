"""The client without a server: its synchronous twin, several endpoints, microphone and loudspeaker
on a fake library."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from voxturn.runtime.client import Loudspeaker, SyncVoiceClient, VoiceClient, microphone
from voxturn.runtime.client.endpoints import Endpoints
from voxturn.runtime.client.sync import synchronous
from voxturn.runtime.errors import ExecutorUnavailable, ServerDied, UsageError
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import Partial, PcmChunk, Sentence, Transcript
from voxturn.runtime.remote.contract import Piece
from voxturn.runtime.remote.tensors import Tensors, of_event, text_tensor


class Counting:
    """Counts, asynchronously. `loops` are those it was used in."""

    def __init__(self, first: int) -> None:
        self.first, self.closed, self.ended = first, False, 0
        self.loops = {asyncio.get_running_loop()}

    async def add(self, number: int) -> int:
        """A sum."""
        self.loops.add(asyncio.get_running_loop())
        return self.first + number

    async def numbers(self) -> AsyncGenerator[int, None]:
        """For ever."""
        try:
            while True:
                self.loops.add(asyncio.get_running_loop())
                yield self.first
                self.first += 1
                if self.first == 13:
                    raise ValueError("unlucky")
        finally:
            self.ended += 1

    def run(self) -> Run:
        return Run(self)

    async def aclose(self) -> None:
        self.closed = True


class Run:
    """Something with methods of its own."""

    def __init__(self, counting: Counting) -> None:
        self._numbers = counting.numbers()

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        return await anext(self._numbers)

    async def interrupt(self) -> None:
        await self._numbers.aclose()


SyncCounting = synchronous(Counting, "SyncCounting")


def test_the_twin_does_what_the_original_does_in_one_loop() -> None:
    with SyncCounting(3) as counting:
        inner = counting._inner
        assert counting.add(4) == 7
        numbers = counting.numbers()
        assert [next(numbers), next(numbers)] == [3, 4]
        numbers.close()
        assert inner.ended == 1
        assert list(zip(range(3), counting.run(), strict=False)) == [(0, 4), (1, 5), (2, 6)]
        run = counting.run()
        assert next(run) == 6
        run.interrupt()
        assert inner.ended == 3
        with pytest.raises(ValueError, match="unlucky"):
            list(counting.numbers())
        assert len(inner.loops) == 1
    assert inner.closed
    counting.close()


PUBLIC = {"turn", "session", "say", "transcribe", "reply", "hear", "interrupt"}


@pytest.mark.parametrize(
    ("original", "twin_of"), [(VoiceClient, SyncVoiceClient), (Counting, SyncCounting)]
)
def test_the_twin_s_methods_are_the_original_s(original: type[Any], twin_of: type[Any]) -> None:
    """Every public one, by the twin's own attributes: with its documentation and its arguments."""
    public = {
        name: function
        for name, function in vars(original).items()
        if inspect.isfunction(function) and not name.startswith("_") and name != "aclose"
    }
    assert public
    assert twin_of.__name__ == f"Sync{original.__name__}"
    assert inspect.getdoc(original) in twin_of.__doc__
    for name, function in public.items():
        method = vars(twin_of)[name]
        assert method is not function
        assert method.__name__ == name
        assert method.__doc__ == function.__doc__
        assert inspect.signature(method) == inspect.signature(function)
        if original is VoiceClient:
            assert function.__doc__, f"{name} has no documentation"


def test_the_client_has_the_methods_that_are_documented() -> None:
    assert vars(SyncVoiceClient).keys() >= PUBLIC


def test_a_twin_hands_its_arguments_on() -> None:
    class Client:
        async def both(self, first: int, *, second: int = 2) -> tuple[int, int]:
            return first, second

        async def aclose(self) -> None:
            return None

    with synchronous(Client, "SyncClient")() as client:
        assert client.both(1, second=3) == (1, 3)
        assert client.both(first=4) == (4, 2)
        with pytest.raises(TypeError, match="third"):
            client.both(1, third=3)


def test_a_twin_that_cannot_be_made_leaves_no_thread() -> None:
    with pytest.raises(UsageError, match="needs an address"):
        SyncVoiceClient("")


class Server:
    """A connection that does nothing."""

    def __init__(self, address: str, **_: Any) -> None:
        self.address = address
        self.pieces: list[Piece | None] = []
        self.forgotten: list[int] = []

    async def infer(self, model: str, inputs: Any, piece: Piece | None = None) -> Tensors:
        self.pieces.append(piece)
        found = Transcript("all", "en", -0.2) if piece and piece.end else Partial("so", "", "en", 0)
        return {"text": text_tensor("so"), **of_event(found)}

    async def forget(self, model: str, sequence: int) -> None:
        self.forgotten.append(sequence)

    async def aclose(self) -> None:
        return None


async def test_streams_go_to_servers_that_answer_and_a_conversation_stays_at_its_own() -> None:
    clock = ManualClock()
    servers = Endpoints(["a", "b", "a"], Server, clock)  # type: ignore[arg-type]
    assert len(servers) == 2
    async with (
        servers.one(keep=True) as mine,
        servers.one() as other,
        servers.one(keep=True) as again,
    ):
        assert (mine.address, other.address, again.address) == ("a", "b", "a")
    with pytest.raises(ServerDied):
        async with servers.one(keep=True) as mine:
            raise ServerDied("gone")
    for _ in range(3):
        async with servers.one() as spread, servers.one(keep=True) as kept:
            assert (spread.address, kept.address) == ("b", "b")
    clock.advance(3.0)  # it may have come back
    async with servers.one() as first, servers.one() as second:
        assert {first.address, second.address} == {"a", "b"}
    await servers.aclose()


@pytest.mark.parametrize("whole", [False, True])
async def test_of_an_utterance_that_is_left_the_server_keeps_nothing(
    whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Server] = []

    def connect(address: str, **options: Any) -> Server:
        made.append(Server(address))
        return made[0]

    async def speech() -> AsyncGenerator[Any, None]:
        for _ in range(3):
            yield np.zeros(8000, np.float32)

    monkeypatch.setattr("voxturn.runtime.client.voice.TritonServer", connect)
    async with VoiceClient("there:1") as client:
        async with aclosing(client.hear(speech())) as heard:
            found = [await anext(heard)]
            if whole:
                found += [each async for each in heard]
        assert isinstance(found[-1], Transcript) == whole
        first = made[0].pieces[0]
        assert first is not None
        assert made[0].forgotten == ([] if whole else [first.sequence])


async def test_frames_need_a_profile() -> None:
    async def frames() -> AsyncGenerator[Any, None]:
        yield None

    async with VoiceClient("127.0.0.1:9") as client:
        with pytest.raises(UsageError, match="profile"):
            client.turn(frames())


class Stream:
    """Of the fake sounddevice."""

    made: ClassVar[list[Stream]] = []

    def __init__(self, **options: Any) -> None:
        if options["device"] == "broken":
            raise RuntimeError("no such device")
        self.options, self.open, self.active, self.latency = options, True, True, 0.01
        Stream.made.append(self)

    def start(self) -> None:
        return None

    def close(self) -> None:
        self.open = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sounddevice")
    library.InputStream = library.OutputStream = Stream  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    Stream.made.clear()


async def test_the_microphone_gives_frames_until_it_is_closed(sounddevice: None) -> None:
    frames = microphone()
    first = asyncio.create_task(anext(frames))
    await asyncio.sleep(0)
    (stream,) = Stream.made
    for value in (0.5, 0.25):
        stream.options["callback"](np.full((320, 1), value, np.float32), 320, None, None)
    one = await first
    two = await anext(frames)
    assert (one.start, two.start, one.rate) == (0, 320, 16000)
    assert (one.samples[0], two.samples[0]) == (0.5, 0.25)
    await frames.aclose()
    assert not stream.open


async def test_a_microphone_that_is_read_too_late_drops_its_oldest_frames_and_says_so_once(
    sounddevice: None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    frames = microphone(clock=clock)
    first = asyncio.create_task(anext(frames))
    await asyncio.sleep(0)
    (stream,) = Stream.made
    for number in range(1 + 512 + 100):
        clock.advance(0.02)
        stream.options["callback"](np.full((320, 1), number, np.float32), 320, None, None)
        if not number:
            assert (await first).samples[0] == 0
    await asyncio.sleep(0)
    got = [await anext(frames) for _ in range(512)]
    assert [frame.samples[0] for frame in got] == list(range(101, 613))
    assert [frame.start for frame in got] == [320 * (1 + n) for n in range(512)]
    assert got[0].arrived_s == pytest.approx(102 * 0.02)  # when it was there, not when it is read
    stream.options["callback"](np.full((320, 1), 9.0, np.float32), 320, None, None)
    assert (await anext(frames)).samples[0] == 9.0
    await frames.aclose()
    assert [record.getMessage() for record in caplog.records] == [
        "the microphone is read too late: its oldest 2.0 s were dropped"
    ]


async def test_the_loudspeaker_plays_in_order_and_counts_what_sounded(sounddevice: None) -> None:
    with Loudspeaker(24000) as speaker:
        (stream,) = Stream.made
        for value in (1.0, 2.0):
            speaker.play(PcmChunk(np.full(150, value, np.float32), 24000, 0, Sentence("", 0)))
        out = np.zeros((200, 1), np.float32)
        stream.options["callback"](out, 200, None, None)
        assert (out[149, 0], out[150, 0], speaker.played) == (1.0, 2.0, 200)
        stream.options["callback"](out, 200, None, None)
        assert (out[99, 0], out[100, 0], speaker.played) == (2.0, 0.0, 300)
        await asyncio.wait_for(speaker.drain(), 5)
        speaker.play(PcmChunk(np.ones(150, np.float32), 24000, 0, Sentence("", 0)))
        speaker.stop()
        stream.options["callback"](out, 200, None, None)
        assert (out.any(), speaker.played) == (False, 300)
        speaker.pause()
        speaker.play(PcmChunk(np.ones(150, np.float32), 24000, 0, Sentence("", 0)))
        stream.options["callback"](out, 200, None, None)
        assert (out.any(), speaker.played, speaker.end) == (False, 300, 450)
        speaker.resume()
        stream.options["callback"](out, 200, None, None)
        assert (out[149, 0], out[150, 0], speaker.played) == (1.0, 0.0, 450)
        speaker.pause()
        speaker.stop()  # what comes next is another answer
        speaker.play(PcmChunk(np.ones(50, np.float32), 24000, 0, Sentence("", 0)))
        stream.options["callback"](out, 200, None, None)
        assert speaker.played == 500
    assert not stream.open


async def test_devices_that_are_not_there_are_typed_errors(
    sounddevice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExecutorUnavailable, match="loudspeaker cannot be opened"):
        Loudspeaker(24000, "broken")
    with pytest.raises(ExecutorUnavailable, match="microphone cannot be opened"):
        await anext(microphone("broken"))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ExecutorUnavailable, match="needs sounddevice"):
        Loudspeaker(24000)
