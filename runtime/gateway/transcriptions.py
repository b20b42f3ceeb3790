"""`/v1/audio/transcriptions` and `/v1/audio/translations`: a recording to its words.

Only the bytes that were sent are opened, by `audio.decode`, which bounds what they may hold.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.frames import frames_from
from voxturn.runtime.gateway import answers
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.forms import Upload, fields_of, upload_of
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.models import HEAR, ModelName, check_model
from voxturn.runtime.gateway.operations import Answer, Operation, decoded, form_body
from voxturn.runtime.gateway.streaming import EVENTS, each_within
from voxturn.runtime.gateway.transcripts import (
    CAPTIONS,
    FORMS,
    MEDIA,
    Heard,
    TextDelta,
    TextDone,
    Transcription,
    VerboseTranscription,
)
from voxturn.runtime.messages import AudioFrame
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.recording import for_files, passages

Form = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
Temperature = Annotated[float, Meta(ge=0, le=2)]
_MOST_KEYWORDS, _LONGEST_PROMPT = 100, 8000


class TranscriptionForm(msgspec.Struct):
    """What may be asked of a transcription, beside its file.

    `prompt` and `keywords` make names and terms likelier, where the model can. `temperature` is
    accepted, and changes nothing: what is heard is what is likeliest. `include` too: no family
    gives the tokens' probabilities. `chunking_strategy` is `auto` or `{"type": "server_vad", …}`.
    """

    model: ModelName = ""
    language: str = ""
    languages: list[str] = msgspec.field(name="languages[]", default_factory=list)
    prompt: Annotated[str, Meta(max_length=_LONGEST_PROMPT)] = ""
    keywords: Annotated[list[str], Meta(max_length=_MOST_KEYWORDS)] = msgspec.field(
        name="keywords[]", default_factory=list
    )
    response_format: Form = "json"
    temperature: Temperature = 0.0
    timestamp_granularities: list[Literal["word", "segment"]] = msgspec.field(
        name="timestamp_granularities[]", default_factory=list
    )
    include: list[str] = msgspec.field(name="include[]", default_factory=list)
    chunking_strategy: str = ""
    stream: bool = False


class TranslationForm(msgspec.Struct):
    """What may be asked of a translation into English, beside its file."""

    model: ModelName = ""
    prompt: Annotated[str, Meta(max_length=_LONGEST_PROMPT)] = ""
    response_format: Form = "json"
    temperature: Temperature = 0.0


class ServerVad(msgspec.Struct):
    """When an utterance ends, as OpenAI's clients say it."""

    type: Literal["server_vad"]
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=5000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=50, le=10_000)] = 200
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5


class Recording:
    """An upload on its way into words. `heard` grows while `passages` is read.

    A long one takes longer than a request may: each of its utterances has as long.
    """

    def __init__(
        self, gateway: Gateway, upload: Upload, options: HearingOptions, chunking: str, words: bool
    ) -> None:
        stages = gateway.assistant.stages
        self.heard = Heard(options.translate)
        self._listen = stages.listen.using(endpointing_of(chunking, stages.listen.options))
        self._recogniser = stages.recogniser.using(options)
        self._upload = upload
        self._words = words
        self._longest_s = gateway.settings.longest_audio_s
        self._clock = gateway.clock
        self._limit_s = gateway.settings.request_s

    async def passages(self) -> AsyncGenerator[str, None]:
        """What each passage adds to the text."""
        report = ReadReport()
        frames = self._counted(report)
        spoken = passages(self._listen, self._recogniser, frames, report, self._words)
        async with aclosing(each_within(spoken, self._clock, self._limit_s)) as timely:
            async for passage in timely:
                if passage is not None:
                    yield self.heard.add(passage)

    async def whole(self) -> Heard:
        """All of it."""
        async with aclosing(self.passages()) as texts:
            async for _ in texts:
                pass
        return self.heard

    async def events(self) -> AsyncGenerator[TextDelta | TextDone, None]:
        """The text as it comes, and in the end all of it."""
        async with aclosing(self.passages()) as texts:
            async for text in texts:
                yield TextDelta(text)
        yield TextDone(self.heard.text, self.heard.usage)

    async def _counted(self, report: ReadReport) -> AsyncGenerator[AudioFrame, None]:
        frames = frames_from(self._upload, report=report, longest_s=self._longest_s)
        async with aclosing(frames):
            async for frame in frames:
                self.heard.seconds += frame.samples.size / frame.rate
                yield frame


