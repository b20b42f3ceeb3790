"""Requests that are counted in a Redis of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from voxturn.runtime.errors import UsageError
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.windows import windows_of
from voxturn.runtime.gateway_settings import GatewaySettings

from tests.servers import SECRET, redis_server

pytest.importorskip("redis")

ANA, BO = Caller("ana"), Caller("bo")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with redis_server() as url:
        yield url


@asynccontextmanager
async def limits_at(address: str) -> AsyncIterator[Limits]:
    """As one gateway counts."""
    settings = GatewaySettings(requests_per_minute=3, limits=address)
    storage: Any = windows_of(settings, None)
    yield Limits(settings, 1, storage)
    await storage.bridge.storage.aclose()


async def test_requests_of_all_gateways_are_counted_together(address: str) -> None:
    async with limits_at(address) as first, limits_at(address) as second:
        for limits in (first, second, first):
            await limits.request(ANA)
        with pytest.raises(ApiError, match="more than 3 requests a minute") as caught:
            await second.request(ANA)
        assert caught.value.status == 429
        assert 1 <= int(caught.value.headers["retry-after"]) <= 61
        await second.request(BO)
        most, left, reset_s = await first.window(BO)
        assert (most, left) == (3, 2)
        assert 0 < reset_s <= 61


async def test_where_it_cannot_be_reached_requests_wait(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with limits_at(f"redis://:{SECRET}@127.0.0.1:1/0") as limits:
        for call in (limits.request, limits.window):
            with pytest.raises(ApiError, match="cannot be counted") as caught:
                await call(ANA)
            assert (caught.value.status, caught.value.code) == (503, "limits_unavailable")
    assert "cannot be counted" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "redis//a:s3cret@b",  # pragma: allowlist secret
        "http://a:s3cret@b",  # pragma: allowlist secret
        "s3cret",
    ],
)
def test_an_address_that_is_none_is_not_shown(address: str) -> None:
    settings = GatewaySettings(limits=address)
    with pytest.raises(UsageError, match="is no address") as caught:
        windows_of(settings, None)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "s3cret" not in repr(settings)
