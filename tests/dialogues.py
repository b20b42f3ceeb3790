"""Whole sessions on fakes and a clock that stands still: what was said is told by how loud it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import numpy as np
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.fake import FakeActivity, FakeReplier, FakeVoice
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    Partial,
    Paused,
    PcmChunk,
    ReplyToken,
    Resumed,
    Samples,
    Sentence,
    SessionEvent,
    Speaking,
    ToolCall,
    ToolSpec,
    Transcript,
)
from voxturn.runtime.text.filter import ContentFilter, PassAll
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.listen import RATE, Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.turn import Conversation

FRAME = RATE // 50
_ECHO_FRAMES = 6  # 120 ms
QUESTION, ANSWER = "What is the capital of France?", "Paris is the capital. It lies on the Seine."
WHOLE = [("user", QUESTION), ("assistant", ANSWER)]
ROME, ABOUT_ROME = "Tell me about Rome instead.", "Rome is old."
COUGH, BROKEN = "", "broken"


def sound(level: float, seconds: float) -> Samples:
    """A square wave: as loud everywhere."""
    signs = np.where(np.arange(int(RATE * seconds)) % 2 == 0, 1.0, -1.0)
    return (level * signs).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(RATE * seconds), np.float32)


class LevelRecogniser:
    """Hears the text of each level, in the order in which they come; `BROKEN` raises.

    `open`: utterances of which something is kept for partial transcripts.
    """

    def __init__(self, texts: Mapping[float, str], language: str = "en") -> None:
        self._texts = texts
        self.language = language
        self.open: set[LevelHearing] = set()

    def hear(self, prior: str = "") -> LevelHearing:
        return LevelHearing(self)

    async def warm(self) -> None: ...

    def text(self, samples: Samples) -> str:
        levels = np.round(np.abs(samples), 2)
        changes = np.flatnonzero(np.diff(levels, prepend=0.0))
        heard = [self._texts[round(float(levels[i]), 2)] for i in changes if levels[i] > 0]
        if BROKEN in heard:
            raise InferenceFailed("the recogniser died")
        return " ".join(text for text in heard if text)


class LevelHearing:
    """One utterance. Stable is what two partials agree in."""

    def __init__(self, recogniser: LevelRecogniser) -> None:
        self._recogniser = recogniser
        self._text = ""

    async def partial(self, speaking: Speaking) -> Partial | None:
        self._recogniser.open.add(self)
        before, self._text = self._text, self._recogniser.text(speaking.samples)
        stable = self._text if self._text == before else ""
        language = self._recogniser.language
        return Partial(stable, self._text[len(stable) :], language, speaking.start)

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        return Transcript(self._recogniser.text(samples), self._recogniser.language)

    def close(self) -> None:
        self._recogniser.open.discard(self)


class ScriptedReplier(FakeReplier):
    """Answers each question as it was told; a `BROKEN` answer raises after its first word."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        super().__init__("")
        self.answers = answers

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        self.dialogues.append(list(messages))
        answer = self.answers.get(messages[-1].text, ANSWER)
        for number, word in enumerate(answer.split(" ")):
            if word == BROKEN:
                raise InferenceFailed("the replier died")
            await asyncio.sleep(0)
            yield ReplyToken(f" {word}" if number else word, (number,))


class BreakingVoice(FakeVoice):
    """Raises at a sentence with the word `BROKEN`."""

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async with aclosing(super().__call__(sentences)) as chunks:
            async for chunk in chunks:
                if BROKEN in chunk.sentence.text:
                    raise InferenceFailed("the voice died")
                yield chunk


