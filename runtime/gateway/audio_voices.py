"""`/v1/audio/voices`: the voices that there are, and those that a key adds for itself.

Source: openai-python 3.57, `resources/audio/voices.py`. Extensions: the list, `styles`, `style`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.families.base import styles_of
from voxturn.runtime.gateway.client_voices import ClientVoice
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import INVALID, ApiError
from voxturn.runtime.gateway.forms import file_of
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import (
    Answer,
    Operation,
    converted,
    form_body,
    json_answer,
)
from voxturn.runtime.gateway.voices import DEFAULT

REFUSED = frozenset({"", "0", "false", "no", "none", "null"})


class AudioVoice(msgspec.Struct, kw_only=True):
    """A voice. `type`: "builtin", "alias" of one, or "custom", which its key alone sees."""

    id: str
    name: str
    type: Literal["builtin", "alias", "custom"]
    object: Literal["audio.voice"] = "audio.voice"
    created_at: int = 0
    styles: list[str] = []
    warnings: list[str] = []


class VoiceList(msgspec.Struct):
    """All voices that a key may use."""

    data: list[AudioVoice]
    object: Literal["list"] = "list"


class VoiceForm(msgspec.Struct, kw_only=True):
    """What is uploaded beside the recording `audio_sample`.

    `consent`: `true`, or the id of a recording in which the speaker agrees. `style`: it is added as
    a style of the voice `name`, which is there already.
    """

    name: Annotated[str, msgspec.Meta(max_length=256)]
    consent: Annotated[str, msgspec.Meta(max_length=256)] = ""
    style: Annotated[str, msgspec.Meta(max_length=64)] = ""


class VoiceDeleted(msgspec.Struct):
    """A voice that is gone."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    deleted: bool = True


async def list_voices(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The voices of the profile, their other names, and those that this key added."""
    return json_answer(VoiceList(await asyncio.to_thread(lambda: list(_all(gateway, caller)))))


async def add_voice(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Clone a voice from a recording."""
    await asyncio.to_thread(gateway.voices.clients.library)  # an upload in vain is refused first
    form = await form_body(request, gateway.settings.longest_upload_mb)
    try:
        texts = {key: value for key, value in form.items() if isinstance(value, str)}
        asked = converted(texts, VoiceForm)
        _check(gateway, asked)
        sample = file_of(form, "audio_sample")
        with gateway.speeches.place(caller):
            voice = await gateway.voices.clients.add(
                caller.key, asked.name, sample.file, asked.consent, asked.style
            )
    finally:
        await form.close()
    return json_answer(_custom(voice))


async def delete_voice(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Forget a voice that this key added, with its styles."""
    name = str(request.path_params["id"])
    if name in (*gateway.voices.speakers, *gateway.voices.aliases):
        what = f"voice {name!r} is the server's"
        raise ApiError(403, what, "voice_not_yours", "id", kind=INVALID)
    await asyncio.to_thread(gateway.voices.clients.library)
    voice = await gateway.voices.clients.remove(caller.key, name)
    return json_answer(VoiceDeleted(voice.id))


def _check(gateway: Gateway, asked: VoiceForm) -> None:
    if asked.consent.strip().lower() in REFUSED:
        what = (
            "consent: a voice may be cloned with its owner's consent alone; send true if there is "
            "one, or the id of its recording"
        )
        raise ApiError(400, what, "consent_required", "consent")
    if asked.name.strip() in (*gateway.voices.speakers, *gateway.voices.aliases):
        what = f"name: {asked.name.strip()!r} is a voice of the server's; choose another"
        raise ApiError(409, what, "voice_exists", "name")


def _all(gateway: Gateway, caller: Caller) -> Iterator[AudioVoice]:
    voices = gateway.voices
    cloning = voices.clients.cloning()
    yield AudioVoice(
        id=DEFAULT,
        name=DEFAULT,
        type="builtin",
        styles=list(styles_of(gateway.assistant.stages.voice)),
    )
    for name in voices.speakers:
        styles = cloning.library.styles(name) if cloning is not None else ()
        yield AudioVoice(id=name, name=name, type="builtin", styles=list(styles))
    for name in voices.aliases:
        if name != DEFAULT and name not in voices.speakers:
            yield AudioVoice(id=name, name=name, type="alias")
    for voice in voices.clients.of(caller.key):
        yield _custom(voice)


def _custom(voice: ClientVoice) -> AudioVoice:
    return AudioVoice(
        id=voice.id,
        name=voice.name,
        type="custom",
        created_at=voice.created_at,
        styles=list(voice.styles),
        warnings=list(voice.warnings),
    )


OPERATIONS = (
    Operation(
        "GET",
        "/v1/audio/voices",
        list_voices,
        "List the voices",
        Answer("the voices that this key may use", body=VoiceList),
    ),
    Operation(
        "POST",
        "/v1/audio/voices",
        add_voice,
        "Add a voice from a recording",
        Answer("the voice", body=AudioVoice),
        body=VoiceForm,
        form=True,
        files=("audio_sample",),
    ),
    Operation(
        "DELETE",
        "/v1/audio/voices/{id}",
        delete_voice,
        "Forget a voice that was added",
        Answer("that it is gone", body=VoiceDeleted),
    ),
)
