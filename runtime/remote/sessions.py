"""What a client and a server tell each other about a session, but for its audio and its events, as
tensors. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from voxturn.runtime.errors import InferenceFailed, TextTooLong, UsageError
from voxturn.runtime.messages import Message
from voxturn.runtime.remote.contract import (
    COMMAND,
    LONGEST_TEXT,
    MOST_MESSAGES,
)
from voxturn.runtime.remote.dialogue import length_of, message_table, read_message
from voxturn.runtime.remote.table import Table, json_value
from voxturn.runtime.remote.tensors import Tensors, text_of, text_tensor


@dataclass(frozen=True)
class Ask:
    """A typed question."""

    text: str


@dataclass(frozen=True)
class AnswerNow:
    """What came so far is the whole question."""


@dataclass(frozen=True)
class Cancel:
    """Cut the answer."""


@dataclass(frozen=True)
class Played:
    """So many milliseconds of an answer were played: the `answer`-th whose audio was given; 0: of the
    last."""

    ms: float
    answer: int = 0


@dataclass(frozen=True)
class SetMessages:
    """This is the dialogue from now on."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Pin:
    """A fact that stays in the dialogue."""

    fact: str


@dataclass(frozen=True)
class Close:
    """The session ends."""


Command = Ask | AnswerNow | Cancel | Played | SetMessages | Pin | Close
"""What is told to a session."""

_NAMES: dict[type[Command], str] = {
    Ask: "ask",
    AnswerNow: "answer",
    Cancel: "cancel",
    Played: "played",
    SetMessages: "messages",
    Pin: "pin",
    Close: "close",
}


def of_command(command: Command) -> Tensors:
    """A command as tensors: JSON, whose field `do` is its name."""
    about: dict[str, Any] = {"do": _NAMES[type(command)]} | asdict(command)
    if isinstance(command, SetMessages):
        about["messages"] = [message_table(message) for message in command.messages]
    return {COMMAND: text_tensor(json.dumps(about))}


def to_command(inputs: Mapping[str, np.ndarray[Any, Any]]) -> Command:
    """What `of_command` was given, messages without their tokens: a stranger's may be no tokens of
    this model.

    Raises `UsageError`, which names the field, or `TextTooLong`.
    """
    about = Table(json_value(text_of(inputs[COMMAND], COMMAND), COMMAND), COMMAND)
    command = _read(about)
    about.close()
    return command


def _read(about: Table) -> Command:
    match about.one_of("do", _NAMES.values()):
        case "ask":
            return Ask(about.text("text", LONGEST_TEXT))
        case "played":
            return Played(about.number("ms", 0.0), round(about.number("answer", 0.0)))
        case "messages":
            return SetMessages(tuple(to_messages(about.items("messages"), "command.messages")))
        case "pin":
            return Pin(about.text("fact", LONGEST_TEXT))
        case "answer":
            return AnswerNow()
        case "cancel":
            return Cancel()
    return Close()


def to_messages(items: object, name: str, least: int = 0) -> list[Message]:
    """The messages of a JSON list of `{"role", "text"}`, which errors call `name`.

    Raises `UsageError`, `TextTooLong`.
    """
    if not isinstance(items, list) or not least <= len(items) <= MOST_MESSAGES:
        raise UsageError(f"{name}: must be a JSON list of {least} to {MOST_MESSAGES} messages")
    messages = []
    for number, item in enumerate(items):
        messages.append(read_message(Table(item, f"{name}[{number}]")))
    check_length(messages, name)
    return messages


def check_length(messages: Sequence[Message], name: str = "messages") -> None:
    """Raise `TextTooLong` for a dialogue that is longer than a request may have it."""
    if sum(map(length_of, messages)) > LONGEST_TEXT:
        raise TextTooLong(f"{name} of more than {LONGEST_TEXT} characters; send fewer")


def check_fact(fact: str, messages: Sequence[Message]) -> None:
    """Raise `TextTooLong` for a fact that makes a dialogue's system prompt longer than a request may
    have it."""
    system = [message for message in messages if message.role == "system"]
    check_length([*system, Message("system", fact)], "the system prompt and its facts")


@dataclass(frozen=True)
class DialogueChange:
    """The dialogue is its first `kept` messages as they were told before, then `added`.

    `sets`: how often the client has set it, or pinned a fact in it.
    """

    kept: int
    added: tuple[Message, ...]
    sets: int


def change_between(
    before: Sequence[Message], after: Sequence[Message], sets: int
) -> DialogueChange | None:
    """What has changed of a dialogue, their tokens included; None where nothing has."""
    kept = 0
    for one, other in zip(before, after, strict=False):
        if (one, one.ids) != (other, other.ids):
            break
        kept += 1
    if kept == len(before) == len(after):
        return None
    return DialogueChange(kept, tuple(after[kept:]), sets)


def of_change(change: DialogueChange, **more: Any) -> Tensors:
    """A change, and what else is told with it, as JSON in `answer`."""
    added = [message_table(message) | {"ids": list(message.ids)} for message in change.added]
    return {"answer": text_tensor(json.dumps(asdict(change) | {"added": added} | more))}


def to_change(tensors: Mapping[str, np.ndarray[Any, Any]]) -> tuple[DialogueChange, dict[str, Any]]:
    """What `of_change` was given. Raises `InferenceFailed` for anything else."""
    try:
        about = json.loads(text_of(tensors["answer"]))
        added = tuple(
            replace(read_message(Table(m, "added")), ids=tuple(m["ids"]))
            for m in about.pop("added")
        )
        return DialogueChange(int(about.pop("kept")), added, int(about.pop("sets"))), about
    except (AttributeError, KeyError, TypeError, UsageError, ValueError) as exc:
        raise InferenceFailed(
            "the server said something of a session that this version does not know; "
            "upgrade the client"
        ) from exc
