"""Which models there are, and by which names."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.models import HEAR, REPLY, SPEAK, TALK, check_model


async def test_the_models_are_those_that_are_loaded(http: httpx2.AsyncClient) -> None:
    told = (await http.get("/v1/models")).json()
    assert told["object"] == "list"
    assert told["languages"] == ["en"]
    by_id = {card["id"]: card for card in told["data"]}
    assert set(by_id) == {"fake-activity", "fake-recogniser", "fake-replier", "fake-voice"}
    card = by_id["fake-recogniser"]
    assert (card["object"], card["owned_by"], card["task"]) == ("model", "voxturn", HEAR)
    assert (card["stages"], card["precision"], card["executor"]) == (["transcribe"], "fp32", "fake")
    assert isinstance(card["created"], int)
    assert len(card["artifact_sha256"]) == 64
    assert card["synthetic"] is True
    assert card["licence"] is None  # the registry has no such model


async def test_a_model_of_the_registry_has_its_licence_and_its_other_names(
    http: httpx2.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = dict(gateway.assistant.setup.info)
    info["speak"] = replace(info["speak"], model="xtts-v2")
    info["vocode"] = info["speak"]
    info["speak.ar"] = replace(info["speak"], model="vits-en-us-joe")
    setup = replace(gateway.assistant.setup, info=info)
    monkeypatch.setattr(gateway.assistant, "setup", setup)
    by_id = {card["id"]: card for card in (await http.get("/v1/models")).json()["data"]}
    assert by_id["xtts-v2"]["licence"].startswith("CPML")
    assert by_id["xtts-v2"]["stages"] == ["speak", "vocode"]
    assert "ar" in by_id["xtts-v2"]["languages"]
    assert by_id["vits-en-us-joe"]["task"] == SPEAK
    assert check_model(gateway, "coqui-tts-arabic", SPEAK) == "xtts-v2"


async def test_one_model_is_asked_for_by_its_id(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/v1/models/fake-voice")).json()["stages"] == ["speak"]
    answer = await http.get("/v1/models/parrot")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (HEAR, "whisper-1"),
        (HEAR, "gpt-4o-mini-transcribe-2025-12-15"),
        (HEAR, "gpt-live-transcribe"),
        (REPLY, "gpt-4o-mini"),
        (REPLY, "gpt-5"),
        (REPLY, "o3-mini"),
        (SPEAK, "tts-1-hd"),
        (SPEAK, "gpt-4o-mini-tts"),
        (TALK, "gpt-realtime-mini"),
        (TALK, "gpt-4o-realtime-preview-2024-12-17"),
        (TALK, "gpt-live-1.1"),
    ],
)
def test_openai_s_names_are_the_loaded_model(gateway: Gateway, task: str, name: str) -> None:
    loaded = {HEAR: "fake-recogniser", REPLY: "fake-replier", SPEAK: "fake-voice", TALK: "fake"}
    for known in (name, loaded[task], "fake", "voxturn", ""):
        assert check_model(gateway, known, task) == loaded[task]


@pytest.mark.parametrize("task", [HEAR, REPLY, SPEAK, TALK])
def test_other_names_are_refused(gateway: Gateway, task: str) -> None:
    for name in ("parrot", "whisper-1 ", "fake-activity", "x" * 10_000):
        with pytest.raises(ApiError) as caught:
            check_model(gateway, name, task)
        assert (caught.value.status, caught.value.param) == (404, "model")
        assert len(str(caught.value)) < 250


def test_a_name_is_for_its_task_alone(gateway: Gateway) -> None:
    for name, task in (("whisper-1", REPLY), ("gpt-4o", SPEAK), ("tts-1", HEAR), ("gpt-4o", HEAR)):
        with pytest.raises(ApiError):
            check_model(gateway, name, task)


@pytest.mark.parametrize(
    ("task", "name"),
    [(HEAR, "gpt-{}transcribe"), (REPLY, "gpt-{}"), (SPEAK, "gpt-{}tts"), (TALK, "gpt-{}realtime")],
)
def test_a_long_name_is_nobody_s(gateway: Gateway, task: str, name: str) -> None:
    assert check_model(gateway, name.format("a" * 100), task)
    with pytest.raises(ApiError) as caught:
        check_model(gateway, name.format("a" * 129), task)
    assert caught.value.status == 404


async def test_a_request_s_name_has_a_bound(http: httpx2.AsyncClient) -> None:
    name = "gpt-" + "transcribe" * 13
    messages = [{"role": "user", "content": "Which?"}]
    chat = {"model": name, "messages": messages}
    answers = [await http.post("/v1/chat/completions", json=chat)]
    for path in ("transcriptions", "translations"):
        form, files = {"model": name}, {"file": b"none"}
        answers.append(await http.post(f"/v1/audio/{path}", data=form, files=files))
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            400,
            "invalid_value",
            "model",
        )
