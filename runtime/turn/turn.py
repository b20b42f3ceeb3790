"""The turn: composes listening, recognising and answering; owns speculation, barge-in and clean-up.

While the end of speech is only suspected, the whole answer is begun: transcript, reply, speech.
Nothing of it leaves the turn before the end is certain; if speech resumes it is closed, exactly as
a barge-in closes it. How soon the end is certain depends on whether it sounds finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import numpy as np
from voxturn.runtime.errors import EmptyText, TextError
from voxturn.runtime.families.base import check_takes_tools, styles_of
from voxturn.runtime.flow.handoff import Ahead, close_iterator
from voxturn.runtime.flow.observe import observing
from voxturn.runtime.messages import (
    AudioFrame,
    Event,
    Message,
    PcmChunk,
    Samples,
    Speaking,
    SpeechEnded,
    SpeechResumed,
    SpeechStarted,
    Transcript,
    TurnDone,
    Utterance,
)
from voxturn.runtime.text.filtering.rules import ELLIPSIS
from voxturn.runtime.turn.answer import Answer
from voxturn.runtime.turn.background import Background
from voxturn.runtime.turn.memory import Dialogue, Exchange, Round
from voxturn.runtime.turn.recognise import Partials
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.suspicion import Suspicion
from voxturn.runtime.turn.tools import Tool, Toolbox
from voxturn.runtime.turn.trace import Arrivals, Trace

_SILENCE = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Request:
    """An answer that is asked for without anything being heard.

    `messages`: the dialogue that is answered; None: the conversation's. `question`: the last one,
    where it was typed; empty: the messages end with it, or with results of calls. `stages` and
    `toolbox`: the conversation's, where they are None.
    """

    messages: Sequence[Message] | None = None
    question: str = ""
    stages: Stages | None = None
    toolbox: Toolbox | None = None


class Conversation:
    """A dialogue: what was said, in which language, and what of each answer was really heard.

    `stages` and `toolbox` may be replaced: what is answered from then on is answered with them,
    whether somebody is done is judged with them, too; heard is with those that it began with. `remembers`: its turns add to the
    dialogue; if not, whoever reads their events does.
    """

    def __init__(
        self,
        stages: Stages,
        setup: TurnSetup,
        system_prompt: str = "",
        tools: Sequence[Tool] = (),
        remembers: bool = True,
    ) -> None:
        """Raise `UsageError` for what are no tools, and for tools where the model takes none."""
        if tools:
            check_takes_tools(stages.replier)
        self.stages = stages
        self.setup = setup
        self.remembers = remembers
        self.end_of_speech = False
        self.toolbox = Toolbox(tools, stages.tools)
        self.dialogue = Dialogue(system_prompt)
        self.background = Background()

    @property
    def messages(self) -> list[Message]:
        """The dialogue so far, the system prompt first; change it in place."""
        return self.dialogue.messages

    @property
    def language(self) -> str:
        """The code of the language that was last spoken; empty at first."""
        return self.dialogue.language

    def pin(self, fact: str) -> None:
        """Keep a fact, as "The user's name is Ana.", however long the dialogue becomes. Raises
        `EmptyText`."""
        self.dialogue.pin(fact)

    def turn(self, frames: AsyncIterator[AudioFrame], whole_input: bool = False) -> Turn:
        """One turn on 16 kHz frames.

        It ends with the first utterance, or with the input if `whole_input`.
        """
        return Turn(self, frames, whole_input)

    def ask(self, question: str) -> Turn:
        """One turn on a question that was typed. Raises `EmptyText`."""
        if not question.strip():
            raise EmptyText("the question has no words")
        return Turn(self, question=question.strip())

    def respond(self, request: Request | None = None) -> Turn:
        """One turn that answers the dialogue as it is, or what a request says."""
        return Turn(self, request=request or Request())


class Turn:
    """Iterate it for its events; close it at any point to interrupt. `trace` is complete when it is
    closed.

    Use as `async with conversation.turn(frames) as turn: async for event in turn: …`.
    """

    def __init__(
        self,
        conversation: Conversation,
        frames: AsyncIterator[AudioFrame] | None = None,
        whole_input: bool = False,
        question: str = "",
        request: Request | None = None,
    ) -> None:
        setup = conversation.setup
        voice = conversation.stages.voice
        self.trace = Trace(setup.profile, setup.info, setup.sampler, styles=styles_of(voice))
        self._conversation = conversation
        self._request = request
        self._dialogue = conversation.dialogue
        dialogue = conversation.dialogue if conversation.remembers else Dialogue()
        self._exchange = Exchange(dialogue)
        self._stages = conversation.stages
        self._clock = setup.clock
        self._frames = frames
        self._whole_input = whole_input
        self._background = None if whole_input else conversation.background
        self._question = request.question if request is not None else question
        self._asked = ""
        self._arrivals = Arrivals()
        self._answer: Answer | None = None
        self._suspicion: Suspicion | None = None
        self._confirmed = False
        self._aloud = True
        self._first_audio = 0.0
        self._played: int | None = None
        self._done = False
        self._remembered = False
        self._trimmed = False
        self._forgotten = False
        self._closed = False
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
        """Tell how much of the answer the loudspeaker has played; otherwise the clock since its
        first chunk decides.

        Told before `aclose`, it counts also where the whole answer had been made by then; told
        after it, it corrects what the dialogue holds, unless that has gone on.
        """
        self._played = samples
        if self._closed:
            self._trim()

    def tool_result(self, call_id: str, content: str, failed: bool = False) -> bool:
        """Give the result of a `ToolCall` whose tool has no function here; whether it is still
        waited for.

        `failed`: it is a line that says why there is none. Raises `TextTooLong`.
        """
        return self._answer is not None and self._answer.tool_result(call_id, content, failed)

    def forget(self) -> None:
        """The dialogue was changed: it is to hold nothing of this turn."""
        self._forgotten = True

    async def aclose(self) -> None:
        """Interrupt, from any task: no event comes after this, every stage stops, the dialogue
        keeps what was heard."""
        async with self._closing:  # one at a time
            try:
                if self._events is not None:
                    await self._events.aclose()
            finally:  # also if whoever closes is cancelled
                self._trim()
                self._closed = True
                if self._frames is not None:
                    await close_iterator(self._frames)

    async def _run(self) -> AsyncGenerator[Event, None]:
        try:
            if self._frames is None:
                await self._begin_typed()
            else:
                async with aclosing(self._listened(self._frames)) as listened:
                    async for event in listened:
                        yield event
            if self._answer is not None:
                async with aclosing(self._confirm(self._answer)) as confirmed:
                    async for event in confirmed:
                        yield event
            self._done = True
            self.trace.ended("done")
            yield TurnDone(self.trace.reply)
        except (GeneratorExit, asyncio.CancelledError):
            self.trace.ended("done" if self._done else "cancelled")
            raise
        except BaseException as exc:
            self._done = False
            self.trace.ended("error")
            if isinstance(exc, TextError):  # the next question would be joined to one that fails
                self._confirmed = False
                self._dialogue.drop_question()  # what it was joined to is too long by now
            raise
        finally:
            try:
                if self._answer is not None:
                    await self._answer.aclose()
            finally:
                self._remember()

    async def _begin_typed(self) -> None:
        """Begin to answer the typed question."""
        self.trace.mark("endpoint", self._clock.now())
        if not self._question:
            await self._begin([], _SILENCE)
            return
        language = self._stages.split.language_of(self._question, self._dialogue.language)
        typed = Transcript(self._question, language)
        await self._begin([self._stages.recogniser.passed(typed)], _SILENCE)

    async def _listened(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[Event, None]:
        """Events until the end of speech; then `_answer` is the answer, if anything was said."""
        parts: list[Transcript] = []  # of speech of any length the words are kept, not the samples
        language, partials = self._dialogue.language, self._hear()
        noted = self._arrivals.noting(frames)
        stream = self._stages.listen(noted, self._finished, self._background)
        try:
            async for heard in stream:
                match heard:
                    case SpeechStarted():
                        if not parts and self._dialogue.language != language:  # chosen meanwhile
                            await partials.aclose()
                            partials = self._hear()
                        yield heard
                    case Speaking():
                        if self._whole_input:
                            continue
                        if (text := partials.offer(heard)) is not None:
                            yield text
                    case SpeechResumed():
                        await self._drop()
                    case Utterance(final=False):
                        if not self._whole_input:
                            await partials.stop()
                            await self._begin(parts, heard.samples, partials)
                            self._suspicion = self._suspect(heard.samples)
                            self.trace.mark("suspected", self._clock.now())
                    case Utterance():
                        await partials.aclose()
                        self.trace.speech_ended(self._arrivals, heard)
                        if not heard.more and not self._whole_input:
                            if self._answer is None:
                                await self._begin(parts, heard.samples, partials)
                            if self._conversation.end_of_speech:
                                yield SpeechEnded(heard.start + heard.samples.size)
                            break
                        parts.append(await partials.hearing.final(heard.samples))
                        partials = self._hear(parts[-1].language)
        finally:
            try:
                await partials.aclose()
                await self._judge_no_further()
            finally:
                await stream.aclose()
        self.trace.mark("endpoint", self._clock.now())
        if parts and self._answer is None:
            await self._begin(parts, _SILENCE)

    def _hear(self, language: str = "") -> Partials:
        """What the next utterance is heard with. `language` is that of what was said before."""
        hearing = self._stages.recogniser.hear(language or self._dialogue.language)
        return Partials(hearing, self._stages.partial_share, self._clock)

    def _suspect(self, samples: Samples) -> Suspicion:
        stages = self._conversation.stages
        return Suspicion(stages.end_of_turn, stages.sound_of_end, samples)

    async def _judge_no_further(self) -> None:
        if self._suspicion is not None:
            await self._suspicion.aclose()
            self._suspicion = None

    def _finished(self) -> float | None:
        """How likely the suspected utterance is complete; None where none is, or nothing tells.

        While its words are not known it is not: the answer needs them, so that waiting for them
        takes no time.
        """
        if self._answer is None or self._suspicion is None:
            return None
        return self._suspicion.chance(self._answer.transcript)

    async def _begin(
        self, parts: Sequence[Transcript], samples: Samples, hearing: Partials | None = None
    ) -> None:
        """Begin to answer what `parts` say, and the utterance of `samples` that was heard with
        `hearing`."""
        await self._drop()
        self.trace.speculations += 1
        last: Callable[[], Awaitable[Transcript]] | None = None
        if hearing is not None:
            last = partial(hearing.hearing.final, samples)
        request, conversation = self._request or Request(), self._conversation
        messages, toolbox = request.messages, request.toolbox
        stages = request.stages or conversation.stages
        self._aloud = stages.aloud
        self._answer = Answer(
            stages.speaker,
            self._dialogue.messages if messages is None else messages,
            parts,
            last,
            self._clock,
            conversation.toolbox if toolbox is None else toolbox,
            self.trace.tools.append,
            self._dialogue.language,
        )

    async def _drop(self) -> None:
        self.trace.unmark("suspected")
        await self._judge_no_further()
        if self._answer is not None:
            await self._answer.aclose()
            self._answer = None

    async def _confirm(self, answer: Answer) -> AsyncGenerator[Event, None]:
        """The end is certain: let the answer's events out."""
        self._confirmed = True
        answer.confirm()
        certain = self._clock.now()
        async for produced_at, event in answer.events:
            self.trace.event(event, produced_at, certain)
            match event:
                case Transcript():
                    if event.text:  # what noise sounds like says nothing of the next utterance
                        self._dialogue.language = event.language
                    self._asked = ELLIPSIS if event.refusal else event.text
                case PcmChunk():
                    if not self._exchange.chunks:
                        self._first_audio = max(produced_at, certain)
                    self._exchange.chunks.append(event)
            yield event

    def _remember(self) -> None:
        """Add the exchange to the dialogue: the answer as far as it was heard."""
        as_it_is = self._request is not None and not self._question
        if self._forgotten or not self._confirmed or not (self._asked or as_it_is):
            return
        rounds: list[Round] = []
        if self._answer is not None:
            rounds = self._answer.rounds
            self.trace.dropped_messages = self._answer.dropped
            if self._conversation.remembers:
                self._dialogue.drop(self._answer.dropped)
        self._remembered = True
        samples = None if self._done or not self._aloud else self._samples_heard()
        self._trimmed = samples is not None
        self._exchange.remember(self._asked, rounds, samples)
        self.trace.heard_reply = self._exchange.heard

    def _trim(self) -> None:
        """The turn had ended by itself, but the loudspeaker was stopped before the end of what was
        made."""
        if not self._remembered or self._forgotten or self._played is None:
            return
        if self._trimmed or self._played < self._exchange.samples:
            self._trimmed = True
            self._exchange.trim(self._played)
            self.trace.heard_reply = self._exchange.heard

    def _samples_heard(self) -> int:
        if self._played is not None:
            return self._played
        if not self._exchange.chunks:
            return 0
        seconds = self._clock.now() - self._first_audio
        return min(self._exchange.samples, int(seconds * self._exchange.chunks[0].rate))
