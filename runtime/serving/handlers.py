"""What the served models do: voxturn's stages behind tensors. The process's environment names the profile.

A handler is made in the model's process, once; it answers many requests at a time, which share its engines.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from voxturn.runtime.assemble import Assembler
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import AudioTooLong, EmptyAudio, InvalidSamples, TextTooLong, UsageError
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import PcmChunk, Samples
from voxturn.runtime.profile import Profile
from voxturn.runtime.serving.events import Tensors, of_chunk, of_event, text_of, text_tensor
from voxturn.runtime.text.chat import Message
from voxturn.runtime.turn import Conversation
from voxturn.runtime.xtts import XTTS

LONGEST_TEXT, LONGEST_AUDIO_S = 10_000, 300.0
_EXPIRY_S, _CONVERSATIONS = 600.0, 1000
_ROLES = ("system", "user", "assistant")

Inputs = Mapping[str, np.ndarray[Any, Any]]
KeptT = TypeVar("KeptT")


class Handler(Protocol):
    """A served model: inputs to outputs, piece by piece."""

    def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]: ...

    async def warm(self) -> None: ...

    def close(self) -> None: ...


class Expiring(Generic[KeptT]):
    """What is kept by an id until nobody has asked for it for ten minutes; of too many the longest unused go."""

    def __init__(self, make: Callable[[], KeptT], clock: Callable[[], float] = time.monotonic) -> None:
        self._make, self._clock = make, clock
        self._kept: OrderedDict[str, tuple[float, KeptT]] = OrderedDict()

    def of(self, name: str) -> KeptT:
        """What is kept under `name`, made if there is none; nothing is kept under the empty name."""
        now = self._clock()
        while self._kept and (len(self._kept) > _CONVERSATIONS or next(iter(self._kept.values()))[0] < now - _EXPIRY_S):
            self._kept.popitem(last=False)
        if not name:
            return self._make()
        _, kept = self._kept.pop(name, (now, None))
        kept = self._make() if kept is None else kept
        self._kept[name] = (now, kept)
        return kept


class WhisperHandler:
    """`audio` to `text`, `language` and `confidence`. An empty `language` is the profile's, "auto" asks the model."""

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._stage = self._make.transcribe()

    async def warm(self) -> None:
        await self._stage.transcribe(np.zeros(RATE, np.float32))

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        found = await self._stage.transcribe(audio_of(inputs), prior=string(inputs, "language"))
        yield {
            "text": text_tensor(found.text),
            "language": text_tensor(found.language),
            "confidence": np.array([found.confidence], np.float32),
        }

    def close(self) -> None:
        self._make.close()


class ReplyHandler:
    """`messages`, after those that the `conversation` had, to the answer, token by token."""

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._reply, _ = self._make.reply()
        self._dialogues: Expiring[list[Message]] = Expiring(list)
        self._system = [Message("system", profile.system_prompt)] if profile.system_prompt else []

    async def warm(self) -> None:
        await self._reply.warm(self._system)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        kept = self._dialogues.of(string(inputs, "conversation"))
        said = _messages(string(inputs, "messages"))
        before = kept or ([] if said[0].role == "system" else self._system)
        dialogue = self._reply.fitted([*before, *said])
        answer, ids = "", list[int]()
        tokens = self._reply(dialogue)
        try:
            async for token in tokens:
                answer += token.text
                ids += token.ids
                yield {"text": text_tensor(token.text), "ids": np.array(token.ids, np.int32)}
        finally:
            await tokens.aclose()
            kept[:] = [*dialogue, *([Message("assistant", answer, tuple(ids))] if answer else [])]

    def close(self) -> None:
        self._make.close()


