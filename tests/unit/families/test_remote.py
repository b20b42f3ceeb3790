"""Whole stages on a server, over a wire that this file plays: what is sent, what comes back, what
is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.errors import (
    AudioTooLong,
    EmptyText,
    ForgottenSequence,
    InferenceFailed,
    InvalidProfile,
    ServerUnavailable,
    UnknownStyle,
    UnknownVoice,
    UnsupportedLanguage,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.options import HearingOptions, ReplyOptions, ReplyReport
from voxturn.runtime.families.remote import (
    RemoteRecogniser,
    RemoteReplier,
    RemoteVoice,
    SettableReplier,
)
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import (
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Sentence,
    Speaking,
    ToolCall,
    ToolSpec,
    Transcript,
    Word,
)
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import bring, problems
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.remote.contract import LONGEST_TEXT, Piece
from voxturn.runtime.remote.dialogue import read_message, read_tools
from voxturn.runtime.remote.table import Table
from voxturn.runtime.remote.tensors import Tensors, of_answer, of_chunk, of_event, text_tensor
from voxturn.runtime.text.spoken import SpokenText, spoken_text

from tests.artifacts import FakeBackends

ABOUT = {"rate": 8000, "language": "en", "languages": ["en", "ar"], "speakers": ["Ana", "Badr"]}


class Wire:
    """A `Connection` whose answers are given; it keeps what was sent."""

    address = "there:1"

    def __init__(self, *answers: Tensors | VoxturnError) -> None:
        self._answers = list(answers)
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.pieces: list[Piece | None] = []
        self.forgotten: list[int] = []
        self.open = 0

    def describe(self, model: str) -> dict[str, Any]:
        return {"voice": ABOUT, "model": model, "artifact_sha256": "a" * 64, "precision": "int8"}

    async def ainfer(
        self, model: str, inputs: Mapping[str, Any], piece: Piece | None = None
    ) -> Tensors:
        self.sent.append((model, inputs))
        self.pieces.append(piece)
        answer = self._answers.pop(0)
        if isinstance(answer, VoxturnError):
            raise answer
        return answer

    async def stream(self, model: str, inputs: Mapping[str, Any]) -> AsyncGenerator[Tensors, None]:
        self.sent.append((model, inputs))
        self.open += 1
        try:
            for answer in self._answers:
                if isinstance(answer, VoxturnError):
                    raise answer
                yield answer
                await asyncio.sleep(0)
        finally:
            self.open -= 1

    def forget(self, model: str, sequence: int) -> None:
        assert model == "whisper"
        self.forgotten.append(sequence)

    def close(self) -> None:
        """Nothing is open."""


def heard(event: Partial | Transcript) -> Tensors:
    text = event.text if isinstance(event, Transcript) else event.stable + event.unstable
    return {"text": text_tensor(text)} | of_event(event)


def chunk(value: float, size: int, start: int, final: bool, index: int = 0) -> Tensors:
    samples = np.full(size, value, np.float32)
    return of_chunk(PcmChunk(samples, 8000, start, Sentence("theirs", index), final=final))


def voice_on(wire: Any, model: str = "xtts") -> RemoteVoice:
    return RemoteVoice(wire, model, ABOUT, {})


async def said(*texts: str) -> AsyncIterator[Sentence]:
    for index, text in enumerate(texts):
        yield Sentence(text, index)


async def test_what_is_said_so_far_is_sent_once_and_the_end_as_a_whole() -> None:
    final = Transcript("Good morning.", "en", -0.2, words=(Word("Good", 0.1, 0.4),))
    wire: Any = Wire(
        heard(Partial("Good", "", "en", 0)),
        heard(Partial("", "", "en", 0)),
        heard(final),
    )
    hearing = RemoteRecogniser(wire, "whisper", "en").hear("ar")
    one, two = np.ones(160, np.float32), np.zeros(80, np.float32)
    partial = await hearing.partial(Speaking((one,), 16000, 400))
    assert partial == Partial("Good", "", "en", 400)
    assert await hearing.partial(Speaking((one, two), 16000, 400)) is None
    assert await hearing.final(np.concatenate([one, two]), words=True) == final
    assert [inputs["audio"].size for _, inputs in wire.sent] == [160, 80, 240]
    first, second, whole = wire.pieces
    assert first.sequence == second.sequence != 0
    assert [(each.start, each.end) for each in (first, second)] == [(True, False), (False, False)]
    assert whole is None
    assert (wire.sent[2][1]["language"], wire.sent[2][1]["prior"]) == ("en", "ar")
    assert wire.sent[2][1]["words"].tolist() == [True]


async def test_what_a_server_has_lost_of_an_utterance_is_sent_again() -> None:
    wire: Any = Wire(
        heard(Partial("Good", "", "en", 0)),
        ForgottenSequence("the server was started again"),
        heard(Partial("Good", " day", "en", 0)),
        ServerUnavailable("it has gone"),
        heard(Partial("Good day", "", "en", 0)),
    )
    hearing = RemoteRecogniser(wire, "whisper", "en").hear()
    one, two = np.ones(160, np.float32), np.zeros(80, np.float32)
    await hearing.partial(Speaking((one,), 16000, 400))
    again = await hearing.partial(Speaking((one, two), 16000, 400))
    assert again == Partial("Good", " day", "en", 400)
    with pytest.raises(ServerUnavailable):
        await hearing.partial(Speaking((one, two, one), 16000, 400))
    await hearing.partial(Speaking((one, two, one), 16000, 400))
    assert [inputs["audio"].size for _, inputs in wire.sent] == [160, 80, 240, 160, 400]
    assert [piece.start for piece in wire.pieces] == [True, False, True, False, True]
    assert len({piece.sequence for piece in wire.pieces}) == 3


async def test_a_server_keeps_nothing_of_an_utterance_that_is_over() -> None:
    """Neither of one whose last partial is not known to have come."""
    said_so_far = heard(Partial("Good", "", "en", 0))
    wire: Any = Wire(said_so_far, heard(Transcript("Good day.", "en", -0.2)), said_so_far)
    hearing = RemoteRecogniser(wire, "whisper", "en").hear()
    one = np.ones(160, np.float32)
    hearing.close()
    assert wire.forgotten == []  # nothing of it was sent
    await hearing.partial(Speaking((one,), 16000, 0))
    await hearing.final(one)
    assert wire.forgotten == []  # the end was only suspected
    hearing.close()
    hearing.close()
    assert wire.forgotten == [wire.pieces[0].sequence]
    await hearing.partial(Speaking((one, one), 16000, 0))
    assert (wire.pieces[2].start, wire.sent[2][1]["audio"].size) == (True, 320)
    del hearing
    assert wire.forgotten == [wire.pieces[0].sequence, wire.pieces[2].sequence]


async def test_a_partial_that_is_cancelled_leaves_nothing_at_the_server() -> None:
    class Waits(Wire):
        async def ainfer(self, *args: Any) -> Tensors:
            self.pieces.append(args[2])
            return await asyncio.Event().wait()  # type: ignore[return-value]

    wire: Any = Waits()
    hearing = RemoteRecogniser(wire, "whisper", "en").hear()
    asking = asyncio.create_task(hearing.partial(Speaking((np.ones(160, np.float32),), 16000, 0)))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert wire.forgotten == [wire.pieces[0].sequence]


async def test_an_answer_of_another_kind_is_an_error() -> None:
    wire: Any = Wire(heard(Partial("Good", "", "en", 0)))
    hearing = RemoteRecogniser(wire, "whisper", "en").hear()
    with pytest.raises(InferenceFailed, match="sent a Partial for a Transcript"):
        await hearing.final(np.ones(160, np.float32))


async def test_a_dialogue_is_sent_whole_and_its_answer_comes_token_by_token() -> None:
    wire: Any = Wire(
        {"text": text_tensor("It "), "ids": np.array([3], np.int32)},
        {"text": text_tensor("is."), "ids": np.array([4, 5], np.int32)},
    )
    dialogue = [Message("system", "Be brief."), Message("user", "Is it?")]
    tokens = [token async for token in RemoteReplier(wire, "qwen3")(dialogue)]
    assert [(token.text, token.ids) for token in tokens] == [("It ", (3,)), ("is.", (4, 5))]
    ((model, inputs),) = wire.sent
    assert model == "qwen3"
    assert [m["role"] for m in json.loads(inputs["messages"])] == ["system", "user"]


async def test_tools_go_to_the_server_and_calls_come_back() -> None:
    call = ToolCall("abcdef123", "add", {"to": [1]}, ids=(4, 5))
    wire: Any = Wire(of_answer(ReplyToken("Let me see.", (3,))), of_answer(call))
    dialogue = [
        Message("user", "What?"),
        Message("assistant", "", calls=(call,)),
        Message("tool", "2", call_id=call.id),
    ]
    tools = [ToolSpec("add", "Adds.", {"type": "object"})]
    replier = RemoteReplier(wire, "qwen3", takes_tools=True)
    assert [item async for item in replier(dialogue, tools)] == [ReplyToken("Let me see."), call]
    ((_, inputs),) = wire.sent
    assert [message_of(each) for each in json.loads(inputs["messages"])] == dialogue
    assert read_tools(inputs["tools"], "tools") == tools


def message_of(item: Any) -> Message:
    return read_message(Table(item, "message"))


async def test_calls_of_another_version_are_a_failure() -> None:
    answer = {"text": text_tensor(""), "ids": np.array([], np.int32)}
    wire: Any = Wire(answer | {"calls": text_tensor('[{"id": 5}]')})
    with pytest.raises(InferenceFailed, match="calls that are not whole"):
        _ = [item async for item in RemoteReplier(wire, "qwen3")([Message("user", "So?")])]


async def test_leaving_an_answer_closes_its_request() -> None:
    wire: Any = Wire(*({"text": text_tensor("a"), "ids": np.array([1], np.int32)} for _ in "abc"))
    tokens = RemoteReplier(wire, "qwen3")([Message("user", "Go on.")])
    await anext(tokens)
    assert wire.open == 1
    await tokens.aclose()
    assert wire.open == 0


def test_the_oldest_turns_go_where_a_request_has_no_room_for_them() -> None:
    turns = [m for n in range(6) for m in (Message("user", f"{n}" * 999), Message("assistant", "x" * 999))]  # fmt: skip
    dialogue = [Message("system", "s"), *turns, Message("user", "last")]
    fitted = RemoteReplier(Wire(), "qwen3").fitted(dialogue)  # type: ignore[arg-type]
    assert fitted[0] == dialogue[0]
    assert fitted[-1] == dialogue[-1]
    assert fitted[1].role == "user"
    assert sum(len(m.text) for m in fitted) <= LONGEST_TEXT
    assert fitted[1:] == dialogue[-len(fitted) + 1 :]
    long = [Message("user", "u" * (LONGEST_TEXT + 1))]
    assert RemoteReplier(Wire(), "qwen3").fitted(long) == long  # type: ignore[arg-type]


async def test_sentences_follow_each_other_and_one_has_one_last_chunk() -> None:
    """The server cut the sentence in two, each of which had a last chunk."""
    wire: Any = Wire(chunk(0.1, 5, 0, False), chunk(0.2, 3, 5, True), chunk(0.3, 4, 8, True, 1))
    chunks = [each async for each in voice_on(wire)(said("One. Two.", "Three."))]
    assert [each.start for each in chunks] == [0, 5, 8, 12, 17, 20]
    assert [each.final for each in chunks] == [False, False, True] * 2
    assert [each.sentence.index for each in chunks] == [0, 0, 0, 1, 1, 1]
    assert chunks[0].sentence == Sentence("One. Two.", 0)
    assert [inputs["text"] for _, inputs in wire.sent] == ["One. Two.", "Three."]


async def test_a_sentence_is_asked_for_in_its_language_of_a_model_that_has_several() -> None:
    async def both() -> AsyncIterator[Sentence]:
        yield Sentence("Hello.", 0, language="en")
        yield Sentence("مرحبا.", 1, language="ar-EG")

    wire: Any = Wire(chunk(0.1, 5, 0, True))
    voice = voice_on(wire).using(VoiceOptions(language="en"))
    assert [each async for each in voice(both())]
    assert [inputs["language"] for _, inputs in wire.sent] == ["en", "ar-EG"]
    alone: Any = Wire(chunk(0.1, 5, 0, True))
    assert [each async for each in voice_on(alone, "vits")(both())]
    assert all("language" not in inputs for _, inputs in alone.sent)


async def test_a_sentence_without_speech_has_no_audio_and_does_not_end_the_others() -> None:
    wire: Any = Wire(EmptyText("nothing"))
    assert [each async for each in voice_on(wire)(said("…", "—"))] == []
    assert len(wire.sent) == 2


async def test_options_are_sent_and_leave_the_voice_as_it_was(tmp_path: Path) -> None:
    wire: Any = Wire(chunk(0.1, 5, 0, True))
    voice = voice_on(wire)
    other = voice.using(VoiceOptions(language="ar", speaker="Badr", speed=1.5, seed=7))
    assert (other.language, voice.language) == ("ar", "en")
    with WavFile(tmp_path / "me.wav", 16000) as sink:
        sink.write(np.full(16000, 0.1, np.float32))
    cloned = other.using(VoiceOptions(recordings=(tmp_path / "me.wav",)))
    for each in (voice, other, cloned):
        assert [c async for c in each(said("Hello."))]
    plain, chosen, recorded = (inputs for _, inputs in wire.sent)
    assert set(plain) == {"text"}
    assert (chosen["language"], chosen["voice"]) == ("ar", "Badr")
    assert (chosen["speed"].tolist(), chosen["seed"].tolist()) == ([1.5], [7])
    assert "voice" not in recorded
    assert recorded["reference"].size == recorded["reference_rate"][0] == 24000


STYLED = ABOUT | {"styles": ["calm"], "styles_of": {"Ana": ["calm"], "Badr": ["happy", "sad"]}}


async def test_a_sentence_s_style_is_sent_where_its_speaker_has_it(tmp_path: Path) -> None:
    wire: Any = Wire(chunk(0.1, 5, 0, True))
    voice = RemoteVoice(wire, "xtts", STYLED, {})
    both = voice.using(VoiceOptions(speaker="Ana:0.7+Badr/sad:0.3"))
    sad = voice.using(VoiceOptions(speaker="Badr", style="Sad"))
    assert [each.styles for each in (voice, both, sad)] == [
        ("calm",),
        ("calm", "happy", "sad"),
        ("happy", "sad"),
    ]
    styles = "", "calm", "happy"
    for each in (voice, both, sad):
        sentences = [Sentence("Yes.", index, style=style) for index, style in enumerate(styles)]

        async def said_so(sentences: list[Sentence] = sentences) -> AsyncIterator[Sentence]:
            for sentence in sentences:
                yield sentence

        assert [c async for c in each(said_so())]
    sent = [inputs.get("style") for _, inputs in wire.sent]
    assert sent == [None, "calm", None, None, "calm", "happy", "sad", "sad", "happy"]
    assert wire.sent[3][1]["voice"] == "Ana:0.7+Badr/sad:0.3"
    with WavFile(tmp_path / "me.wav", 16000) as sink:
        sink.write(np.full(16000, 0.1, np.float32))
    assert sad.using(VoiceOptions(recordings=(tmp_path / "me.wav",))).styles == ()
    assert "style" not in sad.using(VoiceOptions(speaker="Ana"))._inputs


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            VoiceOptions(style="happy"),
            UnknownStyle,
            "no style 'happy' of this speaker; it has calm",
        ),
        (VoiceOptions(speaker="Badr", style="calm"), UnknownStyle, "it has happy, sad"),
        (VoiceOptions(speaker="Ana:1+Eve:1"), UnknownVoice, "no speaker 'Eve'; it has Ana, Badr"),
        (VoiceOptions(speaker="Ana:x"), UsageError, "the weight 'x'"),
        (VoiceOptions(style="a b"), UsageError, "style 'a b'"),
    ],
)
def test_styles_and_mixtures_that_a_server_has_not_are_refused(
    options: VoiceOptions, error: type[VoxturnError], says: str
) -> None:
    with pytest.raises(error) as caught:
        RemoteVoice(Wire(), "xtts", STYLED, {}).using(options)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_a_server_from_before_there_were_styles_has_none() -> None:
    assert voice_on(Wire()).styles == ()
    with pytest.raises(UsageError, match="style"):
        voice_on(Wire(), "vits").using(VoiceOptions(style="happy"))


async def test_what_looks_like_a_tag_in_a_sentence_is_said_by_a_server() -> None:
    wire: Any = Wire(chunk(0.1, 5, 0, True))
    assert [c async for c in voice_on(wire)(said(SpokenText("[name] will call.")))]
    assert spoken_text(wire.sent[0][1]["text"]) == "[name] will call."


def test_a_recording_longer_than_a_request_is_not_sent(tmp_path: Path) -> None:
    wire: Any = Wire(chunk(0.1, 5, 0, True))
    with WavFile(tmp_path / "me.wav", 1000) as sink:
        sink.write(np.full(301_000, 0.1, np.float32))
    with pytest.raises(AudioTooLong, match=r"me\.wav: is longer than 300 s"):
        voice_on(wire).using(VoiceOptions(recordings=(tmp_path / "me.wav",)))


@pytest.mark.parametrize(
    ("model", "options", "error"),
    [
        ("xtts", VoiceOptions(language="fr"), UnsupportedLanguage),
        ("xtts", VoiceOptions(speaker="Eve"), UnknownVoice),
        ("xtts", VoiceOptions(guard=True), UsageError),
        ("xtts", VoiceOptions(recordings=(Path("a.wav"), Path("b.wav"))), UsageError),
        ("vits", VoiceOptions(speed=2.0), UsageError),
    ],
)
def test_options_that_the_served_model_has_not_are_refused(
    model: str, options: VoiceOptions, error: type[VoxturnError]
) -> None:
    with pytest.raises(error):
        voice_on(Wire(), model).using(options)


def remote(profile: Profile, **models: str) -> Profile:
    """A profile whose named stages run on a server."""
    changes: dict[str, Any] = {"vocode": None}
    for stage, model in models.items():
        settings = profile.engine(stage)
        there = {
            "model": model,
            "executor": "remote",
            "server": "there:1",
            "precision": "",
            "threads": 0,
        }
        changes[stage] = replace(settings, **there | ({"max_tokens": 96} if stage == "reply" else {}))  # fmt: skip
    return replace(profile, **changes)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A server in place of every connection."""
    wire: Any = Wire(chunk(0.1, 5, 0, True))
    FakeBackends().install(monkeypatch)
    from voxturn.runtime.executors import catalogue
    from voxturn.runtime.executors import remote as executor

    monkeypatch.setattr(catalogue.Executor, "load", lambda row: executor.RemoteBackend)
    monkeypatch.setattr("voxturn.runtime.remote.connection.Connection", lambda address: wire)
    return wire


