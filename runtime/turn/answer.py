"""The answer to an utterance, begun while the end of the speech is only suspected: a task of its
own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.families.base import Replier, Voice
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import Ahead, Handoff, Overflow, cancel_and_wait, close_iterator
from voxturn.runtime.messages import Event, Message, Sentence, Transcript
from voxturn.runtime.turn.memory import with_question
from voxturn.runtime.turn.split import Split

T = TypeVar("T")
_EVENTS_AHEAD = 256


@dataclass(frozen=True)
class Speaker:
    """What makes an answer: the replier, what cuts its text into sentences, the voice."""

    replier: Replier
    split: Split
    voice: Voice


class Answer:
    """Events of an answer with the times at which they were produced, in seconds of the clock.

    `parts` are the transcripts of what was said before `last`, which gives the transcript of the
    rest. `transcript` is known once both are joined; `dialogue` is what the replier was asked.
    """

    def __init__(
        self,
        speaker: Speaker,
        messages: Sequence[Message],
        parts: Sequence[Transcript],
        last: Callable[[], Awaitable[Transcript]] | None,
        clock: Clock,
    ) -> None:
        self._speaker = speaker
        self._messages = list(messages)
        self._parts = list(parts)
        self._last = last
        self._clock = clock
        self.transcript: Transcript | None = None
        self.dialogue: list[Message] = []
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
        self.transcript = joined(self._parts)
        self._tell(self.transcript)
        if not self.transcript.text:
            return
        s = self._speaker
        if self.transcript.refusal:  # the replier is not asked
            refusal = s.split.refused(self.transcript.refusal, self.transcript.language)
            await self._speak(_one(refusal))
            return
        self.dialogue = s.replier.fitted(with_question(self._messages, self.transcript.text))
        tokens = Ahead(self._tapped(s.replier(self.dialogue)), _EVENTS_AHEAD)
        await self._speak(s.split(tokens, self.transcript.language))

    async def _speak(self, sentences: AsyncIterator[Sentence]) -> None:
        chunks = spoken(self._speaker.voice, self._tapped(sentences))
        try:
            async for chunk in chunks:
                await self.events.put((self._clock.now(), chunk))
        finally:
            await chunks.aclose()

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


async def _one(sentence: Sentence) -> AsyncGenerator[Sentence, None]:
    yield sentence
