"""XTTS in a few lines, on a tiny artifact: streams, seeds, slots, closing early, files, and
everything that is refused."""

from __future__ import annotations

import json
import threading
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.decode import service
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.errors import (
    AudioError,
    AudioNotFound,
    CorruptModel,
    EmptyText,
    ExecutorUnavailable,
    InvalidProfile,
    InvalidSamples,
    ModelNotInstalled,
    OutputNotWritable,
    UnknownStyle,
    UnknownVoice,
    UnsupportedLanguage,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.executors import openvino
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.speak import Manner, XttsSpeech
from voxturn.runtime.families.xtts.text import CHAR_LIMITS, MAX_TOKENS, XttsTokenizer
from voxturn.runtime.families.xtts.voices import Voice
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.models.manifest import MANIFEST, Manifest
from voxturn.runtime.models.store import Store
from voxturn.runtime.xtts import XTTS

from tests.tiny.conftest import SHORT_CODES, Tiny
from tests.voiced import voiced

TEXT = "Hello there."
EN = {"language": "en", "speaker": "noise"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def xtts(tiny: Tiny, home: Path) -> Iterator[XTTS]:
    with XTTS.load(tiny.short, slots=2, vocoder="onnx", store=Store(home)) as loaded:
        people = loaded.voice.people
        people._cloner = (
            people._make_cloner()
        )  # now, or the first test that clones would leave its thread
        yield loaded


def assert_same(got: np.ndarray, wanted: np.ndarray) -> None:
    """Equal but for the last bits: what a kept beginning or a batch computes may round otherwise."""
    assert got.size == wanted.size > 0
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def differs(one: np.ndarray, other: np.ndarray) -> bool:
    return one.size != other.size or not np.allclose(one, other, rtol=0, atol=1e-3)


def engine_of(xtts: XTTS) -> DecodeEngine:
    engine = service.engine_of(xtts.service)
    assert engine is not None
    return engine


def idle(engine: DecodeEngine) -> bool:
    """Whether the engine comes to rest with every slot free."""
    pause = threading.Event()
    for _ in range(20_000):
        if not engine.busy and not engine.running:
            return True
        pause.wait(0.001)
    return False


def recording(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


# --- what it says


def test_a_whole_text_is_its_stream_put_together(xtts: XTTS) -> None:
    chunks = list(xtts.stream(TEXT, **EN))
    assert len(chunks) > 1
    assert {chunk.rate for chunk in chunks} == {xtts.rate} == {24000}
    whole = xtts.tts(TEXT, **EN)
    assert_same(whole, np.concatenate([chunk.samples for chunk in chunks]))
    assert whole.dtype == np.float32
    assert 0 < whole.size <= SHORT_CODES * 4 * 24000 // 22050 * 256 + 256
    starts = np.cumsum([0, *(chunk.samples.size for chunk in chunks)])[:-1]
    assert [chunk.start for chunk in chunks] == starts.tolist()


def test_the_same_seed_says_the_same_and_another_something_else(xtts: XTTS) -> None:
    first, again, other = (xtts.tts(TEXT, seed=seed, **EN) for seed in (3, 3, 4))
    assert_same(first, again)
    assert differs(first, other)


def test_sampling_and_language_change_what_is_said(xtts: XTTS) -> None:
    plain = xtts.tts(TEXT, **EN)
    for changed in (
        {"temperature": 0.0},
        {"top_k": 2},
        {"repetition_penalty": 1.0},
        {"language": "es"},
    ):
        other = xtts.tts(TEXT, **(EN | changed))
        assert differs(plain, other)
    assert_same(plain, xtts.tts(TEXT, length_penalty=2.0, **EN))


async def test_the_asynchronous_twin_says_the_same(xtts: XTTS) -> None:
    chunks = [chunk.samples async for chunk in xtts.astream(TEXT, **EN)]
    assert_same(np.concatenate(chunks), xtts.tts(TEXT, **EN))


async def test_text_that_comes_in_pieces_is_spoken_clause_by_clause(xtts: XTTS) -> None:
    async def words() -> AsyncIterator[str]:
        for word in ("Hello", " there.", " Good", "bye."):
            yield word

    pieces = [chunk async for chunk in xtts.astream(words(), **EN)]
    assert [i for i, chunk in enumerate(pieces) if chunk.sentence.index == 1]
    assert {chunk.sentence.text for chunk in pieces} == {"Hello there.", "Goodbye."}
    from_list = xtts.tts(["Hello there. Good", "bye."], **EN)
    assert_same(np.concatenate([chunk.samples for chunk in pieces]), from_list)


def test_two_streams_at_once_give_what_each_gives_alone(xtts: XTTS) -> None:
    texts = ("Hello there.", "Something else.")
    alone = [xtts.tts(text, seed=i, **EN) for i, text in enumerate(texts)]
    streams = [xtts.stream(text, seed=i, **EN) for i, text in enumerate(texts)]
    parts: list[list[np.ndarray]] = [[], []]
    going = {0, 1}
    while going:
        for i in sorted(going):
            chunk = next(streams[i], None)
            if chunk is None:
                going.discard(i)
            else:
                parts[i].append(chunk.samples)
    for wanted, got in zip(alone, parts, strict=True):
        joined = np.concatenate(got)
        assert joined.size == wanted.size
        np.testing.assert_allclose(joined, wanted, atol=1e-3)


def test_closing_a_stream_early_frees_its_slot(xtts: XTTS) -> None:
    streams = [xtts.stream(TEXT, **EN) for _ in range(2)]
    for stream in streams:
        next(stream)
        stream.close()
    assert idle(engine_of(xtts))
    assert not [t for t in threading.enumerate() if t.name == "voxturn-iterated"]
    assert xtts.tts(TEXT, **EN).size


async def test_closing_the_asynchronous_twin_early_frees_its_slot(xtts: XTTS) -> None:
    stream: AsyncGenerator[Any, None] = xtts.astream(TEXT, **EN)
    await anext(stream)
    await stream.aclose()
    assert idle(engine_of(xtts))


def test_no_thread_is_left_after_close(tiny: Tiny, home: Path) -> None:
    before = {t for t in threading.enumerate() if t.name.startswith("voxturn")}
    loaded = XTTS.load(tiny.short, vocoder="onnx", store=Store(home))
    stream = loaded.stream(TEXT, **EN)
    next(stream)
    stream.close()
    loaded.close()
    loaded.close()
    assert {t for t in threading.enumerate() if t.name.startswith("voxturn")} == before


def test_the_vocoder_of_openvino_says_the_same(tiny: Tiny, xtts: XTTS, home: Path) -> None:
    pytest.importorskip("openvino")
    wanted = xtts.tts(TEXT, **EN)
    here = openvino.convolution_s(1)
    for compute, least in {"fp32": 50, "bf16": 25}.items():
        if compute not in here:  # OpenVINO would compute in float32 and say nothing
            with pytest.raises(
                ExecutorUnavailable, match="no bf16 on this processor; set compute to fp32 or auto"
            ):
                XTTS.load(tiny.short, vocoder="openvino", compute=compute, store=Store(home))
            continue
        with XTTS.load(tiny.short, vocoder="openvino", compute=compute, store=Store(home)) as other:
            assert other.vocoder_info.compute == compute
            got = other.tts(TEXT, **EN)
        noise = (got.astype(np.float64) - wanted)[: wanted.size]
        assert 10 * np.log10((wanted.astype(np.float64) ** 2).sum() / (noise**2).sum()) > least


def test_an_artifact_whose_files_are_links_elsewhere(
    tiny: Tiny, home: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    for file in tiny.short.iterdir():
        (tmp_path / file.name).symlink_to(file.resolve())
    with XTTS.load(tmp_path, vocoder="openvino", store=Store(home)) as voice:
        assert voice.tts("Good morning.", **EN).size


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ({"fp32": 2.0, "bf16": 1.0}, "bf16"),
        ({"fp32": 1.1, "bf16": 1.0}, "fp32"),
        ({"fp32": 1.0, "bf16": 2.0}, "fp32"),
        ({"fp32": 1.0}, "fp32"),
    ],
)
def test_auto_is_what_is_clearly_faster(
    tiny: Tiny, home: Path, monkeypatch: pytest.MonkeyPatch, times: dict[str, float], taken: str
) -> None:
    pytest.importorskip("openvino")
    here = openvino.convolution_s(1)
    assert set(here) in ({"fp32"}, {"fp32", "bf16"})
    assert min(here.values()) > 0
    monkeypatch.setattr(openvino, "convolution_s", lambda threads: times)
    openvino.faster_compute.cache_clear()
    assert openvino.faster_compute(1) == taken
    if taken in here:
        with XTTS.load(tiny.short, vocoder="openvino", store=Store(home)) as voice:
            assert voice.vocoder_info.compute == taken
            graph: Any = voice.voice.vocoder._graph
            hint = graph._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
            assert hint == {"bf16": "bf16", "fp32": "f32"}[taken]
    monkeypatch.undo()
    openvino.faster_compute.cache_clear()


def test_an_arithmetic_that_an_executor_has_not_is_refused(tiny: Tiny, home: Path) -> None:
    with pytest.raises(UsageError, match="compute: must be auto, fp32, bf16, not 'fp8'"):
        XTTS.load(tiny.short, compute="fp8", store=Store(home))
    with pytest.raises(UsageError, match="the executor onnx has no bf16, openvino has"):
        XTTS.load(tiny.short, vocoder="onnx", compute="bf16", store=Store(home))


# --- files


def test_a_file_appears_whole_or_not_at_all(xtts: XTTS, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert xtts.tts_to_file(TEXT, path, **EN) == path
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (
            24000,
            1,
            xtts.tts(TEXT, **EN).size,
        )
    was = path.read_bytes()

    def broken() -> Iterator[str]:
        yield "Hello there. And then "
        raise LookupError("the words ran out")

    with pytest.raises(LookupError, match="the words ran out"):
        xtts.tts_to_file(broken(), path, **EN)
    with pytest.raises(UnsupportedLanguage):
        xtts.tts_to_file(TEXT, path, language="xx", speaker="noise")
    assert path.read_bytes() == was
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputNotWritable):
        xtts.tts_to_file(TEXT, tmp_path / "none" / "a.wav", **EN)
    assert idle(engine_of(xtts))


# --- what is refused


def test_what_cannot_be_spoken_is_refused(xtts: XTTS, tmp_path: Path) -> None:
    silent = recording(tmp_path / "silent.wav", np.zeros(48000))
    short = recording(tmp_path / "short.wav", voiced(0.5))
    nan = tmp_path / "nan.wav"
    samples = np.full(32000, np.nan, "<f4").tobytes()
    header = (
        b"RIFF"
        + (36 + len(samples)).to_bytes(4, "little")
        + b"WAVEfmt "
        + (16).to_bytes(4, "little")
    )
    header += (
        b"\x03\x00\x01\x00"
        + (16000).to_bytes(4, "little")
        + (64000).to_bytes(4, "little")
        + b"\x04\x00\x20\x00"
    )
    nan.write_bytes(header + b"data" + len(samples).to_bytes(4, "little") + samples)
    bad: list[tuple[str, dict[str, Any], type[VoxturnError], str]] = [
        ("🙂🎉", EN, EmptyText, "nothing in the text that can be spoken"),
        ("", EN, EmptyText, "nothing in the text"),
        (TEXT, EN | {"language": "xx"}, UnsupportedLanguage, "'xx'.* en, es"),
        (
            TEXT,
            EN | {"speaker": "Nobody"},
            UnknownVoice,
            "no voice 'Nobody' for this checkpoint; here: .*noise",
        ),
        (TEXT, EN | {"speaker_wav": silent}, UsageError, "give speaker or speaker_wav, not both"),
        (
            TEXT,
            {"language": "en", "speaker_wav": silent},
            AudioError,
            r"silent\.wav: holds 0\.00 s of speech",
        ),
        (
            TEXT,
            {"language": "en", "speaker_wav": short},
            AudioError,
            r"short\.wav: holds 0\.50 s of speech in 0\.50 s",
        ),
        (TEXT, {"language": "en", "speaker_wav": nan}, InvalidSamples, r"nan\.wav: has NaN"),
        (
            TEXT,
            {"language": "en", "speaker_wav": tmp_path / "none.wav"},
            AudioNotFound,
            "no such audio file",
        ),
        (TEXT, EN | {"temperature": -1.0}, UsageError, "sampling out of range"),
        (TEXT, EN | {"top_p": 0.0}, UsageError, "sampling out of range"),
    ]
    for text, options, kind, says in bad:
        with pytest.raises(kind, match=says) as caught:
            xtts.tts(text, **options)
        assert type(caught.value) is kind
    assert idle(engine_of(xtts))


def test_a_voice_is_cloned_once_and_used(xtts: XTTS, tmp_path: Path) -> None:
    one = recording(tmp_path / "one.wav", voiced(3.2))
    samples = xtts.tts(TEXT, language="en", speaker_wav=one)
    count = len(xtts.voice.people._clones)
    assert_same(samples, xtts.tts(TEXT, language="en", speaker_wav=[str(one)]))
    assert len(xtts.voice.people._clones) == count
    recording(one, voiced(3.2) * np.linspace(0.1, 1, voiced(3.2).size))
    xtts.tts(TEXT, language="en", speaker_wav=one)
    assert len(xtts.voice.people._clones) == count + 1


# --- styles and mixtures


def add_styles(xtts: XTTS) -> None:
    """Voices of noise: `ana`, `ana/happy`, `ben`."""
    store, random = xtts.voice.people.store, np.random.default_rng(3)
    for name, style in (("ana", ""), ("ana", "happy"), ("ben", "")):
        speaker = random.standard_normal(512).astype(np.float32)
        latents = random.standard_normal((32, store.shape.width)).astype(np.float32)
        store.add(Voice(name, latents, speaker / np.linalg.norm(speaker)), style=style)


def by_sentence(chunks: Iterable[PcmChunk]) -> list[np.ndarray]:
    found: dict[int, list[np.ndarray]] = {}
    for chunk in chunks:
        found.setdefault(chunk.sentence.index, []).append(chunk.samples)
    return [np.concatenate(samples) for samples in found.values()]


def test_a_tag_changes_the_voice_of_its_sentence_alone(xtts: XTTS) -> None:
    add_styles(xtts)
    texts = ["One here. ", "Two here. ", "Three here."]
    own, happy = (
        by_sentence(xtts.stream(texts, language="en", speaker=speaker))
        for speaker in ("ana", "ana/happy")
    )
    tagged = [texts[0], "[happy] ", texts[1], "[def", "ault] ", texts[2]]
    said = by_sentence(xtts.stream(tagged, language="en", speaker="ana"))
    assert len(own) == len(happy) == len(said) == 3
    for got, wanted in zip(said, (own[0], happy[1], own[2]), strict=True):
        assert_same(got, wanted)
    assert differs(own[1], happy[1])
    asked = by_sentence(xtts.stream(texts, language="en", speaker="ana", style="happy"))
    for got, wanted in zip(asked, happy, strict=True):
        assert_same(got, wanted)


def test_a_mixture_is_neither_of_its_voices_and_always_the_same(xtts: XTTS) -> None:
    add_styles(xtts)
    said = {
        speaker: xtts.tts(TEXT, language="en", speaker=speaker)
        for speaker in ("ana", "ben", "ana:0.7+ben:0.3", "ana/happy:0.7+ben:0.3")
    }
    for one, other in combinations(said.values(), 2):
        assert differs(one, other)
    assert_same(xtts.tts(TEXT, language="en", speaker="ana:7+ben:3"), said["ana:0.7+ben:0.3"])
    assert_same(xtts.tts(TEXT, language="en", speaker="ana:0.4"), said["ana"])


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (
            {"speaker": "ana", "style": "sad"},
            UnknownStyle,
            "'ana' has no style 'sad'; it has happy",
        ),
        (
            {"speaker": "ben", "style": "happy"},
            UnknownStyle,
            "'ben' has no style 'happy'; it has none",
        ),
        ({"speaker": "ana+eve"}, UnknownVoice, "no voice 'eve'"),
        ({"speaker": "ana:0+ben"}, UsageError, "the weight '0'"),
        ({"style": "two words"}, UsageError, "style 'two words'"),
    ],
)
def test_styles_and_mixtures_that_are_not_there_are_refused(
    options: dict[str, str], kind: type[VoxturnError], says: str, xtts: XTTS
) -> None:
    add_styles(xtts)
    with pytest.raises(kind, match=says) as caught:
        xtts.tts(TEXT, language="en", **options)
    assert type(caught.value) is kind


