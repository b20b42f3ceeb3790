"""What the served models do: voxturn's stages behind tensors. The process's environment names the
profile.

A handler is made in the model's process, once; it answers many requests at a time, which share its
engines.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Follow, Request
from voxturn.runtime.decode.service import TokenService, engine_of
from voxturn.runtime.errors import InvalidProfile, UsageError, VoxturnError
from voxturn.runtime.families.base import Voice, VoiceOptions, opens_thought, styles_of
from voxturn.runtime.families.decoder import DecoderReplier, as_decoder
from voxturn.runtime.families.options import ReplyOptions, ReplyReport
from voxturn.runtime.families.pipe import said
from voxturn.runtime.families.xtts.family import SEQUENCES, VOCODER, as_xtts
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import Message, ReplyToken, ToolSpec
from voxturn.runtime.models.manifest import reading, whole
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile
from voxturn.runtime.remote.contract import (
    MOST_LATENTS,
    MOST_SEQUENCES,
    REQUEST,
    SESSION,
    WINDOW,
)
from voxturn.runtime.remote.requests import check_request, of_step, to_request
from voxturn.runtime.remote.tensors import Tensors, of_answer, of_chunk, of_event, text_tensor
from voxturn.runtime.serving.batches import Batches
from voxturn.runtime.serving.inputs import (
    Inputs,
    audio_of,
    check_latents,
    messages_of,
    name_of,
    options_of,
    reference_of,
    spoken_text,
    tools_of,
)
from voxturn.runtime.serving.kept import Kept
from voxturn.runtime.serving.sessions import Sessions
from voxturn.runtime.serving.whisper import WhisperHandler
from voxturn.runtime.text.chat_format import alternating, with_results
from voxturn.runtime.text.judge import LanguageJudge, judge_of
from voxturn.runtime.turn.memory import Round
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.turn import Conversation

_MOST_WINDOW, _MOST_NUMBERS = (
    4096,
    2 * MOST_LATENTS * 1024,
)  # in a batch: two of XTTS's longest sequences
_CONVERSATIONS = 2000


class Handler(Protocol):
    """A served model: inputs to outputs, piece by piece."""

    def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]: ...

    async def warm(self) -> None:
        """Compute what the first answer would wait for."""
        ...

    @property
    def engine(self) -> DecodeEngine | None:
        """The token engine, if it has one."""
        ...

    def describe(self) -> dict[str, Any]:
        """What runs here: the artifact and its executor, as in a turn's trace; sizes that a client
        needs."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class WarmsLater(Protocol):
    """A handler that goes on warming up while the first requests are answered."""

    async def warm_later(self) -> None: ...


@runtime_checkable
class KeepsUtterances(Protocol):
    """A handler to which utterances come piece by piece."""

    def forget(self, sequence: str) -> None:
        """Forget an utterance of the client (`fairness.CLIENT`): later pieces of it are refused."""
        ...


class ReplyHandler:
    """`messages`, after those that the `conversation` had, to the answer, token by token, with the
    calls of `tools` that it has; or `request` to its steps. No tool is run here. Of an answer with
    `options` a last piece is the `report`."""

    def __init__(self, profile: Profile) -> None:
        self._parts = LoadedParts(profile)
        try:
            self._replier = as_decoder(self._parts.replier())
            self.engine = engine_of(self._replier.service)
            stage = self._parts.stage("reply")
            with reading(stage.folder):
                self._tokens = whole(stage.manifest.properties, "vocabulary")
        except BaseException:
            self._parts.close()
            raise
        self._dialogues: Kept[list[Message]] = Kept("conversations", list, _CONVERSATIONS)
        prompt = profile.instructions
        self._system = [Message("system", prompt)] if prompt else []

    async def warm(self) -> None:
        await self._replier.warm(self._system)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            async with aclosing(_steps(self._replier.service, inputs, self._check)) as steps:
                async for tensors in steps:
                    yield tensors
            return
        said, tools = messages_of(inputs), tools_of(inputs)
        options, report, replier = options_of(inputs, ReplyOptions), ReplyReport(), self._replier
        if options is not None:
            replier = replier.using(options, report)
        with self._dialogues.use(name_of(inputs, "conversation")) as kept:
            async with aclosing(self._answer(replier, kept, said, tools)) as pieces:
                async for tensors in pieces:
                    yield tensors
        if options is not None:
            yield of_answer(ReplyToken("")) | {"report": text_tensor(json.dumps(asdict(report)))}

    async def _answer(
        self,
        replier: DecoderReplier,
        kept: list[Message],
        said: list[Message],
        tools: list[ToolSpec],
    ) -> AsyncGenerator[Tensors, None]:
        """The answer to what was `said` after the messages that were `kept`, which it becomes part
        of."""
        before = kept or ([] if said[0].role == "system" else self._system)
        dialogue = replier.fitted(alternating(with_results([*before, *said])), tools)
        answer = Round()
        items = replier(dialogue, tools)
        try:
            async for item in items:
                answer.written(item)
                yield of_answer(item)
        except VoxturnError:
            raise  # the dialogue stays as it was: the request may be made again
        except BaseException:
            kept[:] = [*dialogue, *answer.answer(calls=False)]  # cancelled: what was given was said
            raise
        finally:
            await items.aclose()
        kept[:] = [*dialogue, *answer.answer()]

    def _check(self, request: Request) -> None:
        check_request(request, self._tokens, lambda i: i < self._tokens, Follow())

    def describe(self) -> dict[str, Any]:
        about = {
            "capacity": self._replier.service.capacity,
            "opens_thought": opens_thought(self._replier),
            "takes_tools": self._replier.takes_tools,
            "takes_options": True,
        }
        return asdict(self._parts.info["reply"]) | about

    def close(self) -> None:
        self._parts.close()


