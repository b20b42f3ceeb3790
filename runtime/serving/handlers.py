"""What the served models do: voxturn's stages behind tensors. The process's environment names the profile.

A handler is made in the model's process, once; it answers many requests at a time, which share its engines.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from voxturn.runtime.assemble import Assembler
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Follow, Request
from voxturn.runtime.decode.service import DecodeService, TokenService
from voxturn.runtime.errors import (
    UsageError,
    VoxturnError,
)
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import PcmChunk
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.profile import Profile
from voxturn.runtime.remote.codec import Tensors, of_chunk, of_event, text_tensor
from voxturn.runtime.remote.contract import MOST_SEQUENCES, REQUEST, WINDOW
from voxturn.runtime.remote.requests import check_request, of_step, to_request
from voxturn.runtime.serving.batches import Batches
from voxturn.runtime.serving.inputs import (
    MOST_LATENTS,
    Inputs,
    audio_of,
    check_latents,
    messages_of,
    reference_of,
    spoken_text,
    string,
)
from voxturn.runtime.serving.kept import Expiring
from voxturn.runtime.serving.whisper import WhisperHandler
from voxturn.runtime.text.chat import Message
from voxturn.runtime.turn.turn import Conversation
from voxturn.runtime.xtts import XTTS

_MOST_WINDOW, _MOST_NUMBERS = (
    4096,
    2 * MOST_LATENTS * 1024,
)  # in a batch: two of XTTS's longest sequences


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
        """What runs here: the artifact and its executor, as in a turn's trace; sizes that a client needs."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class WarmsLater(Protocol):
    """A handler that goes on warming up while the first requests are answered."""

    async def warm_later(self) -> None: ...


class ReplyHandler:
    """`messages`, after those that the `conversation` had, to the answer, token by token; or `request` to its steps."""

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._reply, self.engine = self._make.reply()
        self._tokens = int(Manifest.read(self._make.folder("reply")).properties["vocabulary"])
        self._dialogues: Expiring[list[Message]] = Expiring(list)
        self._system = [Message("system", profile.system_prompt)] if profile.system_prompt else []

    async def warm(self) -> None:
        await self._reply.warm(self._system)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            async with aclosing(_steps(self._reply.service, inputs, self._check)) as steps:
                async for tensors in steps:
                    yield tensors
            return
        kept = self._dialogues.of(string(inputs, "conversation"))
        said = messages_of(string(inputs, "messages"))
        before = kept or ([] if said[0].role == "system" else self._system)
        dialogue = self._reply.fitted([*before, *said])
        answer, ids = "", list[int]()
        tokens = self._reply(dialogue)
        try:
            async for token in tokens:
                answer += token.text
                ids += token.ids
                yield {"text": text_tensor(token.text), "ids": np.array(token.ids, np.int32)}
        except VoxturnError:
            raise  # the dialogue stays as it was: the request may be made again
        except BaseException:
            kept[:] = _with_answer(dialogue, answer, ids)  # cancelled: what was given was said
            raise
        finally:
            await tokens.aclose()
        kept[:] = _with_answer(dialogue, answer, ids)

    def _check(self, request: Request) -> None:
        check_request(request, self._tokens, lambda i: i < self._tokens, Follow())

    def describe(self) -> dict[str, Any]:
        return asdict(self._make.info["reply"]) | {"capacity": self._reply.service.capacity}

    def close(self) -> None:
        self._make.close()


