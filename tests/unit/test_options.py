"""Every key of a profile reaches what it is for or is refused by its name, in every way in.

A key without a row here fails.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.errors import (
    AudioTooLong,
    InvalidProfile,
    StreamClosed,
    UnknownStyle,
    UnknownVoice,
    UnsupportedLanguage,
    UsageError,
)
from voxturn.runtime.executors.backend import LoadedArtifact
from voxturn.runtime.executors.fake import FakeGraph, FakeWhisper
from voxturn.runtime.families.base import ConversionOptions
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.frames import frames_from
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.messages import Event, PcmChunk, ReplyToken, Samples, Sentence, Transcript
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import problems
from voxturn.runtime.profile import (
    ConvertEngine,
    EndOfTurnEngine,
    Engine,
    FilterSettings,
    ListenEngine,
    Profile,
    ReplyEngine,
    SpeakEngine,
    TranscribeEngine,
    load_profile,
)
from voxturn.runtime.protocols import Generated, Tensor
from voxturn.runtime.remote.tensors import Tensors, text_of, text_tensor, to_chunk, to_event
from voxturn.runtime.serving.handlers import (
    Handler,
    ReplyHandler,
    TurnHandler,
    VoiceHandler,
    XttsHandler,
)
from voxturn.runtime.serving.whisper import WhisperHandler
from voxturn.runtime.text.tokenizer import JsonTokenizer
from voxturn.runtime.turn.interrupt.settings import InterruptSettings
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.stages import Stages
from voxturn.runtime.turn.tools import ToolSettings

from tests.artifacts import FakeBackends, FakeTokens, all_kinds, on_cpu
from tests.conftest import energy_vad, tone
from tests.gateway_probes import PROBES, probe_of
from tests.recordings import float_wav

REPLY = "alpha beta gamma delta."
HEARD = "zeta alpha."
HOP, WIDTH, CODES = 256, 8, 24
CORES = 4
REGISTRY = Registry.read()


@dataclass
class Witness:
    """What one way in did with a profile: what was asked of every engine, and what came out."""

    artifacts: list[LoadedArtifact] = field(default_factory=list)
    engines: list[Any] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    stages: Stages | None = None
    name: str = ""
    code: int = 0
    told: Any = None
    """What a probe of the gateway found."""

    def artifact(self, stage: str) -> LoadedArtifact:
        """What a stage's engine was made of."""
        return next(a for a in self.artifacts if a.stage == stage)

    def engine(self, stage: str) -> Any:
        """A stage's engine."""
        pairs = zip(self.artifacts, self.engines, strict=True)
        return next(engine for artifact, engine in pairs if artifact.stage == stage)

    def request(self, stage: str) -> Request:
        """The last generation that a stage asked for."""
        engine = self.engine(stage)
        assert isinstance(engine, FakeTokens)
        return next(r for r in reversed(engine.requests) if r.max_tokens > 0)

    @property
    def first_pcm(self) -> int:
        """Samples of the first sentence."""
        chunks = [event for event in self.events if isinstance(event, PcmChunk)]
        return sum(chunk.samples.size for chunk in chunks if chunk.sentence.index == 0)

    @property
    def sentences(self) -> set[str]:
        """The texts that were spoken."""
        return {event.sentence.text for event in self.events if isinstance(event, PcmChunk)}

    @property
    def text(self) -> str:
        """The words that came out: transcripts, replies, sentences."""
        kinds = Transcript | ReplyToken | Sentence
        words = [event.text for event in self.events if isinstance(event, kinds)]
        return " ".join([*words, *self.sentences])


class Recording(FakeGraph):
    """A graph that keeps its last inputs."""

    last: dict[str, Tensor]

    def run(self, inputs: Any) -> dict[str, Tensor]:
        self.last = dict(inputs)
        return super().run(inputs)


def _audio(inputs: Any) -> dict[str, Tensor]:
    frames = int(inputs["frames"]) if "frames" in inputs else inputs["latents"].shape[2]
    return {"audio": np.full((1, 1, frames * HOP), 0.5, np.float32)}


