"""The items of a dialogue, and what the model sees of them."""

from __future__ import annotations

import pytest
from voxturn.runtime.gateway.realtime import items as module
from voxturn.runtime.gateway.realtime.items import CALL, RESULT, Item, Items
from voxturn.runtime.messages import Message, ToolCall


def filled(*texts: str) -> Items:
    """Questions and answers by turns."""
    items = Items()
    for at, text in enumerate(texts):
        items.add(Item(role=("user", "assistant")[at % 2], text=text, id=text))
    return items


def seen(items: Items) -> list[str]:
    return [message.text for message in items.messages("")]


def test_what_the_model_has_forgotten_stays_forgotten_whatever_is_deleted_or_added() -> None:
    items = filled("u1", "a1", "u2", "a2")
    items.forget(2)
    assert seen(items) == ["u2", "a2"]
    items.remove(items.find("u1"))
    assert seen(items) == ["u2", "a2"]
    items.add(Item(role="user", text="u0", id="u0"), "root")
    assert seen(items) == ["u0", "u2", "a2"]
    items.forget(1)
    assert seen(items) == ["u2", "a2"]


def test_system_messages_are_never_forgotten() -> None:
    items = filled("u1", "a1", "u2")
    items.add(Item(role="system", text="Be kind.", id="s"), "root")
    items.forget(2)
    assert items.messages("Be brief.") == [
        Message("system", "Be brief.\nBe kind."),
        Message("user", "u2"),
    ]


def test_a_call_is_forgotten_with_its_result() -> None:
    items = filled("u1")
    call = ToolCall("c", "time", {})
    items.add(Item(CALL, call=call, call_id="c"))
    items.add(Item(RESULT, text="noon", call_id="c"))
    items.add(Item(role="user", text="u2"))
    items.forget(3)
    assert seen(items) == ["u2"]


def test_of_too_many_the_oldest_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ITEMS", 3)
    items = filled("u1", "a1", "u2", "a2")
    assert [item.id for item in items] == ["a1", "u2", "a2"]