def test_a_profile_may_name_served_models_and_needs_no_artifact(
    served: Wire, tmp_path: Path
) -> None:
    """The trace names the server's artifact."""
    profile = remote(load_profile("demo"), transcribe="whisper", reply="qwen3", speak="xtts")
    profile = replace(profile, speak=replace(profile.speak, voice="Ana", seed=5))
    store = Store(tmp_path)
    stages = {p.stage for p in problems(profile, store, Registry.read(), Cores())}
    assert stages == {"listen"}  # that alone runs here
    parts = LoadedParts(profile, store)
    try:
        voice = parts.voice()
        assert (voice.rate, voice.speakers) == (8000, ("Ana", "Badr"))
        assert isinstance(parts.replier(), RemoteReplier)
        assert isinstance(parts.recogniser(), RemoteRecogniser)
        assert parts.info["speak"].artifact_sha256 == "a" * 64
        assert parts.info["speak"].executor == "remote"
    finally:
        parts.close()


@pytest.mark.parametrize(
    ("stage", "changes", "what"),
    [
        ("reply", {"model": "xtts"}, "a server has qwen3 for text-generation"),
        ("speak", {"model": "whisper"}, "a server has xtts, vits for text-to-speech"),
        ("speak", {"model": "vits", "speed": 2.0}, "speed"),
        ("speak", {"guard": True}, "guard"),
        ("reply", {"temperature": 0.5}, "temperature"),
        ("reply", {"max_tokens": 20}, "max_tokens"),
        ("transcribe", {"names": ("Ana",)}, "names"),
    ],
)
def test_what_the_server_would_ignore_is_refused_by_doctor_and_by_loading(
    stage: str, changes: dict[str, Any], what: str, served: Wire, tmp_path: Path
) -> None:
    profile = remote(load_profile("demo"), transcribe="whisper", reply="qwen3", speak="xtts")
    profile = replace(profile, **{stage: replace(profile.engine(stage), **changes)})
    wrong = [p for p in problems(profile, Store(tmp_path), Registry.read(), Cores()) if p.stage == stage]  # fmt: skip
    assert len(wrong) == 1
    assert what in wrong[0].what
    parts = LoadedParts(profile, Store(tmp_path))
    load = {"transcribe": parts.recogniser, "reply": parts.replier, "speak": parts.voice}[stage]
    try:
        with pytest.raises(InvalidProfile, match=what):
            load()
    finally:
        parts.close()


