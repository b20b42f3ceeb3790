"""A reply by CTranslate2: the same tokens as the graph's, from a folder that `export qwen3 --for
ctranslate2` wrote."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import pytest
from voxturn.bench import scripted
from voxturn.export.decoder import export as decoder
from voxturn.export.decoder import synthetic
from voxturn.export.decoder.parity import greedy, open_decoder
from voxturn.runtime import prepare
from voxturn.runtime.assistant import Assistant, stages_of
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import engine_of
from voxturn.runtime.errors import (
    CorruptModel,
    ExecutorUnavailable,
    InferenceFailed,
    InvalidProfile,
    PromptTooLong,
    StreamClosed,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.executors.ctranslate2 import Ct2CudaBackend
from voxturn.runtime.executors.ctranslate2_tokens import Ct2Tokens
from voxturn.runtime.families.decoder import as_decoder
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import Message, ReplyToken
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, quiet
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import ReplyEngine, load_profile
from voxturn.runtime.remote.requests import of_request, to_step
from voxturn.runtime.serving.handlers import ReplyHandler

PROMPT = list(range(300, 324))
BUDGET = Cores().budget("reply", 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny Qwen3, for CTranslate2 and for ONNX Runtime."""
    root = tmp_path_factory.mktemp("ct2")
    synthetic.make_checkpoint(root / "checkpoint", "qwen3-0.6b", "tiny", 5)
    made = {engine: root / engine for engine in ("ctranslate2", "onnx")}
    for engine, folder in made.items():
        folder.mkdir()
        source = Manifest("qwen3-0.6b", "checkpoint", "source", {}, {})
        decoder.export(root / "checkpoint", source, folder, "fp32", quiet, engine)
    return made


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane("reply")
    yield made
    made.close()


@pytest.fixture
def tokens(folders: dict[str, Path], lane: Lane) -> Iterator[Ct2Tokens]:
    made = Ct2Tokens(folders["ctranslate2"], "fp32", 256, BUDGET, lane, "cpu")
    yield made
    made.close()


async def taken(tokens: Ct2Tokens, request: Request) -> list[Step]:
    return [step async for step in tokens.stream(request)]


async def test_it_gives_the_graph_s_tokens(tokens: Ct2Tokens, folders: dict[str, Path]) -> None:
    graph = open_decoder(folders["onnx"] / "decoder.onnx")
    wanted = greedy(graph, PROMPT, 24)[0]
    graph.close()
    request = Request(PROMPT, max_tokens=24)
    await tokens.keep(request)
    await tokens.compute(request)
    assert [step.token for step in await taken(tokens, request)] == wanted
    assert await taken(tokens, replace(request, max_tokens=0)) == []


async def test_two_dialogues_come_one_after_the_other(tokens: Ct2Tokens) -> None:
    """Also where the first one's reader does not read."""
    first = tokens.stream(Request(PROMPT, max_tokens=30))
    begun = [(await anext(first)).token]
    alone = [
        step.token
        for step in await asyncio.wait_for(taken(tokens, Request(PROMPT, max_tokens=30)), 30)
    ]
    assert begun + [step.token async for step in first] == alone


async def test_one_client_with_many_answers_does_not_hold_up_another(
    tokens: Ct2Tokens, lane: Lane
) -> None:
    order = list[str]()
    hold = threading.Event()

    async def answered(client: str) -> None:
        CLIENT.set(client)
        async for _ in tokens.stream(Request(PROMPT, max_tokens=2)):
            pass
        order.append(client)

    running = asyncio.create_task(lane.run(hold.wait, 10))
    answers = [asyncio.create_task(answered("greedy")) for _ in range(4)]
    await asyncio.sleep(0)
    gone = asyncio.create_task(answered("gone"))
    answers.append(asyncio.create_task(answered("modest")))
    await asyncio.sleep(0)
    gone.cancel()
    hold.set()
    await asyncio.wait_for(asyncio.gather(running, *answers), 30)
    assert order == ["greedy", "modest", "greedy", "greedy", "greedy"]