def test_an_artifact_of_another_kind_or_format_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    manifest = Manifest.read(tiny.short)
    with pytest.raises(ModelNotInstalled, match="no artifact here"):
        XTTS.load(tmp_path / "none")
    (tmp_path / MANIFEST).write_text(replace(manifest, kind="vits").to_json())
    with pytest.raises(UsageError, match="is a vits artifact, not XTTS"):
        XTTS.load(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(json.loads(manifest.to_json()) | {"format": 99}))
    with pytest.raises(CorruptModel, match="written by another version"):
        XTTS.load(tmp_path)
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    with pytest.raises(CorruptModel, match=r"lacks .*gpt\.onnx"):
        XTTS.load(tmp_path)


# --- long texts


def test_fifty_thousand_characters_are_split_under_the_limits(tiny: Tiny) -> None:
    tokenizer = XttsTokenizer(tiny.fp32 / "vocab.json")
    text = "This is a sentence of some length, with a pause in it. " * 910
    assert len(text) > 50_000
    pieces = tokenizer.split(text, "en")
    assert max(len(piece) for piece in pieces) <= CHAR_LIMITS["en"]
    assert max(len(tokenizer.encode(piece, "en")) for piece in pieces) <= MAX_TOKENS
    assert "".join("".join(pieces).split()) == "".join(text.split())