def endpointing_of(chunking: str, usual: Endpointing) -> Endpointing:
    """What a recording is cut by. Raises `ApiError` 400 for what is no chunking strategy."""
    whole = for_files(usual)
    if chunking in ("", "auto"):
        return whole
    try:
        vad = decoded_vad(chunking)
    except ApiError as exc:
        what = f"chunking_strategy: must be auto or a server_vad ({exc})"
        raise ApiError(400, what, "invalid_value", "chunking_strategy") from exc
    silence = vad.silence_duration_ms
    return replace(
        whole,
        threshold=vad.threshold,
        before_ms=vad.prefix_padding_ms,
        suspect_ms=silence,
        finished_ms=silence,
        end_ms=silence,
        unfinished_ms=silence,
    )


def decoded_vad(text: str) -> ServerVad:
    """A server's voice activity of JSON, whose numbers may be texts, as forms have them."""
    try:
        return msgspec.convert(decoded(text, dict[str, Any]), ServerVad, strict=False)
    except msgspec.ValidationError as exc:
        raise ApiError(400, str(exc)) from exc


async def transcriptions(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The words of a recording, in its language."""
    form = await form_body(request, gateway.settings.longest_upload_mb)
    try:
        asked = fields_of(form, TranscriptionForm)
        _check(gateway, asked)
        if asked.stream and asked.response_format != "json":
            what = "stream: goes with response_format json alone"
            raise ApiError(400, what, "unsupported_value", "stream")
        languages = [*([asked.language] if asked.language else []), *asked.languages]
        options = HearingOptions(
            ",".join(dict.fromkeys(languages)), tuple(asked.keywords), asked.prompt
        )
        words = asked.response_format in CAPTIONS or "word" in asked.timestamp_granularities
        upload = await upload_of(form, "file")
    finally:
        await form.close()
    recording = Recording(gateway, upload, options, asked.chunking_strategy, words)
    if asked.stream:
        return await answers.streamed(gateway, request, caller, recording.events(), timed=False)
    return await _written(
        gateway, request, caller, recording, asked.response_format, asked.timestamp_granularities
    )


async def translations(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The words of a recording, in English."""
    form = await form_body(request, gateway.settings.longest_upload_mb)
    try:
        asked = fields_of(form, TranslationForm)
        _check(gateway, asked)
        upload = await upload_of(form, "file")
    finally:
        await form.close()
    options = HearingOptions("auto", prompt=asked.prompt, translate=True)
    recording = Recording(gateway, upload, options, "", words=False)
    return await _written(gateway, request, caller, recording, asked.response_format, ())


def _check(gateway: Gateway, asked: TranscriptionForm | TranslationForm) -> None:
    """Raise `ApiError` for a model that is not here, and for a form that nobody writes."""
    check_model(gateway, asked.model, HEAR)
    if asked.response_format not in FORMS:
        what = "response_format: nothing here tells speakers apart"
        raise ApiError(400, what, "unsupported_value", "response_format")


async def _written(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    recording: Recording,
    form: str,
    granularities: Any,
) -> Response:
    heard = await answers.whole(gateway, request, caller, recording.whole(), timed=False)
    return FORMS[form](heard, granularities)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/transcriptions",
        transcriptions,
        "Write down what is said in a recording",
        Answer(
            "the words, in the form that was asked for",
            (*MEDIA, EVENTS),
            Transcription | VerboseTranscription,
            TextDelta | TextDone,
        ),
        body=TranscriptionForm,
        form=True,
        files=("file",),
    ),
    Operation(
        "POST",
        "/v1/audio/translations",
        translations,
        "Write down in English what is said in a recording",
        Answer(
            "the words, in the form that was asked for", MEDIA, Transcription | VerboseTranscription
        ),
        body=TranslationForm,
        form=True,
        files=("file",),
    ),
)