async def test_a_lane_that_is_closed_ends_its_answers(folders: dict[str, Path]) -> None:
    lane = Lane("reply")
    tokens = Ct2Tokens(folders["ctranslate2"], "fp32", 10_000, BUDGET, lane, "cpu")
    # more than a fast machine makes before the lane is closed
    first, second = (tokens.stream(Request(PROMPT, max_tokens=9_000)) for _ in range(2))
    await anext(first)
    waiting = asyncio.create_task(anext(second))
    await asyncio.sleep(0.01)
    await asyncio.to_thread(lane.close)
    for reader in (waiting, taken_from(first)):
        with pytest.raises(StreamClosed, match="was closed"):
            await asyncio.wait_for(reader, 10)
    tokens.close()


async def taken_from(stream: AsyncGenerator[Step, None]) -> list[Step]:
    return [step async for step in stream]


async def test_a_stop_id_is_the_last_step(tokens: Ct2Tokens) -> None:
    first, second = (step.token for step in await taken(tokens, Request(PROMPT, max_tokens=2)))
    steps = await taken(tokens, Request(PROMPT, stop_ids={first, second}, max_tokens=9))
    assert [(step.token, step.stop) for step in steps] == [(first, True)]


async def test_it_samples_as_it_is_told(tokens: Ct2Tokens) -> None:
    async def tokens_of(sampling: Sampling) -> list[int]:
        return [
            step.token for step in await taken(tokens, Request(PROMPT, sampling, max_tokens=24))
        ]

    ctranslate2.set_random_seed(1)  # a sampled answer may end where the model ends it
    greedily = await tokens_of(Sampling())
    assert await tokens_of(Sampling(2.0, top_k=1)) == greedily
    assert len(await tokens_of(Sampling(2.0, top_k=10**6, top_p=0.5))) == 24
    assert await tokens_of(Sampling(2.0)) != greedily
    assert await tokens_of(Sampling(repetition_penalty=10.0)) != greedily


async def test_an_answer_that_is_left_ends_and_the_next_one_comes(
    tokens: Ct2Tokens, lane: Lane
) -> None:
    await taken(tokens, Request(PROMPT, max_tokens=1))
    before = threading.active_count()
    left = tokens.stream(Request(PROMPT, max_tokens=200))
    first = await anext(left)
    await left.aclose()
    assert (await taken(tokens, Request(PROMPT, max_tokens=1)))[0].token == first.token
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (
            Request(PROMPT, Sampling(0.5, min_p=0.1), max_tokens=2),
            UsageError,
            "CTranslate2 has no min_p",
        ),
        (Request(PROMPT, Sampling(0.5, top_p=0.9), max_tokens=2), UsageError, "set top_k as well"),
        (Request(PROMPT, forced=[1], max_tokens=2), UsageError, "chooses its tokens by itself"),
        (Request(PROMPT, watch=1, max_tokens=2), UsageError, "chooses its tokens by itself"),
        (Request(PROMPT, history=[1], max_tokens=2), UsageError, "chooses its tokens by itself"),
        (Request([10**6], max_tokens=2), UsageError, "ids that this model does not have"),
        (
            Request(PROMPT, max_tokens=250),
            PromptTooLong,
            "24 tokens and its answer 250, together at most 256",
        ),
    ],
)
async def test_what_it_cannot_do_is_said(
    tokens: Ct2Tokens, request_: Request, error: type[VoxturnError], says: str
) -> None:
    with pytest.raises(error, match=says):
        await taken(tokens, request_)