def test_nothing_is_pulled_for_a_stage_that_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "voxturn.runtime.prepare.bring_model", lambda name, *rest: asked.append(name)
    )
    profile = remote(load_profile("demo"), transcribe="whisper", reply="qwen3", speak="xtts")
    bring(profile, Store(tmp_path), Registry.read())
    assert asked == [Registry.read().resolve(profile.listen.model)[0].id]


async def test_options_go_to_a_server_that_takes_them_and_its_report_comes_back() -> None:
    report = {"prompt_tokens": 7, "completion_tokens": 2, "full": True}
    wire: Any = Wire(
        of_answer(ReplyToken("It is.", (3, 4))),
        of_answer(ReplyToken("")) | {"report": text_tensor(json.dumps(report))},
    )
    replier = SettableReplier(wire, "qwen3")
    found = ReplyReport()
    other = replier.using(ReplyOptions(0.5, max_tokens=2, stops=("x",)), found)
    assert [item async for item in other([Message("user", "So?")])] == [ReplyToken("It is.")]
    assert found == ReplyReport(7, 2, True)
    ((_, inputs),) = wire.sent
    assert json.loads(inputs["options"]) == {"temperature": 0.5, "max_tokens": 2, "stops": ["x"]}
    wire = Wire(of_answer(ReplyToken("It is.", (3, 4))))
    assert [item async for item in SettableReplier(wire, "qwen3")([Message("user", "So?")])]
    assert "options" not in wire.sent[0][1]