class VoiceHandler:
    """`text` to `pcm`, chunk by chunk, in the profile's voice or as a request's options say.

    Recordings are cloned one at a time, a client's in turn.
    """

    engine: DecodeEngine | None = None

    def __init__(self, profile: Profile) -> None:
        self._cloning = Lane("clone")
        self._parts = LoadedParts(profile)
        try:
            self._voice = self._parts.voice()
            self._parts.content_filter()  # refused now if it cannot be read, not with the first text
            self._judge = judge_of(self._parts.languages, self._voice.languages)
        except BaseException:
            self._parts.close()
            raise

    async def warm(self) -> None:
        await self._voice.warm()

    async def warm_later(self) -> None:
        await self._voice.warm(later=True)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        text = spoken_text(inputs)
        voice = await self._chosen(inputs)
        split = self._split(voice, None if name_of(inputs, "language") else self._judge)
        async with aclosing(said(voice, split.whole(text))) as chunks:
            async for chunk in chunks:
                yield of_chunk(chunk)

    async def _chosen(self, inputs: Inputs) -> Voice:
        """The voice as a request wants it."""
        if "reference" in inputs:
            return await self._cloning.run(self._cloned, inputs)
        options = _voice_options(inputs)
        if not options.given():
            return self._voice
        return await asyncio.to_thread(self._voice.using, options)

    def _cloned(self, inputs: Inputs) -> Voice:
        # a process that is killed leaves its folder behind: it lives no longer than it has to
        with tempfile.TemporaryDirectory() as folder:
            recordings = reference_of(inputs, Path(folder))
            return self._voice.using(replace(_voice_options(inputs), recordings=recordings))

    def describe(self) -> dict[str, Any]:
        voice = self._voice
        about = {
            "rate": voice.rate,
            "language": voice.language,
            "languages": list(voice.languages),
            "speakers": list(voice.speakers),
            "styles": list(styles_of(voice)),
        }
        return asdict(self._parts.info["speak"]) | {"voice": about}

    def close(self) -> None:
        self._cloning.close()
        self._parts.close()

    def _split(self, voice: Voice, judge: LanguageJudge | None) -> Split:
        profile = self._parts.profile
        return Split(
            self._parts.content_filter(),
            profile.speak.max_chars,
            voice.language,
            judge=judge,
            styles=styles_of(voice),
        )


