"""`/v1/audio/voices`: voices that clients add, each seen with the key that added it alone."""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from voxturn.runtime.audio.encode import to_int16, wav_header
from voxturn.runtime.families.xtts.voices import VoiceStore
from voxturn.runtime.gateway.client_voices import HIDDEN
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.speeches import Speeches

from tests.recordings import encoded
from tests.unit.gateway.cloning_voice import (  # noqa: F401  fixtures
    MOST,
    CloningVoice,
    cloning,
    store,
)
from tests.voiced import voiced

VOICES, SPEECH = "/v1/audio/voices", "/v1/audio/speech"
pytestmark = pytest.mark.usefixtures("cloning")


def recording(seconds: float = 4.0) -> bytes:
    samples = to_int16(voiced(seconds))
    return wav_header(16_000, len(samples)) + samples


def as_key(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def added(
    http: httpx2.AsyncClient, key: str = "ann", sample: bytes | None = None, **fields: str
) -> httpx2.Response:
    return await http.post(
        VOICES,
        data={"name": "Mine", "consent": "true"} | fields,
        files={"audio_sample": ("../../etc/passwd", sample or recording(), "audio/wav")},
        headers=as_key(key),
    )


async def listed(http: httpx2.AsyncClient, key: str) -> dict[str, dict[str, Any]]:
    answer = await http.get(VOICES, headers=as_key(key))
    assert answer.json()["object"] == "list"
    return {each["name"]: each for each in answer.json()["data"]}


async def spoken_by(http: httpx2.AsyncClient, key: str, voice: Any, **more: str) -> httpx2.Response:
    body = {"input": "Hello.", "voice": voice, "response_format": "pcm"} | more
    return await http.post(SPEECH, json=body, headers=as_key(key))


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_voice_that_was_added_speaks(
    http: httpx2.AsyncClient,
    cloning: CloningVoice,  # noqa: F811
    store: VoiceStore,  # noqa: F811
) -> None:
    answer = await added(http, name="Ana María", consent="cons_123")
    assert answer.status_code == 200, answer.text
    voice = answer.json()
    assert (voice["object"], voice["name"], voice["type"]) == ("audio.voice", "Ana María", "custom")
    assert voice["created_at"] > 1_700_000_000
    (stored,) = [name for name, kind in store.names().items() if kind == "added"]
    assert HIDDEN.fullmatch(stored)
    for name in ("Ana María", voice["id"], {"id": voice["id"]}):
        assert (await spoken_by(http, "ann", name)).status_code == 200
    assert [options.speaker for options in cloning.chosen] == [stored] * 3
    assert store.read(stored)[1]["about"]["consent"] == "cons_123"


async def test_the_list_has_all_that_a_key_may_use_and_no_more(http: httpx2.AsyncClient) -> None:
    voice = (await added(http)).json()
    mine, other = await listed(http, "ann"), await listed(http, "bob")
    assert mine["Mine"] == voice | {"warnings": []}
    assert mine["Studio One"]["type"] == "builtin"
    assert mine["alloy"]["type"] == "alias"
    assert set(mine) - set(other) == {"Mine"}
    assert not HIDDEN.search(str(mine) + str(other))


async def test_another_key_can_neither_speak_with_it_nor_remove_it(
    http: httpx2.AsyncClient,
    store: VoiceStore,  # noqa: F811
) -> None:
    voice = (await added(http)).json()
    (stored,) = [name for name, kind in store.names().items() if kind == "added"]
    for name in (
        "Mine",
        voice["id"],
        stored,
        stored.upper(),
        f"Studio One+{stored}",
        f"{stored}/x",
    ):
        answer = await spoken_by(http, "bob", name)
        assert code(answer) == (404, "voice_not_found"), name
        told = answer.text.replace(name, "")
        assert not HIDDEN.search(told)
        assert "Mine" not in told
        gone = await http.delete(f"{VOICES}/{name.replace('/', '%2F')}", headers=as_key("bob"))
        assert gone.status_code == 404, name
    assert stored in store.names()
    assert (await spoken_by(http, "ann", stored)).status_code == 404  # not by this name either
    assert (await spoken_by(http, "ann", "Mine")).status_code == 200


async def test_two_keys_have_voices_of_the_same_name(
    http: httpx2.AsyncClient,
    cloning: CloningVoice,  # noqa: F811
    store: VoiceStore,  # noqa: F811
) -> None:
    first, second = [(await added(http, key)).json() for key in ("ann", "bob")]
    assert first["id"] == second["id"]  # of different keys
    assert len(store.names()) == 3
    for key in ("ann", "bob"):
        assert (await spoken_by(http, key, "Mine")).status_code == 200
    one, two = (options.speaker for options in cloning.chosen)
    assert one != two
    answer = await http.delete(f"{VOICES}/{first['id']}", headers=as_key("ann"))
    assert answer.json() == {"id": first["id"], "object": "audio.voice", "deleted": True}
    assert (await spoken_by(http, "ann", "Mine")).status_code == 404
    assert (await spoken_by(http, "bob", "Mine")).status_code == 200
    again = await http.delete(f"{VOICES}/{first['id']}", headers=as_key("ann"))
    assert code(again) == (404, "voice_not_found")


async def test_styles_are_added_listed_and_chosen(
    http: httpx2.AsyncClient,
    cloning: CloningVoice,  # noqa: F811
) -> None:
    assert code(await added(http, style="happy")) == (404, "voice_not_found")
    await added(http)
    assert (await added(http, style="happy")).json()["styles"] == ["happy"]
    assert (await listed(http, "ann"))["Mine"]["styles"] == ["happy"]
    await spoken_by(http, "ann", "Mine", instructions="Be happy!")
    assert [options.style for options in cloning.chosen] == [None, "happy"]
    assert code(await added(http, style="../x")) == (400, "invalid_value")


async def test_an_unknown_voice_is_told_with_those_of_the_key(http: httpx2.AsyncClient) -> None:
    await added(http)
    message = (await spoken_by(http, "ann", "Nobody")).json()["error"]["message"]
    assert "Mine" in message
    assert "Studio One" in message
    assert not HIDDEN.search(message)


@pytest.mark.parametrize("consent", ["", "false", "0", " No "])
async def test_without_consent_nothing_is_cloned(
    http: httpx2.AsyncClient,
    store: VoiceStore,  # noqa: F811
    consent: str,
) -> None:
    answer = await added(http, consent=consent)
    assert code(answer) == (400, "consent_required")
    assert "owner" in answer.json()["error"]["message"]
    assert set(store.names().values()) == {"studio"}


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        ({"name": ""}, 400, "invalid_value"),
        ({"name": "x" * 65}, 400, "invalid_value"),
        ({"name": "a\nb"}, 400, "invalid_value"),
        ({"name": "voice_0123456789abcdef"}, 400, "invalid_value"),
        ({"name": "alloy"}, 409, "voice_exists"),
        ({"name": "Studio One"}, 409, "voice_exists"),
    ],
)
async def test_names_that_are_none_or_taken(
    http: httpx2.AsyncClient, fields: dict[str, str], status: int, expected: str
) -> None:
    assert code(await added(http, **fields)) == (status, expected)


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "..", "C:\\x", "a/b", "ана 🙂", "a+b:2"]
)
async def test_no_name_is_part_of_a_path(
    http: httpx2.AsyncClient,
    store: VoiceStore,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    assert (await added(http, name=name)).status_code == 200
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [HIDDEN.fullmatch(path.stem) is not None for path in files] == [True]
    assert (await spoken_by(http, "ann", name)).status_code == 200
    assert (await listed(http, "ann"))[name]["name"] == name


async def test_a_key_has_so_many_voices(http: httpx2.AsyncClient) -> None:
    for number in range(MOST):
        assert (await added(http, name=f"v{number}")).status_code == 200
    assert code(await added(http, name="more")) == (409, "voice_limit_reached")
    assert (await added(http, name="v0")).status_code == 200  # in place of itself
    assert (await added(http, "bob")).status_code == 200


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (b"#EXTM3U\nhttp://127.0.0.1/x.wav\n", "invalid_audio"),
        (b"\x00" * 500, "invalid_audio"),
        (recording(0.2), "invalid_audio"),
        (wav_header(16_000, 64_000) + bytes(64_000), "invalid_audio"),
    ],
    ids=["playlist", "rubbish", "too short", "silence"],
)
async def test_what_is_no_recording_of_speech_is_refused_without_a_path(
    http: httpx2.AsyncClient, sample: bytes, expected: str
) -> None:
    answer = await added(http, sample=sample)
    assert code(answer) == (400, expected)
    assert tempfile.gettempdir() not in answer.text
    assert "the recording" in answer.text


