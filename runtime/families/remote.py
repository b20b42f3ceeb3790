"""Whole stages on a server: the protocols of a turn over a wire, for any family, without an
artifact here.

Text and audio are sent, not tokens: the server's own profile says what runs. Where tokens are
wanted here, there is the executor `triton` (docs/decisions/0013).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.errors import (
    EmptyText,
    ForgottenSequence,
    InferenceFailed,
    InvalidProfile,
    UnknownStyle,
    UnknownVoice,
    UnsupportedLanguage,
    UsageError,
)
from voxturn.runtime.families.base import (
    WRITTEN,
    Candidate,
    Family,
    NoPreparation,
    Parts,
    VoiceOptions,
    served_kind,
)
from voxturn.runtime.families.mixture import parts_of
from voxturn.runtime.families.options import HearingOptions, ReplyOptions, ReplyReport
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import (
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    Sentence,
    Speaking,
    ToolCall,
    ToolSpec,
    Transcript,
)
from voxturn.runtime.remote.connection import Connection
from voxturn.runtime.remote.contract import LONGEST_AUDIO_S, LONGEST_TEXT, MODELS, Piece
from voxturn.runtime.remote.dialogue import length_of
from voxturn.runtime.remote.tensors import (
    Tensors,
    answer_of,
    answered,
    asked,
    text_of,
    to_chunk,
)
from voxturn.runtime.text.language import find, is_auto
from voxturn.runtime.text.spoken import escaped
from voxturn.runtime.text.styles import style_name

_REFERENCE_RATE = 24_000


class RemoteRecogniser:
    """A `Recogniser`: the served model `model` hears.

    An utterance may have `contract.LONGEST_AUDIO_S` seconds.
    """

    def __init__(
        self, connection: Connection, model: str, language: str, takes_options: bool = False
    ) -> None:
        self.connection = connection
        self.model = model
        self.language = language
        self.takes_options = takes_options
        self.options = HearingOptions()

    def using(self, options: HearingOptions) -> RemoteRecogniser:
        """The same model with other options. A server of an earlier version takes a language, and
        makes nothing of names and prompts.

        Raises `UsageError` where it does not translate.
        """
        if options.translate and not self.takes_options:
            raise UsageError(f"translate: the served {self.model} only writes down what it hears")
        other = copy(self)
        other.language = options.language or self.language
        other.options = replace(options, language="")
        return other

    def hear(self, prior: str = "") -> RemoteHearing:
        """Begin an utterance. `prior` is the tag of the language that the dialogue was in."""
        return RemoteHearing(self, prior)

    async def warm(self) -> None:
        """Nothing to do: a server is warm before it answers."""


class RemoteHearing:
    """One utterance.

    What is said so far is sent once, under a name of its own; the final transcript is of the whole.
    The server keeps what it was sent until this is closed, or dropped.
    """

    def __init__(self, recogniser: RemoteRecogniser, prior: str) -> None:
        self._recogniser = recogniser
        self._prior = prior
        self._sequence = 0
        self._sent = 0

    async def partial(self, speaking: Speaking) -> Partial | None:
        """What was said so far; None where nothing of it is certain enough to show."""
        try:
            answer = await self._answer(speaking.samples)
        except ForgottenSequence:  # all of it is here: it is sent again
            answer = await self._answer(speaking.samples)
        if answer is None or not text_of(answer["text"]):
            return None
        return replace(answer_of(answer, Partial), start=speaking.start)

    async def _answer(self, samples: Samples) -> Tensors | None:
        """What the server says to the samples that it has not had; None where there are none."""
        samples = samples[self._sent :]
        if not samples.size:
            return None
        if start := not self._sent:
            self._sequence = uuid.uuid4().int >> 65  # 63 bits; Triton's sequence ids are never 0
        piece = Piece(self._sequence, start)
        self._sent += samples.size
        recogniser = self._recogniser
        try:
            return await recogniser.connection.ainfer(recogniser.model, {"audio": samples}, piece)
        except BaseException:  # also a cancellation: whether the server has it is not known
            self.close()
            raise

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The words in 16 kHz samples, with their times if `words`. Raises `AudioTooLong`."""
        recogniser = self._recogniser
        inputs = {
            "audio": samples,
            "language": recogniser.language,
            "prior": self._prior,
            "words": np.array([words]),
        }
        if recogniser.takes_options and (given := recogniser.options.given()):
            inputs["options"] = json.dumps(given)
        return answer_of(await recogniser.connection.ainfer(recogniser.model, inputs), Transcript)

    def close(self) -> None:
        """Have the server forget what it was sent; a partial that is asked for later sends it
        again. Returns at once."""
        if self._sent:
            self._recogniser.connection.forget(self._recogniser.model, self._sequence)
        self._sent = 0

    def __del__(self) -> None:
        self.close()


