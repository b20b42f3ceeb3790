"""Real models: a turn, its audio, barge-in, the README's example."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from pathlib import Path

import jiwer
import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import Event, PcmChunk, TurnDone
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store

QUESTION = Path(__file__).parents[2] / "runtime" / "demo" / "question.wav"
_WORDS = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.ExpandCommonEnglishContractions(),
        jiwer.RemovePunctuation(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)

pytestmark = pytest.mark.usefixtures("demo_models")


def test_the_demo_command_leaves_speech_that_says_the_reply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert cli.main(["demo", "-o", str(out)]) == 0
    trace = json.loads((out / "trace.json").read_text())
    assert trace["transcript"] == "What is the capital of France?"
    assert "Paris" in trace["reply"]
    assert trace["underruns"] == 0
    assert (out / "turn.png").read_bytes()[:4] == b"\x89PNG"
    assert trace["reply"] in (out / "transcript.txt").read_text()
    for stage, info in trace["stages"].items():
        if stage != "read":
            model, _ = Registry.read().resolve(info["model"])
            assert info["artifact_sha256"] == Store().artifact(model, info["precision"])[1].digest
    capsys.readouterr()
    assert cli.main(["transcribe", str(out / "reply.wav")]) == 0
    heard = capsys.readouterr().out
    error = jiwer.wer(
        trace["reply"], heard, reference_transform=_WORDS, hypothesis_transform=_WORDS
    )
    assert error <= 0.1, heard


async def test_barge_in_at_twenty_moments_leaves_nothing_and_the_next_turn_works() -> None:
    question = decode_all(QUESTION, 16000)
    async with Assistant.load("demo") as assistant:
        await assistant.warm()
        threads = threading.active_count()
        random = np.random.default_rng(3)
        for moment in random.uniform(0.2, 3.2, 20):
            turn = assistant.conversation().turn(frames_from(question, live=True))
            got: list[Event] = []

            async def consume() -> None:
                async for event in turn:  # noqa: B023
                    got.append(event)  # noqa: B023

            reader = asyncio.create_task(consume())
            await asyncio.sleep(moment)
            await asyncio.wait_for(turn.aclose(), 5)
            heard = len(got)
            await asyncio.wait_for(reader, 5)
            assert not [event for event in got[heard:] if isinstance(event, PcmChunk)]
            assert len(asyncio.all_tasks()) == 1  # every stage has stopped by then
        last = assistant.conversation().turn(frames_from(question, live=True))
        async with last:
            events = [event async for event in last]
        assert isinstance(events[-1], TurnDone)
        assert "Paris" in events[-1].reply
        assert threading.active_count() <= threads + 1
    assert not [t for t in threading.enumerate() if t.name.startswith("voxturn")]


async def test_same_seed_same_audio_and_the_reading_thread_is_gone() -> None:
    question = decode_all(QUESTION, 16000)
    answers = []
    async with Assistant.load("demo") as assistant:
        for _ in range(2):
            turn = assistant.conversation().turn(frames_from(question), whole_input=True)
            async with turn:
                answers.append(
                    np.concatenate([e.samples async for e in turn if isinstance(e, PcmChunk)])
                )
        second = assistant.conversation()
    assert np.array_equal(answers[0], answers[1])
    assert second.messages[0].role == "system"


def test_the_readme_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    use = readme.split("\n## Use\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", use, re.DOTALL)
    answer = tmp_path / "answer.wav"
    code = code.replace('"question.wav"', repr(str(QUESTION))).replace(
        '"answer.wav"', repr(str(answer))
    )
    exec(compile(code, "README.md", "exec"), {})
    assert decode_all(answer, 16000).size > 8000
    assert "heard: What is the capital of France?" in capsys.readouterr().out


def test_say_then_transcribe_gives_the_text_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "The train leaves at seven. Please bring a warm coat."
    assert cli.main(["say", text, "-o", str(tmp_path / "said.wav")]) == 0
    assert cli.main(["transcribe", str(tmp_path / "said.wav"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    heard = " ".join(line["text"] for line in lines)
    assert jiwer.wer(text, heard, reference_transform=_WORDS, hypothesis_transform=_WORDS) <= 0.2


def test_chat_answers_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("What is the capital of France?\n\nThanks.\n"))
    assert cli.main(["chat", "-o", str(tmp_path)]) == 0
    assert "Paris" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.glob("*.wav")) == ["turn-1.wav", "turn-2.wav"]
