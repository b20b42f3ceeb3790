"""What is uploaded, or said in a request, never names a file of the server's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from voxturn.runtime.gateway.app import OPERATIONS
from voxturn.runtime.gateway.operations import Operation

from tests.security.audio_files import sound
from tests.security.gateways import LIVE_S, filled, house

DECOY = "decoy-of-the-server.wav"


class _Opened:
    """What Python opens in any thread. A hook stays for ever, so there is one, which may be off."""

    def __init__(self) -> None:
        self._names: list[str] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._names is not None and event in ("open", "os.listdir", "os.remove", "os.rename"):
            self._names.append(str(args[0]))

    @contextmanager
    def __call__(self) -> Iterator[list[str]]:
        self._names = []
        try:
            yield self._names
        finally:
            self._names = None


opened = _Opened()


def strings(kind: Any, text: str) -> dict[str, Any]:
    """A body in which everything that may be a text is this one; lists have it once."""
    return {
        field.encode_name: _of(field.type, text)
        for field in msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]
        if field.required or _of(field.type, text) is not None
    }


def _of(kind: msgspec.inspect.Type, text: str) -> Any:
    match kind:
        case msgspec.inspect.StrType() | msgspec.inspect.AnyType():
            return text
        case msgspec.inspect.UnionType(types):
            return next((value for each in types if (value := _of(each, text)) is not None), None)
        case msgspec.inspect.ListType(item) | msgspec.inspect.VarTupleType(item):
            return [_of(item, text)]
        case msgspec.inspect.StructType(cls):
            return strings(cls, text)
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 1
    return None


def names(decoy: Path) -> list[str]:
    """How the decoy may be named."""
    up = "../" * 20 + str(decoy).lstrip("/")
    return [str(decoy), up, f"file://{decoy}", f"concat:{decoy}", f"data/../{up}"]


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.body], ids=lambda each: each.name
)
async def test_a_text_of_a_request_opens_no_file(operation: Operation, tmp_path: Path) -> None:
    decoy = tmp_path / DECOY
    decoy.write_bytes(sound("wav-s16"))
    async with (
        asyncio.timeout(LIVE_S),
        house(tmp_path, keys=False) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=LIVE_S) as http,
    ):
        with opened() as files:
            for name in names(decoy):
                body = strings(operation.body, name)
                await http.request(operation.method, filled(operation.path), json=body)
        assert not [each for each in files if DECOY in each]


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.form], ids=lambda each: each.name
)
async def test_an_upload_s_name_opens_no_file(operation: Operation, tmp_path: Path) -> None:
    decoy = tmp_path / DECOY
    decoy.write_bytes(sound("wav-s16"))
    content = decoy.read_bytes()
    async with (
        asyncio.timeout(LIVE_S),
        house(tmp_path, keys=False) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=LIVE_S) as http,
    ):
        with opened() as files:
            for name in names(decoy):
                given = dict.fromkeys(operation.files, (name, content, "audio/wav"))
                texts = dict.fromkeys(("model", "name", "prompt", "language"), name)
                for data in ({"model": "whisper-1"}, texts):
                    await http.request(
                        operation.method, filled(operation.path), data=data, files=given
                    )
        assert not [each for each in files if DECOY in each]
        assert decoy.read_bytes() == content


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if "{" in each.path],
    ids=lambda each: each.name,
)
async def test_an_address_opens_no_file(operation: Operation, tmp_path: Path) -> None:
    decoy = tmp_path / DECOY
    decoy.write_bytes(sound("wav-s16"))
    async with (
        asyncio.timeout(LIVE_S),
        house(tmp_path, keys=False) as served,
    ):
        before, _, rest = operation.path.partition("{")
        after = rest.partition("}")[2]
        with opened() as files:
            for name in names(decoy):
                for part in (name, name.replace("/", "%2f"), name.replace(".", "%2e")):
                    line = f"{operation.method} {before}{part}{after} HTTP/1.1\r\n"
                    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
                    head = "host: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                    writer.write((line + head).encode())
                    answer = await reader.read()
                    assert answer[9:10] in (b"2", b"4", b"3")
                    assert b"RIFF" not in answer
                    writer.close()
        assert not [each for each in files if DECOY in each]
