"""The served text model's conversations: what is kept of answers that were stopped. The served
voices: whose recording is cloned next."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.fake import FakeVoice
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.messages import Message
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.handlers import ReplyHandler, XttsHandler

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


class Cloning(FakeVoice):
    """A voice that notes the seed of each recording that it clones; `hold` lets it begin."""

    def __init__(self) -> None:
        super().__init__()
        self.cloned: list[int | None] = []
        self.at_once = 0
        self.hold = threading.Event()

    def using(self, options: VoiceOptions) -> FakeVoice:
        if options.recordings is not None:
            self.at_once += 1
            assert self.at_once == 1
            self.cloned.append(options.seed)
            assert self.hold.wait(10)
            self.at_once -= 1
        return FakeVoice()


async def test_one_client_s_recordings_do_not_hold_up_another_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a recording hold up those who have none."""
    FakeBackends().install(monkeypatch)
    handler, voice = XttsHandler(on_cpu(all_kinds(tmp_path))), Cloning()
    monkeypatch.setattr(handler, "_voice", voice)

    async def said(client: str, seed: int, **options: Any) -> int:
        CLIENT.set(client)
        inputs: Tensors = {"text": text_tensor("Hello."), "seed": np.array([seed]), **options}
        return len([tensors async for tensors in handler(inputs)])

    reference = {"reference": np.ones(16000, np.float32)}
    cloning = [asyncio.create_task(said("greedy", n, **reference)) for n in range(10)]
    await asyncio.sleep(0)
    cloning += [asyncio.create_task(said("modest", n, **reference)) for n in (10, 11)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(said("other", 12), 10) > 0
    gone = cloning.pop(1)
    gone.cancel()
    await asyncio.wait([gone])
    voice.hold.set()
    assert all(await asyncio.wait_for(asyncio.gather(*cloning), 10))
    assert voice.cloned == [0, 10, 2, 11, 3, 4, 5, 6, 7, 8, 9]
    handler.close()
