"""Dialogues as tokens: every turn begins with the one before, whatever was heard of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.errors import CorruptModel, UsageError
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.families.decoder import DecoderReplier
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.text.chat import CHAT_FORMATS, Chat, ChatFormat, Message

END = 2


class PairTokenizer:
    """Two characters an id where it can, as a byte pair encoding would; marks have ids of their
    own."""

    marks = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<think>", "</think>")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        while text:
            mark = next((m for m in self.marks if text.startswith(m)), None)
            size = (
                len(mark)
                if mark
                else 2
                if len(text) > 1 and text[:2].isalpha() and "<" not in text[:2]
                else 1
            )
            ids.append(1 + self.marks.index(mark) if mark else self._id(text[:size]))
            text = text[size:]
        return ids

    @staticmethod
    def _id(piece: str) -> int:
        return 10 + ord(piece[0]) + (ord(piece[1]) * 300 if len(piece) > 1 else 0)

    def decode(self, ids: Sequence[int]) -> str:
        out = ""
        for i in ids:
            if i >= 10:
                out += chr((i - 10) % 300) + (chr((i - 10) // 300) if i - 10 >= 300 else "")
        return out

    def id_of(self, token: str) -> int | None:
        return 1 + self.marks.index(token) if token in self.marks else None


TOKENIZER = PairTokenizer()


@pytest.mark.parametrize("name", ["chatml", "qwen3"])
def test_a_longer_dialogue_begins_with_the_shorter(name: str) -> None:
    chat = Chat(TOKENIZER, CHAT_FORMATS[name])
    # tokens that encoding the text again would not give: the model chose single letters
    ids = tuple(TOKENIZER._id(c) for c in "Hello you")
    asked = [Message("system", "Be brief."), Message("user", "Hi")]
    seen = chat.prompt(asked) + list(ids)
    answered = [*asked, Message("assistant", "Hello you", ids), Message("user", "And?")]
    assert chat.prompt(answered)[: len(seen)] == seen
    trimmed = [*asked, Message("assistant", "Hello", ids), Message("user", "And?")]
    kept = chat.prompt(asked) + list(ids[:5])
    assert chat.prompt(trimmed)[: len(kept)] == kept
    assert chat.prompt(trimmed)[len(kept)] == END


def test_thinking_is_off_in_every_turn() -> None:
    chat = Chat(TOKENIZER, CHAT_FORMATS["qwen3"])
    thought = TOKENIZER.encode("<think>\n\n</think>\n\n")
    two = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    prompt = chat.prompt(two)
    at = [i for i in range(len(prompt)) if prompt[i : i + len(thought)] == thought]
    assert len(at) == 2
    assert at[-1] + len(thought) == len(prompt)


@settings(max_examples=60)
@given(st.text("abc .,", max_size=30), st.text("abc .,", max_size=30), st.integers(0, 40))
def test_what_is_kept_of_an_answer_says_what_was_heard(said: str, other: str, cut: int) -> None:
    chat = Chat(TOKENIZER, CHAT_FORMATS["chatml"])
    heard = said[:cut] + other
    ids = chat.prompt([Message("assistant", heard, tuple(TOKENIZER.encode(said)))])
    assert TOKENIZER.decode(ids) == f"assistant\n{heard}\nassistant\n"


def test_marks_in_a_message_are_no_marks() -> None:
    chat = Chat(TOKENIZER, CHAT_FORMATS["chatml"])
    assert chat.prompt([Message("user", "x<|im_end|>y")]).count(END) == 1
    with pytest.raises(CorruptModel, match=r"has no <\|eot_id\|>"):
        Chat(type("None_", (), {"id_of": lambda self, mark: None})(), CHAT_FORMATS["llama3"])


TABLE = ChatFormat(
    {"": {"user": "u:"}, "user": {"assistant": "\na: "}, "assistant": {"user": "\nu:"}},
    {"user": "\na:"},
    {"": {"user": "left"}, "user": {"assistant": "right"}},
    stop_texts=("u:",),
).to_table()


def test_a_table_says_the_texts_between_messages() -> None:
    form = ChatFormat.of({"chat": TABLE, "stop_ids": [7]})
    chat = Chat(TOKENIZER, form)
    assert chat.stop_ids == {7}
    asked = [Message("user", "  Hi ")]
    assert TOKENIZER.decode(chat.prompt(asked)) == "u:Hi \na:"
    alone = [*asked, Message("assistant", " Yes "), Message("user", " Ok")]
    assert TOKENIZER.decode(chat.prompt(alone)) == "u:Hi \na:  Yes\nu: Ok\na:"
    # with its own tokens an answer is as the model wrote it
    answer = Message("assistant", " Yes ", tuple(TOKENIZER.encode(" Yes ")))
    kept = [*asked, answer, Message("user", " Ok")]
    assert TOKENIZER.decode(chat.prompt(kept)) == "u:Hi \na: Yes \nu: Ok\na:"


def test_an_order_that_the_template_has_not_is_refused_in_words() -> None:
    chat = Chat(TOKENIZER, ChatFormat.of({"chat": TABLE, "stop_ids": [7]}))
    user, answer = Message("user", "a"), Message("assistant", "b")
    for messages, says in (
        ([user, user], "a message of the user after a message of the user"),
        ([answer], "a message of the assistant at the beginning"),
        ([user, answer], "a message of the assistant after a message of the assistant"),
        ([Message("system", "s"), user], 'this system prompt; set system_prompt = ""'),
    ):
        with pytest.raises(UsageError, match=f"template has no place for {says}"):
            chat.prompt(messages)


class Thinking(PairTokenizer):
    """Its thoughts' ends are text."""

    def decode(self, ids: Sequence[int]) -> str:
        end = self.encode("</think>")[0]
        return "".join("</think>" if i == end else super(Thinking, self).decode([i]) for i in ids)


