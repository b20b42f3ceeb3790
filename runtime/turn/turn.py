"""The turn: composes the stages, owns speculation, barge-in, the trace and clean-up.

While the end of speech is only suspected, the whole answer is begun: transcript, reply, speech. Nothing of it leaves
the turn before the end is certain; if speech resumes it is closed, exactly as a barge-in closes it. How soon the end is
certain depends on whether its transcript sounds finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TypeVar

from voxturn.runtime.audio.level import last_audible
from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.families.decoder import Reply
from voxturn.runtime.families.whisper.hearing import Partials, Transcribe
from voxturn.runtime.families.windowed import Vocode
from voxturn.runtime.families.xtts.speak import Speak
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import (
    Ahead,
    Handoff,
    Overflow,
    cancel_and_wait,
    close_iterator,
)
from voxturn.runtime.flow.observe import observing
from voxturn.runtime.messages import (
    AudioFrame,
    Event,
    PcmChunk,
    ReplyToken,
    Sentence,
    Speaking,
    SpeechResumed,
    SpeechStarted,
    Transcript,
    TurnDone,
    Utterance,
)
from voxturn.runtime.text.chat import Message
from voxturn.runtime.turn.end_of_turn import Completeness, Wording
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.trace import StageInfo, Trace

T = TypeVar("T")
_EVENTS_AHEAD = 256
_LETTERS_A_SECOND = 15
_SENTENCES_AHEAD, _CODES_AHEAD, _CHUNKS_AHEAD = 4, 2, 4


@dataclass(frozen=True)
class Stages:
    """The stages of a turn, ready to run, and what judges whether words are all that their speaker wants to say."""

    listen: Listen
    transcribe: Transcribe
    reply: Reply
    split: Split
    speak: Speak
    vocode: Vocode
    completeness: Completeness = field(default_factory=Wording)

    def voice(self, sentences: AsyncIterator[Sentence]) -> Ahead[PcmChunk]:
        """Sentences to audio: speak and vocode, each ahead of its consumer. Close what this returns."""
        codes = self.speak(Ahead(sentences, _SENTENCES_AHEAD))
        return Ahead(self.vocode(Ahead(codes, _CODES_AHEAD)), _CHUNKS_AHEAD)


@dataclass(frozen=True)
class TurnSetup:
    """What every turn's trace says of its origin, and the clock."""

    profile: str
    info: dict[str, StageInfo]
    sampler: str
    clock: Clock


class Conversation:
    """A dialogue: what was said, in which language, and what of each answer was really heard."""

    def __init__(self, stages: Stages, setup: TurnSetup, system_prompt: str = "") -> None:
        self.stages, self.setup = stages, setup
        self.language = ""
        self.messages: list[Message] = [Message("system", system_prompt)] if system_prompt else []

    def turn(self, frames: AsyncIterator[AudioFrame], whole_input: bool = False) -> Turn:
        """One turn on 16 kHz frames. It ends with the first utterance, or with the input if `whole_input`."""
        return Turn(self, frames, whole_input)


