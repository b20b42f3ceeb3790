"""Items, truncation, answers that are asked for, tools, answers beside the dialogue, memory."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from voxturn.runtime.families.fake import FakeReplier
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.realtime import items
from voxturn.runtime.gateway.realtime.line import Line
from voxturn.runtime.gateway.store import InMemory, Kept
from voxturn.runtime.messages import Message, ToolCall
from websockets.asyncio.client import connect

from tests.realtime_client import Client, Opener, dialogues, tone

ANSWER = "Paris is the capital. It lies on the Seine."
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def replier_of(gateway: Gateway) -> FakeReplier:
    replier = gateway.assistant.stages.replier
    assert isinstance(replier, FakeReplier)
    return replier


async def test_the_model_sees_the_items_in_their_order(client: Client, gateway: Gateway) -> None:
    await client.update(instructions="Be brief.", output_modalities=["text"])
    second = await client.write("Two?")
    await client.write("One.", role="assistant", previous_item_id="root")
    third = await client.write("Three?", previous_item_id=second["id"])
    await client.write("Shout.", role="system")
    await client.send("conversation.item.delete", item_id=second["id"])
    await client.until("conversation.item.deleted", item_id=second["id"])
    await client.send("conversation.item.retrieve", item_id=third["id"])
    assert (await client.until("conversation.item.retrieved"))["item"] == third
    done = await client.respond()
    assert done["output"][0]["content"] == [{"type": "output_text", "text": ANSWER}]
    assert [(m.role, m.text) for m in dialogues(gateway)[-1]] == [
        ("system", "Be brief.\nShout."),
        ("assistant", "One."),
        ("user", "Three?"),
    ]
    await client.write("Four?")
    await client.respond()
    assert [m.text for m in dialogues(gateway)[-1]][-2:] == [ANSWER, "Four?"]
    assert not client.of("response.output_audio.delta")
    assert {part["part"]["type"] for part in client.of("response.content_part.done")} == {"text"}


async def test_an_item_says_what_it_follows(client: Client) -> None:
    await client.manual()
    first = await client.write("One?", previous_item_id="root")
    await client.write("Two?")
    added = client.of("conversation.item.added")
    assert [each["previous_item_id"] for each in added] == [None, first["id"]]
    await client.send("conversation.item.create", item={"type": "message", "id": first["id"]})
    error = (await client.until("error"))["error"]
    assert error["code"] == "item_create_duplicate_item_id"


async def test_truncate_keeps_what_was_heard(client: Client, gateway: Gateway) -> None:
    await client.manual()
    await client.write("Where?")
    done = await client.respond()
    item = done["output"][0]["id"]
    await client.send("conversation.item.truncate", item_id=item, audio_end_ms=9999, event_id="t")
    assert (await client.until("error"))["error"]["event_id"] == "t"
    await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=530)
    await client.until("conversation.item.truncated", item_id=item, audio_end_ms=530)
    await client.send("conversation.item.retrieve", item_id=item)
    retrieved = (await client.until("conversation.item.retrieved"))["item"]
    assert retrieved["content"] == [{"type": "output_audio", "transcript": "Paris is"}]
    await client.write("And?")
    await client.respond()
    assert [m.text for m in dialogues(gateway)[-1]] == ["Where?", "Paris is", "And?"]


async def test_an_answer_is_cancelled(client: Client, gateway: Gateway) -> None:
    await client.manual()
    replier_of(gateway).answer = "One two three. " * 2000
    await client.write("Count.")
    await client.send("response.create")
    await client.until("response.output_audio.delta")
    await client.send("response.create")
    error = await client.until("error")
    assert error["error"]["code"] == "conversation_already_has_active_response"
    await client.send("response.cancel")
    done = await client.ended()
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert done["usage"]["output_token_details"]["audio_tokens"] > 0
    assert client.names()[-6:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    replier_of(gateway).answer = ANSWER
    await client.write("Stop.")
    assert (await client.respond())["status"] == "completed"


async def test_a_cancelled_answer_that_had_not_begun(client: Client) -> None:
    await client.manual()
    await client.write("Count.")
    await client.send("response.create")
    await client.send("response.cancel")
    assert (await client.ended())["status"] in ("cancelled", "completed")
    await client.write("Again.")
    assert (await client.respond())["status"] == "completed"


async def test_a_function_is_called_by_the_client(client: Client, gateway: Gateway) -> None:
    replier = replier_of(gateway)
    replier.answer, replier.further = f"Let me see. {CALL}", ("It rains.",)
    await client.update(
        tools=[WEATHER], audio={"input": {"turn_detection": None}}, tool_choice="auto"
    )
    await client.write("Does it rain?")
    done = await client.respond()
    message, call = done["output"]
    assert message["content"][0]["transcript"] == "Let me see."
    assert (call["type"], call["name"]) == ("function_call", "weather")
    assert call["arguments"] == '{"city": "Rome"}'
    [arguments] = client.of("response.function_call_arguments.done")
    assert (arguments["call_id"], arguments["name"]) == (call["call_id"], "weather")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    await client.send("conversation.item.create", item=output)
    await client.until("conversation.item.done")
    done = await client.respond()
    assert done["output"][0]["content"][0]["transcript"] == "It rains."
    roles = [message.role for message in replier.dialogues[-1]]
    assert roles[-3:] == ["user", "assistant", "tool"]
    assert replier.dialogues[-1][-1].text == "rain"
    assert replier.dialogues[-1][-2].ids  # as the model gave them


async def test_a_call_without_a_result_does_not_break_the_dialogue(
    client: Client, gateway: Gateway
) -> None:
    replier = replier_of(gateway)
    replier.answer = CALL
    await client.update(tools=[WEATHER], output_modalities=["text"])
    await client.write("Does it rain?")
    done = await client.respond()
    assert [item["type"] for item in done["output"]] == ["function_call"]
    replier.answer = "Sorry."
    await client.write("Well?")
    done = await client.respond(tool_choice="none")
    assert done["output"][0]["content"][0]["text"] == "Sorry."
    roles = [message.role for message in replier.dialogues[-1]]
    assert roles[-4:] == ["user", "assistant", "tool", "user"]


async def test_an_answer_beside_the_dialogue(client: Client, gateway: Gateway) -> None:
    await client.manual()
    await client.write("Where?")
    count = len(client.told)
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
    done = await client.respond(
        conversation="none",
        input=[item],
        instructions="Classify.",
        output_modalities=["text"],
        metadata={"topic": "x"},
    )
    assert done["conversation_id"] is None
    assert done["metadata"]["topic"] == "x"
    assert done["output"][0]["content"][0]["text"] == ANSWER
    assert [m.text for m in dialogues(gateway)[-1]] == ["Classify.", "Hi."]
    kinds = {told["type"] for told in client.told[count:]}
    assert not any(kind.startswith("conversation.item") for kind in kinds)
    await client.respond()
    assert [m.text for m in dialogues(gateway)[-1]] == ["Where?"]


async def test_answers_beside_it_run_beside_the_main_one(client: Client, gateway: Gateway) -> None:
    await client.manual()
    replier_of(gateway).answer = "One two three. " * 500
    await client.write("Count.")
    await client.send("response.create")
    main = (await client.until("response.created"))["response"]["id"]
    await client.send("response.create", response={"conversation": "none"})
    beside = (await client.until("response.created"))["response"]["id"]
    await client.send("response.cancel", response_id=beside)
    done = await client.ended(beside)
    assert done["status"] == "cancelled"
    assert not [told for told in client.of("response.done") if told["response"]["id"] == main]
    await client.send("response.cancel", response_id=main)
    assert (await client.ended(main))["status"] == "cancelled"


async def test_an_answer_has_as_many_tokens_as_it_may(client: Client) -> None:
    await client.manual()
    await client.write("Where?")
    done = await client.respond(max_output_tokens=3)
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["output"][0]["content"][0]["transcript"] == "Paris is the"


async def test_an_answer_that_fails_says_so_and_the_dialogue_goes_on(
    client: Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.manual()
    done = await client.respond()
    assert done["status"] == "failed"
    assert done["status_details"]["error"]["message"]

    def broken(self: object, messages: list[Message]) -> str:
        raise RuntimeError("secret")

    await client.write("Where?")
    with monkeypatch.context() as patch:
        patch.setattr(FakeReplier, "_answer", broken)
        done = await client.respond()
    assert done["status"] == "failed"
    assert "secret" not in str(done)
    assert (await client.respond())["status"] == "completed"


async def test_a_conversation_outlives_its_connection(opened: Opener, gateway: Gateway) -> None:
    async with opened("model=x&conversation=c1") as client:
        await client.write("Where?")
        await client.update(output_modalities=["text"])
        await client.respond()
        kept = await gateway.conversations.load("", "c1")
        assert kept is not None
        assert [m.text for m in kept] == ["Where?", ANSWER]
    async with opened("model=x&conversation=c1") as client:
        await client.update(output_modalities=["text"])
        await client.write("When?")
        await client.respond()
    assert [m.text for m in dialogues(gateway)[-1]][-3:] == ["Where?", ANSWER, "When?"]


async def test_what_was_not_heard_is_not_kept(opened: Opener, gateway: Gateway) -> None:
    async with opened("model=x&conversation=c1") as client:
        await client.manual()
        await client.write("Where?")
        item = (await client.respond())["output"][0]["id"]
        await client.send(
            "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=530
        )
        await client.send("conversation.item.retrieve", item_id=item)
        await client.until("conversation.item.retrieved")
        kept = await gateway.conversations.load("", "c1")
    assert kept is not None
    assert [m.text for m in kept] == ["Where?", "Paris is"]


async def test_what_is_deleted_of_it_is_not_kept(opened: Opener, gateway: Gateway) -> None:
    async with opened("model=x&conversation=c1") as client:
        await client.write("Where?")
        second = await client.write("When?")
        await client.send("conversation.item.delete", item_id=second["id"])
        await client.settle()
        kept = await gateway.conversations.load("", "c1")
    assert kept is not None
    assert [m.text for m in kept] == ["Where?"]


async def test_an_answer_that_its_client_left_is_kept_as_it_was_heard(
    opened: Opener, gateway: Gateway
) -> None:
    answer = "One two three. " * 2000
    replier_of(gateway).answer = answer
    async with opened("model=x&conversation=c1") as client:
        await client.manual()
        await client.write("Count.")
        await client.send("response.create")
        delta = await client.until("response.output_audio.delta")
    async with opened("model=x&conversation=c1") as client:
        kept = await gateway.conversations.load("", "c1")
        assert kept is not None
        question, *heard = [message.text for message in kept]
        assert question == "Count."
        assert all(answer.startswith(text) and len(text) < len(answer) for text in heard)
        if heard:  # its client knows better
            item = delta["item_id"]
            await client.send("conversation.item.truncate", item_id=item, audio_end_ms=0)
            await client.until("conversation.item.truncated", item_id=item)
        replier_of(gateway).answer = ANSWER
        await client.write("Again.")
        await client.respond()
    assert dialogues(gateway)[-1][-1].text.split() == ["Count.", "Again."]


async def test_an_answer_that_was_left_before_its_end_may_be_truncated_later(
    opened: Opener, gateway: Gateway
) -> None:
    async with opened("model=x&conversation=c1") as client:
        await client.manual()
        await client.write("Where?")
        item = (await client.respond())["output"][0]["id"]
        await client.send("conversation.item.truncate", item_id=item, audio_end_ms=1100)
        await client.until("conversation.item.truncated")
    async with opened("model=x&conversation=c1") as client:
        await client.send("conversation.item.truncate", item_id=item, audio_end_ms=530)
        await client.until("conversation.item.truncated", item_id=item)
        await client.write("And?")
        await client.respond()
    assert [m.text for m in dialogues(gateway)[-1]] == ["Where?", "Paris is", "And?"]


async def test_an_unused_connection_keeps_no_conversation(opened: Opener, gateway: Gateway) -> None:
    for _ in range(2):  # the second begins once the first has ended
        async with opened("model=x&conversation=c1"):
            pass
    assert await gateway.conversations.load("", "c1") is None


async def test_what_is_deleted_in_the_middle_stays_deleted(
    opened: Opener, gateway: Gateway
) -> None:
    await gateway.conversations.save("", "c1", [Message("user", "Hi"), Message("user", "Ho")])
    async with opened("model=x&conversation=c1") as client:
        await client.update(output_modalities=["text"])
        assert await gateway.conversations.delete("", "c1")
        await client.write("Where?")
        assert (await client.respond())["status"] == "completed"
    assert await gateway.conversations.load("", "c1") is None


async def test_a_conversation_is_the_last_connection_s(opened: Opener, gateway: Gateway) -> None:
    """The first is mostly dead, and the server has not noticed; it has the only place."""
    gateway.limits = Limits(replace(gateway.settings, sessions=1), 1)
    async with opened("model=x&conversation=c1") as first:
        await first.update(output_modalities=["text"])
        await first.write("Where?")
        await first.respond()
        async with opened("model=x&conversation=c1") as second:
            assert (await first.until("error"))["error"]["code"] == "taken_over"
            await first.socket.wait_closed()
            assert first.socket.close_code == 4009
            await second.update(output_modalities=["text"])
            await second.write("When?")
            await second.respond()
    kept = await gateway.conversations.load("", "c1")
    assert kept is not None
    assert [m.text for m in kept] == ["Where?", ANSWER, "When?", ANSWER]


async def test_one_that_cannot_be_closed_holds_nobody_up(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is gone, and does not read."""
    gone, close = asyncio.Event(), Line._close

    async def held_up(self: Line, *how: Any) -> None:
        await gone.wait()
        await close(self, *how)

    monkeypatch.setattr(Line, "_close", held_up)
    async with opened("model=x&conversation=c1") as first, opened("model=x&conversation=c1"):
        gone.set()
        assert (await first.until("error"))["error"]["code"] == "taken_over"