async def test_the_stage_asks_for_one_piece_of_a_long_text_at_a_time(tiny: Tiny) -> None:
    ids = XttsIds.from_properties(Manifest.read(tiny.fp32).properties)
    answer = [5, 6, 7, ids.stop_audio]

    def following(prompt: Any) -> int:
        starts = [i for i, value in enumerate(prompt) if value == ids.code(ids.start_audio, 0)]
        return (
            answer[len(prompt) - 1 - starts[-1]] if starts else 0
        )  # no start yet: a piece of a prompt

    engine, lane = (
        DecodeEngine(FakeDecoder(following, ids.audio_tokens, 2, ids.positions)),
        Lane("speak"),
    )
    asked = []
    add = engine.add

    def counted(request: Any, limit: float = float("inf")) -> Any:
        assert not engine.running
        asked.append(request)
        return add(request, limit)

    engine.add = counted  # type: ignore[method-assign]
    voice = Voice("v", np.zeros((32, 64), np.float32), np.zeros(512, np.float32))
    tokenizer = XttsTokenizer(tiny.fp32 / "vocab.json")
    stage = XttsSpeech(DecodeService(engine, lane), ids, tokenizer, Manner(voice, "en", Sampling()))

    async def sentences() -> AsyncIterator[Sentence]:
        yield Sentence("This is a sentence of some length. " * 1500, 0)

    codes = stage(sentences())
    try:
        ends = 0
        while ends < 3:
            ends += (await anext(codes)).final
        assert len(asked) == 3
    finally:
        await codes.aclose()
        lane.close()