GRAPHS: dict[str, Callable[[Any], dict[str, Tensor]]] = {
    "voice_activity_detector": energy_vad,
    "end_of_turn": lambda inputs: {"logits": np.ones((1, 1), np.float32)},
    "acoustic_encoder": lambda inputs: {
        "latents": np.ones((1, 4, round(40 * float(inputs["scales"][1]))), np.float32)
    },
    "waveform_decoder": _audio,
    "windowed_waveform_decoder": _audio,
    "voice_encoder": lambda inputs: {"tone": np.ones((1, 4, 1), np.float32)},
    "voice_converter": lambda inputs: {"latents": inputs["noise"]},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kinds")
    (root / "words.txt").write_text("gamma\nzeta\n", encoding="utf-8")
    (root / "to.wav").write_bytes(float_wav(tone(1.2)))
    (root / "rules.toml").write_text('rule = [{ words = ["gamma", "zeta"] }]', encoding="utf-8")
    return (
        all_kinds(root) | {"root": root} | {f"{k}-2": p for k, p in all_kinds(root / "2").items()}
    )


Way = Callable[[Profile, Witness, Path], None]


@pytest.fixture(scope="module")
def witnesses() -> dict[tuple[str, Way], Witness]:
    """What each way in does with a profile that nothing was changed in."""
    return {}


@pytest.fixture
def fakes(
    monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path], tmp_path: Path
) -> FakeBackends:
    """Executors whose engines answer: a reply, a voice's codes, a transcript.

    The machine has four cores.
    """
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))
    monkeypatch.setattr(Registry, "read", lambda: REGISTRY)
    fake = FakeBackends()
    spoken = JsonTokenizer(folders["decoder-onnx"] / "tokenizer.json").encode(REPLY)
    heard = JsonTokenizer(folders["whisper-onnx"] / "tokenizer.json").encode(HEARD)
    codes = [Step(i % 60, np.ones(WIDTH, np.float32)) for i in range(CODES)]
    codes.append(Step(63, np.ones(WIDTH, np.float32), stop=True))
    words = [Step(i, np.ones(WIDTH, np.float32)) for i in spoken]

    def tokens(role: str, slots: int, capacity: int) -> FakeTokens:
        # a voice's sequences are as long as its codes, a reply's as long as the profile says
        return FakeTokens(role, slots, capacity, codes if capacity < 300 else words)

    fake.tokens = tokens
    fake.graph = lambda role: Recording(GRAPHS[role])
    said, languages = Generated(tuple(heard), -0.1, 0.0), {"en": 0.4, "es": 0.6}
    fake.whisper = lambda: FakeWhisper([said], languages=languages)
    fake.install(monkeypatch)
    return fake


def base(folders: dict[str, Path], family: str, table: str) -> Profile:
    """A profile that speaks with a family and names its vocoder.

    It filters where that is the `table` to be seen.
    """
    profile = on_cpu(folders)
    voice = str(folders["xtts-onnx" if family == "xtts" else family])
    speak = SpeakEngine(voice, "onnx")
    return replace(
        profile,
        about="a test",
        system_prompt="",
        transcribe=TranscribeEngine(profile.transcribe.model, "ctranslate2"),
        reply=ReplyEngine(profile.reply.model, "onnx"),
        speak=speak,
        vocode=Engine(voice, "onnx"),
        convert=ConvertEngine(str(folders["openvoice"])) if table == "convert" else None,
        filter=FilterSettings(kind="words" if table == "filter" else "off"),
    )


# --- ways in


async def _events(answers: AsyncIterator[Any]) -> list[Any]:
    return [answer async for answer in answers]


