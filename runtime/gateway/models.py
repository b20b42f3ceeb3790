"""Which models there are, and which names clients may call them by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation, json_answer
from voxturn.runtime.models.compatible import TASKS
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.turn.trace import StageInfo

HEAR, REPLY, SPEAK, TALK = "speech-to-text", "text-generation", "text-to-speech", "realtime"
"""What a request wants of a model: a task of the registry, or all three."""

_LONGEST = 128
ModelName = Annotated[str, msgspec.Meta(max_length=_LONGEST)]
"""A model as a request names it: patterns that look for parts take the square of a name's
length."""

_KNOWN: Mapping[str, re.Pattern[str]] = {
    HEAR: re.compile(
        r"whisper-1|gpt-[a-z0-9.-]*transcribe[a-z0-9.-]*|gpt-realtime-whisper[a-z0-9.-]*"
    ),
    REPLY: re.compile(r"(?:chatgpt|gpt|o\d)(?:-[a-z0-9.-]+)?"),
    SPEAK: re.compile(r"tts-1(?:-hd)?(?:-\d+)?|gpt-[a-z0-9.-]*tts[a-z0-9.-]*|gpt-audio[a-z0-9.-]*"),
    TALK: re.compile(r"gpt-(?:[a-z0-9.-]*realtime|live|audio)[a-z0-9.-]*"),
}
"""OpenAI's names, which its clients have as defaults and in lists that cannot be changed."""


class ModelCard(msgspec.Struct):
    """A model that is loaded. The first four fields are OpenAI's.

    `stages` are those of the profile that run it, `task` and `licence` what the registry says of
    it; a folder's own model has no licence there. `artifact_sha256` is over its files' hashes.
    `compute`: the arithmetic, where it is not that of the files.
    """

    id: str
    created: int
    owned_by: str
    task: str
    stages: list[str]
    precision: str
    compute: str
    executor: str
    artifact_sha256: str
    licence: str | None
    languages: list[str]
    synthetic: bool
    object: str = "model"


class ModelList(msgspec.Struct):
    """All models that are loaded. `languages`, ours: those that a conversation may be held in."""

    data: list[ModelCard]
    languages: list[str]
    object: str = "list"


@cache
def _registry() -> Registry:
    return Registry.read()


def loaded(gateway: Gateway) -> dict[str, ModelCard]:
    """The models that are loaded, by their ids."""
    cards: dict[str, ModelCard] = {}
    for stage, info in gateway.assistant.setup.info.items():
        if info.model in cards:
            cards[info.model].stages.append(stage)
        else:
            cards[info.model] = _card(stage, info)
    return cards


def _card(stage: str, info: StageInfo) -> ModelCard:
    entry = _registry().models.get(info.model)
    return ModelCard(
        id=info.model,
        created=0,
        owned_by="voxturn",
        task=TASKS.get(stage.partition(".")[0], ""),
        stages=[stage],
        precision=info.precision,
        compute=info.compute,
        executor=info.executor,
        artifact_sha256=info.artifact_sha256,
        licence=entry.license if entry is not None else None,
        languages=list(entry.languages) if entry is not None else [],
        synthetic=info.synthetic,
    )


def model_for(gateway: Gateway, task: str) -> str:
    """The id of the model that does a task; of several stages' the first."""
    stage = next(name for name, known in TASKS.items() if known == task)
    return gateway.assistant.setup.info[stage].model


def check_model(gateway: Gateway, name: str, task: str) -> str:
    """The id of the model that a request names for a task.

    It may be that of the loaded model, another of its names in the registry, the profile's, one of
    OpenAI's for such a task, `voxturn`, or empty. Raises `ApiError` 404 for another.
    """
    model = gateway.assistant.setup.profile if task == TALK else model_for(gateway, task)
    alias = _registry().aliases.get(name)
    names = {"", "voxturn", model, gateway.assistant.setup.profile}
    if name in names or (alias is not None and alias.model == model):
        return model
    if len(name) <= _LONGEST and _KNOWN[task].fullmatch(name):
        return model
    raise ApiError(
        404,
        f"no model {name[:100]!r} for {task} here; there is {model}",
        "model_not_found",
        "model",
    )


async def models(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What is loaded."""
    assistant = gateway.assistant
    languages = assistant.profile.languages.tags or assistant.stages.voice.languages
    return json_answer(ModelList(list(loaded(gateway).values()), list(languages)))


async def model(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One of them."""
    name = request.path_params["model"]
    card = loaded(gateway).get(name)
    if card is None:
        raise ApiError(404, f"no model {name[:100]!r} here", "model_not_found", "model")
    return json_answer(card)


OPERATIONS = (
    Operation(
        "GET", "/v1/models", models, "The models that are loaded", Answer("them", body=ModelList)
    ),
    Operation(
        "GET", "/v1/models/{model}", model, "One model", Answer("what it is", body=ModelCard)
    ),
)
