from __future__ import annotations

import asyncio

import pytest
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.places import OwnPlaces
from voxturn.runtime.gateway.speeches import Speeches
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.unit.gateway.streams.conftest import Client, Dial

TEXT = "Paris is the capital. It lies on the Seine."
LONG = "and on it goes " * 200


def sound_of(client: Client, number: int) -> bytes:
    return b"".join(pcm for header, pcm in client.audio if header.turn == number)


async def test_a_text_is_said_with_the_times_of_its_words(dial: Dial) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="a", text=TEXT)
        done = await client.until("say.done")
    started = client.of("say.started")[0]
    assert (started["id"], started["number"], started["rate"]) == ("a", 1, 24_000)
    assert done["samples"] == len(sound_of(client, 1)) / 2 > 0
    assert not done["cancelled"]
    told = [word for event in client.of("words") for word in event["words"]]
    assert [word["text"] for word in told] == TEXT.split()
    begins = [word["begin_s"] for word in told]
    assert begins == sorted(set(begins))
    assert all(word["begin_s"] < word["end_s"] for word in told)
    assert told[-1]["end_s"] == pytest.approx(done["samples"] / 24_000, abs=0.001)
    assert [event["text"] for event in client.of("sentence")] == [
        "Paris is the capital.",
        "It lies on the Seine.",
    ]


async def test_a_text_in_pieces_is_said_from_its_first_sentence(dial: Dial) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="a", text="Paris is the capital. It ", more=True)
        await client.until("words")
        await client.tell("say", id="a", text="lies on the Seine.", more=True)
        await client.tell("say", id="a")
        done = await client.until("say.done")
        await client.tell("say", id="b", text=TEXT)
        assert (await client.until("say.done"))["samples"] == done["samples"]


async def test_a_text_is_stopped_and_the_next_one_is_said(dial: Dial) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="a", text="First of all. And ", more=True)
        await client.tell("say", id="waits", text=TEXT)
        await client.tell("say", id="c", text=TEXT)
        await client.until("words")
        await client.tell("cancel", id="waits")
        await client.tell("cancel", id="a")
        await client.tell("cancel", id="nobody")
        ended = [await client.until("say.done") for _ in range(3)]
        assert [(each["id"], each["cancelled"]) for each in ended] == [
            ("a", True),
            ("waits", True),
            ("c", False),
        ]
    assert sound_of(client, 2) == b""
    assert len(sound_of(client, 3)) == 2 * ended[2]["samples"] > 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"style": "happy"}, "invalid_value"),
        ({"voice": "nobody"}, "voice_not_found"),
        ({"text": " "}, "invalid_text"),
        ({"text": "🙂"}, "invalid_text"),
        ({"text": LONG * 2}, "text_too_long"),
    ],
)
async def test_a_text_that_cannot_be_said_ends_alone(
    dial: Dial, fields: dict[str, str], code: str
) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", **({"id": "a", "text": TEXT} | fields))
        failed = await client.until("say.failed")
        assert (failed["id"], failed["code"]) == ("a", code)
        await client.tell("say", id="a", text=TEXT)
        await client.until("say.done")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"type": "say", "id": ""}', "invalid_value"),
        ('{"type": "say", "id": "a", "speed": 9}', "invalid_value"),
        ("{", "invalid_json"),
        (b"\0", "invalid_message"),
    ],
)
async def test_a_bad_message_ends_nothing(dial: Dial, message: str | bytes, code: str) -> None:
    async with dial("/ws/say") as client:
        await client.socket.send(message)
        assert (await client.until("error"))["code"] == code
        await client.tell("say", id="a", text=TEXT)
        await client.until("say.done")


async def test_what_comes_after_the_end_of_a_text_is_refused(dial: Dial) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="first", text="First. ", more=True)
        await client.tell("say", id="a", text=TEXT)
        await client.tell("say", id="a", text=TEXT)
        assert (await client.until("error"))["code"] == "text_ended"


async def test_only_so_many_texts_wait(dial: Dial) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="first", text="First. ", more=True)
        for number in range(16):
            await client.tell("say", id=str(number), text=TEXT)
        assert (await client.until("error"))["code"] == "too_many_texts"


async def test_a_text_that_waits_for_its_client_holds_no_place(
    dial: Dial, gateway: Gateway
) -> None:
    gateway.speeches = places = Speeches(OwnPlaces(1), 1)
    async with dial("/ws/say") as unfinished, dial("/ws/say") as other:
        await unfinished.tell("say", id="a", text="Paris is the capital. It ", more=True)
        await unfinished.until("words")
        async with asyncio.timeout(10):
            while places.taken:  # noqa: ASYNC110  the last piece of audio may still be sent
                await asyncio.sleep(0)
        await other.tell("say", id="b", text=TEXT)
        await other.until("say.done")
        await unfinished.tell("say", id="a", text="lies on the Seine.")
        done = await unfinished.until("say.done")
        assert done["samples"] == len(sound_of(unfinished, 1)) / 2 > 0
    assert places.taken == 0


async def test_a_text_is_refused_where_no_place_is_free(dial: Dial, gateway: Gateway) -> None:
    gateway.speeches = Speeches(OwnPlaces(1), 1)
    with gateway.speeches.place(Caller("bo")):
        async with dial("/ws/say") as client:
            await client.tell("say", id="a", text=TEXT)
            assert (await client.until("say.failed"))["code"] == "too_many_requests"


async def test_it_is_closed_when_the_gateway_stops(dial: Dial, gateway: Gateway) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="a", text=TEXT)
        await client.until("say.done")
        gateway.stopping.set()
        assert await client.closed() == 1012


async def test_a_browser_may_show_its_key_beside_the_subprotocol(port: int) -> None:
    offered = [Subprotocol("openai-insecure-api-key.vx_1"), Subprotocol("voxturn.say")]
    async with connect(f"ws://127.0.0.1:{port}/ws/say", subprotocols=offered) as socket:
        assert socket.subprotocol == "voxturn.say"


async def test_a_text_is_said_to_its_end_while_the_gateway_stops(
    dial: Dial, gateway: Gateway
) -> None:
    async with dial("/ws/say") as client:
        await client.tell("say", id="a", text=TEXT)
        await client.until("say.started")
        gateway.stopping.set()
        await client.tell("say", id="b", text=TEXT)
        told = {}
        while told.get("type") != "say.done":
            told = await client.next()
            assert told["type"] != "error" or told["code"] == "stopping"
        assert told["id"] == "a"
        assert not told["cancelled"]
        assert await client.closed() == 1012
    assert gateway.work.count == 0