def test_an_answer_without_the_end_of_its_thought_has_no_thought() -> None:
    table = TABLE | {"opening": {"user": "\na:<think>"}, "thought_end": "</think>"}
    chat = Chat(Thinking(), ChatFormat.of({"chat": table, "stop_ids": [7]}))
    ids = tuple(TOKENIZER.encode("hm</think>Yes"))
    user, thought = Message("user", "a"), TOKENIZER.encode("</think>")[0]
    opened = TOKENIZER.encode("<think>")[0]
    whole = chat.prompt([user, Message("assistant", "hm</think>Yes", ids), user])
    assert (whole.count(opened), whole.count(thought)) == (2, 1)
    seen = [*chat.prompt([user]), *ids]
    assert whole[: len(seen)] == seen
    heard = chat.prompt([user, Message("assistant", "Yes", ids), user])
    assert (heard.count(opened), heard.count(thought)) == (1, 0)


@pytest.mark.parametrize(
    "properties",
    [
        {}, {"chat": "unknown"}, {"chat": 5}, {"chat": {}}, {"chat": "chatml", "stop_ids": ["x"]},
        {"chat": TABLE | {"strips": {"": {"user": "up"}}}}, {"chat": TABLE | {"opening": {"user": 5}}},
        {"chat": TABLE | {"between": {"": ["u:"]}}}, {"chat": TABLE | {"stop_texts": [5]}},
        {"chat": TABLE, "stop_ids": 5},
    ],
)  # fmt: skip
def test_what_is_no_format_is_none(properties: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        ChatFormat.of(properties)


class Dialogue:
    """A reply stage on a fake decoder that answers in single letters."""

    def __init__(self, capacity: int = 4096, slots: int = 2) -> None:
        self.answer = "Yes, it is so. "

        def following(ids: Sequence[int]) -> int:
            opening = TOKENIZER.encode("<|im_start|>assistant\n")
            begins = [
                i + len(opening)
                for i in range(len(ids))
                if list(ids[i : i + len(opening)]) == opening
            ]
            said = len(ids) - begins[-1] if begins else 0  # a prompt that is warmed has no opening
            return TOKENIZER._id(self.answer[said]) if said < len(self.answer) else END

        self.engine = DecodeEngine(FakeDecoder(following, 100_000, slots=slots, capacity=capacity))
        self.lane = Lane("reply")
        self.reply = DecoderReplier(
            DecodeService(self.engine, self.lane),
            TOKENIZER,
            Chat(TOKENIZER, CHAT_FORMATS["chatml"]),
            Sampling(),
            40,
        )
        self.messages = [Message("system", "Be brief and kind to everyone who asks.")]

    async def turn(self, question: str, heard: int | None = None) -> int:
        """Ask; remember the first `heard` characters of the answer; how many positions were
        computed."""
        before = self.engine.counts.computed
        self.messages = self.reply.fitted([*self.messages, Message("user", question)])
        text, ids = "", list[int]()
        async for token in self.reply(self.messages):
            text, ids = text + token.text, [*ids, *token.ids]
        assert text == self.answer
        self.messages.append(Message("assistant", text[:heard], tuple(ids)))
        return self.engine.counts.computed - before


async def test_ten_turns_compute_only_what_is_new() -> None:
    dialogue = Dialogue()
    await dialogue.reply.warm(dialogue.messages)
    assert dialogue.engine.counts.computed == len(
        Chat(TOKENIZER, CHAT_FORMATS["chatml"]).beginning(dialogue.messages)
    )
    question = "Is it?"
    ends = len(TOKENIZER.encode("<|im_end|>\n"))
    new = len(TOKENIZER.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"))
    for number in range(10):
        interrupted = number % 3 == 1
        computed = await dialogue.turn(question, 4 if interrupted else None)
        assert computed <= new + (ends if number else 0)
    dialogue.lane.close()


async def test_the_system_prompt_is_computed_once_for_every_conversation() -> None:
    first = Dialogue(slots=1)
    await first.reply.warm(first.messages)
    once = first.engine.counts.computed
    system = list(first.messages)
    for _ in range(3):
        first.messages = list(system)
        assert await first.turn("Other?") < once
    first.lane.close()


async def test_the_oldest_turns_go_whole_when_the_context_is_full() -> None:
    dialogue = Dialogue(capacity=260)
    lengths = []
    for number in range(30):
        await dialogue.turn(f"Question {number}?")
        lengths.append(len(dialogue.messages))
        assert dialogue.messages[0].role == "system"
        assert [m.role for m in dialogue.messages[1:]] == ["user", "assistant"] * (
            len(dialogue.messages) // 2
        )
        assert dialogue.messages[-2].text == f"Question {number}?"
    drops = [i for i in range(1, 30) if lengths[i] <= lengths[i - 1]]
    assert drops
    assert all(b - a > 1 for a, b in pairwise(drops))  # not again at every turn
    dialogue.lane.close()
