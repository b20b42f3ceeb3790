"""Text models: what their manifests say of their replies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from voxturn.bench.tools import SCRIPTS, Script, end_of
from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.families.base import Candidate, opens_thought
from voxturn.runtime.families.decoder import FAMILY, DecoderReplier
from voxturn.runtime.messages import Message, ReplyToken, ToolCall, ToolSpec
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.split import Split

from tests.artifacts import KINDS
from tests.chat_templates import replier_of, writes


class Properties:
    """A manifest that has nothing but properties."""

    def __init__(self, **properties: Any) -> None:
        self.properties = properties


def check(folder: Path, **properties: Any) -> None:
    manifest: Any = Properties(chat="chatml", **properties)
    settings = SimpleNamespace(context=None, max_tokens=96)
    FAMILY.check(Candidate(folder, manifest, settings, "en", Path("home")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with a tokenizer."""
    return KINDS["decoder-onnx"](tmp_path_factory.mktemp("decoder") / "model")


@pytest.mark.parametrize("value", [True, False])
def test_a_manifest_may_say_that_the_template_opens_a_thought(value: bool, folder: Path) -> None:
    check(folder, opens_thought=value)
    check(folder)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_what_is_neither_true_nor_false_is_damaged(value: Any, folder: Path) -> None:
    with pytest.raises(CorruptModel, match="opens_thought: must be true or false") as caught:
        check(folder, opens_thought=value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


async def test_replies_of_such_a_model_are_spoken_from_the_thought_s_end_on(fake_turn: Any) -> None:
    replier = fake_turn.replier
    assert isinstance(replier, DecoderReplier)
    assert not opens_thought(replier)
    replier.opens_thought = True
    assert opens_thought(replier)

    async def tokens() -> Any:
        for piece in ("Let me", " think.", "</thi", "nk>", "\n\nParis", "."):
            yield ReplyToken(piece)

    split = Split(PassAll(), 220, "en", in_thought=opens_thought(replier))
    assert [sentence.text async for sentence in split(tokens())] == ["Paris."]


def test_what_does_not_fit_is_left_out_without_trying_every_length(fake_turn: Any) -> None:
    replier, prompts = fake_turn.replier, list[int]()
    prompt = replier.chat.prompt

    def counted(messages: list[Message], tools: Any = ()) -> list[int]:
        prompts.append(len(messages))
        return prompt(messages, tools)

    replier.chat.prompt = counted
    dialogue = [Message("system", "Be brief.")]
    for number in range(500):
        dialogue += [Message("user", f"what is {number}"), Message("assistant", "a number")]
    dialogue.append(Message("user", "why"))
    fitted = replier.fitted(dialogue)
    assert len(prompts) < 14
    assert fitted == [dialogue[0], *dialogue[-len(fitted) + 1 :]]
    assert fitted[1].role == "user"
    room = (replier.service.capacity - 400) // 2
    assert len(prompt(fitted)) <= room < len(prompt([dialogue[0], *dialogue[-len(fitted) - 1 :]]))
    long = [Message("user", "first"), Message("assistant", "a"), Message("user", "x" * 5000)]
    assert replier.fitted(long) == long[2:]  # the engine says that it is too long


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.kind)
async def test_calls_in_qwen3_s_own_tokens_end_as_documented(
    script: Script, tmp_path: Path
) -> None:
    """The prompts are its template's, the answers come token by token."""
    with replier_of(tmp_path, "qwen3") as replier:
        writes(replier, *script.answers)
        ending = await asyncio.wait_for(end_of(script, replier), 60)
    assert ending.as_documented(script), (ending.said, ending.outcomes)
    assert not ending.leaked


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("qwen3", '<tool_call>\n{"name":"add","arguments":{"to":[1, 2]}}\n</tool_call>'),
        ("llama3.1", '{"name": "add", "parameters": {"to": [1, 2]}}'),
        ("mistral-tools", '[TOOL_CALLS][{"name": "add", "arguments": {"to": [1, 2]}}]'),
    ],
)
async def test_the_next_prompt_begins_with_what_the_model_saw_and_wrote(
    kind: str, answer: str, tmp_path: Path
) -> None:
    tools = [ToolSpec("add", "Adds.", {"type": "object"})]
    asked = [Message("user", "What?")]
    with replier_of(tmp_path, kind) as replier:
        writes(replier, answer)
        items = [item async for item in replier(asked, tools)]
        (call,) = [item for item in items if isinstance(item, ToolCall)]
        assert (call.name, call.arguments) == ("add", {"to": [1, 2]})
        assert "".join(item.text for item in items if isinstance(item, ReplyToken)).strip() == ""
        ids = tuple(i for item in items for i in item.ids)
        assert ids == tuple(replier.tokenizer.encode(answer))
        result = Message("tool", "3", call_id=call.id)
        dialogue = [*asked, Message("assistant", "", ids, (call,)), result]
        seen = replier.chat.prompt(asked, tools)
        assert replier.chat.prompt(dialogue, tools)[: len(seen) + len(ids)] == [*seen, *ids]
        assert replier.fitted(dialogue, tools) == dialogue
        await replier.warm(asked[:0], tools)


async def test_a_dialogue_that_is_too_long_loses_whole_turns_with_their_calls(
    tmp_path: Path,
) -> None:
    tools = [ToolSpec("add", "Adds.", {"type": "object"})]
    call = ToolCall("abcdef123", "add", {})
    turn = [
        Message("user", "What?" * 40),
        Message("assistant", "", calls=(call,)),
        Message("tool", "3" * 200, call_id=call.id),
        Message("assistant", "Three."),
    ]
    with replier_of(tmp_path, "qwen3") as replier:
        whole = [Message("system", "Be brief."), *turn * 20, *turn[:3]]
        fitted = replier.fitted(whole, tools)
        assert fitted[0] == whole[0]
        assert fitted[1].role == "user"
        assert fitted[-3:] == turn[:3]
        assert len(fitted) < len(whole)
        assert (len(whole) - len(fitted)) % len(turn) == 0
