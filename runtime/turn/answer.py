"""The answer to an utterance, begun while the end of the speech is only suspected: a task of its
own.

The model is asked, and where it calls functions asked again with their results. What it writes in
all these rounds is one answer to the voice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.families.base import Replier, Voice, opens_thought
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import Ahead, Handoff, Overflow, cancel_and_wait, close_iterator
from voxturn.runtime.messages import (
    Event,
    Message,
    ReplyToken,
    Sentence,
    ToolCall,
    ToolSpec,
    Transcript,
)
from voxturn.runtime.text.chat_format import alternating
from voxturn.runtime.text.thought import WithoutThoughts
from voxturn.runtime.turn.memory import Round, with_question
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.tools import Toolbox, ToolRun, ToolRuns

T = TypeVar("T")
_EVENTS_AHEAD = 256


@dataclass(frozen=True)
class Speaker:
    """What makes an answer: the replier, what cuts its text into sentences, the voice; None: it is
    not spoken.

    `answers`: whether there is an answer at all. `max_tokens` of it; 0: no bound of our own.
    """

    replier: Replier
    split: Split
    voice: Voice | None
    answers: bool = True
    max_tokens: int = 0


class Answer:
    """Events of an answer with the times at which they were produced, in seconds of the clock.

    `parts` are the transcripts of what was said before `last`, which gives the transcript of the
    rest; without both the dialogue is answered as it is, in `language`. `transcript` is known once
    both are joined. `rounds` are what the model wrote, each time
    that it was asked; `dropped` is how many of the oldest messages it was not shown. `record` gets
    the calls of tools.
    """

    def __init__(
        self,
        speaker: Speaker,
        messages: Sequence[Message],
        parts: Sequence[Transcript],
        last: Callable[[], Awaitable[Transcript]] | None,
        clock: Clock,
        box: Toolbox,
        record: Callable[[ToolRun], None],
        language: str = "",
    ) -> None:
        self._speaker = speaker
        self._before = language
        self._record = record
        self._written = 0
        self._messages = list(messages)
        self._parts = list(parts)
        self._last = last
        self._clock = clock
        self._box = box
        self._runs = ToolRuns(box, clock, self._tell, record)
        self.transcript: Transcript | None = None
        self.rounds: list[Round] = []
        self.dropped = 0
        # words never wait, so that the audio they become is begun: the reply's length limits them
        self.events: Handoff[tuple[float, Event]] = Handoff(_EVENTS_AHEAD, Overflow.GROW)
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop everything of it, and wait until it has stopped."""
        self.events.abandon()
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        try:
            await self._make()
            self.events.close()
        except Exception as exc:  # noqa: BLE001  it is the reader's
            self.events.fail(exc)
        except BaseException:
            self.events.fail(StreamClosed("the answer was cancelled"))
            raise

    async def _make(self) -> None:
        if self._last is not None:
            self._parts.append(await self._last())
        if not self._parts:
            await self._speak(self._sentences(alternating(self._messages)))
            return
        self.transcript = joined(self._parts)
        self._tell(self.transcript)
        if not self.transcript.text or not self._speaker.answers:
            return
        if self.transcript.refusal:  # the replier is not asked
            self.rounds.append(Round())
            await self._speak(self._refused(self.transcript.refusal))
            return
        await self._speak(self._sentences(with_question(self._messages, self.transcript.text)))

    async def _speak(self, sentences: AsyncIterator[Sentence]) -> None:
        if self._speaker.voice is None:
            async with aclosing(self._tapped(sentences)) as texts:
                async for _ in texts:
                    pass
            return
        chunks = spoken(self._speaker.voice, self._tapped(sentences))
        try:
            async for chunk in chunks:
                await self.events.put((self._clock.now(), chunk))
        finally:
            await chunks.aclose()

    async def _refused(self, refusal: str) -> AsyncGenerator[Sentence, None]:
        """What is said instead of an answer."""
        sentence = self._speaker.split.refused(refusal, self._language)
        self.rounds[-1].sentences.append(sentence)
        yield sentence

    @property
    def _language(self) -> str:
        """Of the question."""
        return self.transcript.language if self.transcript is not None else self._before

    async def _sentences(self, asked: list[Message]) -> AsyncGenerator[Sentence, None]:
        """The sentences of all rounds, and what is said between them."""
        split, index, language = self._speaker.split, 0, self._language
        settings, filled = self._box.settings, not self._box.settings.filler
        try:
            while True:
                current = Round()
                self.rounds.append(current)
                self._runs.begin_round()
                asked = self._fitted(asked)
                tokens = Ahead(self._tokens(asked, current), _EVENTS_AHEAD)
                async with aclosing(split(tokens, language, index)) as sentences:
                    async for sentence in sentences:
                        current.sentences.append(sentence)
                        index = sentence.index + 1
                        yield sentence
                if current.refused:
                    return
                if not current.calls or self._runs.exhausted or self._full:
                    break
                if self._box.handed and len(current.results) < len(current.calls):
                    return
                if not filled and not await self._runs.ended(settings.filler_after_ms / 1000):
                    filled = True
                    yield split.filler(settings.filler, language, index)
                    index += 1
                await self._runs.ended()
                asked = [*asked, *current.messages(current.text)]
            if len(self.rounds) > 1 and not current.sentences and settings.no_answer:
                yield split.filler(settings.no_answer, language, index)
        finally:
            await self._runs.aclose()

    def _fitted(self, asked: list[Message]) -> list[Message]:
        """The dialogue as far as the model has room for it."""
        fitted = self._speaker.replier.fitted(asked, *self._tools)
        self.dropped += len(asked) - len(fitted)
        return fitted

    @property
    def _tools(self) -> tuple[Sequence[ToolSpec], ...]:
        """The argument `tools`, where there are any: a replier without them need not know it."""
        return (self._box.tools,) if self._box.tools else ()

    async def _tokens(
        self, asked: list[Message], current: Round
    ) -> AsyncGenerator[ReplyToken, None]:
        """What the model writes, without its calls, which are made. Thoughts are not told."""
        shown = WithoutThoughts(opens_thought(self._speaker.replier))
        async with aclosing(self._speaker.replier(asked, *self._tools)) as items:
            async for item in items:
                current.written(item)
                self._written += len(item.ids)
                if isinstance(item, ToolCall):
                    self._call(item, current)
                else:
                    self._tell(replace(item, text=shown.push(item.text)))
                    yield item
                if self._full:
                    break
            if rest := shown.flush():
                self._tell(ReplyToken(rest))

    @property
    def _full(self) -> bool:
        """Whether it has as many tokens as it may."""
        most = self._speaker.max_tokens
        return 0 < most <= self._written

    def _call(self, call: ToolCall, current: Round) -> None:
        """Make a call, or hand it to whoever reads the events, if it is one."""
        if not self._box.handed or call.problem:
            self._runs.start(call, current.results)
            return
        now_s = self._clock.now()
        self._record(ToolRun(call.name, call.arguments, "handed", "", now_s, now_s))
        self._tell(call)

    def confirm(self) -> None:
        """The end of the question is certain: what changes something may be called."""
        self._runs.certain.set()

    def tool_result(self, call_id: str, content: str, failed: bool) -> bool:
        """As `Turn.tool_result`."""
        return self._runs.give(call_id, content, failed)

    def _tell(self, event: Event) -> None:
        self.events.put_now((self._clock.now(), event))

    async def _tapped(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """The items of `source`, each told as an event."""
        try:
            async for item in source:
                self._tell(item)  # type: ignore[arg-type]
                yield item
        finally:
            await close_iterator(source)


def joined(texts: Sequence[Transcript]) -> Transcript:
    """The transcripts of consecutive utterances as one."""
    return Transcript(
        " ".join(t.text for t in texts if t.text),
        next((t.language for t in texts if t.text), texts[0].language),
        min(t.confidence for t in texts),
        sum(t.fallbacks for t in texts),
        tuple(action for t in texts for action in t.filtered),
        refusal=next((t.refusal for t in texts if t.refusal), ""),
    )
