"""One suite for the stages on three kinds of executors: fakes, engines in this process, engines in
a Triton server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.bench.espeak import Espeak
from voxturn.runtime import errors
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.client.voice import served_by
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService, engine_of
from voxturn.runtime.executors.fake import FakeDecoder, FakeGraph, FakeWhisper
from voxturn.runtime.families.base import Voice
from voxturn.runtime.families.decoder import DecoderReplier, as_decoder
from voxturn.runtime.families.options import (
    HearingOptions,
    ReplyOptions,
    ReplyReport,
    replying_as,
)
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser
from voxturn.runtime.families.windowed import WindowedVocoder
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.speak import Manner, XttsSpeech
from voxturn.runtime.families.xtts.speakers import Speakers
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.families.xtts.voice import XttsVoice
from voxturn.runtime.families.xtts.voices import Voice as Speaker
from voxturn.runtime.families.xtts.voices import VoiceStore
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    PcmChunk,
    ReplyToken,
    Sentence,
    SessionEvent,
    Transcript,
    TurnDone,
)
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.protocols import Generated
from voxturn.runtime.remote.connection import Connection
from voxturn.runtime.serving.processes import command_of, descendants
from voxturn.runtime.text.chat import Chat, ChatFormat
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.text.tokenizer import JsonTokenizer
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.stages import Stages

from tests.tiny.conftest import Tiny
from tests.triton.conftest import ROOT, Running, serve

QUESTION = ROOT / "runtime/demo/question.wav"
KINDS = ("fake", "embedded", "triton")


@dataclass
class Made:
    """The stages of one kind."""

    recogniser: FilteredRecogniser
    replier: DecoderReplier
    voice: Voice


@pytest.fixture(scope="module", params=KINDS)
def stages(
    request: pytest.FixtureRequest,
    profile: Path,
    tiny: Tiny,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Made]:
    settings = load_profile(profile)
    if request.param == "fake":
        with contextlib.ExitStack() as lanes:
            made = faked(settings, tiny, lanes, tmp_path_factory.mktemp("home"))
            asyncio.run(used(made))
            yield made
        return
    if request.param == "triton":
        settings = served_by(settings, request.getfixturevalue("server").grpc)
    parts = LoadedParts(settings)
    try:
        replier = as_decoder(parts.replier())
        assert (engine_of(replier.service) is None) == (request.param == "triton")
        recogniser = FilteredRecogniser(parts.recogniser(), parts.content_filter())
        made = Made(recogniser, replier, parts.voice())
        asyncio.run(used(made))
        yield made
    finally:
        parts.close()


def faked(settings: Profile, tiny: Tiny, lanes: contextlib.ExitStack, home: Path) -> Made:
    """Stages on fakes, with the tokenizers of the real ones."""

    def lane(name: str) -> Lane:
        made = Lane(name)
        lanes.callback(made.close)
        return made

    parts = LoadedParts(settings)
    hearing = JsonTokenizer(parts.choice("transcribe").folder / "tokenizer.json")
    replying = parts.choice("reply").folder
    tokenizer = JsonTokenizer(replying / "tokenizer.json")
    said = Generated(tuple(hearing.encode(" What is the capital of France?")), -0.2, 0.0)
    recogniser = WhisperRecogniser(
        FakeWhisper([said]),
        hearing,
        lambda s: np.zeros((80, s.size // 160), np.float32),
        lane("t"),
        "en",
    )
    chat = Chat(tokenizer, ChatFormat.of(Manifest.read(replying).properties))
    answer = tokenizer.encode("It is Paris.")
    stop = next(iter(chat.stop_ids))

    def written(ids: Sequence[int]) -> int:
        given = next(
            n for n in range(len(answer), -1, -1) if list(ids[len(ids) - n :]) == answer[:n]
        )
        return answer[given] if given < len(answer) else stop

    decoder = FakeDecoder(written, 60_000, slots=2, capacity=2048)
    replies = DecodeService(DecodeEngine(decoder), lane("r"))
    replier = DecoderReplier(replies, tokenizer, chat, Sampling(), 80)
    manifest = Manifest.read(tiny.short)
    ids, p = XttsIds.from_properties(manifest.properties), manifest.properties

    def code(prompt: Sequence[int]) -> int:
        starts = [i for i, value in enumerate(prompt) if value == ids.code(ids.start_audio, 0)]
        return 5 if not starts or len(prompt) - starts[-1] < 12 else ids.stop_audio

    codes = DecodeService(
        DecodeEngine(FakeDecoder(code, ids.audio_tokens, 4, ids.positions)), lane("s")
    )
    speaker = Speaker("v", np.zeros((32, 1), np.float32), np.zeros(512, np.float32))
    xtts = XttsTokenizer(tiny.short / "vocab.json")
    hop = int(p["output_hop_length"])
    graph = FakeGraph(
        lambda i: {
            "audio": np.full(
                (1, 1, (int(i["frames"]) - int(i["before"]) - int(i["after"])) * hop),
                0.5,
                np.float32,
            )
        }
    )
    frames, plans = XttsFrames.from_properties(p), (Plan(9, 96, 1.25),)
    vocoder = WindowedVocoder(graph, lane("v"), 24000, hop, int(p["margin"]), frames, plans)

    def no_cloner() -> Any:
        raise AssertionError("nothing is cloned here")

    people = Speakers(VoiceStore(home, tiny.short, manifest), no_cloner)
    voice = XttsVoice(XttsSpeech(codes, ids, xtts, Manner(speaker, "en")), vocoder, people)
    return Made(FilteredRecogniser(recogniser, PassAll()), replier, voice)


async def used(made: Made) -> None:
    """Every stage once: its thread is then there before a test, which is watched for threads that
    it leaves."""
    await made.recogniser.transcribe(np.zeros(16000, np.float32))
    assert [token async for token in made.replier([Message("user", "Hello.")])]
    await voiced(made, "Ready.")


async def voiced(made: Made, text: str) -> list[PcmChunk]:
    async def once() -> AsyncIterator[Sentence]:
        yield Sentence(text, 0)

    chunks = spoken(made.voice, once())
    try:
        return [chunk async for chunk in chunks]
    finally:
        await chunks.aclose()


async def test_an_utterance_becomes_its_words(stages: Made) -> None:
    found = await stages.recogniser.transcribe(decode_all(QUESTION, 16000))
    assert "capital of France" in found.text
    assert found.language == "en"


async def test_an_answer_comes_token_by_token_and_ends(stages: Made) -> None:
    system = Message("system", load_profile("demo").system_prompt)
    dialogue = [system, Message("user", "What is the capital of France?")]
    tokens = [token async for token in stages.replier(dialogue)]
    assert len(tokens) > 2
    assert "Paris" in "".join(token.text for token in tokens)
    again = [token async for token in stages.replier(dialogue)]
    assert [t.text for t in again] == [t.text for t in tokens]


async def test_answers_that_are_left_free_their_slots(stages: Made) -> None:
    for number in range(8):  # more than there are slots
        tokens = stages.replier([Message("user", f"Count from {number} to ten.")])
        await anext(tokens)
        await tokens.aclose()
    async with asyncio.timeout(20):
        assert [
            t async for t in stages.replier([Message("user", "What is the capital of France?")])
        ]


async def test_a_dialogue_that_does_not_fit_is_refused(stages: Made) -> None:
    with pytest.raises(errors.PromptTooLong):
        async for _ in stages.replier([Message("user", "far too long " * 2000)]):
            pass


async def test_a_text_becomes_audio_the_same_each_time(stages: Made) -> None:
    await stages.voice.warm()
    chunks = await voiced(stages, "Good morning to all of you.")
    assert chunks[-1].final
    assert [c.start for c in chunks] == np.cumsum([0, *(c.samples.size for c in chunks)])[
        :-1
    ].tolist()
    again = await voiced(stages, "Good morning to all of you.")
    np.testing.assert_allclose(
        np.concatenate([c.samples for c in again]),
        np.concatenate([c.samples for c in chunks]),
        atol=2e-4,
    )


async def test_streams_at_once_and_a_cancelled_one(stages: Made) -> None:
    async def cancelled() -> None:
        async with asyncio.timeout(0.05):
            await voiced(stages, "A sentence that nobody hears to its end.")

    async with asyncio.timeout(60):
        whole, *rest = await asyncio.gather(
            voiced(stages, "Good evening."),
            *(cancelled() for _ in range(4)),
            return_exceptions=True,
        )
        assert isinstance(whole, list)
        assert whole[-1].final
        assert all(r is None or isinstance(r, TimeoutError) for r in rest)
        assert await voiced(stages, "Good night.")


async def test_a_text_without_speech_has_no_audio(stages: Made) -> None:
    assert await voiced(stages, "…!") == []


async def test_turns_are_driven_here_on_engines_there(server: Running, profile: Path) -> None:
    async with VoiceClient(server.grpc, profile=str(profile)) as client:
        live = client.turn(frames_from(QUESTION, live=True))  # as from a microphone
        events = [event async for event in live]
        heard = next(event for event in events if isinstance(event, Transcript))
        assert "France" in heard.text
        assert isinstance(events[-1], TurnDone)
        assert sum(event.samples.size for event in events if isinstance(event, PcmChunk)) > 1000
        interrupted = client.turn(decode_all(QUESTION, 16000))
        async for event in interrupted:
            if isinstance(event, PcmChunk):
                await interrupted.interrupt()
        async with asyncio.timeout(30):
            assert [event async for event in client.turn(decode_all(QUESTION, 16000))]


async def test_whole_stages_run_there_without_an_artifact_here(
    server: Running, profile: Path, tmp_path: Path
) -> None:
    """Only the voice detector is here."""
    path = tmp_path / "there.toml"
    text = profile.read_text(encoding="utf-8")
    listen = text[text.index("[listen]") : text.index("[transcribe]")]
    there = "".join(
        f'[{stage}]\nmodel = "{model}"\nexecutor = "remote"\nserver = "{server.grpc}"\n\n'
        for stage, model in (("transcribe", "whisper"), ("reply", "qwen3"), ("speak", "xtts"))
    )
    path.write_text(f'about = "There"\nlanguage = "en"\n\n{listen}{there}', encoding="utf-8")
    async with Assistant.load(path) as assistant:
        dialogue = assistant.conversation()
        async with dialogue.turn(frames_from(QUESTION), whole_input=True) as turn:
            events = [event async for event in turn]
        heard = next(event for event in events if isinstance(event, Transcript))
        assert "capital of France" in heard.text
        done = events[-1]
        assert isinstance(done, TurnDone)
        assert "Paris" in done.reply
        chunks = [event for event in events if isinstance(event, PcmChunk)]
        assert chunks[-1].final
        assert [c.start for c in chunks[1:]] == np.cumsum([c.samples.size for c in chunks[:-1]]).tolist()  # fmt: skip
        found = await assistant.stages.recogniser.transcribe(
            decode_all(QUESTION, 16000), words=True
        )
        assert [word.text.strip(" ?") for word in found.words][-1] == "France"
        await _options_reach_the_server(assistant.stages)
        served = load_profile(profile)
        here = LoadedParts(served).choice("speak").manifest.digest
        assert assistant.setup.info["speak"].artifact_sha256 == here


async def _options_reach_the_server(stages: Stages) -> None:
    report = ReplyReport()
    replier = replying_as(stages.replier, ReplyOptions(max_tokens=3, seed=1), report)
    question = [Message("user", "What is the capital of France?")]
    written = [item async for item in replier(question) if isinstance(item, ReplyToken)]
    assert 0 < sum(len(item.ids) for item in written) <= 3
    assert (report.completion_tokens, report.full) == (3, True)
    assert report.prompt_tokens > 5
    options = HearingOptions("auto", ("Paris",), "A geography lesson.", translate=True)
    heard = await stages.recogniser.using(options).transcribe(decode_all(QUESTION, 16000))
    assert "capital of France" in heard.text


async def test_a_server_of_another_artifact_is_refused(
    server: Running, profile: Path, tiny: Tiny
) -> None:
    text = profile.read_text(encoding="utf-8")
    hearing, voice = text[: text.index("[speak]")], text[text.index("[speak]") :]
    voice = voice.replace(str(tiny.short), str(tiny.fp32)).replace('"int8"', '"fp32"')
    other = profile.with_name("other.toml")
    other.write_text(hearing + voice, encoding="utf-8")
    parts = LoadedParts(served_by(load_profile(other), server.grpc))
    try:
        with pytest.raises(errors.InvalidProfile, match="both sides need the same"):
            parts.voice()
    finally:
        parts.close()


@pytest.fixture(scope="module")
def turns(profile: Path) -> Iterator[Running]:
    running = serve(profile, ["voice_turn"])
    yield running
    running.stop()


async def test_a_server_drives_turns_and_keeps_the_dialogue(turns: Running) -> None:
    async with VoiceClient(turns.grpc) as client:
        events = [event async for event in client.turn(decode_all(QUESTION, 16000))]
        kinds = {type(event) for event in events}
        assert {Transcript, ReplyToken, Sentence, PcmChunk, TurnDone} <= kinds
        turn = client.turn(decode_all(QUESTION, 16000))
        async for event in turn:
            if isinstance(event, PcmChunk):
                await turn.interrupt()  # barge-in
        async with asyncio.timeout(30):
            assert [event async for event in client.turn(decode_all(QUESTION, 16000))]


async def test_a_session_at_a_server_is_interrupted_and_leaves_nothing(turns: Running) -> None:
    question = np.concatenate([decode_all(QUESTION, 16000), np.zeros(32_000, np.float32)])
    other = Espeak().say("Tell me about London instead.", "en-us")  # no words of the answer
    async with asyncio.timeout(60), VoiceClient(turns.grpc) as client:
        async with client.session() as session:
            events: list[SessionEvent] = []

            async def until(last: type) -> None:
                async for event in session:
                    events.append(event)
                    if isinstance(event, last):
                        return

            session.push(question)
            await until(TurnDone)
            samples = sum(event.samples.size for event in events if isinstance(event, PcmChunk))
            session.played(500 * samples / session.rate)  # half of it
            session.push(np.concatenate([other, np.zeros(32_000, np.float32)]))  # over the answer
            await until(Interrupted)
            heard = events[-1]
            assert isinstance(heard, Interrupted)
            assert heard.heard
            await until(TurnDone)
            first, answered, second, *_ = [m for m in session.messages if m.role != "system"]
            assert "the capital of France" in first.text
            assert answered == Message("assistant", heard.heard)
            assert "instead" in second.text
        await nothing_is_left(turns)
        async with client.session() as session:  # the next one
            session.ask("What is the capital of France?")
            await until(PcmChunk)
        await nothing_is_left(turns)


async def nothing_is_left(server: Running) -> None:
    """No request holds a slot of the token engine."""
    connection = Connection(server.grpc)
    try:
        for _ in range(100):
            if not connection.describe("voice_turn")["slots_held"]:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("slots are held")
    finally:
        connection.close()


async def test_a_session_ends_with_the_model_that_drives_it(turns: Running) -> None:
    async with (
        asyncio.timeout(60),
        VoiceClient(turns.grpc) as client,
        client.session() as session,
    ):
        session.ask("What is the capital of France?")
        await anext(aiter(session))
        family = descendants(turns.process.pid)
        stub = next(pid for pid in family if "/voice_turn/1/model.py" in command_of(pid))
        os.kill(stub, signal.SIGKILL)
        with pytest.raises(errors.ServerDied):
            async for _ in session:
                pass
