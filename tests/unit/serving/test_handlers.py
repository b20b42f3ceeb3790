"""The served text model's conversations: what is kept of answers that were stopped. The served
voices: whose recording is cloned next, and in which style they speak."""

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
from voxturn.runtime.decode.generation import Step
from voxturn.runtime.errors import (
    InferenceFailed,
    TextTooLong,
    UnknownStyle,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.executors.fake import FakeDecoder, FakeGraph
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.fake import FakeVoice
from voxturn.runtime.families.xtts.voices import Voice, VoiceStore
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.messages import Message, ReplyToken, ToolCall
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import Store
from voxturn.runtime.remote.dialogue import call_table
from voxturn.runtime.remote.tensors import Tensors, answered, text_of, text_tensor
from voxturn.runtime.serving.handlers import ReplyHandler, XttsHandler
from voxturn.runtime.serving.kept import Kept

from tests.artifacts import XTTS, FakeBackends, FakeTokens, all_kinds, on_cpu
from tests.chat_templates import replier_of, writes


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


@pytest.fixture
def tokens() -> FakeTokens:
    """What the served voice's sentences are made of: four codes each."""
    hidden, stop = np.zeros(8, np.float32), XTTS["gpt_stop_audio_token"]
    script = [*(Step(5, hidden, False, 0.0) for _ in range(4)), Step(stop, hidden, True, 1.0)]
    return FakeTokens("token_decoder", 1, 200, script)


@pytest.fixture
def voice(
    tokens: FakeTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[XttsHandler]:
    """A served XTTS; its speaker `Ana`, whose latents are 0, has a style whose latents are 5."""
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    fake = FakeBackends()
    fake.tokens = lambda role, slots, capacity: tokens
    fake.graph = lambda role: FakeGraph(lambda inputs: {"audio": np.ones((1, 1, 9999), np.float32)})
    fake.install(monkeypatch)
    profile = on_cpu(all_kinds(tmp_path))
    folder = Path(profile.speak.model)
    store = VoiceStore(Store().root, folder, Manifest.read(folder))
    happy = Voice("Ana", np.full((32, 8), 5.0, np.float32), np.ones(512, np.float32))
    store.add(happy, style="happy")
    handler = XttsHandler(profile)
    yield handler
    handler.close()


async def asked_for(handler: XttsHandler, **inputs: str) -> None:
    async for _ in handler({name: text_tensor(text) for name, text in inputs.items()}):
        pass


async def test_a_request_names_a_style_or_its_text_does(
    voice: XttsHandler, tokens: FakeTokens
) -> None:
    about = voice.describe()["voice"]
    assert (about["styles"], about["styles_of"]) == (["happy"], {"Ana": ["happy"]})
    text = "Yes. [happy] No."
    await asked_for(voice, text=text)
    await asked_for(voice, text=text, style="happy")
    await asked_for(voice, text=text, voice="Ana/happy:1+Ben:3")
    rows = [request.rows for request in tokens.requests]
    assert [row[1, 0] for row in rows if row is not None] == [0.0, 5.0, 5.0, 5.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        (
            {"voice": "Ben", "style": "happy"},
            UnknownStyle,
            "'Ben' has no style 'happy'; it has none",
        ),
        ({"style": "x" * 300}, UsageError, "style: has 300 characters"),
        ({"voice": "Ana:x"}, UsageError, "the weight 'x'"),
    ],
)
async def test_a_style_or_a_mixture_that_is_none_is_refused(
    inputs: dict[str, str], error: type[VoxturnError], says: str, voice: XttsHandler
) -> None:
    with pytest.raises(error, match=says):
        await asked_for(voice, text="Yes.", **inputs)


TOOLS = [{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}]
CALL = '<tool_call>\n{"name": "add", "arguments": {"to": 1}}\n</tool_call>'


@pytest.fixture
def tooled(tmp_path: Path) -> Iterator[ReplyHandler]:
    """A handler of a model that calls functions."""
    with replier_of(tmp_path, "qwen3") as replier:
        writes(replier, f"Let me see.\n{CALL}", "It is two.")
        handler = ReplyHandler.__new__(ReplyHandler)
        handler._replier = replier
        handler._system = []
        handler._dialogues = Kept("conversations", list, 8)
        yield handler


def sent(*messages: dict[str, Any], tools: Any = TOOLS) -> Tensors:
    inputs = {"messages": text_tensor(json.dumps(messages)), "conversation": text_tensor("one")}
    return inputs | ({"tools": text_tensor(json.dumps(tools))} if tools is not None else {})


async def answer_to(handler: ReplyHandler, inputs: Tensors) -> tuple[str, list[ToolCall]]:
    async with aclosing(handler(inputs)) as pieces:
        items = [item async for tensors in pieces for item in answered(tensors)]
    text = "".join(item.text for item in items if isinstance(item, ReplyToken))
    return text.strip(), [item for item in items if isinstance(item, ToolCall)]


QUESTION = {"role": "user", "text": "What?"}


async def test_calls_are_answered_by_the_client(tooled: ReplyHandler) -> None:
    text, (call,) = await answer_to(tooled, sent(QUESTION))
    assert (text, call.name, call.arguments) == ("Let me see.", "add", {"to": 1})
    result = {"role": "tool", "text": "2", "call_id": call.id}
    assert await answer_to(tooled, sent(result)) == ("It is two.", [])
    assert [m.role for m in kept(tooled)] == ["user", "assistant", "tool", "assistant"]
    assert kept(tooled)[1].calls == (call,)


async def test_a_client_may_bring_the_calls_itself(tooled: ReplyHandler) -> None:
    _, (call,) = await answer_to(tooled, sent(QUESTION))
    said = {"role": "assistant", "text": "", "calls": [call_table(call)]}
    result = {"role": "tool", "text": "2", "call_id": call.id}
    inputs = sent(QUESTION, said, result) | {"conversation": text_tensor("")}
    assert await answer_to(tooled, inputs) == ("It is two.", [])


async def test_a_client_that_answers_no_call_may_go_on(tooled: ReplyHandler) -> None:
    await answer_to(tooled, sent(QUESTION))
    await answer_to(tooled, sent({"role": "user", "text": "Never mind."}))
    assert [m.role for m in kept(tooled)][:4] == ["user", "assistant", "tool", "user"]


async def test_a_call_whose_answer_was_left_is_forgotten(tooled: ReplyHandler) -> None:
    answer = tooled(sent(QUESTION))
    async for tensors in answer:
        if "calls" in tensors:
            break
    await answer.aclose()
    assert [(m.role, m.calls) for m in kept(tooled)] == [("user", ()), ("assistant", ())]


@pytest.mark.parametrize(
    ("messages", "tools", "says"),
    [
        ([QUESTION], "add", "tools: must be a JSON list of 1 to 64 tools"),
        ([QUESTION], [], "tools: must be a JSON list of 1 to 64 tools"),
        ([QUESTION], TOOLS * 65, "tools: must be a JSON list of 1 to 64 tools"),
        ([QUESTION], [5], r"tools\[0\]: must be a JSON object"),
        ([QUESTION], [{"name": "add"}], r"tools\[0\]: needs description"),
        (
            [QUESTION],
            [TOOLS[0] | {"parameters": []}],
            r"tools\[0\].parameters: must be a JSON object",
        ),
        ([QUESTION], [TOOLS[0] | {"call": "rm"}], r"tools\[0\]: has no field call"),
        ([QUESTION], [TOOLS[0] | {"description": "x" * 40_000}], "tools of 400.. characters"),
        ([{"role": "tool", "text": "2"}], TOOLS, r"messages\[0\]: needs call_id"),
        (
            [{"role": "assistant", "text": "", "calls": 5}],
            TOOLS,
            r"messages\[0\].calls: must be a list",
        ),
        (
            [{"role": "tool", "text": "2", "call_id": "a"}],
            TOOLS,
            "no place for a message of the tool",
        ),
        ([QUESTION, {"role": "tool", "text": "2", "call_id": "a"}], None, "give its tools as well"),
    ],
)
async def test_what_is_no_tool_or_no_result_is_refused_by_its_name(
    messages: list[Any], tools: Any, says: str, tooled: ReplyHandler
) -> None:
    with pytest.raises((UsageError, TextTooLong), match=says) as caught:
        await answer_to(tooled, sent(*messages, tools=tools))
    assert "\n" not in str(caught.value)
    assert kept(tooled) == []


async def test_an_answer_with_options_ends_with_its_report(tooled: ReplyHandler) -> None:
    inputs = sent(QUESTION) | {"options": text_tensor(json.dumps({"max_tokens": 3}))}
    pieces = [tensors async for tensors in tooled(inputs)]
    assert ["report" in tensors for tensors in pieces].index(True) == len(pieces) - 1
    report = json.loads(text_of(pieces[-1]["report"]))
    assert report["prompt_tokens"] > 3
    assert (report["completion_tokens"], report["full"]) == (3, True)
    assert answered(pieces[-1]) == [ReplyToken("", ())]
    assert not any("report" in tensors for tensors in [t async for t in tooled(sent(QUESTION))])


@pytest.mark.parametrize(
    "options",
    [
        "five",
        "[]",
        '{"unknown": 1}',
        '{"max_tokens": "5"}',
        '{"max_tokens": 0}',
        '{"temperature": -1}',
        '{"temperature": NaN}',
        '{"seed": -1}',
        '{"stops": "x"}',
        json.dumps({"stops": ["x"] * 17}),
        json.dumps({"stops": ["x" * 201]}),
    ],
)
async def test_what_is_no_option_is_refused(options: str, tooled: ReplyHandler) -> None:
    with pytest.raises(UsageError) as caught:
        await answer_to(tooled, sent(QUESTION) | {"options": text_tensor(options)})
    assert "\n" not in str(caught.value)
    assert kept(tooled) == []