async def test_a_long_recording_in_few_bytes_is_refused(http: httpx2.AsyncClient) -> None:
    hour = encoded("flac", 8000, np.zeros((1, 8000 * 400), np.float32))
    assert len(hour) < 1 << 20
    assert code(await added(http, sample=hour)) == (413, "audio_too_long")


async def test_an_upload_has_a_largest_size(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    most = (gateway.settings.longest_upload_mb + 1) << 20
    assert code(await added(http, sample=bytes(most))) == (413, "request_too_large")


async def test_what_is_no_form_is_told(http: httpx2.AsyncClient) -> None:
    head = as_key("ann")
    assert code(await http.post(VOICES, json={}, headers=head)) == (400, "invalid_content_type")
    no_file = {"name": (None, "x"), "consent": (None, "true"), "audio_sample": (None, "x")}
    answer = await http.post(VOICES, files=no_file, headers=head)
    assert code(answer) == (400, "missing_file")
    answer = await http.post(VOICES, files={"audio_sample": b"x"}, headers=head)
    assert code(answer) == (400, "invalid_value")


async def test_the_server_s_voices_are_not_removed(http: httpx2.AsyncClient) -> None:
    for name in ("Studio One", "alloy", "default"):
        answer = await http.delete(f"{VOICES}/{name}", headers=as_key("ann"))
        assert code(answer) == (403, "voice_not_yours")


async def test_nothing_is_left_behind_nor_logged(
    http: httpx2.AsyncClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))  # others' tests have their own
    caplog.set_level(logging.DEBUG, "voxturn")
    await added(http, name="Secret Name", sample=recording(1.5))
    await added(http, name="Secret Name", sample=b"broken")
    assert list(temporary.iterdir()) == []
    assert "Secret Name" not in caplog.text


