"""Models and executors of other packages, as `docs/add-a-model.md` brings them: they hold whole
turns.

All that the core may know of them is their entry points. The tutorial's Python is the first half of
this file.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.client import VoiceClient
from voxturn.runtime.errors import CorruptModel, InvalidProfile, UnsupportedLanguage, VoxturnError
from voxturn.runtime.executors.backend import Backend, LoadedArtifact
from voxturn.runtime.executors.catalogue import CPU, Executor, catalogue
from voxturn.runtime.families.base import (
    WORDS,
    Candidate,
    Family,
    Need,
    NoPreparation,
    Parts,
    VoiceOptions,
    families,
)
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.messages import (
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    Sentence,
    Speaking,
    Transcript,
    TurnDone,
)
from voxturn.runtime.models.contents import recorded
from voxturn.runtime.models.manifest import (
    MANIFEST,
    Manifest,
    ModelContract,
    TensorSpec,
    reading,
    whole,
)
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import problems
from voxturn.runtime.profile import load_profile
from voxturn.runtime.protocols import GraphExecutor, Tensor
from voxturn.runtime.remote.tensors import text_tensor, to_event
from voxturn.runtime.serving.handlers import TurnHandler, VoiceHandler

from tests.conftest import fed, tone

LETTERS = "abcdefghijklmnopqrstuvwxyz"
RATE = 8000


class BeepVoice:
    """A `Voice`: every letter is a beep of its own pitch. One speaker, one language."""

    texts = WORDS
    language = "en"
    languages = ("en",)
    speakers = ()

    def __init__(self, graph: GraphExecutor, lane: Lane, rate: int, speed: float) -> None:
        self._graph = graph
        self._lane = lane
        self.rate = rate
        self._speed = speed

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """A chunk of audio for each sentence that has a letter."""
        start = 0
        try:
            async for sentence in sentences:
                ids = [LETTERS.index(char) for char in sentence.text.lower() if char in LETTERS]
                if not ids:
                    continue
                inputs = {"ids": np.array(ids, np.int64)}
                beeps = (await self._lane.run(self._graph.run, inputs))["rows"]
                length = round(beeps.shape[1] / self._speed)
                samples = np.concatenate([np.resize(beep, length) for beep in beeps])
                yield PcmChunk(samples, self.rate, start, sentence, final=True)
                start += samples.size
        finally:
            await close_iterator(sentences)

    def using(self, options: VoiceOptions) -> BeepVoice:
        """The same engine with another `speed`. Raises `UsageError`, `UnsupportedLanguage`."""
        values = options.only(frozenset({"language", "speed"}), "a beeping voice")
        if values.get("language", self.language) != self.language:
            raise UnsupportedLanguage(f"this voice speaks 'en', not {options.language!r}")
        return BeepVoice(self._graph, self._lane, self.rate, values.get("speed", self._speed))

    def preparation(self) -> NoPreparation:
        """Nothing is computed of a sentence before it is whole."""
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        """Run the graph once."""
        await self._lane.run(self._graph.run, {"ids": np.zeros(1, np.int64)})


def make_voice(parts: Parts) -> BeepVoice:
    """The voice of a profile.

    `stage.option` gives what the profile says, or else what the family takes.
    """
    stage = parts.stage("speak")
    with reading(stage.folder):
        rate = whole(stage.manifest.properties, "sample_rate")
    return BeepVoice(stage.graph("letter_beeps"), stage.lane, rate, stage.option("speed", 1.0))


def check_language(candidate: Candidate) -> None:
    """Raise `UnsupportedLanguage` for a profile in another language: doctor asks this, too."""
    if candidate.language != "en":
        raise UnsupportedLanguage(f"this model knows 'en' alone, not {candidate.language!r}")


BEEPER = Family(
    kind="beeper",
    task="text-to-speech",
    roles={"speak": ("letter_beeps",)},
    make=make_voice,
    options={"speak": frozenset({"speed"})},
    needs=(Need("num2words", "what writes numbers as words is not installed", "xtts"),),
    check=check_language,
)

DIALECT = "abacus-table"


class AbacusGraph:
    """A `GraphExecutor`: a table whose rows are chosen by `ids`."""

    name = "abacus"
    compiles_shapes = False
    few_shapes = False

    def __init__(self, table: Tensor, contract: ModelContract) -> None:
        self._table = table
        self._contract = contract

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The rows. Raises `InferenceFailed` for inputs that are not as the contract says."""
        self._contract.check(inputs)
        return {"rows": self._table[inputs["ids"]]}

    def close(self) -> None:
        """A table holds nothing that must be freed."""


