"""The addresses of Coqui's `tts-server`, and MaryTTS's as that server has them.

Source: coqui-tts 0.28, `TTS/server/server.py`. Errors have OpenAI's form. `style_wav` and
`speaker_wav` name files of the server there; no request names a file here, and they are ignored.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import (
    Answer,
    Operation,
    converted,
    form_body,
    json_answer,
    whole_body,
)
from voxturn.runtime.gateway.speaking import Asked
from voxturn.runtime.gateway.voices import DEFAULT
from voxturn.runtime.gateway.whole_wav import whole_wav
from voxturn.runtime.text.language import find

_MOST_FORM, _MOST_FORM_MB = 1 << 20, 1
_WAV = Answer("the text as WAV", ("audio/wav",))
Name = Annotated[str, msgspec.Meta(max_length=256)]


class CoquiQuery(msgspec.Struct, kw_only=True):
    """What is to be said, by whom, in which language."""

    text: str = ""
    speaker_id: Name = ""
    language_id: Name = ""


class MaryQuery(msgspec.Struct, kw_only=True, rename="upper"):
    """As MaryTTS's clients ask. `locale` is heeded where the voice speaks it."""

    input_text: str = ""
    voice: Name = ""
    locale: Name = ""
    audio: Name = "WAVE_FILE"
    input_type: Name = "TEXT"
    output_type: Name = "AUDIO"


async def tts(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A text as a whole WAV file."""
    values = await _values(request)
    for field in ("text", "speaker_id", "language_id"):
        if header := request.headers.get(field.replace("_", "-"), ""):
            values[field] = header
    asked = converted(values, CoquiQuery)
    what = Asked(asked.text, asked.speaker_id, asked.language_id, param="text")
    return await whole_wav(gateway, request, caller, what)


async def speakers(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The names of the speakers."""
    return json_answer(list(gateway.voices.speakers))


async def languages(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The codes of the languages that the voice speaks."""
    return json_answer(list(gateway.assistant.stages.voice.languages))


async def mary_process(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A text as a whole WAV file, as MaryTTS's clients ask for it."""
    asked = converted(await _values(request), MaryQuery)
    for name, value, known in (
        ("INPUT_TYPE", asked.input_type, ("TEXT",)),
        ("OUTPUT_TYPE", asked.output_type, ("AUDIO",)),
        ("AUDIO", asked.audio, ("WAVE_FILE", "WAVE")),
    ):
        if value.upper() not in known:
            raise ApiError(400, f"{name}: {known[0]} alone is given", "invalid_value", name)
    spoken = gateway.assistant.stages.voice.languages
    language = find(asked.locale.replace("_", "-"), spoken.__contains__) if asked.locale else ""
    what = Asked(asked.input_text, asked.voice, language, param="INPUT_TEXT")
    return await whole_wav(gateway, request, caller, what)


async def mary_voices(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A line for each voice: its name, its language, its gender, which is unknown."""
    language = gateway.assistant.stages.voice.language
    names = gateway.voices.speakers or (DEFAULT,)
    return PlainTextResponse("".join(f"{name} {language} u\n" for name in names))


async def mary_locales(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A line for each language."""
    spoken = gateway.assistant.stages.voice.languages
    return PlainTextResponse("".join(f"{language}\n" for language in spoken))


async def _values(request: Request) -> dict[str, str]:
    """The query and, of a POST, its form, whichever way that is encoded."""
    values = dict(request.query_params)
    if request.method != "POST":
        return values
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await form_body(request, _MOST_FORM_MB)
        values |= {key: value for key, value in form.items() if isinstance(value, str)}
        await form.close()
        return values
    body = await whole_body(request, _MOST_FORM)
    try:
        return values | dict(parse_qsl(body.decode("utf-8"), max_num_fields=64))
    except ValueError as exc:
        raise ApiError(400, "the body is no form", "invalid_form") from exc


_LINES = ("text/plain",)
OPERATIONS = (
    Operation("GET", "/api/tts", tts, "Say a text", _WAV, query=CoquiQuery),
    Operation("POST", "/api/tts", tts, "Say a text", _WAV, query=CoquiQuery),
    Operation("GET", "/api/speakers", speakers, "List the speakers", Answer("names")),
    Operation("GET", "/api/languages", languages, "List the languages", Answer("codes")),
    Operation("GET", "/process", mary_process, "Say a text", _WAV, query=MaryQuery),
    Operation("POST", "/process", mary_process, "Say a text", _WAV, query=MaryQuery),
    Operation("GET", "/voices", mary_voices, "List the voices", Answer("lines", _LINES)),
    Operation("GET", "/locales", mary_locales, "List the languages", Answer("lines", _LINES)),
)