# --- the command line


def test_a_voice_is_added_and_lines_are_spoken_in_slots(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    model = ["--model", str(tiny.short)]
    one = recording(tmp_path / "one.wav", voiced(2.0))
    assert cli.main(["voices", "add", "Ana", str(one), *model]) == 0
    said = capsys.readouterr()
    assert "warning: voice 'Ana': only 2.0 s of speech; 3 s or more clone better" in said.err
    assert said.out == "Ana: 2.0 s of speech from 1 recording(s)\n"
    options = [
        *model,
        "--voice",
        "Ana",
        "--language",
        "es",
        "--seed",
        "5",
        "--temperature",
        "0.6",
        "--top-k",
        "30",
    ]
    options += ["--top-p", "0.9", "--repetition-penalty", "5"]
    (tmp_path / "lines.txt").write_text("Hola.\nAdios.\nSi.\n")
    batch = [
        "say",
        "--batch",
        str(tmp_path / "lines.txt"),
        "-o",
        str(tmp_path / "out"),
        "--slots",
        "2",
    ]
    assert cli.main([*batch, *options]) == 0
    said = capsys.readouterr()
    assert said.err == "warning: xtts-v2 has synthetic weights; its voice is noise\n"
    assert sorted(Path(line).name for line in said.out.split()) == ["001.wav", "002.wav", "003.wav"]
    assert cli.main(["voices", "add", "Ana", str(one), "--style", "Happy", *model]) == 0
    assert "Ana/happy: 2.0 s of speech" in capsys.readouterr().out
    style = ["--style", "happy"]
    assert cli.main(["say", "Hola.", "-o", str(tmp_path / "h.wav"), *options, *style]) == 0
    assert cli.main(["say", "Hola.", "-o", str(tmp_path / "alone.wav"), *options]) == 0
    files = [wave.open(str(tmp_path / name)) for name in ("alone.wav", "out/001.wav")]
    alone, batched = (
        np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int) for file in files
    )
    for file in files:
        file.close()
    np.testing.assert_allclose(alone, batched, atol=40)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (["--voice", "Nobody"], UnknownVoice, "no voice 'Nobody' for this checkpoint; here: noise"),
        (["--style", "happy"], UnknownStyle, "voice 'noise' has no style 'happy'; it has none"),
        (["--voice", "noise:x"], UsageError, "the weight 'x'"),
        (["--language", "xx"], UnsupportedLanguage, "does not speak 'xx'"),
        (["--temperature", "-1"], UsageError, "sampling out of range"),
        (["--seed", "-1"], UsageError, "--seed -1: must be 0 or more"),
        (["--profile", "gpu-onnx"], InvalidProfile, "was not exported for a GPU"),
    ],
)
def test_options_of_say_that_are_out_of_range(
    options: list[str],
    kind: type[VoxturnError],
    says: str,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    with pytest.raises(kind, match=says) as caught:
        cli.main(
            [
                "--debug",
                "say",
                "Hi.",
                "-o",
                str(tmp_path / "a.wav"),
                "--model",
                str(tiny.short),
                *options,
            ]
        )
    assert type(caught.value) is kind
    assert not list(tmp_path.iterdir())
