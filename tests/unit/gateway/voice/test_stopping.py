"""A gateway that stops: the turn that runs ends first, and what was said is kept."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving

from tests.unit.gateway.scripted_voice import ScriptedVoice, speak_with
from tests.unit.gateway.voice.conftest import ANSWER_SAMPLES, MakeGateway, dialling

LIVE_S = 20.0


async def said(gateway: Gateway) -> list[tuple[str, str]]:
    kept = await gateway.conversations.load("", "ours") or []
    return [(each.role, each.text) for each in kept if each.role != "system"]


@pytest.fixture
def voice() -> ScriptedVoice:
    """It waits in the midst of its first sentence."""
    return ScriptedVoice(at=2, holds=True)


async def test_a_turn_that_runs_ends_before_the_connection(
    make_gateway: MakeGateway, voice: ScriptedVoice
) -> None:
    async with asyncio.timeout(LIVE_S), make_gateway() as gateway, AsyncExitStack() as stack:
        speak_with(gateway, voice)
        port = await stack.enter_async_context(serving(gateway, Address(port=0)))
        async with dialling(port) as client:
            await client.start(conversation="ours")
            await client.tell("text.ask", text="Where is Paris?")
            await client.until("audio")
            stopping = asyncio.create_task(stack.aclose())
            await gateway.stopping.wait()
            await client.tell("ping")
            await client.until("pong")
            assert not stopping.done()
            voice.go.set()
            done = await client.until("turn.done")
            assert (done["outcome"], done["heard"]) == (
                "done",
                "Paris is the capital. It lies on the Seine.",
            )
            assert (await client.until("session.ended"))["reason"] == "stopping"
            assert await client.closed() == 1012
            assert len(client.sound) == 2 * ANSWER_SAMPLES
        await stopping
        assert await said(gateway) == [("user", "Where is Paris?"), ("assistant", done["heard"])]
        assert not len(gateway.sessions)
        assert gateway.work.count == 0


async def test_who_says_nothing_is_told_at_once(make_gateway: MakeGateway) -> None:
    async with asyncio.timeout(LIVE_S), make_gateway() as gateway, AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(gateway, Address(port=0)))
        async with dialling(port) as client:
            await client.start()
            stopping = asyncio.create_task(stack.aclose())
            assert (await client.until("session.ended"))["reason"] == "stopping"
            assert await client.closed() == 1012
        await stopping


async def test_a_turn_that_takes_longer_is_cut_and_kept(
    make_gateway: MakeGateway, voice: ScriptedVoice
) -> None:
    async with asyncio.timeout(LIVE_S), make_gateway() as gateway:
        gateway.settings = replace(gateway.settings, drain_s=0.2)
        speak_with(gateway, voice)
        async with gateway, AsyncExitStack() as stack:
            port = await stack.enter_async_context(serving(gateway, Address(port=0)))
            async with dialling(port) as client:
                await client.start(conversation="ours")
                await client.tell("text.ask", text="Where is Paris?")
                await client.until("audio")
                stopping = asyncio.create_task(stack.aclose())
                assert await client.closed() == 1012
            await stopping
        assert (await said(gateway))[0] == ("user", "Where is Paris?")
        assert not len(gateway.sessions)
        assert gateway.work.count == 0