class RemoteReplier:
    """A `Replier`: the served model `model` answers.

    A dialogue without a system prompt gets the server's.
    """

    def __init__(
        self,
        connection: Connection,
        model: str,
        opens_thought: bool = False,
        takes_tools: bool = False,
    ) -> None:
        self.opens_thought = opens_thought
        self.takes_tools = takes_tools
        self._connection = connection
        self._model = model

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to a dialogue that ends with the user's message, or with results of calls."""
        inputs = asked(messages, tools)
        async with aclosing(self._connection.stream(self._model, inputs)) as answers:
            async for tensors in answers:
                for item in answered(tensors):
                    yield item

    def fitted(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[Message]:
        """The dialogue without the oldest turns that a request has no room for; the server fits the
        rest to its model."""
        dialogue = list(messages)
        system = 1 if dialogue[0].role == "system" else 0
        while sum(map(length_of, dialogue)) > LONGEST_TEXT:
            later = [i for i in range(system + 1, len(dialogue)) if dialogue[i].role == "user"]
            if not later:
                break  # the last question alone: the server says that it is too long
            del dialogue[system : later[0]]
        return dialogue

    async def warm(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> None:
        """Nothing to do: a server is warm before it answers."""


class SettableReplier(RemoteReplier):
    """One whose server takes options for a single request, and reports of it."""

    _options = ReplyOptions()
    _report: ReplyReport | None = None

    def using(self, options: ReplyOptions, report: ReplyReport) -> SettableReplier:
        """The same model with other options, for one answer; the server refuses what it has not."""
        other = copy(self)
        other._options = options
        other._report = report
        return other

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to a dialogue that ends with the user's message, or with results of calls."""
        inputs = asked(messages, tools)
        if self._report is not None:
            inputs["options"] = json.dumps(self._options.given())
        async with aclosing(self._connection.stream(self._model, inputs)) as answers:
            async for tensors in answers:
                if "report" in tensors and self._report is not None:
                    vars(self._report).update(_report_of(text_of(tensors["report"])))
                    continue
                for item in answered(tensors):
                    yield item


def _report_of(text: str) -> dict[str, Any]:
    """The fields of a server's report. Raises `InferenceFailed` for another version's."""
    try:
        table = json.loads(text)
        counts = {name: int(table[name]) for name in ("prompt_tokens", "completion_tokens")}
        return counts | {"full": bool(table["full"])}
    except (LookupError, TypeError, ValueError, RecursionError) as exc:
        raise InferenceFailed("the server sent a report that is none") from exc


class RemoteVoice:
    """A `Voice`: the served model `model` speaks. `about` is what it says of its voice."""

    texts = WRITTEN  # the server writes numbers out

    def __init__(
        self,
        connection: Connection,
        model: str,
        about: Mapping[str, Any],
        inputs: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._model = model
        self._about = about
        self._inputs = inputs
        self._taken = frozenset(spec.name for spec in MODELS[model].inputs)
        self.rate = int(about["rate"])
        self.language = str(inputs.get("language", about["language"]))
        self.languages = tuple(about["languages"])
        self.speakers = tuple(about["speakers"])
        self.styles = _styles(about, inputs)

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, one request each, chunk by chunk while it is made."""
        start = 0
        try:
            async for sentence in sentences:
                async with aclosing(self._chunks(sentence)) as chunks:
                    async for chunk in chunks:
                        yield replace(chunk, start=start, sentence=sentence)
                        start += chunk.samples.size
        finally:
            await close_iterator(sentences)

    async def _chunks(self, sentence: Sentence) -> AsyncGenerator[PcmChunk, None]:
        """The chunks of a sentence, the last of which is final: the server may have cut it in
        several."""
        ended: PcmChunk | None = None
        # the server takes markup out of every text; of this one it was taken out here
        inputs = {"text": escaped(sentence.text), **self._inputs}
        if sentence.language and "language" in self._taken:
            inputs |= self._checked("language", sentence.language)
        if sentence.style in self.styles:
            inputs["style"] = sentence.style
        try:
            async with aclosing(self._connection.stream(self._model, inputs)) as answers:
                async for tensors in answers:
                    if ended is not None:
                        yield replace(ended, final=False)
                    chunk = to_chunk(tensors)
                    ended = chunk if chunk.final else None
                    if ended is None:
                        yield chunk
        except EmptyText:
            return  # nothing of it can be spoken
        if ended is not None:
            yield ended

    def using(self, options: VoiceOptions) -> RemoteVoice:
        """The same model with other options. Blocks where a recording is read.

        Raises `UsageError`, `UnknownVoice`, `UnknownStyle`, `UnsupportedLanguage`, `AudioError`.
        """
        known = frozenset(option for option, name in _INPUTS.items() if name in self._taken)
        values = options.only(known, f"the served {self._model}")
        if values.get("speaker") and values.get("recordings"):
            raise UsageError("give a speaker's name or recordings, not both")
        inputs = dict(self._inputs)
        if options.speaker or options.recordings:
            inputs.pop("style", None)  # another speaker's
        for option, value in values.items():
            inputs |= self._checked(option, value)
        if "voice" in inputs and "reference" in inputs:
            del inputs["voice" if options.recordings is not None else "reference"]
        voice = RemoteVoice(self._connection, self._model, self._about, inputs)
        if inputs.get("style") and inputs["style"] not in voice.styles:
            raise UnknownStyle(
                f"the served {self._model} has no style {inputs['style']!r} of this speaker; "
                f"it has {', '.join(voice.styles) or 'none'}"
            )
        return voice

    def _checked(self, option: str, value: Any) -> dict[str, Any]:
        """The inputs of one option. Raises as `using`."""
        if option == "language" and not find(value, self.languages.__contains__):
            raise UnsupportedLanguage(
                f"the served {self._model} speaks {', '.join(self.languages)}, not {value!r}"
            )
        if option == "speaker":
            self._check_speaker(value)
        if option == "recordings":
            if len(value) != 1:
                raise UsageError("recordings: a served voice clones one recording")
            samples = decode_all(value[0], _REFERENCE_RATE, longest_s=LONGEST_AUDIO_S)
            rate = np.array([_REFERENCE_RATE], np.int32)
            return {"reference": samples, "reference_rate": rate}
        return {_INPUTS[option]: _AS_TENSOR.get(option, str)(value)}

    def _check_speaker(self, speaker: str) -> None:
        """Raise `UnknownVoice` or `UsageError` for one that the server does not have."""
        for part in parts_of(speaker, self.speakers):
            if part.voice not in self.speakers:
                raise UnknownVoice(
                    f"the served {self._model} has no speaker {part.voice!r}; "
                    f"it has {', '.join(self.speakers)}"
                )

    def preparation(self) -> NoPreparation:
        """Nothing is sent of a sentence before it is whole."""
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        """Nothing to do: a server is warm before it answers."""


def _styles(about: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """The styles of the speaker that a request's inputs name, as far as the server tells."""
    if "reference" in inputs:
        return ()
    if "voice" not in inputs:
        return tuple(about.get("styles", ()))
    known = about.get("styles_of", {})
    parts = parts_of(inputs["voice"], about["speakers"])
    return tuple(sorted({style for part in parts for style in known.get(part.voice, ())}))


_INPUTS = {
    "language": "language",
    "speaker": "voice",
    "recordings": "reference",
    "speed": "speed",
    "seed": "seed",
    "style": "style",
}
"""The served model's input of each of `VoiceOptions`."""

_AS_TENSOR: Mapping[str, Callable[[Any], Any]] = {
    "speed": lambda value: np.array([value], np.float32),
    "seed": lambda value: np.array([value], np.int64),
    "style": style_name,
}


def _recogniser(parts: Parts) -> RemoteRecogniser:
    stage = parts.stage("transcribe")
    connection, model = stage.connection(), stage.manifest.model
    takes_options = bool(connection.describe(model).get("takes_options", False))
    return RemoteRecogniser(connection, model, str(parts.languages), takes_options)


def _replier(parts: Parts) -> RemoteReplier:
    stage = parts.stage("reply")
    connection, model = stage.connection(), stage.manifest.model
    about = connection.describe(model)
    kind = SettableReplier if about.get("takes_options", False) else RemoteReplier
    return kind(
        connection, model, about.get("opens_thought", False), about.get("takes_tools", False)
    )


def _voice(parts: Parts) -> RemoteVoice:
    stage = parts.stage("speak")
    connection, model = stage.connection(), stage.manifest.model
    voice = RemoteVoice(connection, model, connection.describe(model)["voice"], {})
    settings = stage.settings
    first = parts.languages.first
    same = is_auto(first) or find(first, voice.language.__eq__)
    language = None if same else first
    return voice.using(
        VoiceOptions(
            language, settings.voice, None, settings.speed, settings.seed, style=settings.style
        )
    )


def _check(candidate: Candidate) -> None:
    """Raise `InvalidProfile` for a model that no server has."""
    task, model = candidate.manifest.task, candidate.manifest.model
    names = [served.name for served in MODELS.values() if served.task == task]
    if model not in names:
        raise InvalidProfile(f"a server has {', '.join(names)} for {task}, not {model!r}")
    if task == "text-to-speech":
        taken = {spec.name for spec in MODELS[model].inputs}
        for key in ("voice", "style", "speed", "seed"):
            if getattr(candidate.settings, key) is not None and key not in taken:
                raise InvalidProfile(f"speak.{key}: the served {model} has no such option")


def _family(task: str, stage: str, make: Callable[[Parts], Any], *keys: str) -> Family:
    return Family(
        kind=served_kind(task),
        task=task,
        roles={stage: ()},
        make=make,
        options={stage: frozenset(keys)},
        check=_check,
    )


RECOGNISER = _family("speech-to-text", "transcribe", _recogniser)
REPLIER = _family("text-generation", "reply", _replier)
VOICE = _family("text-to-speech", "speak", _voice, "voice", "style", "speed", "seed")