async def test_a_voice_session_takes_it_over(opened: Opener, gateway: Gateway, port: int) -> None:
    async with opened("model=x&conversation=c1") as first:
        await first.update(output_modalities=["text"])
        await first.write("Where?")
        await first.respond()
        async with connect(f"ws://127.0.0.1:{port}/ws/voice", close_timeout=0.1) as second:
            start = {"type": "session.start", "version": 1, "conversation": "c1"}
            await second.send(json.dumps(start))
            assert json.loads(await second.recv())["type"] == "session.started"
            assert (await first.until("error"))["error"]["code"] == "taken_over"
            async with opened("model=x&conversation=c1"):
                told: dict[str, Any] = {"type": ""}
                while told["type"] != "session.ended":
                    told = json.loads(await second.recv())
                assert told["reason"] == "taken_over"


async def test_what_another_gateway_goes_on_with_is_not_told_to_be_done(
    opened: Opener, gateway: Gateway
) -> None:
    async with opened("model=x&conversation=c1") as client:
        await client.update(output_modalities=["text"])
        await client.write("Where?")
        await client.respond()
        other = Kept(gateway.conversations, "", "c1")
        kept = await other.take()
        assert kept is not None
        longer = [*kept, Message("user", "When?"), Message("assistant", "Now.")]
        await other.save(longer)
        told = len(client.told)
        content = [{"type": "input_text", "text": "Who?"}]
        item = {"type": "message", "role": "user", "content": content}
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        assert (await client.until("error"))["error"]["code"] == "taken_over"
        assert "response.done" not in [each["type"] for each in client.told[told:]]
        await client.socket.wait_closed()
        assert client.socket.close_code == 4009
    assert await gateway.conversations.load("", "c1") == longer