class AbacusBackend(Backend):
    """Makes engines of artifacts in the dialect of tables."""

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        """The table of a role. Raises `CorruptModel` where the file is none."""
        path = artifact.path(role)
        try:
            table = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as exc:
            raise CorruptModel(f"{path}: is no table ({exc}); write it again") from exc
        return AbacusGraph(table, artifact.contract(role))


ABACUS = Executor(
    name="abacus",
    device=CPU,
    packages=(),
    extra="",
    dialects=frozenset({DIALECT}),
    stages=("listen", "transcribe", "reply", "speak"),
    backend=f"{__name__}:AbacusBackend",
    advice="has no table for the executor abacus",
)


def write_artifact(
    folder: Path, family: Family, table: Tensor, properties: Mapping[str, Any]
) -> None:
    """Write a folder with a table `[ids, width]`, for the first role of the family, and its
    manifest."""
    folder.mkdir(parents=True)
    np.save(folder / "table.npy", table)
    ids = TensorSpec("ids", "int64", ("n",))
    rows = TensorSpec("rows", str(table.dtype), ("n", table.shape[1]))
    role = next(iter(family.roles.values()))[0]
    manifest = Manifest(
        model=folder.name,
        kind=family.kind,
        precision="fp32",
        source={},
        **recorded(folder, [folder / "table.npy"]),
        graphs={role: ModelContract("table.npy", (ids,), (rows,), DIALECT)},
        properties=properties,
        task=family.task,
        dialect=DIALECT,
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def beeps() -> Tensor:
    """A beep of 50 ms for each letter: from 200 to 1200 Hz."""
    seconds = np.arange(RATE // 20) / RATE
    pitches = 200 + 40 * np.arange(len(LETTERS))
    return (0.3 * np.sin(2 * np.pi * pitches[:, None] * seconds)).astype(np.float32)


PHRASES = ("Hello there.", "Is it 4 o'clock?")


class PhraseRecogniser:
    """A `Recogniser` that knows two phrases: one is said quietly, the other is said loudly."""

    def __init__(self, graph: GraphExecutor, lane: Lane, phrases: Sequence[str]) -> None:
        self.graph = graph
        self.lane = lane
        self.phrases = tuple(phrases)

    def hear(self, prior: str = "") -> PhraseHearing:
        """Begin an utterance."""
        return PhraseHearing(self)

    async def warm(self) -> None:
        """Run the graph once."""
        await self.lane.run(self.graph.run, {"ids": np.zeros(1, np.int64)})


class PhraseHearing:
    """A `Hearing`: one utterance."""

    def __init__(self, recogniser: PhraseRecogniser) -> None:
        self._recogniser = recogniser

    async def partial(self, speaking: Speaking) -> Partial | None:
        """None: nothing is certain before the end."""
        return None

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The phrase whose score is best at the loudness of the samples; no text where there are
        none."""
        if not samples.size:
            return Transcript("", "en")
        loudness = min(10, int(10 * np.abs(samples).max()))
        inputs = {"ids": np.array([loudness], np.int64)}
        scores = (await self._recogniser.lane.run(self._recogniser.graph.run, inputs))["rows"][0]
        return Transcript(self._recogniser.phrases[int(scores.argmax())], "en")


def make_recogniser(parts: Parts) -> PhraseRecogniser:
    """The recogniser of a profile."""
    stage = parts.stage("transcribe")
    with reading(stage.folder):
        phrases = [str(phrase) for phrase in stage.manifest.properties["phrases"]]
    return PhraseRecogniser(stage.graph("phrase_scores"), stage.lane, phrases)


PHRASEBOOK = Family(
    kind="phrasebook",
    task="speech-to-text",
    roles={"transcribe": ("phrase_scores",)},
    make=make_recogniser,
    check=check_language,
)


def phrase_scores() -> Tensor:
    """Scores `[11, 2]` of both phrases, by loudness in tenths of full scale."""
    loudness = np.linspace(0, 1, 11, dtype=np.float32)
    return np.stack([0.3 - loudness, loudness - 0.3], axis=1)


# What follows is not in the tutorial: the rest of a turn, and what is asked of all of it.


class SoundMeter:
    """A `VoiceActivity`: how loud a window is says how likely it is speech."""

    window = 512

    def __init__(self, graph: GraphExecutor, lane: Lane) -> None:
        self._graph = graph
        self._lane = lane

    def stream(self) -> MeteredStream:
        return MeteredStream(self._graph, self._lane)


class MeteredStream:
    def __init__(self, graph: GraphExecutor, lane: Lane) -> None:
        self._graph = graph
        self._lane = lane
        self._tail = np.zeros(0, np.float32)

    async def push(self, samples: Samples) -> list[tuple[Samples, float]]:
        tail = np.concatenate([self._tail, samples])
        count = tail.size // SoundMeter.window
        self._tail = tail[count * SoundMeter.window :]
        windows = tail[: count * SoundMeter.window].reshape(count, SoundMeter.window)
        percent = (100 * np.abs(windows).max(1)).astype(np.int64).clip(0, 100)
        rows = (await self._lane.run(self._graph.run, {"ids": percent}))["rows"]
        return [(windows[i], float(rows[i, 0])) for i in range(count)]


class Parrot:
    """A `Replier` without a graph."""

    async def __call__(self, messages: Sequence[Message]) -> AsyncGenerator[ReplyToken, None]:
        for word in ["You ", "asked: ", messages[-1].text]:
            yield ReplyToken(word)

    def fitted(self, messages: Sequence[Message]) -> list[Message]:
        return list(messages)

    async def warm(self, messages: Sequence[Message]) -> None:
        """Nothing to compute."""


def make_meter(parts: Parts) -> SoundMeter:
    stage = parts.stage("listen")
    return SoundMeter(stage.graph("loudness"), stage.lane)


def make_parrot(parts: Parts) -> Parrot:
    parts.stage("reply")
    return Parrot()


METER = Family("soundmeter", "voice-activity", {"listen": ("loudness",)}, make_meter)
PARROT = Family("parrot", "text-generation", {"reply": ()}, make_parrot)
TOYS = {"beeper": "BEEPER", "phrasebook": "PHRASEBOOK", "soundmeter": "METER", "parrot": "PARROT"}

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs/add-a-model.md"
QUESTION = "Is it 4 o'clock?"
REPLY = f"You asked: {QUESTION}"
PROFILE = """
about = "Toys"
language = "en"

[filter]
kind = "off"

[listen]
model = "{folder}/soundmeter"
executor = "abacus"

[transcribe]
model = "{folder}/phrasebook"
executor = "abacus"

[reply]
model = "{folder}/parrot"
executor = "abacus"

[speak]
model = "{folder}/beeper"
executor = "abacus"
"""


def install(site: Path, module: str, names: Mapping[str, str]) -> None:
    """What pip writes of a package's entry points, in a folder of the module path."""
    info = site / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    rows = "".join(f"{name} = {module}:{row}\n" for name, row in names.items())
    executors = f"[voxturn.executors]\nabacus = {module}:ABACUS\n"
    (info / "entry_points.txt").write_text(f"{executors}[voxturn.families]\n{rows}")


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toys as an installed package, and a folder with their artifacts."""
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    install(tmp_path / "site", __name__, TOYS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    families.cache_clear()
    catalogue.cache_clear()
    folder = tmp_path / "artifacts"
    write_artifact(folder / "beeper", BEEPER, beeps(), {"sample_rate": RATE})
    write_artifact(folder / "phrasebook", PHRASEBOOK, phrase_scores(), {"phrases": PHRASES})
    probabilities = np.clip(np.arange(101, dtype=np.float32)[:, None] / 10, 0, 1)
    write_artifact(folder / "soundmeter", METER, probabilities, {})
    manifest = Manifest("parrot", "parrot", "fp32", {}, {}, task="text-generation")
    (folder / "parrot").mkdir()
    (folder / "parrot" / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    yield folder
    families.cache_clear()
    catalogue.cache_clear()


Written = Callable[..., Path]


@pytest.fixture
def written(toys: Path, tmp_path: Path) -> Written:
    """Writes a profile of the toys with `more` at its end; pairs of `changes` are texts and what
    replaces them."""

    def write(more: str = "", *changes: tuple[str, str]) -> Path:
        text = PROFILE.format(folder=toys) + more
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "toys.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def beeped(text: str, speed: float = 1.0) -> npt.NDArray[np.float32]:
    """The audio of a text: made here, of the table that the artifact was written from."""
    length = round(RATE // 20 / speed)
    rows = [beeps()[LETTERS.index(char)] for char in text.lower() if char in LETTERS]
    return np.concatenate([np.resize(row, length) for row in rows])


SPOKEN = "You asked: Is it four o'clock?"
"""The reply as the voice reads it: its numbers are written out before it."""


def found(profile: Path) -> list[tuple[str, str, str]]:
    """What doctor says of a profile."""
    listed = problems(load_profile(profile), Store(), Registry.read(), Cores())
    return [(problem.stage, problem.what, problem.fix) for problem in listed]


@pytest.mark.parametrize("speed", [1.0, 2.0])
async def test_the_toys_hold_a_turn_in_this_process(written: Written, speed: float) -> None:
    async with Assistant.load(written(f"speed = {speed}\n")) as assistant:
        await assistant.warm()
        assert assistant.rate == RATE
        conversation = assistant.conversation()
        events = []
        async with conversation.turn(fed(tone(1.0, silence=1.0))) as turn:
            async for event in turn:
                events.append(event)
        assert [e.text for e in events if isinstance(e, Transcript)] == [QUESTION]
        assert "".join(e.text for e in events if isinstance(e, ReplyToken)) == REPLY
        chunks = [e for e in events if isinstance(e, PcmChunk)]
        np.testing.assert_array_equal(
            np.concatenate([chunk.samples for chunk in chunks]), beeped(SPOKEN, speed)
        )
        assert {info.executor for info in assistant.setup.info.values()} == {"abacus"}
        assert set(assistant.setup.info) == {"listen", "transcribe", "reply", "speak"}
        assert [m.text for m in conversation.messages] == [QUESTION, REPLY]
        assert turn.trace.outcome == "done"


async def test_the_toys_hold_a_turn_behind_the_served_handler(written: Written) -> None:
    handler = TurnHandler(load_profile(written()))
    try:
        await handler.warm()
        inputs = {"audio": tone(1.0), "conversation": text_tensor("one")}
        outputs = [tensors async for tensors in handler(inputs)]
        assert handler.describe()["speak"]["model"] == "beeper"
    finally:
        handler.close()
    events = [to_event(tensors) for tensors in outputs]
    assert [e.text for e in events if isinstance(e, Transcript)] == [QUESTION]
    assert [e.reply for e in events if isinstance(e, TurnDone)] == [REPLY]
    pcm = [e.samples for e in events if isinstance(e, PcmChunk)]
    np.testing.assert_array_equal(np.concatenate(pcm), beeped(SPOKEN))


async def test_the_toys_hold_a_turn_behind_the_gateway(written: Written) -> None:
    profile = load_profile(written())
    async with (
        Assistant.load(profile) as assistant,
        serving(Gateway(assistant, profile.gateway), Address(port=0)) as port,
        VoiceClient(f"ws://127.0.0.1:{port}") as client,
    ):
        events = [event async for event in client.turn(tone(1.0))]
        rate = assistant.rate
    assert [e.text for e in events if isinstance(e, Transcript)] == [QUESTION]
    chunks = [e for e in events if isinstance(e, PcmChunk)]
    assert {chunk.rate for chunk in chunks} == {rate}
    heard = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_allclose(heard, beeped(SPOKEN), atol=1e-4)  # 16 bits over the wire


async def test_the_voice_is_served_with_the_options_of_a_request(written: Written) -> None:
    handler = VoiceHandler(load_profile(written("speed = 2.0\n")))
    try:
        await handler.warm()
        for more, speed in [({}, 2.0), ({"speed": np.array([0.5], np.float32)}, 0.5)]:
            outputs = [out async for out in handler({"text": text_tensor("It is 4.")} | more)]
            pcm = np.concatenate([out["pcm"] for out in outputs])
            np.testing.assert_array_equal(pcm, beeped("It is four.", speed))
        with pytest.raises(VoxturnError, match=r"^seed: a beeping voice has no such option$"):
            seed = {"text": text_tensor("No."), "seed": np.array([1], np.int64)}
            [out async for out in handler(seed)]
    finally:
        handler.close()


@pytest.mark.parametrize(("options", "speed"), [([], 1.0), (["--speed", "2"], 2.0)])
def test_the_command_line_says_a_text(
    written: Written, tmp_path: Path, options: list[str], speed: float
) -> None:
    output = tmp_path / "said.wav"
    arguments = ["say", "It is 4.", "--profile", str(written()), "-o", str(output), *options]
    assert cli.main(arguments) == 0
    assert heard_in(output) == pytest.approx(beeped("It is four.", speed), abs=1e-4)


def heard_in(path: Path) -> npt.NDArray[np.float32]:
    """The samples of a WAV file of 16 bits."""
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


@pytest.mark.parametrize(("loudness", "phrase"), [(0.2, PHRASES[0]), (1.0, PHRASES[1])])
def test_the_command_line_writes_down_what_it_hears(
    written: Written,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    loudness: float,
    phrase: str,
) -> None:
    source = tmp_path / "question.wav"
    with WavFile(source, 16000) as file:
        file.write(loudness * tone(1.0, silence=0.5))
    assert cli.main(["transcribe", str(source), "--profile", str(written())]) == 0
    assert capsys.readouterr().out == f"{phrase}\n"


def test_a_folder_of_a_voice_finds_the_executor_that_reads_it(toys: Path, tmp_path: Path) -> None:
    output = tmp_path / "said.wav"
    assert cli.main(["say", "Hello.", "--model", str(toys / "beeper"), "-o", str(output)]) == 0
    assert heard_in(output) == pytest.approx(beeped("Hello."), abs=1e-4)


def test_the_command_line_refuses_an_option_that_the_voice_has_not(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "said.wav"
    arguments = ["say", "Hello.", "--profile", str(written()), "--seed", "1", "-o", str(output)]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith("voxturn: --seed: this voice has no such option")
    assert not output.exists()


def test_doctor_finds_no_problem(written: Written) -> None:
    assert found(written("speed = 1.5\n")) == []


REFUSED = {
    "another executor's artifact": (
        "",
        ('beeper"\nexecutor = "abacus"', 'beeper"\nexecutor = "onnx"'),
        "speak",
        r"\S*/beeper \(beeper\) has no graph for ONNX Runtime; export it with --for onnx",
    ),
    "another executor's recogniser": (
        "",
        ('phrasebook"\nexecutor = "abacus"', 'phrasebook"\nexecutor = "onnx"'),
        "transcribe",
        r"\S*/phrasebook \(phrasebook\) has no graph for ONNX Runtime; export it with --for onnx",
    ),
    "an option that it lacks": (
        "seed = 1\n",
        (),
        "speak",
        r"seed = 1: neither beeper nor the executor 'abacus' has it",
    ),
    "a family of another task": (
        "",
        ("/beeper", "/phrasebook"),
        "speak",
        r"\S*/phrasebook is a model for speech-to-text \(phrasebook\), not for text-to-speech",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_refused_in_one_line_by_doctor_and_by_loading(
    written: Written, case: str
) -> None:
    more, change, stage, text = REFUSED[case]
    path = written(more, *([change] if change else []))
    ((where, what, fix),) = found(path)
    assert where == stage
    assert re.fullmatch(text, what)
    with pytest.raises(InvalidProfile) as refused:
        Assistant.load(path)
    assert str(refused.value) == f"profile toys.{stage}: {what}; {fix}"
    assert "\n" not in str(refused.value)


def test_a_language_that_the_families_lack_is_refused_by_doctor_and_by_loading(
    written: Written,
) -> None:
    path = written("", ('language = "en"', 'language = "de"'))
    text = "this model knows 'en' alone, not 'de'"
    assert [(stage, what) for stage, what, _ in found(path)] == [
        ("transcribe", text),
        ("speak", text),
    ]
    with pytest.raises(UnsupportedLanguage, match=text):
        Assistant.load(path)


def test_a_file_that_is_no_table_is_one_line(written: Written, toys: Path) -> None:
    path = written()
    table = toys / "beeper/table.npy"
    table.write_bytes(b"n" * table.stat().st_size)
    parts = LoadedParts(load_profile(path))
    try:
        with pytest.raises(CorruptModel, match=r"^\S*/table\.npy: is no table \(.*\); write it"):
            parts.voice()
    finally:
        parts.close()


def test_an_executor_whose_packages_are_not_here_says_which(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    needy = dataclasses.replace(ABACUS, packages=("abacus_of_wood",))
    monkeypatch.setattr(sys.modules[__name__], "ABACUS", needy)
    catalogue.cache_clear()
    told = ("executor 'abacus' is not installed", "install the package of abacus_of_wood")
    assert {(what, fix) for _, what, fix in found(written())} == {told}


@pytest.mark.parametrize("room", ["runtime", "export", "bench"])
def test_nothing_else_of_the_tree_knows_them(room: str) -> None:
    names = re.compile("|".join([*TOYS, "abacus"]), re.IGNORECASE)
    knowing = [
        path.name
        for path in sorted((ROOT / room).rglob("*"))
        if path.suffix in (".py", ".toml", ".cpp", ".cu") and names.search(path.read_text("utf-8"))
    ]
    assert knowing == []


def tutorial_blocks(language: str) -> list[str]:
    """The tutorial's blocks in a language, in order."""
    text = TUTORIAL.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def statements(source: str) -> list[str]:
    """The top-level statements of a module, whitespace aside; an import of several names is one for
    each."""
    texts = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            texts += [f"from {node.module} import {alias.name}" for alias in node.names]
        else:
            texts.append(" ".join((ast.get_source_segment(source, node) or "").split()))
    return texts


def test_every_statement_of_the_tutorial_is_one_of_this_file() -> None:
    blocks = tutorial_blocks("python")
    assert len(blocks) >= 5
    own = set(statements(Path(__file__).read_text(encoding="utf-8")))
    for block in blocks:
        assert [text for text in statements(block) if text not in own] == []


@pytest.mark.slow
def test_whoever_follows_the_tutorial_hears_the_voice(tmp_path: Path) -> None:
    (tmp_path / "toys.py").write_text("\n".join(tutorial_blocks("python")), encoding="utf-8")
    install(tmp_path, "toys", {"beeper": "BEEPER", "phrasebook": "PHRASEBOOK"})
    (profile,) = (text for text in tutorial_blocks("toml") if "[speak]" in text)
    (tmp_path / "toys.toml").write_text(profile, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "VOXTURN_HOME": str(tmp_path / "home")}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    shutil.copyfile(ROOT / "runtime/demo/question.wav", tmp_path / "question.wav")
    *scripts, test = tutorial_blocks("py")
    runs = (
        "import asyncio\nfolder = Path('tested')\nfolder.mkdir()\nasyncio.run(test_a_turn(folder))"
    )
    for code in (*scripts, f"{test}\n{runs}"):
        done = python("-c", code)
        assert done.returncode == 0, done.stderr
    done = python(
        "-m", "voxturn.runtime", "say", "It is 4.", "--profile", "toys.toml", "-o", "four.wav"
    )
    assert done.returncode == 0, done.stderr
    assert heard_in(tmp_path / "four.wav") == pytest.approx(beeped("It is four."), abs=1e-4)
