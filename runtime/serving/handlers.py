"""What the served models do: voxturn's stages behind tensors. The process's environment names the profile.

A handler is made in the model's process, once; it answers many requests at a time, which share its engines.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from voxturn.runtime.assemble import Assembler
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.decode.engine import DecodeEngine, Follow, Request
from voxturn.runtime.decode.service import DecodeService, TokenService
from voxturn.runtime.decode.xtts import LATENTS
from voxturn.runtime.errors import (
    AudioTooLong,
    EmptyAudio,
    ForgottenWindow,
    InvalidSamples,
    TextTooLong,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import PcmChunk, Samples, Speaking, Transcript
from voxturn.runtime.profile import Profile
from voxturn.runtime.serving.contract import END, REQUEST, SEQUENCE, WINDOW
from voxturn.runtime.serving.events import Tensors, of_chunk, of_event, text_of, text_tensor
from voxturn.runtime.serving.requests import check_request, json_of, of_step, to_request
from voxturn.runtime.stages.transcribe import Hearing, Transcribe
from voxturn.runtime.text.chat import Message
from voxturn.runtime.turn import Conversation
from voxturn.runtime.xtts import XTTS

LONGEST_TEXT, LONGEST_AUDIO_S = 10_000, 300.0
_EXPIRY_S, _CONVERSATIONS, _WINDOWS, _SEQUENCES = 600.0, 1000, 32, 64
_MOST_FRAMES, _MOST_TOKENS, _MOST_LATENTS, _MOST_WINDOW = 3000, 448, 605, 4096
_ROLES = ("system", "user", "assistant")

Inputs = Mapping[str, np.ndarray[Any, Any]]
KeptT = TypeVar("KeptT")


class Handler(Protocol):
    """A served model: inputs to outputs, piece by piece."""

    def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]: ...

    async def warm(self) -> None: ...

    @property
    def engine(self) -> DecodeEngine | None:
        """The token engine, if it has one."""
        ...

    def describe(self) -> dict[str, Any]:
        """What runs here: the artifact and its executor, as in a turn's trace; sizes that a client needs."""
        ...

    def close(self) -> None: ...


class Expiring(Generic[KeptT]):
    """What is kept by an id until nobody has asked for it for ten minutes; of too many the longest unused go."""

    def __init__(
        self, make: Callable[[], KeptT], clock: Callable[[], float] = time.monotonic, most: int = _CONVERSATIONS
    ) -> None:
        self._make, self._clock, self._most = make, clock, most
        self._kept: OrderedDict[str, tuple[float, KeptT]] = OrderedDict()

    def of(self, name: str) -> KeptT:
        """What is kept under `name`, made if there is none; nothing is kept under the empty name."""
        now = self._clock()
        while self._kept and (len(self._kept) > self._most or next(iter(self._kept.values()))[0] < now - _EXPIRY_S):
            self._kept.popitem(last=False)
        if not name:
            return self._make()
        _, kept = self._kept.pop(name, (now, None))
        kept = self._make() if kept is None else kept
        self._kept[name] = (now, kept)
        return kept

    def forget(self, name: str) -> None:
        """Keep nothing under `name`."""
        self._kept.pop(name, None)


class WhisperHandler:
    """`audio` to `text`, `language` and `confidence`. An empty `language` is the profile's, "auto" asks the model.

    Pieces of one sequence (`correlation`) are one utterance: each is answered with what was said so far, of which
    `stable` is not taken back; the last one with the final transcript. `request` asks the engine itself (`calls`).
    """

    engine = None

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._stage = self._make.transcribe()
        self._calls = WhisperCalls(self._stage)
        self._sequences: Expiring[list[Samples]] = Expiring(list, most=_SEQUENCES)
        self._hearings: Expiring[Hearing] = Expiring(self._stage.hear, most=_SEQUENCES)

    async def warm(self) -> None:
        await self._stage.transcribe(np.zeros(RATE, np.float32))

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            yield await self._calls(inputs)
        elif SEQUENCE in inputs:
            yield await self._piece(inputs)
        else:
            yield _heard(await self._stage.transcribe(audio_of(inputs), prior=string(inputs, "language")))

    def describe(self) -> dict[str, Any]:
        executor = self._stage.whisper.executor
        return asdict(self._make.info["transcribe"]) | {"multilingual": executor.multilingual, "mels": executor.mels}

    def close(self) -> None:
        self._make.close()

    async def _piece(self, inputs: Inputs) -> Tensors:
        """The next piece of an utterance, whose name is `sequence`; `end`: it is the last."""
        name, piece = string(inputs, SEQUENCE), audio_of(inputs)
        pieces, hearing = self._sequences.of(name), self._hearings.of(name)
        if sum(each.size for each in pieces) + piece.size > LONGEST_AUDIO_S * RATE:
            self._sequences.forget(name)
            self._hearings.forget(name)
            raise AudioTooLong(f"a sequence may have {LONGEST_AUDIO_S:.0f} s of audio; end it and begin another")
        pieces.append(piece)
        samples = np.concatenate(pieces)
        if END in inputs:
            self._sequences.forget(name)
            self._hearings.forget(name)
            return _heard(await hearing.final(samples))
        found = await hearing.partial(Speaking((samples,), RATE, 0))
        if found is None:
            return {"text": text_tensor(""), "stable": text_tensor("")}
        return {
            "text": text_tensor(found.stable + found.unstable),
            "stable": text_tensor(found.stable),
            "language": text_tensor(found.language),
        }


