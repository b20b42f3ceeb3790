from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection
from voxturn.runtime.gateway.access import admitted, check_host, check_page
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import ANYONE, Caller, NoKeys, secret_of, subprotocol_of
from voxturn.runtime.gateway_settings import GatewaySettings

SETTINGS = GatewaySettings(origins=("https://app.example",), hosts=("voice.example",))


def connection(query: str = "", **headers: str) -> HTTPConnection:
    raw = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw, "query_string": query.encode()})


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]", "192.168.1.7:8080", "localhost:8080", "LOCALHOST",
        "a.localhost:1", "gateway:8080", "voice.example", "Voice.Example:443", "app.example",
    ],
)  # fmt: skip
def test_the_gateway_is_known_by_its_own_names(host: str) -> None:
    check_host(SETTINGS, connection(host=host))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "", "evil.localhost.com",
     "x@evil.example", "voice.example.", "[evil.example]", "127.0.0.1@evil.example"],
)  # fmt: skip
def test_a_name_that_anyone_may_give_it_is_refused(host: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_host(SETTINGS, connection(host=host))
    assert (caught.value.status, caught.value.code) == (421, "unknown_host")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "https://127.0.0.1:8080"},
        {"origin": "https://app.example"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"},
    ],
    ids=str,
)
def test_programs_own_pages_and_allowed_ones_may_ask(headers: dict[str, str]) -> None:
    check_page(SETTINGS, connection(host="127.0.0.1:8080", **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:9090"},
        {"origin": "http://localhost:8080"},
        {"origin": "https://app.example.evil.example"},
        {"origin": "https://app.example:444"},
        {"origin": "http://app.example"},
        {"sec_fetch_site": "cross-site", "sec_fetch_dest": "audio"},
        {"sec_fetch_site": "same-site", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site"},
    ],
    ids=str,
)
def test_pages_of_strangers_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        check_page(SETTINGS, connection(host="127.0.0.1:8080", **headers))
    assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")


def test_an_address_that_is_no_origin_matches_no_missing_host() -> None:
    with pytest.raises(ApiError):
        check_page(SETTINGS, connection(origin="null"))


def test_every_page_may_ask_where_the_profile_says_so() -> None:
    check_page(GatewaySettings(origins=("*",)), connection(host="a", origin="https://evil.example"))


class OneKey:
    async def caller(self, secret: str) -> Caller | None:
        return Caller("key_1") if secret == "vx_1" else None  # pragma: allowlist secret

    async def valid(self, key: str) -> bool:
        return True


def test_whoever_shows_no_key_is_his_address() -> None:
    asked = connection()
    asked.scope["client"] = ("10.0.0.1", 50_000)
    assert ANYONE.calling_from(asked).client == "10.0.0.1"
    assert Caller("key_1").calling_from(asked) == Caller("key_1")
    asked.scope["client"] = None
    assert ANYONE.calling_from(asked).client == ""


async def test_with_a_key_it_does_not_matter_whose_page_asks() -> None:
    headers = {"host": "evil.example", "origin": "https://evil.example"}
    asked = connection(authorization="Bearer vx_1", **headers)
    assert await admitted(OneKey(), SETTINGS, asked) == Caller("key_1")
    with pytest.raises(ApiError) as caught:
        await admitted(OneKey(), SETTINGS, connection(**headers))
    assert caught.value.status == 401
    with pytest.raises(ApiError) as caught:
        await admitted(NoKeys(), SETTINGS, connection(**headers))
    assert caught.value.status == 421


@pytest.mark.parametrize(
    ("query", "headers", "wanted"),
    [
        ("", {"authorization": "Bearer vx_1"}, "vx_1"),
        ("", {"authorization": "bearer  vx_1 "}, "vx_1"),
        ("", {"authorization": "Basic vx_1"}, ""),
        ("", {"authorization": "Bearer"}, ""),
        ("", {"x_api_key": "vx_1"}, "vx_1"),  # pragma: allowlist secret
        ("api_key=vx_1&b=2", {}, "vx_1"),
        ("", {"sec_websocket_protocol": "realtime, openai-insecure-api-key.vx_1"}, "vx_1"),
        ("api_key=vx_2", {"authorization": "Bearer vx_1"}, "vx_1"),
        ("", {}, ""),
    ],
    ids=str,
)
def test_a_key_is_shown_in_four_places(query: str, headers: dict[str, str], wanted: str) -> None:
    assert secret_of(connection(query, **headers)) == wanted


def test_a_subprotocol_is_accepted_but_never_the_one_with_the_key() -> None:
    offers = "openai-insecure-api-key.vx_1, openai-beta.realtime-v1, realtime"
    asked = connection(sec_websocket_protocol=offers)
    assert subprotocol_of(asked, "realtime") == "realtime"
    assert subprotocol_of(asked, "other") is None
    assert subprotocol_of(connection(), "realtime") is None
