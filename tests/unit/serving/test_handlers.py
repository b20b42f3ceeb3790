"""The served text model's conversations: what is kept of answers that were stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.messages import Message
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.handlers import ReplyHandler

from tests.artifacts import FakeBackends, all_kinds, on_cpu


class Answers:
    """A decoder's choices: `tokens` of every answer; -1 fails."""

    def __init__(self) -> None:
        self.token = 10

    def __call__(self, ids: Sequence[int]) -> int:
        if self.token < 0:
            raise InferenceFailed("the decoder failed")
        return self.token


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def handler(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReplyHandler]:
    fake = FakeBackends()
    fake.decoder = lambda role, slots, capacity: FakeDecoder(answers, 300, slots, capacity)
    fake.install(monkeypatch)
    profile = on_cpu(all_kinds(tmp_path))
    handler = ReplyHandler(replace(profile, system_prompt="be brief"))
    yield handler
    handler.close()


async def asked(handler: ReplyHandler, *texts: str, pieces: int = 1000) -> int:
    """Ask in a conversation and read some pieces of the answer; how many there were."""
    said = json.dumps([{"role": "user", "text": text} for text in texts])
    inputs: Tensors = {"messages": text_tensor(said), "conversation": text_tensor("one")}
    count = 0
    async with aclosing(handler(inputs)) as answer:
        async for _ in answer:
            count += 1
            if count >= pieces:
                break
    return count


def kept(handler: ReplyHandler) -> list[Message]:
    with handler._dialogues.use("one") as messages:
        return messages


async def test_questions_without_an_answer_are_one_question(
    handler: ReplyHandler, answers: Answers
) -> None:
    answers.token = min(handler._replier.chat.stop_ids)  # an answer without a word
    assert await asked(handler, "what") == 0
    assert await asked(handler, "and now") == 0
    assert kept(handler) == [Message("system", "be brief"), Message("user", "what and now")]
    answers.token = 10
    assert await asked(handler, "please", pieces=1) == 1
    assert [m.role for m in kept(handler)] == ["system", "user", "assistant"]
    assert kept(handler)[1].text == "what and now please"


async def test_a_client_s_questions_in_a_row_are_one(
    handler: ReplyHandler, answers: Answers
) -> None:
    assert await asked(handler, "what", "and now", pieces=2) == 2
    assert [m.text for m in kept(handler)][:2] == ["be brief", "what and now"]


async def test_a_request_that_failed_may_be_made_again(
    handler: ReplyHandler, answers: Answers
) -> None:
    answers.token = -1
    with pytest.raises(InferenceFailed):
        await asked(handler, "what")
    assert kept(handler) == []