class WhisperCalls:
    """The calls of a `SpeechToTextExecutor` from a client, for whom an encoded window is a name.

    A name is the hash of what was encoded; the latest windows are kept, and one that is not has to be sent again.
    """

    def __init__(self, stage: Transcribe) -> None:
        self._executor, self._lane = stage.whisper.executor, stage.lane
        self._vocabulary = stage.whisper.tokenizer.size
        self._kept: OrderedDict[str, Any] = OrderedDict()

    async def __call__(self, inputs: Inputs) -> Tensors:
        about = json_of(inputs)
        try:
            return {
                "answer": text_tensor(json.dumps(await self._lane.run(self._answer, about, inputs.get("features"))))
            }
        except (KeyError, TypeError, ValueError) as exc:
            raise UsageError(f"request: not a call of Whisper's ({exc})") from exc

    def _answer(self, about: dict[str, Any], features: np.ndarray[Any, Any] | None) -> Any:
        executor, call, name = self._executor, about["call"], str(about["name"])
        if features is not None and (features.shape[0] != executor.mels or not 1 < features.shape[1] <= _MOST_FRAMES):
            raise ValueError(f"features must be [{executor.mels}, at most {_MOST_FRAMES}]")
        if call == "encode" and features is not None:
            self._keep(name, executor.encode(np.asarray(features, np.float32)))
            return {}
        if call == "extend":
            own, other = self._of(name), self._of(str(about["other"]))
            self._keep(str(about["result"]), executor.extend(own, other, int(about["positions"])))
            return {}
        if call not in ("generate", "detect_language", "align"):
            raise ValueError(f"no call {call!r}")
        encoded, prompt = self._of(name), [int(i) for i in about.get("prompt", ())]
        numbers = [*prompt, *(int(i) for i in about.get("ids", ())), int(about.get("max_tokens", 1)) - 1]
        if len(numbers) > 2 * _MOST_TOKENS or not all(0 <= i < self._vocabulary for i in numbers):
            raise ValueError("ids that this model does not have")
        if int(about.get("max_tokens", 1)) > _MOST_TOKENS:
            raise ValueError(f"max_tokens must be at most {_MOST_TOKENS}")
        if call == "generate":
            return asdict(executor.generate(encoded, prompt, int(about["max_tokens"])))
        if call == "detect_language":
            return executor.detect_language(encoded)
        return executor.align(encoded, prompt, [int(i) for i in about["ids"]], int(about["positions"]))

    def _keep(self, name: str, encoded: Any) -> None:
        self._kept[name] = encoded
        self._kept.move_to_end(name)
        while len(self._kept) > _WINDOWS:
            self._kept.popitem(last=False)

    def _of(self, name: str) -> Any:
        if name not in self._kept:
            raise ForgottenWindow(f"window {name[:12]} is not kept any more; encode it again")
        self._kept.move_to_end(name)
        return self._kept[name]


class ReplyHandler:
    """`messages`, after those that the `conversation` had, to the answer, token by token; or `request` to its steps."""

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._reply, self.engine = self._make.reply()
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
        except VoxturnError:
            raise  # the dialogue stays as it was: the request may be made again
        except BaseException:
            kept[:] = _with_answer(dialogue, answer, ids)  # cancelled: what was given was said
            raise
        finally:
            await tokens.aclose()
        kept[:] = _with_answer(dialogue, answer, ids)

    def _check(self, request: Request) -> None:
        assert self.engine is not None
        tokens = self.engine.executor.vocabulary
        check_request(request, tokens, lambda i: i < tokens, Follow())

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
            engines.folder("speak"), slots=settings.slots, threads=settings.threads, vocoder=profile.vocode.executor
        )
        assert isinstance(self._model.service, DecodeService)  # an artifact's own
        self.engine = self._model.service.engine

    async def warm(self) -> None:
        await self._model.awarm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            async with aclosing(_steps(self._model.service, inputs, self._check)) as steps:
                async for tensors in steps:
                    yield tensors
            return
        with tempfile.TemporaryDirectory() as folder:
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
        tokens, positions = ids.text_tokens + ids.audio_tokens + 1 + LATENTS, ids.positions + 3
        fits = lambda i: i % ids.stride < tokens and i // ids.stride < positions  # noqa: E731
        check_request(request, self.engine.executor.vocabulary, fits, ids.follow, self._model.width)

    def describe(self) -> dict[str, Any]:
        about = {"capacity": self._model.service.capacity, "windows": asdict(self._model.windows)}
        return asdict(self._model.info) | about

    def close(self) -> None:
        self._model.close()