async def test_a_failure_while_it_writes_is_the_reader_s(
    tokens: Ct2Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(token_id=7)
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(
            tokens,
            "_model",
            SimpleNamespace(generate_tokens=fails, unload_model=tokens._model.unload_model),
        )
        steps = tokens.stream(Request(PROMPT, max_tokens=3))
        assert (await anext(steps)).token == 7
        with pytest.raises(InferenceFailed, match=r"CTranslate2's decoder: out of memory$"):
            await anext(steps)


def test_what_cannot_be_loaded_is_said(
    folders: dict[str, Path], lane: Lane, tmp_path: Path
) -> None:
    with pytest.raises(CorruptModel, match=r"vocabulary\.json: cannot be read"):
        Ct2Tokens(folders["onnx"], "fp32", 256, BUDGET, lane)
    (tmp_path / "vocabulary.json").write_text("[]")
    with pytest.raises(CorruptModel, match="CTranslate2 cannot load it"):
        Ct2Tokens(tmp_path, "fp32", 256, BUDGET, lane, "cpu")
    with pytest.raises(
        ExecutorUnavailable,
        match=r"does not compute in int4 on this machine's cpu; it does in .*float32",
    ):
        Ct2Tokens(folders["ctranslate2"], "int4", 256, BUDGET, lane, "cpu")


def test_on_a_gpu_it_is_loaded_there(
    folders: dict[str, Path], lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(ExecutorUnavailable, match="'ctranslate2-cuda' finds no GPU"):
        Ct2Tokens(folders["ctranslate2"], "fp16", 256, BUDGET, lane)
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(
        ctranslate2, "get_supported_compute_types", lambda device: {"cuda": {"float16"}}[device]
    )
    monkeypatch.setattr(ctranslate2, "Generator", lambda folder, **options: made.update(options))
    Ct2Tokens(folders["ctranslate2"], "fp16", 256, BUDGET, lane)
    assert (made["device"], made["compute_type"]) == ("cuda", "float16")


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ct2CudaBackend, "device", "cpu")


def profile(folder: Path | str, executor: str = "ctranslate2-cuda", **about: Any) -> Any:
    reply = ReplyEngine(str(folder), executor, "fp32", max_tokens=8, context=512, **about)
    return replace(load_profile("demo"), reply=reply)


async def test_a_profile_s_reply_by_it(folders: dict[str, Path], on_the_cpu: None) -> None:
    parts = LoadedParts(profile(folders["ctranslate2"]))
    replier = as_decoder(parts.replier())
    assert (engine_of(replier.service), replier.service.capacity) == (None, 512)
    system = [Message("system", "Be brief.")]
    await replier.warm(system)
    answer = [token async for token in replier([*system, Message("user", "Hello")])]
    assert answer
    assert all(isinstance(token, ReplyToken) for token in answer)
    assert parts.info["reply"].executor == "ctranslate2-cuda"
    parts.close()


async def test_a_server_s_model_by_it(folders: dict[str, Path], on_the_cpu: None) -> None:
    handler = ReplyHandler(profile(folders["ctranslate2"]))
    await handler.warm()
    request = Request(PROMPT, max_tokens=3)
    steps = [to_step(tensors) async for tensors in handler(of_request(request))]
    assert len(steps) == 3
    assert handler.describe()["executor"] == "ctranslate2-cuda"
    with pytest.raises(UsageError):
        [tensors async for tensors in handler(of_request(Request([10**6], max_tokens=1)))]
    handler.close()


def test_what_it_cannot_run_is_refused_before_it_runs(
    folders: dict[str, Path], tmp_path: Path, on_the_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(wrong: Any) -> str:
        found = prepare.problems(wrong, Store(tmp_path), Registry.read(), Cores())
        return " ".join(p.what for p in found if p.stage == "reply")

    def refused(wrong: Any, says: str) -> None:
        with pytest.raises(InvalidProfile, match=f"^profile demo.reply: .*{says}"):
            LoadedParts(wrong).replier()
        assert re.search(says, problem(wrong))

    refused(
        profile(folders["onnx"]),
        "is no text model for CTranslate2; name the folder of one that was exported with "
        "--for ctranslate2",
    )
    refused(
        profile(folders["ctranslate2"], "onnx"),
        "has no graph for ONNX Runtime; export it with --for onnx",
    )
    ct2 = folders["ctranslate2"]
    refused(profile(ct2, min_p=0.1), "CTranslate2 has no min_p")
    refused(profile(ct2, temperature=1.0, top_p=0.9), "CTranslate2 takes a top_p among the top_k")


async def test_it_follows_no_script(folders: dict[str, Path], on_the_cpu: None) -> None:
    parts = LoadedParts(profile(folders["ctranslate2"]))
    assistant = Assistant(parts, stages_of(parts))
    parts.info["reply"] = replace(parts.info["reply"], synthetic=True)
    with pytest.raises(UsageError, match="ctranslate2-cuda cannot follow a script"):
        scripted.follow(assistant)
    assistant.close()
