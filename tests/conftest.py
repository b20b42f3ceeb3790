"""A whole turn out of the shipped fakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.executors.fake import FakeDecoder, FakeGraph, FakeWhisper
from voxturn.runtime.families.decoder import DecoderReplier
from voxturn.runtime.families.silero import Silero
from voxturn.runtime.families.vits.encoder import Manner, VitsEncoder
from voxturn.runtime.families.vits.speakers import Speakers
from voxturn.runtime.families.vits.voice import VitsVoice
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser
from voxturn.runtime.families.windowed import SameFrames, WindowedVocoder
from voxturn.runtime.flow.clock import WallClock
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import AudioFrame, Samples
from voxturn.runtime.protocols import Generated, Tensor
from voxturn.runtime.text.chat import CHAT_FORMATS, Chat
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.text.reading import ReadText
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.trace import StageInfo
from voxturn.runtime.turn.turn import Conversation

settings.register_profile("voxturn", deadline=None)  # no test is about time
settings.load_profile("voxturn")

HOP, RATE = 256, 22050


class CharTokenizer:
    """One id a character; ids below 20 are marks."""

    marks = (
        "<|im_start|>", "<|im_end|>", "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>", "<|en|>", "<|ar|>"
    )  # fmt: skip

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        while text:
            mark = next((m for m in self.marks if text.startswith(m)), None)
            ids.append(self.marks.index(mark) if mark else ord(text[0]))
            text = text[len(mark) if mark else 1 :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(i) for i in ids if i >= 20)

    def id_of(self, token: str) -> int | None:
        return self.marks.index(token) if token in self.marks else None


class OrdPhonemizer:
    """A phoneme id a letter."""

    def read(self, text: str, language: str) -> ReadText:
        return ReadText([ord(c) % 100 + 1 for c in text if c.isalnum()])


def energy_vad(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Speech is what is louder than −40 dBFS."""
    loud = (np.abs(inputs["input"]).max(-1) > 0.01).astype(np.float32)
    return {"speech_probs": loud, "hn": inputs["h"], "cn": inputs["c"]}


def acoustic(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ten frames a phoneme, loud."""
    return {"latents": np.ones((1, 4, 10 * inputs["input"].shape[1]), np.float32)}


def vocoder(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"audio": np.repeat(inputs["latents"][:, :1], HOP, axis=2) * 0.5}


@dataclass
class FakeTurn:
    """Stages on fakes, with their lanes and executors. `seconds` is what every call takes."""

    reply_text: str = "Paris is the capital, of course. It lies on the Seine. Do visit it one day."
    heard: str = "What is the capital of France?"
    seconds: float = 0.002
    endpointing: Endpointing = field(default_factory=Endpointing)

    def __post_init__(self) -> None:
        tokenizer = CharTokenizer()
        end = tokenizer.id_of("<|im_end|>")
        assert end is not None
        opening = tokenizer.encode("<|im_start|>assistant\n")

        def following(ids: Sequence[int]) -> int:
            begins = [
                i + len(opening)
                for i in range(len(ids))
                if list(ids[i : i + len(opening)]) == opening
            ]
            said = len(ids) - begins[-1] if begins else 0  # a prompt that is warmed has no opening
            return ord(self.reply_text[said]) if said < len(self.reply_text) else end

        self.vad = FakeGraph(energy_vad)
        result = Generated(tuple(tokenizer.encode(self.heard)), -0.1, 0.0)
        self.whisper = FakeWhisper([result], seconds=self.seconds)
        self.decoder = FakeDecoder(following, 300, slots=3, capacity=2048, seconds=self.seconds / 4)
        self.acoustic, self.vocoder = (
            FakeGraph(acoustic, self.seconds),
            FakeGraph(vocoder, self.seconds),
        )
        self.lanes = {
            name: Lane(name) for name in ("listen", "transcribe", "reply", "speak", "vocode")
        }
        engine = DecodeEngine(self.decoder)
        self.engine = engine
        lanes = self.lanes
        self.recogniser = WhisperRecogniser(self.whisper, tokenizer, mel, lanes["transcribe"], "en")
        self.replier = DecoderReplier(
            DecodeService(engine, lanes["reply"]),
            tokenizer,
            Chat(tokenizer, CHAT_FORMATS["chatml"]),
            Sampling(),
            400,
        )
        manner, reader = Manner(0.6, 1.0, 0.8, "en"), OrdPhonemizer()
        self.encoder = VitsEncoder(self.acoustic, reader, lanes["speak"], manner, 64, 192, ("en",))
        self.windowed = WindowedVocoder(
            self.vocoder, lanes["vocode"], RATE, HOP, 3, SameFrames(), (Plan(),)
        )
        self.stages = Stages(
            Listen(Silero(self.vad, lanes["listen"]), self.endpointing),
            FilteredRecogniser(self.recogniser, PassAll()),
            self.replier,
            Split(PassAll(), 200),
            VitsVoice(self.encoder, self.windowed, Speakers.read(Path(), ())),
        )
        info = {name: StageInfo("fake", "fp32", "fake", "0" * 64, 1) for name in lanes}
        self.setup = TurnSetup("fake", info, "numpy", WallClock())

    def conversation(self) -> Conversation:
        return Conversation(self.stages, self.setup, "Be brief.")

    def close(self) -> None:
        for lane in self.lanes.values():
            lane.close()


def mel(samples: Samples) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.zeros((80, samples.size // 160), np.float32)


def tone(seconds: float, silence: float = 0.0) -> Samples:
    """A loud tone at 16 kHz, then silence."""
    t = np.arange(int(16000 * seconds), dtype=np.float32) / 16000
    return np.concatenate(
        [0.5 * np.sin(2 * np.pi * 220 * t), np.zeros(int(16000 * silence))]
    ).astype(np.float32)


async def fed(
    samples: Samples, frame: int = 320, wait: float = 0.0, rest: float = 0.0
) -> AsyncIterator[AudioFrame]:
    """Frames of `samples`, `wait` seconds apart; then silence for `rest` seconds, as a microphone
    gives it."""
    clock = WallClock()
    samples = np.concatenate([samples, np.zeros(int(16000 * rest), np.float32)])
    for start in range(0, samples.size, frame):
        await asyncio.sleep(wait)
        yield AudioFrame(samples[start : start + frame], 16000, start, clock.now())


async def settled(fake: FakeTurn) -> None:
    """Let calls that run out in the background run out; then no task and no busy slot is left."""
    for _ in range(400):
        if len(asyncio.all_tasks()) == 1 and not any(slot.busy for slot in fake.engine.cache.slots):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"left: {asyncio.all_tasks()}, {fake.engine.cache.slots}")


@pytest.fixture
def fake_turn() -> Iterator[FakeTurn]:
    fake = FakeTurn()
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Every test ends with the voxturn threads it began with."""
    before = {t for t in threading.enumerate() if t.name.startswith("voxturn")}
    yield
    left = [
        t.name
        for t in threading.enumerate()
        if t.name.startswith("voxturn") and t not in before and t.is_alive()
    ]
    assert not left, f"threads left behind: {left}"