class XttsHandler(VoiceHandler):
    """As `VoiceHandler`, in a voice by its name or cloned from `reference`; or `request` to its
    steps."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        try:
            self._xtts = as_xtts(self._voice)
        except BaseException:
            self._parts.close()
            raise
        self.engine = engine_of(self._xtts.service)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            answers = _steps(self._xtts.service, inputs, self._check)
        else:
            answers = super().__call__(inputs)
        async with aclosing(answers):
            async for tensors in answers:
                yield tensors

    def _check(self, request: Request) -> None:
        ids, width = self._xtts.ids, self._xtts.people.store.shape.width
        assert self.engine is not None  # a client's profile is never served
        check_request(request, self.engine.executor.vocabulary, ids.knows, ids.follow, width)

    def describe(self) -> dict[str, Any]:
        about = {
            "capacity": self._xtts.service.capacity,
            "vocoder": asdict(self._parts.info["vocode"]),
            "windows": asdict(self._xtts.vocoder.plan),
        }
        known = super().describe()
        known["voice"]["styles_of"] = self._xtts.people.styles()
        return known | about


class VocoderHandler:
    """A window of XTTS's vocoder, as its graph takes it: what the executor `triton` asks for."""

    engine, role = None, VOCODER

    def __init__(self, profile: Profile) -> None:
        self._parts = LoadedParts(profile)
        try:
            stage = self._parts.stage("vocode")
            if self.role not in stage.manifest.graphs:
                raise InvalidProfile(
                    f"profile {profile.name}.vocode: {stage.manifest.model} has no {self.role}; "
                    "name an artifact of XTTS"
                )
            self._graph = stage.graph(self.role)
        except BaseException:
            self._parts.close()
            raise
        self._lane = stage.lane

    async def warm(self) -> None:
        """Nothing to do: what shapes come is not known."""

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        check_latents(inputs, 1)
        if any(not 0 <= int(inputs[name][0]) <= _MOST_WINDOW for name in WINDOW):
            raise UsageError(f"{', '.join(WINDOW)}: must be between 0 and {_MOST_WINDOW}")
        yield await self._run(
            {n: value.reshape(()) if n in WINDOW else value for n, value in inputs.items()}
        )

    async def _run(self, inputs: Tensors) -> Tensors:
        return await self._lane.run(self._graph.run, inputs)

    def describe(self) -> dict[str, Any]:
        return asdict(self._parts.info["vocode"]) | {"few_shapes": self._graph.few_shapes}

    def close(self) -> None:
        self._parts.close()


class HifiganHandler(VocoderHandler):
    """XTTS's vocoder for those who bring their own latents: whole sequences, those that come at
    once in one batch."""

    role = SEQUENCES

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._batches = Batches(self._run, MOST_SEQUENCES, _MOST_NUMBERS)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        check_latents(inputs, MOST_SEQUENCES)
        yield await self._batches.run(dict(inputs))


class TurnHandler:
    """`audio`, one utterance, to the events of a whole turn that the server drives; or what belongs
    to a `session`."""

    def __init__(self, profile: Profile, clock: Clock | None = None) -> None:
        self._assistant = Assistant.load(profile, clock=clock)
        self.engine = self._assistant.engine
        self._conversations: Kept[Conversation] = Kept(
            "conversations", self._assistant.conversation, _CONVERSATIONS
        )
        self._sessions = Sessions(self._assistant.session, self._assistant.setup.clock)

    async def warm(self) -> None:
        await self._assistant.warm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if SESSION in inputs:
            async with aclosing(self._sessions(inputs)) as answers:
                async for tensors in answers:
                    yield tensors
            return
        samples = audio_of(inputs)
        with self._conversations.use(name_of(inputs, "conversation")) as conversation:
            async with conversation.turn(frames_from(samples), whole_input=True) as turn:
                async for event in turn:
                    yield of_event(event)

    def describe(self) -> dict[str, Any]:
        return {stage: asdict(info) for stage, info in self._assistant.setup.info.items()}

    def close(self) -> None:
        self._assistant.close()


HANDLERS: dict[str, Callable[[Profile], Handler]] = {
    "whisper": WhisperHandler,
    "qwen3": ReplyHandler,
    "xtts": XttsHandler,
    "xtts_vocoder": VocoderHandler,
    "xtts_hifigan": HifiganHandler,
    "vits": VoiceHandler,
    "voice_turn": TurnHandler,
}


async def _steps(
    service: TokenService, inputs: Inputs, check: Callable[[Request], None]
) -> AsyncGenerator[Tensors, None]:
    """The steps of a generation that a client asks for, once `check` has found it to be one of this
    model's."""
    request, keep = to_request(inputs)
    check(request)
    if keep:
        await service.keep(request)
        return
    async with aclosing(service.stream(request)) as steps:
        async for step in steps:
            yield of_step(step)


def _voice_options(inputs: Inputs) -> VoiceOptions:
    """The options of a request but for a recording; what it leaves out is as the profile says."""
    return VoiceOptions(
        language=name_of(inputs, "language") or None,
        speaker=name_of(inputs, "voice") or None,
        style=name_of(inputs, "style") or None,
        speed=float(inputs["speed"][0]) if "speed" in inputs else None,
        seed=int(inputs["seed"][0]) if "seed" in inputs else None,
    )