class VocoderHandler:
    """XTTS's vocoder alone, for those who bring their own latents: the graph's inputs to its `audio`."""

    engine = None

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._graph, self._lane, self._frames = self._make.vocoder_graph()

    async def warm(self) -> None:
        """Nothing to do: which windows come is not known."""

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        given = {name: value for name, value in inputs.items() if name not in WINDOW}
        count = int(given["latents"].shape[1])
        if not 0 < count <= _MOST_LATENTS:
            raise UsageError(f"latents: must be 1 to {_MOST_LATENTS}, not {count}")
        if missing := [name for name in WINDOW if name not in inputs]:
            if len(missing) < len(WINDOW):
                raise UsageError(f"{', '.join(WINDOW)} come together; {', '.join(missing)} is missing")
            window = self._frames.inputs(given["latents"][0], 0, self._frames.count(count), 0, 0)
        else:
            window = {name: inputs[name].reshape(()) for name in WINDOW}
            if any(not 0 <= int(value) <= _MOST_WINDOW for value in window.values()):
                raise UsageError(f"{', '.join(WINDOW)}: must be between 0 and {_MOST_WINDOW}")
        yield await self._lane.run(self._graph.run, window | given)

    def describe(self) -> dict[str, Any]:
        return asdict(self._make.info["vocode"])

    def close(self) -> None:
        self._make.close()


class VitsHandler:
    """`text` to `pcm`, sentence by sentence, in the profile's voice."""

    engine = None

    def __init__(self, profile: Profile) -> None:
        self._make = Assembler(profile)
        self._split, self._speak, self._vocode = self._make.split(), self._make.speak(), self._make.vocode()

    async def warm(self) -> None:
        async for _ in self({"text": text_tensor("Ready.")}):
            pass

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        async for tensors in _pcm(self._vocode(self._speak(self._split.whole(spoken_text(inputs))))):
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
    "xtts_hifigan": VocoderHandler,
    "vits": VitsHandler,
    "voice_turn": TurnHandler,
}


def string(inputs: Inputs, name: str) -> str:
    """A text input; empty if it was left out."""
    return text_of(inputs[name]) if name in inputs else ""


def reference_of(inputs: Inputs, folder: Path) -> tuple[Path, ...]:
    """The recording to clone as a file in `folder`; none if it was left out."""
    if "reference" not in inputs:
        return ()
    rate, samples = (
        int(inputs["reference_rate"][0]) if "reference_rate" in inputs else RATE,
        audio_of(inputs, "reference"),
    )
    if not 8000 <= rate <= 192_000:
        raise UsageError(f"reference_rate {rate}: must be between 8000 and 192000")
    with WavFile(folder / "reference.wav", rate) as sink:
        sink.write(samples)
    return (folder / "reference.wav",)


def spoken_text(inputs: Inputs) -> str:
    """The text to speak. Raises `TextTooLong`."""
    text = string(inputs, "text")
    if len(text) > LONGEST_TEXT:
        raise TextTooLong(f"text of {len(text)} characters: a request may have {LONGEST_TEXT}; send it in pieces")
    return text


def audio_of(inputs: Inputs, name: str = "audio") -> Samples:
    """Samples; of `audio`, at 16 kHz. Raises `EmptyAudio`, `AudioTooLong`, `InvalidSamples`."""
    samples = np.asarray(inputs[name], np.float32)
    if not samples.size:
        raise EmptyAudio("audio of no samples")
    if samples.size > LONGEST_AUDIO_S * RATE:
        raise AudioTooLong(
            f"{samples.size / RATE:.0f} s of audio: a request may have {LONGEST_AUDIO_S:.0f} s; send it in pieces"
        )
    if not np.isfinite(samples).all():
        raise InvalidSamples("the audio has NaN or infinite samples")
    return samples


def _with_answer(dialogue: list[Message], answer: str, ids: list[int]) -> list[Message]:
    return [*dialogue, *([Message("assistant", answer, tuple(ids))] if answer else [])]


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


def _heard(found: Transcript) -> Tensors:
    return {
        "text": text_tensor(found.text),
        "stable": text_tensor(found.text),
        "language": text_tensor(found.language),
        "confidence": np.array([found.confidence], np.float32),
    }


async def _pcm(chunks: AsyncGenerator[PcmChunk, None]) -> AsyncGenerator[Tensors, None]:
    try:
        async for chunk in chunks:
            yield of_chunk(chunk)
    finally:
        await chunks.aclose()
