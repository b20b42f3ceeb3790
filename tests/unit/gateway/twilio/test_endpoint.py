"""What the parameters of a stream and the key decide."""

from __future__ import annotations

from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import ANYONE

from tests.phone_client import Dialler
from tests.realtime_client import dialogues


async def test_instructions_reach_the_model(dial: Dialler, gateway: Gateway) -> None:
    async with dial() as phone:
        phone.start({"instructions": "You sell flowers.", "shop": "an application's own"})
        await phone.ask()
        await phone.listen_out()
    assert dialogues(gateway)[-1][0].text == "You sell flowers."


async def test_without_any_they_are_the_profile_s(dial: Dialler, gateway: Gateway) -> None:
    async with dial() as phone:
        phone.start()
        await phone.ask()
        await phone.listen_out()
    assert gateway.assistant.profile.instructions == ""
    assert [message.role for message in dialogues(gateway)[-1]] == ["user"]


async def test_an_ephemeral_key_brings_its_session(dial: Dialler, gateway: Gateway) -> None:
    session = '{"type": "realtime", "instructions": "You sell trees."}'
    for given, heeded in (({}, "You sell trees."), ({"instructions": "Briefly."}, "Briefly.")):
        secret, _ = await gateway.secrets.mint(ANYONE, session, 60)
        async with dial(f"api_key={secret}") as phone:
            phone.start(given)
            await phone.ask()
            await phone.listen_out()
        assert dialogues(gateway)[-1][0].text == heeded
        async with dial(f"api_key={secret}") as phone:
            await phone.settle()
            assert phone.closed == (1008, "invalid_api_key")


async def test_the_caller_is_counted(dial: Dialler, gateway: Gateway) -> None:
    async with dial() as phone:
        phone.start()
        await phone.ask()
        await phone.listen_out()
    assert gateway.metrics.turns.labels("done")._value.get() == 1