class Room:
    """A session, its events and traces so far, and time, which passes with what is heard."""

    def __init__(
        self,
        texts: Mapping[float, str],
        answers: Mapping[str, str] | None = None,
        language: str = "en",
    ) -> None:
        self.clock = ManualClock()
        self.recogniser = LevelRecogniser({0.3: QUESTION, 0.4: ROME, **texts}, language)
        self.replier = ScriptedReplier({ROME: ABOUT_ROME, **(answers or {})})
        self.voice = BreakingVoice(language)
        self.events: list[SessionEvent] = []
        self.traces: list[Trace] = []
        self.session: Session
        self._waiting: deque[int] = deque()  # the word of each frame of the loudspeaker
        self._sentences: dict[int, tuple[int, int]] = {}
        self._words = 0
        self._silenced = False
        self._echo = deque([0.0] * _ECHO_FRAMES)
        self._stages = Stages(
            Listen(FakeActivity(), Endpointing()),
            FilteredRecogniser(self.recogniser, PassAll()),
            self.replier,
            Split(PassAll(), 200),
            self.voice,
        )

    def filter_with(self, content_filter: ContentFilter) -> None:
        """What is heard passes this filter."""
        recogniser = FilteredRecogniser(self.recogniser, content_filter)
        self._stages = replace(self._stages, recogniser=recogniser)

    def conversation(self, strategy: Strategy | None = None, share: float = 1.0) -> Conversation:
        stages = replace(self._stages, partial_share=share)
        if strategy is not None:
            stages = replace(stages, interrupt=strategy)
        return Conversation(stages, TurnSetup("fake", {}, "numpy", self.clock), "Be brief.")

    @asynccontextmanager
    async def open(
        self, strategy: Strategy | None = None, share: float = 1.0, ahead_s: float = 10.0
    ) -> AsyncGenerator[Session, None]:
        options = SessionOptions(ahead_s=ahead_s, on_trace=self.traces.append)
        async with Session(self.conversation(strategy, share), options) as self.session:
            reader = asyncio.create_task(self._read())
            await self.settle()
            yield self.session
        await asyncio.wait_for(reader, 5)
        assert not self.recogniser.open

    async def _read(self) -> None:
        async for event in self.session:
            self.events.append(event)
            match event:
                case PcmChunk():
                    self._waiting.extend(self._words_of(event))
                case Interrupted():
                    self._waiting.clear()
            self._silenced = isinstance(event, Paused) or (
                self._silenced and not isinstance(event, Resumed | Interrupted)
            )

    def _words_of(self, chunk: PcmChunk) -> list[int]:
        """For each frame of a chunk, the number of the word in the answer that it belongs to."""
        if not chunk.start:
            self._sentences.clear()
            self._words = 0
        words = len(chunk.sentence.text.split())
        begin, before = self._sentences.setdefault(chunk.sentence.index, (chunk.start, self._words))
        if begin == chunk.start:
            self._words += words
        seconds = 0.05 * len(chunk.sentence.text)  # as `FakeVoice` takes
        frames = round(chunk.samples.size / chunk.rate * 50)
        at = [(chunk.start - begin) / chunk.rate + i / 50 for i in range(frames)]
        return [before + min(words - 1, int(each / seconds * words)) for each in at]

    def _play_frame(self) -> None:
        sounding = self._waiting and not self._silenced
        word = self._waiting.popleft() if sounding else None
        self._echo.append(0.0 if word is None else round(0.11 + 0.01 * word, 2))
        if len(self._echo) > _ECHO_FRAMES:
            self._echo.popleft()

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        count = -1
        while count != len(self.events):
            count = len(self.events)
            for _ in range(60):
                await asyncio.sleep(0)

    async def hear(self, *sounds: Samples) -> None:
        """Frames as a microphone gives them."""
        samples = np.concatenate(sounds)
        for begin in range(0, samples.size, FRAME):
            self.clock.advance(FRAME / RATE)
            self._play_frame()
            self.session.push(samples[begin : begin + FRAME])
            await self.settle()

    async def hear_the_loudspeaker(self, seconds: float) -> None:
        """The microphone hears nothing but the answer, as it is played: word by word at levels from
        0.11 on."""
        for _ in range(round(seconds * RATE / FRAME)):
            await self.hear(sound(self._echo[0], FRAME / RATE))

    async def ask_aloud(self, level: float = 0.3) -> None:
        """A question of a second, until its answer has just begun."""
        await self.hear(sound(level, 1.0), silence(0.3))

    def of(self, kind: type) -> list[SessionEvent]:
        """The events of a kind."""
        return [event for event in self.events if type(event) is kind]

    def names(self) -> list[str]:
        """The kinds of events in order, each run of one kind once."""
        names = [type(event).__name__ for event in self.events]
        return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]

    @property
    def questions(self) -> list[str]:
        """What was heard as questions."""
        return [event.text for event in self.events if isinstance(event, Transcript)]

    @property
    def said(self) -> list[tuple[str, str]]:
        """The dialogue, without the system prompt."""
        return [(m.role, m.text) for m in self.session.messages if m.role != "system"]

    @property
    def decisions(self) -> list[tuple[str, str]]:
        """What was done about speech over the answers, and why."""
        traces = self.traces
        return [(each.what, each.reason) for trace in traces for each in trace.interruptions]
