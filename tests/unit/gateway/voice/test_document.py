from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import httpx2
import msgspec
import pytest
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.gateway.voice.asyncapi import document

DOC = Path(__file__).parents[4] / "docs" / "voice-endpoint.md"
BLOCK = re.compile(r"```json (client|server)\n(.*?)```", re.DOTALL)
KINDS = {"client": get_args(wire.ClientMessage), "server": get_args(wire.ServerEvent)}


def tag(kind: Any) -> str:
    return str(kind.__struct_config__.tag)


def examples(side: str) -> list[str]:
    text = DOC.read_text(encoding="utf-8")
    return [
        line for where, block in BLOCK.findall(text) if where == side for line in block.splitlines()
    ]


async def test_the_document_is_served(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(document())


@pytest.mark.parametrize("side", KINDS)
def test_the_document_has_every_message_of_the_code_and_no_other(side: str) -> None:
    told = json.loads(document())
    messages = {
        key: each for key, each in told["components"]["messages"].items() if key.startswith(side)
    }
    assert set(messages) == {f"{side}.{tag(kind)}" for kind in KINDS[side]} | {f"{side}.audio"}
    assert set(told["channels"]["voice"]["messages"]) >= set(messages)
    for kind in KINDS[side]:
        reference = messages[f"{side}.{tag(kind)}"]["payload"]["$ref"]
        schema = told["components"]["schemas"][reference.rsplit("/", 1)[1]]
        fields = {each.encode_name for each in msgspec.structs.fields(kind)}
        assert set(schema["properties"]) == fields | {"type"}
        assert schema["properties"]["type"] == {"enum": [tag(kind)]}
        assert messages[f"{side}.{tag(kind)}"]["description"]


def test_every_reference_of_the_document_leads_somewhere() -> None:
    told = json.loads(document())
    for reference in re.findall(r'"\$ref":"#/([^"]+)"', document().decode()):
        place = told
        for part in reference.split("/"):
            place = place[part]
    assert told["asyncapi"] == "3.0.0"
    assert told["info"]["version"] == str(wire.VERSION)


@pytest.mark.parametrize("text", examples("client"))
def test_what_the_page_has_clients_say_is_taken(text: str) -> None:
    wire.client_messages.decode(text)


@pytest.mark.parametrize("text", examples("server"))
def test_what_the_page_has_the_server_say_is_an_event(text: str) -> None:
    event = wire.server_events.decode(text)
    known = {each.encode_name for each in msgspec.structs.fields(type(event))} | {"type"}
    assert set(json.loads(text)) <= known


@pytest.mark.parametrize("side", KINDS)
def test_the_page_shows_every_message(side: str) -> None:
    shown = {json.loads(text)["type"] for text in examples(side)}
    assert shown == {tag(kind) for kind in KINDS[side]}


def test_the_page_has_the_header_that_is_sent() -> None:
    header = wire.AudioHeader(9, 3, 2, 480, 240, first=True, final=True)
    data = header.pack()
    assert wire.AudioHeader.unpack(data + b"sound") == header
    assert (len(data), data[0], data[1]) == (24, wire.VERSION, 3)
    places = {
        "sentence": (2, 4),
        "seq": (4, 8),
        "turn": (8, 12),
        "samples": (12, 16),
        "start": (16, 24),
    }
    for name, (begin, end) in places.items():
        assert int.from_bytes(data[begin:end], "little") == getattr(header, name)
    rows = re.findall(r"^\| (\d+) \| (u\d+) \|", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    sizes = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
    ends = [int(at) + sizes[kind] for at, kind in rows]
    assert ends == [*[int(at) for at, _ in rows[1:]], 24]


@pytest.mark.parametrize("data", [b"", bytes(24), b"\x02" + bytes(30)])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="version"):
        wire.AudioHeader.unpack(data)
