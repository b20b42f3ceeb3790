"""Chat templates as formats: what a dialogue becomes is what transformers makes of it, or the
template is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.export.decoder.dialogue_format import format_of
from voxturn.export.decoder.template import folder_template
from voxturn.export.imports import import_transformers
from voxturn.runtime.errors import UsageError
from voxturn.runtime.messages import Message
from voxturn.runtime.text.chat import START, Chat
from voxturn.runtime.text.tokenizer import JsonTokenizer

from tests.chat_templates import KINDS, make_folder, template

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and what it imports
TURNS = ("user", "assistant", "user", "assistant", "user")
TEXTS = {
    "plain": ("What is the capital of France?", "Paris.", "And Italy's?", "Rome.", "Thanks."),
    "signs": ("Hi", "Hello! How are you?", "Tell me\nabout 3 < 4.", "It is true: 3 < 4.", "Ok… 😀"),
    "space": ("  Well ", "\nYes, \n", "the end  ", "  of it", " \n a man "),
}


class Checkpoint:
    """A folder's dialogues, by transformers and by us."""

    def __init__(self, folder: Path) -> None:
        template = folder_template(folder)
        assert template is not None
        self.form = format_of(template, folder)
        self.tokenizer = JsonTokenizer(folder / "tokenizer.json")
        self.chat = Chat(self.tokenizer, self.form)
        self.original: Any = import_transformers().AutoTokenizer.from_pretrained(folder)

    def wanted(self, messages: Sequence[Message]) -> list[int]:
        ids: list[int] = self.original.apply_chat_template(
            [{"role": message.role, "content": message.text} for message in messages],
            add_generation_prompt=True,
            enable_thinking=False,
        )["input_ids"]
        return ids


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return {
        kind: Checkpoint(make_folder(tmp_path_factory.mktemp("kind"), kind, template(kind)))
        for kind in KINDS
    }


def dialogues(texts: Sequence[str], system: str) -> Iterator[list[Message]]:
    """Of one to three questions, without and with a system prompt."""
    for start in ([], [Message("system", system)]):
        for count in (1, 3, 5):
            turns = zip(TURNS[:count], texts, strict=False)
            yield [*start, *(Message(role, text) for role, text in turns)]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"gemma"}))
@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS)
def test_dialogues_are_those_of_transformers(
    checkpoints: dict[str, Checkpoint], kind: str, texts: Sequence[str]
) -> None:
    checkpoint = checkpoints[kind]
    for messages in dialogues(texts, "You are a helpful voice assistant.\nBe brief."):
        assert checkpoint.chat.prompt(messages) == checkpoint.wanted(messages), messages


def test_a_template_without_a_system_prompt_refuses_one(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["gemma"]
    without, prompted = [], []
    for messages in dialogues(TEXTS["plain"], "Be brief."):
        (prompted if messages[0].role == "system" else without).append(messages)
    for messages in without:
        assert checkpoint.chat.prompt(messages) == checkpoint.wanted(messages)
    for messages in prompted:
        with pytest.raises(
            UsageError, match='no place for this system prompt; set system_prompt = ""'
        ):
            checkpoint.chat.prompt(messages)


@given(data=st.data(), prompted=st.booleans())
@settings(max_examples=60)
def test_a_dialogue_and_its_answer_begin_the_next(
    checkpoints: dict[str, Checkpoint], data: st.DataObject, prompted: bool
) -> None:
    checkpoint = checkpoints[data.draw(st.sampled_from(sorted(KINDS)))]
    chat, tokenizer = checkpoint.chat, checkpoint.tokenizer
    prompted = prompted and "system" in checkpoint.form.between[START]
    asked = [Message("system", "Be brief.")] if prompted else []
    asked = [*asked, Message("user", data.draw(st.text("ab <?\n", max_size=6)))]
    closed = [i for mark in [checkpoint.form.thought_end] if mark for i in tokenizer.encode(mark)]
    ids = closed + data.draw(
        st.lists(st.sampled_from(tokenizer.encode("the man of 7.")), max_size=12)
    )
    answer = tokenizer.decode(ids)
    if not answer or (closed and checkpoint.form.thought_end not in answer):
        return
    seen = [*chat.prompt(asked), *ids]
    following = [*asked, Message("assistant", answer, tuple(ids)), Message("user", "And?")]
    assert chat.prompt(following)[: len(seen)] == seen


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_computed_of_a_system_prompt_begins_every_dialogue(
    checkpoints: dict[str, Checkpoint], kind: str
) -> None:
    checkpoint = checkpoints[kind]
    chat, prompted = checkpoint.chat, "system" in checkpoint.form.between[START]
    system = [Message("system", "Be brief.")] if prompted else []
    beginning = chat.beginning(system)
    assert beginning or kind == "zephyr"
    for question in ("What?", "an island", "7 of them"):
        prompt = chat.prompt([*system, Message("user", question)])
        assert prompt[: len(beginning)] == beginning


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_heard_of_an_answer_is_what_the_dialogue_has(
    checkpoints: dict[str, Checkpoint], kind: str
) -> None:
    checkpoint = checkpoints[kind]
    chat, tokenizer = checkpoint.chat, checkpoint.tokenizer
    ids = tuple(tokenizer.encode("the man of the house"))
    asked = [Message("user", "Who?")]
    cut = Message("assistant", tokenizer.decode(ids[:4]), ids)
    prompt = chat.prompt([*asked, cut, Message("user", "And?")])
    if checkpoint.form.thought_end:  # without the thought's end these are no tokens of an answer
        assert prompt == chat.prompt(
            [*asked, Message("assistant", cut.text), Message("user", "And?")]
        )
    else:
        seen = [*chat.prompt(asked), *ids[:4]]
        assert prompt[: len(seen)] == seen