class Turn:
    """Iterate it for its events; close it at any point to interrupt. `trace` is complete when it is closed.

    Use as `async with conversation.turn(frames) as turn: async for event in turn: …`.
    """

    def __init__(
        self, conversation: Conversation, frames: AsyncIterator[AudioFrame], whole_input: bool
    ) -> None:
        setup = conversation.setup
        self.trace = Trace(setup.profile, setup.info, setup.sampler)
        self._conversation, self._stages, self._clock = (
            conversation,
            conversation.stages,
            setup.clock,
        )
        self._frames, self._whole_input = frames, whole_input
        self._answer: _Answer | None = None
        self._confirmed = False
        self._played: int | None = None
        self._remembered: Message | None = None
        self._arrivals: list[tuple[int, float]] = []
        self._given: list[PcmChunk] = []
        self._written: list[ReplyToken] = []
        self._events: Ahead[Event] | None = None
        self._closing = asyncio.Lock()

    def __aiter__(self) -> AsyncIterator[Event]:
        if self._events is None:
            self._events = Ahead(self._run(), 1, observing(self.trace))
        return self._events

    async def __aenter__(self) -> Turn:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.aclose()

    def played(self, samples: int) -> None:
        """Tell how much of the answer the loudspeaker has played; otherwise the clock since its first chunk decides.

        Told before `aclose`, it counts also where the whole answer had been made by then.
        """
        self._played = samples

    async def aclose(self) -> None:
        """Interrupt, from any task: no event comes after this, every stage stops, the dialogue keeps what was heard."""
        async with self._closing:  # one at a time
            try:
                if self._events is not None:
                    await self._events.aclose()
            finally:  # also if whoever closes is cancelled
                self._trim()
                await close_iterator(self._frames)

    async def _run(self) -> AsyncGenerator[Event, None]:
        try:
            async with aclosing(self._listened()) as listened:
                async for event in listened:
                    yield event
            if self._answer is not None:
                async with aclosing(self._confirm(self._answer)) as confirmed:
                    async for event in confirmed:
                        yield event
            self.trace.outcome = "done"
            yield TurnDone(self.trace.reply)
        except (GeneratorExit, asyncio.CancelledError):
            self.trace.outcome = self.trace.outcome if self.trace.outcome == "done" else "cancelled"
            raise
        except BaseException:
            self.trace.outcome = "error"
            raise
        finally:
            try:
                if self._answer is not None:
                    await self._answer.aclose()
            finally:
                self._remember()

    async def _listened(self) -> AsyncGenerator[Event, None]:
        """Events until the end of speech; then `_answer` is the answer, if anything was said."""
        parts: list[Transcript] = []  # of speech of any length the words are kept, not the samples
        partials = self._hear()
        stream = self._stages.listen(self._timed(self._frames), self._finished)
        try:
            async for heard in stream:
                match heard:
                    case SpeechStarted():
                        yield heard
                    case Speaking():
                        if not self._whole_input and (made := partials.offer(heard)) is not None:
                            yield made
                    case SpeechResumed():
                        await self._drop()
                    case Utterance(final=False):
                        if not self._whole_input:
                            await partials.aclose()
                            await self._begin(parts, partial(partials.hearing.final, heard.samples))
                            self.trace.mark("suspected", self._clock.now())
                    case Utterance():
                        await partials.aclose()
                        self._locate_end(heard)
                        if not heard.more and not self._whole_input:
                            if self._answer is None:
                                await self._begin(
                                    parts, partial(partials.hearing.final, heard.samples)
                                )
                            break
                        parts.append(await partials.hearing.final(heard.samples))
                        partials = self._hear(parts[-1].language)
        finally:
            try:
                await partials.aclose()
            finally:
                await stream.aclose()
        self.trace.mark("endpoint", self._clock.now())
        if parts and self._answer is None:
            await self._begin(parts)

    def _hear(self, language: str = "") -> Partials:
        """What the next utterance is heard with. `language` is that of what was said before."""
        transcribe = self._stages.transcribe
        hearing = transcribe.hear(language or self._conversation.language)
        return Partials(hearing, transcribe.partial_share, self._clock)

    def _finished(self) -> float | None:
        """How likely the words of the suspected utterance are complete; None while they are not known."""
        transcript = self._answer.transcript if self._answer is not None else None
        return (
            None
            if transcript is None
            else self._stages.completeness.chance(transcript.text, transcript.language)
        )

    async def _begin(
        self, parts: Sequence[Transcript], last: Callable[[], Awaitable[Transcript]] | None = None
    ) -> None:
        """Begin to answer what `parts` and `last` say together."""
        await self._drop()
        self.trace.speculations += 1
        self._answer = _Answer(self._stages, self._conversation.messages, parts, last, self._clock)

    async def _drop(self) -> None:
        self.trace.marks.pop("suspected", None)
        if self._answer is not None:
            await self._answer.aclose()
            self._answer = None

    async def _confirm(self, answer: _Answer) -> AsyncGenerator[Event, None]:
        """The end is certain: let the answer's events out."""
        self._confirmed = True
        certain = self._clock.now()
        async for made, event in answer.events:
            match event:
                case Transcript():
                    self.trace.mark("transcript", made)
                    self.trace.transcript, self.trace.language = event.text, event.language
                    if event.text:  # what noise sounds like says nothing of the next utterance
                        self._conversation.language = event.language
                    self.trace.transcribe_fallbacks = event.fallbacks
                    self.trace.filtered.extend(event.filtered)
                case ReplyToken():
                    self.trace.mark("first_token", made)
                    self._written.append(event)
                case Sentence():
                    self.trace.mark("first_clause", made)
                    self.trace.reply = f"{self.trace.reply} {event.text}".strip()
                    self.trace.filtered.extend(event.filtered)
                case PcmChunk():
                    self.trace.mark("first_audio", max(made, certain))
                    self.trace.chunks.append((max(made, certain), event))
                    if event.cut and event.cut not in self.trace.speech_cuts:
                        self.trace.speech_cuts.append(event.cut)
                    self._given.append(event)
            yield event

    async def _timed(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[AudioFrame, None]:
        """The frames, noting when each arrived: the last ten seconds are enough to place the end of speech."""
        async for frame in frames:
            self._arrivals.append((frame.start + frame.samples.size, frame.arrived_s))
            if len(self._arrivals) > 1024:
                del self._arrivals[:512]
            yield frame

    def _locate_end(self, utterance: Utterance) -> None:
        last = last_audible(utterance.samples)
        if last is None or not self._arrivals:
            return
        sample = utterance.start + last + 1
        end, arrived = next(((e, a) for e, a in self._arrivals if e >= sample), self._arrivals[-1])
        self.trace.marks["speech_end"] = arrived - (end - sample) / utterance.rate

    def _remember(self) -> None:
        """Add the exchange to the dialogue: the answer as far as it was heard."""
        if not self._confirmed or not self.trace.transcript:
            return
        if self._answer is not None and self._answer.dialogue:
            kept = self._answer.dialogue[:-1]
            dropped = len(self._conversation.messages) - len(kept)
            self.trace.dropped_messages = dropped
            self._conversation.messages[:] = kept
        self._conversation.messages.append(Message("user", self.trace.transcript))
        if self.trace.outcome == "done":
            self._keep_heard(self.trace.reply, "".join(token.text for token in self._written))
        else:
            self._keep_heard(heard_text(self._given, self._samples_heard()))

    def _trim(self) -> None:
        """The answer was made, but the loudspeaker was stopped before its end."""
        made = sum(chunk.samples.size for chunk in self._given)
        if self.trace.outcome == "done" and self._played is not None and self._played < made:
            if self._remembered is not None:
                messages = self._conversation.messages
                messages[:] = [message for message in messages if message is not self._remembered]
            self._keep_heard(heard_text(self._given, self._played))

    def _keep_heard(self, heard: str, written: str = "") -> None:
        """Remember what was heard, as the model wrote it where all of it was."""
        self.trace.heard_reply = heard
        ids = tuple(i for token in self._written for i in token.ids)
        self._remembered = Message("assistant", written or heard, ids) if heard else None
        if self._remembered is not None:
            self._conversation.messages.append(self._remembered)

    def _samples_heard(self) -> int:
        if self._played is not None:
            return self._played
        if not self._given:
            return 0
        given = sum(chunk.samples.size for chunk in self._given)
        return min(
            given, int((self._clock.now() - self.trace.marks["first_audio"]) * self._given[0].rate)
        )


class _Answer:
    """The answer to an utterance, made in its own task: events with the times they were made."""

    def __init__(
        self,
        stages: Stages,
        messages: Sequence[Message],
        parts: Sequence[Transcript],
        last: Callable[[], Awaitable[Transcript]] | None,
        clock: Clock,
    ) -> None:
        self._stages, self._messages, self._clock = stages, list(messages), clock
        self._parts, self._last = list(parts), last
        self.transcript: Transcript | None = None
        self.dialogue: list[Message] = []
        # words never wait, so that the audio they become is begun: the reply's length limits them
        self.events: Handoff[tuple[float, Event]] = Handoff(_EVENTS_AHEAD, Overflow.GROW)
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
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
        stages = self._stages
        if self._last is not None:
            self._parts.append(await self._last())
        self.transcript = transcript = joined(self._parts)
        self._say(transcript)
        if not transcript.text:
            return
        self.dialogue = stages.reply.fitted([*self._messages, Message("user", transcript.text)])
        tokens = self._tapped(stages.reply(self.dialogue))
        chunks = stages.voice(self._tapped(stages.split(Ahead(tokens, _EVENTS_AHEAD))))
        try:
            async for chunk in chunks:
                await self.events.put((self._clock.now(), chunk))
        finally:
            await chunks.aclose()

    def _say(self, event: Event) -> None:
        self.events.put_now((self._clock.now(), event))

    async def _tapped(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        try:
            async for item in source:
                self._say(item)  # type: ignore[arg-type]
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
    )


def heard_text(chunks: Sequence[PcmChunk], samples: int) -> str:
    """The words of the answer that lie within its first `samples` samples, each sentence's words evenly spread.

    A sentence whose last chunk was not made yet is taken to last as long as its letters suggest.
    """
    spans: dict[int, tuple[Sentence, int, int]] = {}
    for chunk in chunks:
        sentence, begin, longest = spans.get(chunk.sentence.index, (chunk.sentence, chunk.start, 0))
        likely = (
            0 if chunk.final else begin + int(len(sentence.text) / _LETTERS_A_SECOND * chunk.rate)
        )
        end = chunk.start + chunk.samples.size
        spans[sentence.index] = (sentence, begin, end if chunk.final else max(longest, end, likely))
    words: list[str] = []
    for sentence, begin, end in spans.values():
        share = (samples - begin) / max(1, end - begin)
        all_words = sentence.text.split()
        words += all_words if share >= 1 else all_words[: max(0, int(share * len(all_words)))]
    return " ".join(words)