async def test_the_system_s_messages_are_kept_beside_the_last_others(
    opened: Opener, gateway: Gateway
) -> None:
    gateway.conversations = gateway.holders.conversations = InMemory(keep_messages=3)
    async with opened("model=x&conversation=c1") as client:
        await client.update(output_modalities=["text"])
        content = [{"type": "input_text", "text": "Be brief."}]
        item = {"type": "message", "role": "system", "content": content}
        await client.send("conversation.item.create", item=item)
        await client.until("conversation.item.done")
        for text in ("Where?", "When?"):
            await client.write(text)
            await client.respond()
    kept = await gateway.conversations.load("", "c1")
    assert kept is not None
    assert [m.text for m in kept] == ["Be brief.", "When?", ANSWER]


async def test_a_message_may_be_spoken(client: Client) -> None:
    await client.manual()
    audio = base64.b64encode(tone(0.5)).decode()
    item: dict[str, Any] = {"type": "message", "role": "user"}
    item["content"] = [{"type": "input_audio", "audio": audio}]
    await client.send("conversation.item.create", item=item)
    done = await client.until("conversation.item.done")
    assert done["item"]["content"][0]["transcript"] == "What is the capital of France?"


async def test_a_client_adds_so_many_items(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_MOST_ITEMS", 3)
    await client.update(output_modalities=["text"])
    for text in ("One?", "Two?"):
        await client.write(text)
    await client.respond()
    await client.send("conversation.item.create", item={"type": "message"})
    assert (await client.until("error"))["error"]["code"] == "too_many_items"
    assert (await client.respond())["status"] == "completed"


async def test_a_long_conversation_is_gone_on_with(
    opened: Opener, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "_MOST_ITEMS", 8)
    said = [Message("user" if i % 2 else "assistant", f"{i}.") for i in range(1, 9)]
    call = Message("assistant", "", calls=(ToolCall("c", "weather", {}),))
    kept = [*said, Message("user", "Rain?"), call, Message("tool", "rain", call_id="c")]
    await gateway.conversations.save("", "long", [*kept, Message("assistant", "It rains.")])
    await gateway.conversations.save("", "odd", [Message("system", "Old."), *said, said[0]])
    for name, wanted in (
        ("long", "Rain?  rain It rains. Well?"),
        ("odd", "7. 8. 1. Well?"),
    ):
        async with opened(f"model=x&conversation={name}") as client:
            await client.update(output_modalities=["text"], instructions="")
            await client.write("Well?")
            assert (await client.respond())["status"] == "completed"
        assert " ".join(m.text for m in dialogues(gateway)[-1]) == wanted


async def test_tools_with_patterns_are_refused(client: Client) -> None:
    slow = WEATHER | {"parameters": {"properties": {"city": {"pattern": "(a+)+$"}}}}
    await client.send("session.update", session={"type": "realtime", "tools": [slow]})
    assert (await client.until("error"))["error"]["code"] == "invalid_value"
    await client.send("response.create", response={"tools": [slow]})
    assert (await client.until("error"))["error"]["code"] == "invalid_value"