async def test_what_is_worth_saying_of_a_recording_is_said(http: httpx2.AsyncClient) -> None:
    (warning,) = (await added(http, sample=recording(1.5))).json()["warnings"]
    assert "clone better" in warning


async def test_every_kind_of_recording_is_taken(http: httpx2.AsyncClient) -> None:
    for kind in ("flac", "mp3"):
        data = encoded(kind, 16_000, voiced(4.0)[None])
        assert (await added(http, sample=io.BytesIO(data).getvalue())).status_code == 200


async def test_a_voice_that_does_not_clone_says_so(
    gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    gateway.voices.clients._found[:] = [None]
    for answer in (await added(http), await http.delete(f"{VOICES}/x", headers=as_key("ann"))):
        assert code(answer) == (400, "voice_cannot_clone")
    assert "Mine" not in await listed(http, "ann")


async def test_a_slow_upload_holds_no_place(
    http: httpx2.AsyncClient, gateway: Gateway, port: int
) -> None:
    gateway.speeches = Speeches(OwnPlaces(1), 1)
    begin = (
        b"POST /v1/audio/voices HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ann\r\n"
        b"content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000\r\n\r\n--x\r\n"
    )
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        while not gateway.calls.counts:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.001)
        assert (await added(http)).status_code == 200
        assert gateway.calls.counts["ann"]  # it is still coming
        writer.transport.abort()
