"""Text models: what their manifests say of their replies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.families.base import Candidate, opens_thought
from voxturn.runtime.families.decoder import FAMILY, DecoderReplier
from voxturn.runtime.messages import Message, ReplyToken
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.split import Split

from tests.artifacts import KINDS


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

    def counted(messages: list[Message]) -> list[int]:
        prompts.append(len(messages))
        return prompt(messages)

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
