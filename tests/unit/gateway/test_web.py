from __future__ import annotations

import json
import re

import httpx2
import pytest
from voxturn.runtime.gateway.web import files

BUDGET = 100_000
"""Bytes of the whole page."""


async def test_the_page_is_small_and_of_this_host_alone(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert sum(len(content) for content in files().values()) < BUDGET
    for name, content in files().items():
        hosts = set(re.findall(rb"https?://([a-z0-9.-]+)", content)) - {b"www.w3.org"}
        assert not hosts, name


async def test_every_file_that_is_named_is_there(http: httpx2.AsyncClient) -> None:
    index = files()["index.html"].decode()
    for name in re.findall(r'(?:src|href)="page/([^"]+)"', index):
        assert (await http.get(f"/page/{name}")).status_code == 200, name
    for file, content in files().items():
        if file.endswith(".js"):
            for name in re.findall(r'(?:from |import\(|import )"\./([^"]+)"', content.decode()):
                assert name in files(), (file, name)


@pytest.mark.parametrize("name", ["nothing.js", "../web.py", "%2e%2e/web.py", "texts/../../web.py"])
async def test_no_other_file_is_given(http: httpx2.AsyncClient, name: str) -> None:
    answer = await http.get(f"/page/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"


def test_both_languages_have_every_text() -> None:
    english, arabic = (json.loads(files()[f"texts/{name}.json"]) for name in ("en", "ar"))
    assert set(english) == set(arabic)
    used: set[str] = set()
    for name, content in files().items():
        if name.endswith(".html"):
            used |= set(
                re.findall(r'data-(?:text|label|placeholder|value)="([^"]+)"', content.decode())
            )
        if name.endswith(".js"):
            used |= set(re.findall(r'(?:text|status)\("([a-z_]+)"\)', content.decode()))
    assert used <= set(english), used - set(english)
    assert all(text.strip() for text in (*english.values(), *arabic.values()))