@pytest.mark.parametrize("report", ["no", "[]", "{}", '{"prompt_tokens": "many"}'])
async def test_a_report_of_another_version_is_a_failure(report: str) -> None:
    wire: Any = Wire(of_answer(ReplyToken("")) | {"report": text_tensor(report)})
    replier = SettableReplier(wire, "qwen3").using(ReplyOptions(), ReplyReport())
    with pytest.raises(InferenceFailed, match="a report that is none"):
        _ = [item async for item in replier([Message("user", "So?")])]


async def test_a_server_of_today_is_given_names_and_translates() -> None:
    wire: Any = Wire(*(heard(Transcript("Good.", "en")) for _ in "abc"))
    recogniser = RemoteRecogniser(wire, "whisper", "en", takes_options=True)
    samples = np.ones(160, np.float32)
    options = HearingOptions("auto", ("Ada",), "They met.", True)
    await recogniser.using(options).hear().final(samples)
    await recogniser.hear().final(samples)
    await (
        RemoteRecogniser(wire, "whisper", "en")
        .using(HearingOptions("de", ("Ada",)))
        .hear()
        .final(samples)
    )
    first, second, third = (inputs for _, inputs in wire.sent)
    assert first["language"] == "auto"
    assert json.loads(first["options"]) == {
        "names": ["Ada"],
        "prompt": "They met.",
        "translate": True,
    }
    assert (second["language"], "options" in second) == ("en", False)
    assert (third["language"], "options" in third) == ("de", False)