def assistant(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """`Assistant.load`, and a turn."""

    async def turn() -> None:
        async with Assistant.load(profile) as loaded:
            witness.stages = loaded.stages
            witness.name = loaded.setup.profile
            frames = frames_from(tone(0.6, 1.2))
            async with loaded.conversation().turn(frames, whole_input=True) as events:
                witness.events = await _events(events)

    asyncio.run(turn())


def _served(handler: Handler, inputs: Tensors) -> list[Tensors]:
    async def answers() -> list[Tensors]:
        async with aclosing(handler(inputs)) as tensors:
            return await _events(tensors)

    try:
        return asyncio.run(answers())
    finally:
        handler.close()


def served_turn(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """The served `voice_turn`."""
    audio = {"audio": tone(0.6, 1.2), "conversation": text_tensor("")}
    witness.events = [to_event(answer) for answer in _served(TurnHandler(profile), audio)]


def served_reply(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """The served text model."""
    messages = text_tensor('[{"role": "user", "text": "alpha"}]')
    answers = _served(ReplyHandler(profile), {"messages": messages})
    witness.events = [ReplyToken("".join(text_of(answer["text"]) for answer in answers))]


def served_voice(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """The served `vits` or `xtts`."""
    family = Path(profile.speak.model).name.split("-")[0]
    handler = (VoiceHandler if family == "vits" else XttsHandler)(profile)
    witness.events = [to_chunk(each) for each in _served(handler, {"text": text_tensor(REPLY)})]


def served_whisper(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """The served `whisper`."""
    (answer,) = _served(WhisperHandler(profile), {"audio": tone(1.0)})
    witness.events = [Transcript(text_of(answer["text"]), text_of(answer["language"]))]


def say(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """`voxturn say` with the profile as a file."""
    path = tmp_path / f"{profile.name}.toml"
    path.write_text(toml(profile), encoding="utf-8")
    wav = tmp_path / "said.wav"
    command = ["--debug", "say", REPLY, "-o", str(wav), "--profile", str(path)]
    assert cli.main(command) == 0
    samples = np.zeros((wav.stat().st_size - 44) // 2, np.float32)
    witness.events = [PcmChunk(samples, 1, 0, Sentence("", 0))]


def _read(profile: Profile, witness: Witness, tmp_path: Path, *command: str) -> None:
    """A command with the profile as a file, and a recording of 1.8 s."""
    path = tmp_path / f"{profile.name}.toml"
    path.write_text(toml(profile), encoding="utf-8")
    wav = tmp_path / "heard.wav"
    wav.write_bytes(float_wav(tone(0.6, 1.2)))
    witness.code = cli.main([command[0], str(wav), "--profile", str(path), *command[1:]])


def convert(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """The profile's converter, which is told of a target."""
    with closing(LoadedParts(profile, Store(tmp_path))) as parts:
        converter = parts.converter()
        assert converter is not None
        heard = converter.using(ConversionOptions(to=(tone(1.0),)))
        asyncio.run(_events(heard(_once(tone(1.0)), 16000)))


async def _once(samples: Samples) -> AsyncIterator[Samples]:
    yield samples


def transcribe(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """`voxturn transcribe`."""
    _read(profile, witness, tmp_path, "transcribe")


def turn(profile: Profile, witness: Witness, tmp_path: Path) -> None:
    """`voxturn turn`."""
    _read(profile, witness, tmp_path, "turn", "-o", str(tmp_path / "answer.wav"))


def toml(profile: Profile) -> str:
    """A profile's file."""
    flat = {f.name: getattr(profile, f.name) for f in fields(profile) if f.name != "name"}
    tables = {key: value for key, value in flat.items() if is_dataclass(value)}
    lines = [_line(key, value) for key, value in flat.items() if key not in tables]
    for key, table in tables.items():
        lines.append(f"[{key}]\n")
        lines += [_line(f.name, getattr(table, f.name)) for f in fields(table)]
    return "".join(lines)


def _line(key: str, value: Any) -> str:
    if value is None:
        return ""
    written = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    written = str(list(value)) if isinstance(value, tuple) else written
    if isinstance(value, Mapping):
        written = f"{{ {', '.join(f'{name} = {item!r}' for name, item in value.items())} }}"
    return f"{key} = {written}\n"


TURNS: tuple[Way, ...] = (assistant, served_turn)
HEAR: tuple[Way, ...] = (*TURNS, served_whisper)
ANSWER: tuple[Way, ...] = (*TURNS, served_reply)
SPEAK: tuple[Way, ...] = (*TURNS, served_voice, say)
READ: tuple[Way, ...] = (transcribe, turn)


# --- rows


@dataclass(frozen=True)
class Case:
    """Changes of one table, by key, and what shows that the first of them arrived; or a word of the
    refusal.

    `ways`: where it acts. `family`: whose voice speaks. `before`: changes that both runs have.
    """

    changes: dict[str, Any]
    ways: tuple[Way, ...]
    arrives: Callable[[Witness], bool] | None = None
    refused: str = ""
    family: str = "xtts"
    before: dict[str, Any] = field(default_factory=dict)


def engine_rows(
    table: str, ways: tuple[Way, ...], kind: str, other: str, wrong: str
) -> dict[str, list[Case]]:
    """The rows of the keys that every stage has.

    `kind` of artifact; `other` executor that runs it; `wrong`: none.
    """
    remote = {"executor": "triton", "server": "there:1"}
    served = [
        Case({"server": "there:1", **remote}, ways, lambda w: w.artifact(table).server == "there:1")
    ]
    return {
        "model": [Case({"model": f"{kind}-2"}, ways, lambda w: w.artifact(table).folder.parent.name == "2")],
        "executor": [
            Case({"executor": wrong}, ways, refused="executor"),
            *([Case({"executor": other}, ways, lambda w: w.artifact(table).executor == other)] if other else []),
        ],
        "precision": [Case({"precision": "int8"}, ways, refused="precision")],
        "threads": [Case({"threads": 1}, ways, lambda w: w.artifact(table).budget.threads == 1)],
        "server": [Case({"server": "there:1"}, ways, refused="server"), *(served if table != "listen" else [])],
        "compute": [Case({"compute": "bf16"}, ways, refused="compute")],
    }  # fmt: skip


def sampled(table: str, ways: tuple[Way, ...], key: str, value: Any) -> Case:
    """A key of how tokens are chosen, which a request has."""
    return Case({key: value}, ways, lambda w: getattr(w.request(table).sampling, key) == value)


def refused(key: str, value: Any) -> Case:
    """A key that VITS has not."""
    return Case({key: value}, SPEAK, refused=key, family="vits")


def _noise(witness: Witness, seed: int) -> bool:
    """Whether VITS drew from a seed; of its last sentence."""
    last = witness.engine("speak").last["duration_noise"]
    shape = last.shape
    return any(
        np.array_equal(last, np.random.default_rng([seed, i]).standard_normal(shape, np.float32))
        for i in range(4)
    )


def _names(witness: Witness) -> bool:
    """Whether Whisper was prompted with more than its marks."""
    return max(len(prompt) for prompt in witness.engine("transcribe").prompts) > 4


ANA, BEN = 0.0, 1.0
LISTEN = engine_rows("listen", TURNS, "silero", "", "openvino")
LISTEN["longest_s"] = [Case({"longest_s": 1.0}, READ, lambda w: w.code == AudioTooLong.exit_code)]
LISTEN["precision"] = [Case({"precision": "fp32"}, TURNS, lambda w: w.artifact("listen").precision == "fp32")]  # fmt: skip
ENDS = engine_rows("end_of_turn", TURNS, "smart-turn", "openvino", "ctranslate2") | {
    "kind": [
        Case({"kind": "words"}, TURNS, lambda w: w.stages is not None and w.stages.sound_of_end is None),
        Case({"kind": "sound"}, TURNS, lambda w: w.stages is not None and w.stages.end_of_turn is None),
    ],
    "precision": [Case({"precision": "fp32"}, TURNS, lambda w: w.artifact("end_of_turn").precision == "fp32")],
    "threads": [Case({"threads": 2}, TURNS, lambda w: w.artifact("end_of_turn").budget.threads == 2)],
    "server": [Case({"server": "there:1"}, TURNS, refused="server")],
}  # fmt: skip
TRANSCRIBE = engine_rows("transcribe", HEAR, "whisper-ctranslate2", "ctranslate2-cuda", "openvino") | {
    "precision": [Case({"precision": "int8"}, HEAR, lambda w: w.artifact("transcribe").precision == "int8")],
    "names": [Case({"names": ("alpha",)}, HEAR, _names)],
    "partial_share": [Case({"partial_share": 0.5}, TURNS, lambda w: w.stages is not None and w.stages.partial_share == 0.5)],
}  # fmt: skip
REPLIES = engine_rows("reply", ANSWER, "decoder-onnx", "", "openvino") | {
    "max_tokens": [Case({"max_tokens": 64}, ANSWER, lambda w: w.request("reply").max_tokens == 64)],
    "context": [Case({"context": 777}, ANSWER, lambda w: w.engine("reply").capacity == 777)],
    "slots": [Case({"slots": 5}, ANSWER, lambda w: w.engine("reply").slots == 5)],
    "temperature": [sampled("reply", ANSWER, "temperature", 0.5)],
    "top_k": [sampled("reply", ANSWER, "top_k", 7)],
    "top_p": [sampled("reply", ANSWER, "top_p", 0.5)],
    "min_p": [sampled("reply", ANSWER, "min_p", 0.25)],
    "repetition_penalty": [sampled("reply", ANSWER, "repetition_penalty", 1.5)],
    "seed": [
        sampled("reply", ANSWER, "seed", 9),
        Case({"seed": 9, "executor": "ctranslate2-cuda", "model": "decoder-ctranslate2"}, ANSWER, refused="seed"),
    ],
    "stops": [Case({"stops": ("beta",)}, ANSWER, lambda w: "gamma" not in w.text)],
}  # fmt: skip
SPEAKS = engine_rows("speak", SPEAK, "xtts-onnx", "", "openvino") | {
    "seed": [
        Case({"seed": 9}, SPEAK, lambda w: 9 in {r.sampling.seed for r in w.engine("speak").requests}),
        Case({"seed": 9}, SPEAK, lambda w: _noise(w, 9), family="vits"),
    ],
    "speed": [
        Case({"speed": 0.5}, SPEAK, lambda w: w.first_pcm > 1.5 * CODES * 4 * 1.09 * HOP),
        Case({"speed": 0.5}, SPEAK, lambda w: w.engine("speak").last["scales"][1] == 2.0, family="vits"),
    ],
    "max_chars": [
        Case({"max_chars": 12}, (*TURNS, served_voice), lambda w: len(w.sentences) > 1, family=family)
        for family in ("xtts", "vits")
    ] + [Case({"max_chars": 12}, (say,), lambda w: len(w.engine("speak").requests) > 1)],
    "voice": [
        Case({"voice": "Ben"}, SPEAK, lambda w: bool(_rows(w)[1, 0] == BEN)),
        Case({"voice": "Ben"}, SPEAK, lambda w: w.engine("speak").last["speaker"][0, 0, 0] == BEN, family="vits-multi"),
        refused("voice", "Ben"),
    ],
    "voice_of": [
        Case({"voice_of": {"en": "Ben"}}, SPEAK, lambda w: bool(_rows(w)[1, 0] == BEN)),
        Case({"voice_of": {"en": "Ben"}}, SPEAK, lambda w: w.engine("speak").last["speaker"][0, 0, 0] == BEN, family="vits-multi"),
        Case({"voice_of": {"en": "Ben"}}, SPEAK, refused="voice 'Ben': this model has one speaker", family="vits"),
    ],
    "style": [Case({"style": "happy"}, SPEAK, refused="voice 'Ana' has no style 'happy'"), refused("style", "happy")],
    "temperature": [sampled("speak", SPEAK, "temperature", 0.5), refused("temperature", 0.5)],
    "top_k": [sampled("speak", SPEAK, "top_k", 7), refused("top_k", 7)],
    "top_p": [sampled("speak", SPEAK, "top_p", 0.5), refused("top_p", 0.5)],
    "repetition_penalty": [sampled("speak", SPEAK, "repetition_penalty", 1.5), refused("repetition_penalty", 1.5)],
    "slots": [Case({"slots": 5}, SPEAK, lambda w: w.engine("speak").slots == 5), refused("slots", 5)],
    "guard": [Case({"guard": False}, SPEAK, lambda w: w.request("speak").watch is None), refused("guard", False)],
    "noise": [
        Case({"noise": 0.25}, SPEAK, lambda w: w.engine("speak").last["scales"][0] == 0.25, family="vits"),
        Case({"noise": 0.25}, SPEAK, refused="noise"),
    ],
    "noise_w": [
        Case({"noise_w": 0.25}, SPEAK, lambda w: w.engine("speak").last["scales"][2] == 0.25, family="vits"),
        Case({"noise_w": 0.25}, SPEAK, refused="noise_w"),
    ],
}  # fmt: skip
VOCODES = engine_rows("vocode", SPEAK, "xtts-onnx", "openvino", "ctranslate2") | {
    "compute": [
        Case({"compute": "bf16"}, SPEAK, refused="compute"),
        Case({"compute": "bf16"}, SPEAK, lambda w: w.artifact("vocode").compute == "bf16", before={"executor": "openvino"}),
    ],
}  # fmt: skip


def _drawn(witness: Witness) -> Any:
    """The noise of the frames that were converted."""
    pairs = zip(witness.artifacts, witness.engines, strict=True)
    _, converter, _ = [engine for artifact, engine in pairs if artifact.stage == "convert"]
    return converter.last["noise"][0].T


def _draws(witness: Witness, seed: int, noise: float) -> bool:
    drawn = _drawn(witness)
    every = np.random.default_rng(seed).standard_normal((22050 // HOP, 4), np.float32)
    return np.allclose(drawn, np.float32(noise) * every[-len(drawn) :])


def _hears(witness: Witness) -> bool:
    """Whether a converter has heard a recording."""
    pairs = zip(witness.artifacts, witness.engines, strict=True)
    return any(artifact.stage == "convert" and hasattr(e, "last") for artifact, e in pairs)


CONVERTS = engine_rows("convert", (convert,), "openvoice", "", "ctranslate2") | {
    "server": [Case({"server": "there:1"}, (convert,), refused="server")],
    "to": [
        Case({"to": ("to.wav",)}, (assistant, say), _hears),
    ],
    "noise": [Case({"noise": 0.25}, (convert,), lambda w: _draws(w, 0, 0.25))],
    "seed": [Case({"seed": 7}, (convert,), lambda w: _draws(w, 7, 0.5))],
}  # fmt: skip
FILTER = {
    "own_words": [
        Case({"own_words": "words.txt"}, (*TURNS, served_voice), lambda w: not any("gamma" in text for text in w.sentences)),
        Case({"own_words": "words.txt"}, HEAR, lambda w: "zeta" not in w.text),
        Case({"own_words": "nowhere.txt"}, (*HEAR, served_voice), refused="own_words"),
    ],
    "rules": [
        Case({"rules": "rules.toml"}, (*TURNS, served_voice), lambda w: not any("gamma" in text for text in w.sentences)),
        Case({"rules": "rules.toml"}, HEAR, lambda w: "zeta" not in w.text),
        Case({"rules": "nowhere.toml"}, (*HEAR, served_voice), refused="rules"),
    ],
    "kind": [
        Case({"kind": "off"}, HEAR, lambda w: "zeta" in w.text, before={"own_words": "words.txt"}),
        Case({"kind": "off"}, (served_voice,), lambda w: "gamma" in w.text, before={"own_words": "words.txt"}),
    ],
}  # fmt: skip


def _rows(witness: Witness) -> Any:
    rows = witness.request("speak").rows
    assert rows is not None
    return rows


def _told(key: str, value: Any) -> list[Case]:
    """A key of the end-pointer."""
    return [Case({key: value}, TURNS, lambda w: w.stages is not None and getattr(w.stages.listen.options, key) == value)]  # fmt: skip


ENDPOINTING = {
    key: _told(key, value)
    for key, value in {
        "threshold": 0.6,
        "start_ms": 96,
        "suspect_ms": 128,
        "finished_ms": 300,
        "end_ms": 500,
        "unfinished_ms": 1100,
        "eager": 0.7,
        "before_ms": 160,
        "cut_s": 10.0,
        "cut_pause_ms": 64,
        "max_s": 25.0,
    }.items()
}


def _cuts(witness: Witness, **values: Any) -> bool:
    """Whether the strategy that cuts answers has these values."""
    assert witness.stages is not None
    strategy = witness.stages.interrupt
    return all(getattr(strategy, key, None) == value for key, value in values.items())


def _calls(witness: Witness, key: str, value: Any) -> bool:
    """Whether tools are called with this value."""
    assert witness.stages is not None
    return bool(getattr(witness.stages.tools, key) == value)


INTERRUPT = {
    "strategy": [
        Case({"strategy": "never"}, TURNS, lambda w: _cuts(w, listens=False)),
        Case({"strategy": "nods"}, TURNS, refused="interrupt.strategy"),
    ],
    "ms": [
        Case({"ms": 700}, TURNS, lambda w: _cuts(w, ms=700), before={"strategy": "after_ms"}),
        Case({"ms": 700}, TURNS, refused="interrupt.ms"),
    ],
    "words": [
        Case({"words": 3}, TURNS, lambda w: _cuts(w, words=3)),
        Case({"words": 3}, TURNS, refused="interrupt.words", before={"strategy": "speech"}),
    ],
    "pause_ms": [
        Case({"pause_ms": 200}, TURNS, lambda w: _cuts(w, pause_ms=200)),
        Case({"pause_ms": 200}, TURNS, refused="interrupt.pause_ms", before={"strategy": "never"}),
    ],
}  # fmt: skip


TOOLS = {
    key: [Case({key: value}, TURNS, partial(_calls, key=key, value=value))]
    for key, value in {
        "timeout_s": 3.0,
        "rounds": 2,
        "longest_result": 100,
        "filler": "One moment.",
        "filler_after_ms": 50,
        "no_answer": "I do not know.",
    }.items()
}


def _found(witness: Witness, expected: Any) -> bool:
    return bool(witness.told == expected)


GATEWAY = {
    key: [Case({key: value}, (probe_of(key),), partial(_found, expected=expected))]
    for key, (value, _, expected) in PROBES.items()
}


def _has(witness: Witness, words: str) -> bool:
    """Whether a reply's prompt has these words."""
    folder = witness.artifact("reply").folder
    ids = JsonTokenizer(folder / "tokenizer.json").encode(words)
    prompt = list(witness.request("reply").prompt)
    return any(prompt[i : i + len(ids)] == ids for i in range(len(prompt)))


def _in_spanish(witness: Witness) -> bool:
    """Whether Whisper was prompted in Spanish."""
    tokenizer = JsonTokenizer(witness.artifact("transcribe").folder / "tokenizer.json")
    return any(tokenizer.id_of("<|es|>") in prompt for prompt in witness.engine("transcribe").prompts)  # fmt: skip


def _says_spanish(witness: Witness) -> bool:
    """Whether XTTS was told that it speaks Spanish."""
    tokenizer = JsonTokenizer(witness.artifact("speak").folder / "vocab.json")
    return tokenizer.id_of("[es]") in [i % 1024 for i in witness.request("speak").prompt]


TOP = {
    "about": [],  # people read it; nothing runs by it
    "name": [Case({"name": "another"}, (assistant,), lambda w: w.name == "another")],  # a trace's
    "system_prompt": [Case({"system_prompt": "be kind"}, ANSWER, lambda w: _has(w, "be kind"))],
    "language": [
        Case({"language": "es"}, HEAR, _in_spanish),
        Case({"language": "es"}, SPEAK, _says_spanish),
        Case({"language": "es"}, SPEAK, refused="does not speak 'es'", family="vits"),
        Case({"language": ("es", "en")}, HEAR, _in_spanish),
        Case({"language": ("es", "en")}, SPEAK, _says_spanish),
        Case(
            {"language": ("en", "es")}, SPEAK, refused="does not speak 'es'.*en, es", family="vits"
        ),
    ],
    "language_prompt": [
        Case(
            {"language_prompt": "be kind"},
            ANSWER,
            lambda w: _has(w, "be kind"),
            before={"language": "auto"},
        ),
    ],
}

ROWS = {
    (table, key): cases
    for table, rows in {
        "": TOP,
        "listen": LISTEN,
        "end_of_turn": ENDS,
        "transcribe": TRANSCRIBE,
        "reply": REPLIES,
        "speak": SPEAKS,
        "vocode": VOCODES,
        "convert": CONVERTS,
        "filter": FILTER,
        "endpointing": ENDPOINTING,
        "interrupt": INTERRUPT,
        "tools": TOOLS,
        "gateway": GATEWAY,
    }.items()
    for key, cases in rows.items()
}


def test_every_key_has_its_row() -> None:
    tables = {
        "listen": ListenEngine,
        "end_of_turn": EndOfTurnEngine,
        "transcribe": TranscribeEngine,
        "reply": ReplyEngine,
        "speak": SpeakEngine,
        "vocode": Engine,
        "convert": ConvertEngine,
        "filter": FilterSettings,
        "endpointing": Endpointing,
        "interrupt": InterruptSettings,
        "tools": ToolSettings,
        "gateway": GatewaySettings,
    }
    keys = {("", f.name) for f in fields(Profile) if f.name not in tables}
    keys |= {(table, f.name) for table, kind in tables.items() for f in fields(kind)}
    assert keys == set(ROWS)


def changed(
    profile: Profile, table: str, changes: dict[str, Any], folders: dict[str, Path]
) -> Profile:
    """The profile with other values; names of artifacts and files become paths."""
    values = dict(changes)
    if "model" in values:
        values["model"] = str(folders[values["model"]])
    for name in {"own_words", "rules"} & set(values):
        values[name] = str(folders["root"] / values[name])
    if "to" in values:
        values["to"] = tuple(str(folders["root"] / name) for name in values["to"])
    if not table:
        return replace(profile, **values)
    return replace(profile, **{table: replace(getattr(profile, table), **values)})


def _whole_voice(profile: Profile, table: str) -> Profile:
    """Of another voice, the vocoder is of the same artifact; and the other way round."""
    if table == "speak" and profile.vocode is not None:
        return replace(profile, vocode=replace(profile.vocode, model=profile.speak.model))
    if table == "vocode" and profile.vocode is not None:
        return replace(profile, speak=replace(profile.speak, model=profile.vocode.model))
    return profile


RUNS = [
    pytest.param(table, case, way, id=f"{table}.{key}-{number}-{case.family}-{way.__name__}")
    for (table, key), cases in ROWS.items()
    for number, case in enumerate(cases)
    for way in case.ways
]


@pytest.mark.parametrize(("table", "case", "way"), RUNS)
def test_it_arrives_or_is_refused(
    table: str,
    case: Case,
    way: Way,
    folders: dict[str, Path],
    witnesses: dict[tuple[str, Way], Witness],
    fakes: FakeBackends,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assistants: list[Assistant] = []
    original = Assistant.__init__

    def kept(self: Assistant, *arguments: Any) -> None:
        original(self, *arguments)
        assistants.append(self)

    monkeypatch.setattr(Assistant, "__init__", kept)

    def run(profile: Profile) -> Witness:
        fakes.engines.clear()
        fakes.artifacts.clear()
        assistants.clear()
        witness = Witness()
        way(profile, witness, tmp_path)
        for thread in threading.enumerate():
            if thread.name.startswith("voxturn-read"):  # a reader is given little time to end
                thread.join(10)
        witness.artifacts = list(fakes.artifacts)
        witness.engines = list(fakes.engines)
        witness.stages = assistants[-1].stages if assistants else None
        return witness

    before = changed(base(folders, case.family, table), table, case.before, folders)
    after = _whole_voice(changed(before, table, case.changes, folders), table)
    if case.arrives is None:
        kinds = InvalidProfile, UnknownStyle, UnknownVoice, UnsupportedLanguage
        with pytest.raises(kinds, match=case.refused) as caught:
            run(after)
        assert "\n" not in str(caught.value)
        return
    if (repr(before), way) not in witnesses:
        witnesses[repr(before), way] = run(before)
    assert not case.arrives(witnesses[repr(before), way]), "it shows nothing"
    assert case.arrives(run(after))


@pytest.mark.parametrize("key", ["temperature", "top_k", "top_p", "repetition_penalty", "seed"])
@pytest.mark.parametrize("table", ["reply", "speak"])
def test_what_no_sampler_takes_is_refused_by_name(
    key: str, table: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    profile = changed(base(folders, "xtts", table), table, {key: -1}, folders)
    text = toml(profile).replace(
        f"{key} = -1\n", f"{key} = {'-1' if key in ('top_k', 'seed') else '-1.0'}\n"
    )
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidProfile, match=rf"mine\.{table}\.{key}: must be"):
        load_profile(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("slots", "options", "at_once"),
    [(3, [], 3), (None, [], 4), (3, ["--slots", "2"], 2), (9, [], 5)],
)
def test_a_batch_takes_as_many_lines_at_once_as_the_profile_says(
    slots: int | None,
    options: list[str],
    at_once: int,
    fakes: FakeBackends,
    folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Four where neither the profile nor the command says; never more than there are lines."""
    profile = base(folders, "xtts", "speak")
    path = tmp_path / "batch.toml"
    speak = replace(profile.speak, slots=slots)
    path.write_text(toml(replace(profile, speak=speak)), encoding="utf-8")
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{REPLY}\n" * 5, encoding="utf-8")
    command = ["say", "--batch", str(lines), "-o", str(tmp_path / "out"), "--profile", str(path)]
    assert cli.main([*command, *options]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 5
    witness = Witness(fakes.artifacts, fakes.engines)
    assert witness.engine("speak").slots == at_once


def test_a_batch_leaves_the_slots_of_a_server_alone(
    fakes: FakeBackends, folders: dict[str, Path], tmp_path: Path
) -> None:
    profile = base(folders, "xtts", "speak")
    path = tmp_path / "batch.toml"
    speak = replace(profile.speak, executor="triton", server="there:1")
    path.write_text(toml(replace(profile, speak=speak)), encoding="utf-8")
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{REPLY}\n" * 2, encoding="utf-8")
    command = ["say", "--batch", str(lines), "-o", str(tmp_path / "out"), "--profile", str(path)]
    assert cli.main(command) == 0


def test_another_voice_s_folder_keeps_the_profile_s_options(
    fakes: FakeBackends, folders: dict[str, Path], tmp_path: Path
) -> None:
    """`say --model` dropped seed, temperature and all the others."""
    profile = base(folders, "xtts", "speak")
    path = tmp_path / "mine.toml"
    speak = replace(profile.speak, seed=9, temperature=0.5, repetition_penalty=1.5)
    path.write_text(toml(replace(profile, speak=speak)), encoding="utf-8")
    wav = tmp_path / "said.wav"
    other = str(folders["xtts-onnx-2"])
    command = ["say", REPLY, "-o", str(wav), "--profile", str(path), "--model", other]
    assert cli.main(command) == 0
    witness = Witness(fakes.artifacts, fakes.engines)
    assert str(witness.artifact("speak").folder) == other
    sampling = witness.request("speak").sampling
    assert (sampling.temperature, sampling.repetition_penalty) == (0.5, 1.5)
    assert 9 in {request.sampling.seed for request in witness.engine("speak").requests}


def test_a_filter_that_cannot_be_made_is_told_by_doctor(
    fakes: FakeBackends, folders: dict[str, Path], tmp_path: Path
) -> None:
    settings = FilterSettings(own_words=str(tmp_path / "nowhere.txt"))
    profile = replace(base(folders, "xtts", "filter"), filter=settings)
    (problem,) = problems(profile, Store(tmp_path), REGISTRY, Cores())
    assert problem.stage == "filter"
    assert "nowhere.txt" in problem.what


def test_too_many_names_are_told_by_doctor_as_loading_does(
    fakes: FakeBackends, folders: dict[str, Path], tmp_path: Path
) -> None:
    names = tuple(f"Name{number}" for number in range(200))
    profile = base(folders, "xtts", "transcribe")
    profile = replace(profile, transcribe=replace(profile.transcribe, names=names))
    (problem,) = problems(profile, Store(tmp_path), REGISTRY, Cores())
    assert problem.stage == "transcribe"
    assert "the names take" in problem.what
    parts = LoadedParts(profile, Store(tmp_path), REGISTRY)
    try:
        with pytest.raises(UsageError, match="the names take"):
            parts.recogniser()
    finally:
        parts.close()


def test_closed_parts_load_nothing_more(
    fakes: FakeBackends, folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = LoadedParts(base(folders, "xtts", "speak"), Store(tmp_path), REGISTRY)
    parts.close()
    with pytest.raises(StreamClosed):
        parts.voice()
    assert fakes.engines == []
