from __future__ import annotations

import asyncio
import socket

import pytest
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.gateway.wyoming import discovery
from voxturn.runtime.gateway.wyoming.discovery import SERVICE, announced, check, reached_at
from zeroconf.asyncio import AsyncZeroconf


async def test_it_is_found_while_it_is_announced() -> None:
    name = f"kitchen.{SERVICE}"
    async with asyncio.timeout(20):
        async with announced("kitchen", "127.0.0.1", 10300):
            other = AsyncZeroconf(interfaces=["127.0.0.1"])
            found = await other.async_get_service_info(SERVICE, name, timeout=10_000)
            await other.async_close()
        assert found is not None
        assert found.port == 10300
        assert found.parsed_addresses() == ["127.0.0.1"]


def test_an_address_of_its_own_is_announced_as_it_is() -> None:
    assert reached_at("192.0.2.7") == "192.0.2.7"
    with pytest.raises(UsageError):
        reached_at("no-such-host.invalid")


@pytest.mark.parametrize("host", ["kitchen", "home-server", "home.example"])
def test_a_name_is_announced_by_its_address(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyname", {host: "192.0.2.7"}.__getitem__)
    assert reached_at(host) == "192.0.2.7"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_what_others_cannot_reach_is_not_announced(host: str) -> None:
    with pytest.raises(UsageError, match="--host"):
        check(host, "kitchen")


@pytest.mark.parametrize("name", ["", "a.b", "x" * 64, "a\nb", "ü" * 32])
def test_a_name_is_a_label(name: str) -> None:
    with pytest.raises(UsageError, match="--zeroconf"):
        check("192.0.2.7", name)
    check("192.0.2.7", "kitchen")


def test_without_the_package_it_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "importable", lambda name: False)
    with pytest.raises(ExecutorUnavailable, match="zeroconf"):
        check("192.0.2.7", "kitchen")