class XttsHandler:
    """`text` to `pcm`, chunk by chunk, in a voice by its name or cloned from `reference`; or `request` to its steps."""

    def __init__(self, profile: Profile) -> None:
        settings, engines = profile.speak, Assembler(profile)
        self._language = profile.language
        self._model = XTTS.load(
            engines.folder("speak"),
            slots=settings.slots,
            threads=settings.threads,
            executor=settings.executor,
            vocoder=profile.vocode.executor,
            compute=profile.vocode.compute,
        )
        assert isinstance(self._model.service, DecodeService)  # an artifact's own
        self.engine = self._model.service.engine

    async def warm(self) -> None:
        await self._model.awarm_first()

    async def warm_later(self) -> None:
        await self._model.awarm_rest()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            async with aclosing(_steps(self._model.service, inputs, self._check)) as steps:
                async for tensors in steps:
                    yield tensors
            return
        # a process that is killed leaves its folder behind: none is made without need
        with tempfile.TemporaryDirectory() if "reference" in inputs else nullcontext("") as folder:
            chunks = self._model.astream(
                spoken_text(inputs),
                language=string(inputs, "language") or self._language,
                speaker=string(inputs, "voice"),
                speaker_wav=reference_of(inputs, Path(folder)),
                speed=float(inputs["speed"][0]) if "speed" in inputs else 1.0,
                seed=int(inputs["seed"][0]) if "seed" in inputs else 0,
            )
            async for tensors in _pcm(chunks):
                yield tensors

    def _check(self, request: Request) -> None:
        ids = self._model.ids
        check_request(
            request, self.engine.executor.vocabulary, ids.knows, ids.follow, self._model.width
        )

    def describe(self) -> dict[str, Any]:
        about = {
            "capacity": self._model.service.capacity,
            "vocoder": asdict(self._model.vocoder_info),
            "windows": asdict(self._model.windows),
        }
        return asdict(self._model.info) | about

    def close(self) -> None:
        self._model.close()


class VocoderHandler:
    """A window of XTTS's vocoder, as its graph takes it: what the executor `triton` asks for."""

    engine, role = None, "vocoder"

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._graph, self._lane = self._make.vocoder_graph(self.role)

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
        return asdict(self._make.info["vocode"])

    def close(self) -> None:
        self._make.close()


class HifiganHandler(VocoderHandler):
    """XTTS's vocoder for those who bring their own latents: whole sequences, those that come at once in one batch."""

    role = "vocoder_whole"

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._batches = Batches(self._run, MOST_SEQUENCES, _MOST_NUMBERS)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        check_latents(inputs, MOST_SEQUENCES)
        yield await self._batches.run(dict(inputs))


class VitsHandler:
    """`text` to `pcm`, sentence by sentence, in the profile's voice."""

    engine = None

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._split, self._speak, self._vocode = (
            self._make.split(),
            self._make.speak(),
            self._make.vocode(),
        )

    async def warm(self) -> None:
        async for _ in self({"text": text_tensor("Ready.")}):
            pass

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        async for tensors in _pcm(
            self._vocode(self._speak(self._split.whole(spoken_text(inputs))))
        ):
            yield tensors

    def describe(self) -> dict[str, Any]:
        return asdict(self._make.info["speak"])

    def close(self) -> None:
        self._make.close()


class TurnHandler:
    """`audio`, one utterance, to the events of a whole turn that the server drives."""

    def __init__(self, profile: Profile) -> None:
        self._assistant = Assistant.load(profile)
        self.engine = self._assistant.engine
        self._conversations: Expiring[Conversation] = Expiring(self._assistant.conversation)

    async def warm(self) -> None:
        await self._assistant.warm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        conversation = self._conversations.of(string(inputs, "conversation"))
        async with conversation.turn(frames_from(audio_of(inputs)), whole_input=True) as turn:
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
    "vits": VitsHandler,
    "voice_turn": TurnHandler,
}


def _with_answer(dialogue: list[Message], answer: str, ids: list[int]) -> list[Message]:
    return [*dialogue, *([Message("assistant", answer, tuple(ids))] if answer else [])]


async def _steps(
    service: TokenService, inputs: Inputs, check: Callable[[Request], None]
) -> AsyncGenerator[Tensors, None]:
    """The steps of a generation that a client asks for, once `check` has found it to be one of this model's."""
    request, keep = to_request(inputs)
    check(request)
    if keep:
        await service.keep(request)
        return
    async with aclosing(service.stream(request)) as steps:
        async for step in steps:
            yield of_step(step)


async def _pcm(chunks: AsyncGenerator[PcmChunk, None]) -> AsyncGenerator[Tensors, None]:
    try:
        async for chunk in chunks:
            yield of_chunk(chunk)
    finally:
        await chunks.aclose()