class XttsHandler:
    """`text` to `pcm`, chunk by chunk, in a voice by its name."""

    def __init__(self, profile: Profile) -> None:
        settings, engines = profile.speak, Assembler(profile)
        self._language = profile.language
        self._model = XTTS.load(
            engines.folder("speak"), slots=settings.slots, threads=settings.threads, vocoder=profile.vocode.executor
        )

    async def warm(self) -> None:
        await self._model.awarm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        chunks = self._model.astream(
            spoken_text(inputs),
            language=string(inputs, "language") or self._language,
            speaker=string(inputs, "voice"),
            speed=float(inputs["speed"][0]) if "speed" in inputs else 1.0,
            seed=int(inputs["seed"][0]) if "seed" in inputs else 0,
        )
        async for tensors in _pcm(chunks):
            yield tensors

    def close(self) -> None:
        self._model.close()


class VitsHandler:
    """`text` to `pcm`, sentence by sentence, in the profile's voice."""

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._split, self._speak, self._vocode = self._make.split(), self._make.speak(), self._make.vocode()

    async def warm(self) -> None:
        async for _ in self({"text": text_tensor("Ready.")}):
            pass

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        async for tensors in _pcm(self._vocode(self._speak(self._split.whole(spoken_text(inputs))))):
            yield tensors

    def close(self) -> None:
        self._make.close()


class TurnHandler:
    """`audio`, one utterance, to the events of a whole turn that the server drives."""

    def __init__(self, profile: Profile) -> None:
        self._assistant = Assistant.load(profile)
        self._conversations: Expiring[Conversation] = Expiring(self._assistant.conversation)

    async def warm(self) -> None:
        await self._assistant.warm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        conversation = self._conversations.of(string(inputs, "conversation"))
        async with conversation.turn(frames_from(audio_of(inputs)), whole_input=True) as turn:
            async for event in turn:
                yield of_event(event)

    def close(self) -> None:
        self._assistant.close()


HANDLERS: dict[str, Callable[[Profile], Handler]] = {
    "whisper": WhisperHandler,
    "qwen3": ReplyHandler,
    "xtts": XttsHandler,
    "vits": VitsHandler,
    "voice_turn": TurnHandler,
}


def string(inputs: Inputs, name: str) -> str:
    """A text input; empty if it was left out."""
    return text_of(inputs[name]) if name in inputs else ""


def spoken_text(inputs: Inputs) -> str:
    """The text to speak. Raises `TextTooLong`."""
    text = string(inputs, "text")
    if len(text) > LONGEST_TEXT:
        raise TextTooLong(f"text of {len(text)} characters: a request may have {LONGEST_TEXT}; send it in pieces")
    return text


def audio_of(inputs: Inputs) -> Samples:
    """The 16 kHz samples. Raises `EmptyAudio`, `AudioTooLong`, `InvalidSamples`."""
    samples = np.asarray(inputs["audio"], np.float32)
    if not samples.size:
        raise EmptyAudio("audio of no samples")
    if samples.size > LONGEST_AUDIO_S * RATE:
        raise AudioTooLong(
            f"{samples.size / RATE:.0f} s of audio: a request may have {LONGEST_AUDIO_S:.0f} s; send it in pieces"
        )
    if not np.isfinite(samples).all():
        raise InvalidSamples("the audio has NaN or infinite samples")
    return samples


def _messages(text: str) -> list[Message]:
    try:
        found = [Message(item["role"], item["text"]) for item in json.loads(text)]
        if not found or any(m.role not in _ROLES or not isinstance(m.text, str) for m in found):
            raise ValueError(f"roles are {', '.join(_ROLES)}")
    except (ValueError, TypeError, KeyError) as exc:
        raise UsageError(f'messages: must be a JSON list of {{"role": …, "text": …}} ({exc})') from exc
    if sum(len(m.text) for m in found) > LONGEST_TEXT:
        raise TextTooLong(f"messages of more than {LONGEST_TEXT} characters; send fewer")
    return found


async def _pcm(chunks: AsyncGenerator[PcmChunk, None]) -> AsyncGenerator[Tensors, None]:
    try:
        async for chunk in chunks:
            yield of_chunk(chunk)
    finally:
        await chunks.aclose()
