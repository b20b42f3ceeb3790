"""Every bad input through the command line: its class, one line, its exit code; what was there
before stays as it was."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.encode import PipeSink, WavFile
from voxturn.runtime.commands import models, say, turns
from voxturn.runtime.errors import (
    AudioNotFound,
    CorruptModel,
    DiskFull,
    EmptyAudio,
    EmptyText,
    ExecutorUnavailable,
    InferenceFailed,
    InvalidProfile,
    InvalidSamples,
    ModelNotInstalled,
    OutputNotWritable,
    TextError,
    TextTooLong,
    UnknownModel,
    UnknownProfile,
    UnreadableAudio,
    UnsupportedLanguage,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.decoder import DecoderReplier
from voxturn.runtime.families.whisper.recognise import MARKS
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import ReplyToken
from voxturn.runtime.models.manifest import MANIFEST, Manifest, ModelContract, sha256_of
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import content_filter
from voxturn.runtime.text.chat import Message
from voxturn.runtime.text.reading import ReadText

from tests.cli_fakes import use_fakes
from tests.conftest import FakeTurn, OrdPhonemizer, tone
from tests.recordings import encoded, float_wav, matroska, zeroed

ROOT = Path(__file__).parents[2]
QUESTION = str(ROOT / "runtime" / "demo" / "question.wav")
PRECIOUS = b"what was here before"
NEWS = ("heard: ", "said: ", "audible ")
"""How lines begin that tell of a turn while it runs."""


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    use_fakes(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output that exists already."""
    path = tmp_path / "out" / "reply.wav"
    path.parent.mkdir()
    path.write_bytes(PRECIOUS)
    return path


Fails = Callable[[Sequence[str], type[VoxturnError], str], str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command twice: with `--debug` it raises the class, without it says one line and gives
    the exit code."""

    def run(arguments: Sequence[str], kind: type[VoxturnError], says: str) -> str:
        with pytest.raises(kind, match=says) as caught:
            cli.main(["--debug", *arguments])
        assert type(caught.value) is kind
        capsys.readouterr()
        if isinstance(sys.stdin, Given):
            sys.stdin.rewind()
        assert cli.main(arguments) == kind.exit_code
        got = capsys.readouterr()
        lines = [line for line in got.err.splitlines() if not line.startswith(NEWS)]
        assert len(lines) == 1, got.err
        assert lines[0].startswith("voxturn: ")
        assert lines[0] == f"voxturn: {' '.join(str(caught.value).split())}"
        assert "Traceback" not in got.err
        return got.out

    return run


class Given(io.TextIOWrapper):
    """Standard input with these bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")

    def rewind(self) -> None:
        self.seek(0)


def untouched(output: Path) -> bool:
    return output.read_bytes() == PRECIOUS and list(output.parent.iterdir()) == [output]


def wav(samples: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


AUDIO = [
    ("empty", b"", EmptyAudio, "is empty"),
    ("no-samples", wav(np.zeros(0)), EmptyAudio, "holds no samples"),
    ("truncated", wav(tone(1.0))[:30], UnreadableAudio, "cut short"),
    ("nan", float_wav(np.full(16000, np.nan)), InvalidSamples, "NaN or infinite samples alone"),
    ("text", b"Dear reader,\n" * 50, UnreadableAudio, "not readable as audio"),
]


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("name", "data", "kind", "says"), AUDIO, ids=[row[0] for row in AUDIO])
@pytest.mark.parametrize("live", [False, True])
def test_audio_that_cannot_be_used(
    name: str,
    data: bytes,
    kind: type[VoxturnError],
    says: str,
    live: bool,
    tmp_path: Path,
    output: Path,
    fails: Fails,
) -> None:
    path = tmp_path / f"{name}.wav"
    path.write_bytes(data)
    fails(
        ["turn", str(path), "-o", str(output), *(["--live"] if live else [])],
        kind,
        f"{name}.wav: .*{says}",
    )
    assert untouched(output)
    assert fails(["transcribe", str(path)], kind, says) == ""


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("name", "data", "kind", "says"), AUDIO, ids=[row[0] for row in AUDIO])
def test_audio_on_standard_input_that_cannot_be_used(
    name: str,
    data: bytes,
    kind: type[VoxturnError],
    says: str,
    output: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", Given(data))
    fails(["turn", "-", "-o", str(output)], kind, f"the stream: .*{says}")
    assert untouched(output)


@pytest.mark.usefixtures("fakes")
def test_a_damaged_recording_is_transcribed_and_what_is_lost_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, tones = tmp_path / "damaged.mp3", np.tile(tone(1.5, 1.0), 3)
    path.write_bytes(zeroed(encoded("mp3", 16000, tones[None]), 0.5, 3000))
    assert cli.main(["transcribe", "--json", str(path)]) == 0
    got = capsys.readouterr()
    *lines, last = [json.loads(line) for line in got.out.splitlines()]
    assert lines
    assert lines[-1]["end_s"] > 6.5
    assert last == {"lost_packets": 1, "lost_s": pytest.approx(1.0, abs=0.2)}
    assert got.err.splitlines() == [
        f"warning: {path}: damaged: 1 packet could not be decoded, "
        f"{last['lost_s']:.2f} s are missing"
    ]
    assert cli.main(["transcribe", str(path)]) == 0
    assert capsys.readouterr().err == got.err


@pytest.mark.usefixtures("fakes")
def test_samples_that_are_no_numbers_are_lost_and_the_rest_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = np.concatenate([tone(1.0), np.zeros(16000, np.float32), tone(2.0)])
    samples[-1600:] = np.nan
    path = tmp_path / "late.wav"
    path.write_bytes(float_wav(samples))
    assert cli.main(["transcribe", "--json", str(path)]) == 0
    got = capsys.readouterr()
    lines = [json.loads(line) for line in got.out.splitlines()]
    ends = [line["end_s"] for line in lines if "end_s" in line]
    assert ends[-1] > 3.0
    assert lines[-1]["lost_s"] == pytest.approx(0.1, abs=0.02)
    assert "s are missing" in got.err


@pytest.mark.usefixtures("fakes")
def test_silence_that_is_left_out_is_told_with_the_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "late.mkv"
    path.write_bytes(matroska(tone(1.0), begin_s=86_400.0))
    assert cli.main(["transcribe", "--json", str(path)]) == 0
    got = capsys.readouterr()
    *lines, last = [json.loads(line) for line in got.out.splitlines()]
    assert lines[0]["begin_s"] < 1.0
    assert last == {"lost_packets": 0, "lost_s": 0.0, "left_out_s": 86_400.0}
    assert got.err.endswith("86400 s of silence are left out\n")


@pytest.mark.usefixtures("fakes")
def test_times_are_those_of_the_file_and_the_track_is_the_named_one(
    tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "late.mkv"
    path.write_bytes(matroska(tone(1.0), tone(2.0), begin_s=4.0, default=1))
    for track, length in (([], 2.0), (["--track", "1"], 1.0)):
        assert cli.main(["transcribe", "--json", str(path), *track]) == 0
        got = capsys.readouterr()
        (line,) = [json.loads(line) for line in got.out.splitlines()]
        assert line["begin_s"] == 4.0
        assert line["end_s"] == pytest.approx(4.0 + length, abs=0.05)
        assert got.err == ""
    turn = ["turn", str(path), "-o", str(tmp_path / "r.wav"), "--track"]
    assert cli.main([*turn, "1"]) == 0
    fails([*turn, "3"], UsageError, r"no audio track 3; it has 1 \(")
    fails([*turn, "1", "--raw", "8000"], UsageError, "raw PCM has one track")
    fails(["transcribe", str(path), "--track", "3"], UsageError, r"no audio track 3; it has 1 \(")
    fails(["transcribe", str(path), "--track", "0"], UsageError, "--track 0: must be 1 or more")
    fails(
        ["transcribe", str(path), "--track", "1", "--raw", "8000"],
        UsageError,
        "raw PCM has one track",
    )


@pytest.mark.usefixtures("fakes")
def test_audio_that_is_not_there(
    tmp_path: Path, output: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> Assistant:
        raise AssertionError("models are loaded for a question that is not there")

    monkeypatch.setattr(Assistant, "load", load)
    for raw in ([], ["--raw", "8000"]):
        fails(
            ["turn", str(tmp_path / "no.wav"), "-o", str(output), *raw],
            AudioNotFound,
            "no.wav: no such audio file",
        )
        fails(["transcribe", str(tmp_path), *raw], AudioNotFound, "is a folder; give an audio file")
    fails(["transcribe", QUESTION, "--raw", "-8000"], UsageError, "-8000 Hz is not a rate")
    assert untouched(output)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("text", "given", "kind", "says"),
    [
        ("", b"", EmptyText, "nothing that can be spoken"),
        (" …!? ", b"", EmptyText, "nothing that can be spoken"),
        ("-", b"", EmptyText, "nothing that can be spoken"),
        ("-", b"\xff\xfeH\x00", TextError, "standard input: is not UTF-8"),
        ("-", b"a" * (say.MAX_TEXT + 1), UsageError, "1000001 characters; at most 1000000"),
    ],
)
def test_text_that_cannot_be_said(
    text: str,
    given: bytes,
    kind: type[VoxturnError],
    says: str,
    output: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", Given(given))
    fails(["say", text, "-o", str(output)], kind, says)
    assert untouched(output)


@pytest.mark.usefixtures("fakes")
def test_lines_of_a_chat_that_are_no_text(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Given(b"\xff\xff\n"))
    fails(["chat"], TextError, "standard input: is not UTF-8")
    (tmp_path / "file").touch()
    fails(
        ["chat", "-o", str(tmp_path / "file")],
        OutputNotWritable,
        "file: is not a folder and cannot be made",
    )


SYSTEM = turns.load_profile("demo").system_prompt


class Chat:
    """`voxturn chat` on fakes in this process; `dialogues` has what the reply was asked, line by
    line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.dialogues: list[list[str]] = []
        asked = DecoderReplier.__call__

        def call(
            reply: DecoderReplier, messages: Sequence[Message]
        ) -> AsyncGenerator[ReplyToken, None]:
            self.dialogues.append([message.text for message in messages])
            return asked(reply, messages)

        monkeypatch.setattr(DecoderReplier, "__call__", call)

    def run(self, lines: Sequence[str], *options: str, interactive: bool = False) -> int:
        given = Given("".join(f"{line}\n" for line in lines).encode())
        self._patch.setattr(given, "isatty", lambda: interactive)
        self._patch.setattr("sys.stdin", given)
        return cli.main(["chat", *options])


@pytest.fixture
def chat(fakes: None, monkeypatch: pytest.MonkeyPatch) -> Chat:
    return Chat(monkeypatch)


@pytest.mark.parametrize("interactive", [False, True])
def test_a_line_that_is_too_long_does_not_end_a_chat(
    interactive: bool, chat: Chat, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = FakeTurn().reply_text
    assert chat.run(["Hello.", "x" * 5000, "And now?"], interactive=interactive) == 0
    text = capsys.readouterr()
    assert text.out.splitlines() == [answer, answer]
    told = text.err.replace("> ", "").splitlines()
    assert len(told) == 1
    assert told[0].startswith("voxturn: the prompt has ")
    assert text.err.count("> ") == (4 if interactive else 0)
    assert chat.dialogues[-1] == [SYSTEM, "Hello.", answer, "And now?"]


@pytest.mark.parametrize("error", [EmptyText, TextTooLong, UnsupportedLanguage])
def test_an_answer_that_cannot_be_spoken_does_not_end_a_chat(
    error: type[VoxturnError],
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, calls = OrdPhonemizer.read, []

    def read(self: OrdPhonemizer, text: str, language: str) -> ReadText:
        calls.append(text)
        if len(calls) == 1:
            raise error("of\nthis line")
        return real(self, text, language)

    monkeypatch.setattr(OrdPhonemizer, "read", read)
    assert chat.run(["One.", "Two."], "-o", str(tmp_path)) == 0
    text = capsys.readouterr()
    assert text.err == "voxturn: of this line\n"
    assert text.out.endswith(f"\n{FakeTurn().reply_text}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["turn-2.wav"]
    assert chat.dialogues[-1] == [SYSTEM, "Two."]


def test_an_engine_that_fails_ends_a_chat(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> list[Message]:
        raise InferenceFailed("the engine died")

    monkeypatch.setattr(DecoderReplier, "fitted", broken)
    assert chat.run(["One.", "Two."]) == InferenceFailed.exit_code
    assert capsys.readouterr().err == "voxturn: the engine died\n"


@pytest.mark.usefixtures("fakes")
def test_text_in_halves_of_characters(output: Path, fails: Fails) -> None:
    fails(["say", "caf\udce9 is nice", "-o", str(output)], TextError, "the text: is not UTF-8 text")


@pytest.mark.usefixtures("fakes")
def test_an_output_that_is_no_file_is_left_alone(tmp_path: Path, fails: Fails) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    for option in ([], ["-o", str(tmp_path / "a.wav"), "--trace"]):
        command = ["turn", QUESTION, *(option or ["-o"]), str(pipe)]
        fails(command, OutputNotWritable, "is no file but a device or a pipe")
        assert pipe.is_fifo()
    fails(["say", "Hello there.", "-o", "."], OutputNotWritable, r"\.: is a folder")
    fails(
        ["say", "Hello there.", "-o", f"{'x' * 300}.wav"],
        OutputNotWritable,
        r"x\.wav: cannot be written \(File name too long",
    )
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    fails(
        ["turn", QUESTION, "-o", str(loop), "--trace", str(loop)],
        UsageError,
        r"loop\.wav: is named twice",
    )
    target, link = tmp_path / "target.wav", tmp_path / "link.wav"
    target.write_bytes(PRECIOUS)
    link.symlink_to(target)
    assert cli.main(["say", "Hello there.", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert target.read_bytes()[:4] == b"RIFF"


@pytest.mark.usefixtures("fakes")
def test_an_output_that_would_take_the_place_of_another(tmp_path: Path, fails: Fails) -> None:
    question, wav = tmp_path / "question.wav", str(tmp_path / "a.wav")
    question.write_bytes(Path(QUESTION).read_bytes())
    before = question.read_bytes()
    fails(
        ["turn", str(question), "-o", str(question)], UsageError, r"question\.wav: is named twice"
    )
    fails(["turn", str(question), "-o", wav, "--trace", wav], UsageError, r"a\.wav: is named twice")
    assert question.read_bytes() == before
    assert not Path(wav).exists()


@pytest.mark.usefixtures("fakes")
def test_a_seed_below_zero(output: Path, tmp_path: Path, fails: Fails) -> None:
    fails(
        ["say", "Hello there.", "-o", str(output), "--seed", "-3"],
        UsageError,
        "--seed -3: must be 0 or more",
    )
    made = str(tmp_path / "made")
    fails(
        ["export", "make-checkpoint", "qwen3-0.6b", "-o", made, "--seed", "-1"],
        UsageError,
        "--seed -1: must be 0",
    )


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("command", [["turn", QUESTION], ["say", "Hello there."]])
def test_an_output_that_cannot_be_written(
    command: list[str], tmp_path: Path, output: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(
        [*command, "-o", str(tmp_path / "none" / "a.wav")],
        OutputNotWritable,
        "a.wav: its folder does not exist",
    )
    fails([*command, "-o", str(tmp_path)], OutputNotWritable, "is a folder")
    real = Path.open

    def refuse(path: Path, *args: Any, **named: Any) -> Any:
        if path.parent == output.parent:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)
    fails(
        [*command, "-o", str(output)],
        OutputNotWritable,
        r"reply\.wav: cannot be written \(Permission denied\)",
    )
    monkeypatch.setattr(Path, "open", real)
    assert untouched(output)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("command", [["turn", QUESTION], ["say", "Hello there."]])
@pytest.mark.parametrize("moment", ["write", "close"])
def test_a_disk_that_fills_while_the_answer_is_written(
    command: list[str], moment: str, output: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        wave.Wave_write, "writeframesraw" if moment == "write" else "_patchheader", full
    )
    fails(
        [*command, "-o", str(output)],
        DiskFull,
        r"reply\.wav: the disk is full; what was there before is untouched",
    )
    assert untouched(output)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("command", "option", "name", "says"),
    [
        (["turn", QUESTION], "-o", "a.mp3", r"a\.mp3: is written as WAV; name it a\.wav"),
        (["say", "Hello there."], "-o", "a.OGG", r"a\.OGG: is written as WAV; name it a\.wav"),
        (["turn", QUESTION], "--plot", "a.svg", r"a\.svg: is written as PNG; name it a\.png"),
        (["turn", QUESTION], "--captions", "a.srt", r"a\.srt: is written as VTT; name it a\.vtt"),
    ],
)
def test_a_name_that_promises_another_format(
    command: list[str], option: str, name: str, says: str, tmp_path: Path, fails: Fails
) -> None:
    output = [] if option == "-o" else ["-o", str(tmp_path / "a.wav")]
    fails([*command, *output, option, str(tmp_path / name)], UsageError, says)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("option", ["--trace", "--plot"])
def test_a_second_output_that_cannot_be_written(
    option: str, tmp_path: Path, output: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["turn", QUESTION, "-o", str(tmp_path / "a.wav"), option]
    fails(
        [*command, str(tmp_path / "none" / "b")], OutputNotWritable, "b: its folder does not exist"
    )
    fails([*command, str(tmp_path)], OutputNotWritable, "is a folder")

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    fails([*command, str(output)], DiskFull, "the disk is full")
    assert untouched(output)


def test_a_demo_folder_that_is_a_file(output: Path, fails: Fails) -> None:
    fails(
        ["demo", "-o", str(output)],
        OutputNotWritable,
        r"reply\.wav: is not a folder and cannot be made",
    )
    assert untouched(output)


def test_options_that_do_not_go_together(fails: Fails) -> None:
    fails(["models", "pull"], UsageError, "name a model or --profile")
    fails(["models", "pull", "silero-vad", "--profile", "demo"], UsageError, "one of them")


@pytest.mark.usefixtures("fakes")
def test_raw_goes_with_standard_output_alone(output: Path, fails: Fails) -> None:
    fails(["say", "Hello.", "-o", str(output), "--raw"], UsageError, "--raw goes with -o -")
    assert untouched(output)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("rate", ["0", "-8000", "999", "768001", "1e4", "fast", ""])
@pytest.mark.parametrize("command", [["transcribe", QUESTION], ["turn", QUESTION, "-o", "-"]])
def test_a_rate_that_is_none(command: list[str], rate: str, fails: Fails) -> None:
    """`0` was taken as "not given", and the file read as a WAV."""
    assert fails([*command, "--raw", rate], UsageError, f"--raw {rate}: .* is not a rate") == ""


@pytest.mark.usefixtures("fakes")
def test_rates_of_headerless_pcm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes((tone(1.0) * 32767).astype("<i2").tobytes())
    for rate in ("8000", "16000", "768000"):
        assert cli.main(["transcribe", str(path), "--raw", rate]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "kind", "says"),
    [
        (["transcribe", QUESTION, "--language", ""], UsageError, "--language: is empty"),
        (
            ["transcribe", QUESTION, "--language", "english"],
            UsageError,
            "'english' is no language tag.*, or auto",
        ),
        (
            ["say", "Hi.", "-o", "a.wav", "--language", "en us"],
            UsageError,
            "--language: 'en us' is no language tag",
        ),
        (["models", "pull", ""], UnknownModel, "''"),
        (["models", "verify", ""], UnknownModel, "''"),
        (["models", "pull", "--profile", ""], UnknownProfile, "no profile ''"),
        (["doctor", "--profile", ""], UnknownProfile, "no profile ''"),
        (["models", "pull", "silero-vad", "--precision", ""], UsageError, "has fp32"),
        (["models", "pull", "silero-vad", "--precision", "int3"], UsageError, "int3: .*has fp32"),
        (["models", "path", "silero-vad", "--precision", ""], UsageError, "has fp32"),
        (["models", "show", "silero-vad", "--precision", "int3"], UsageError, "has fp32"),
        (
            ["models", "pull", "--profile", "demo", "--precision", "fp32"],
            UsageError,
            "with a model",
        ),
        (["serve", "triton", "--models", ""], UsageError, "must be some of"),
    ],
)
def test_an_empty_value_is_not_one_that_was_left_out(
    command: list[str], kind: type[VoxturnError], says: str, fails: Fails, home: Path
) -> None:
    assert fails(command, kind, says) == ""


# --- profiles


def profile(folder: Path, *changes: tuple[str, str]) -> str:
    text = (resources.files("voxturn.runtime") / "profiles" / "demo.toml").read_text(
        encoding="utf-8"
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("max_tokens = 80", "max_tokns = 80"),
            r"own\.reply: unknown key 'max_tokns' \(did you mean 'max_tokens'\?\)",
        ),
        (("max_tokens = 80", 'max_tokens = "80"'), r"own\.reply\.max_tokens: must be int, not str"),
        (
            ("max_tokens = 80", "max_tokens = true"),
            r"own\.reply\.max_tokens: must be int, not bool",
        ),
        (("max_tokens = 80", "stops = 'x'"), r"own\.reply\.stops: must be a list"),
        (("max_tokens = 80", "stops = [1]"), r"own\.reply\.stops\[0\]: must be str, not int"),
        (('language = "en"', "language = 7"), r"own\.language: must be str, not int"),
        (('language = "en"', ""), "own: key 'language' is missing"),
        (('language = "en"', 'language = "en"\nfilter = "off"'), r"own\.filter: must be a table"),
        (
            ('language = "en"', 'language = "en"\nfilter = { kind = "of" }'),
            r"filter\.kind: must be words or off",
        ),
        (
            ('executor = "ctranslate2"', 'executor = "ctranslate"'),
            r"transcribe\.executor.*did you mean 'ctranslate2'",
        ),
        (("threads = 1", "threads = -1"), r"own\.listen\.threads: must be 0 or more"),
        (("[reply]", "[reply"), r"own\.toml: not TOML: "),
        (
            ('"fp32"\nthreads', '"int4"\nthreads'),
            r"own\.listen\.precision: model 'silero-vad' has fp32, not 'int4'",
        ),
    ],
)
def test_a_profile_that_breaks_the_rules(
    change: tuple[str, str], says: str, tmp_path: Path, output: Path, fails: Fails, home: Path
) -> None:
    fails(["transcribe", QUESTION, "--profile", profile(tmp_path, change)], InvalidProfile, says)
    if "precision" not in says:
        fails(
            ["say", "Hi.", "-o", str(output), "--profile", profile(tmp_path, change)],
            InvalidProfile,
            says,
        )
    assert untouched(output)


def test_a_profile_that_is_not_there(tmp_path: Path, output: Path, fails: Fails) -> None:
    for command in (
        ["say", "Hi.", "-o", str(output)],
        ["turn", QUESTION, "-o", str(output)],
        ["chat"],
        ["doctor"],
    ):
        fails(
            [*command, "--profile", "dmeo"],
            UnknownProfile,
            "no profile 'dmeo' .did you mean 'demo'",
        )
    fails(
        ["chat", "--profile", str(tmp_path / "no.toml")],
        InvalidProfile,
        r"no\.toml: cannot be read",
    )
    (tmp_path / "bad.toml").write_bytes(b'about = "\xff"')
    fails(
        ["doctor", "--profile", str(tmp_path / "bad.toml")], InvalidProfile, r"bad\.toml: not TOML"
    )
    assert untouched(output)


def test_a_list_of_words_that_is_not_there(
    tmp_path: Path, output: Path, fails: Fails, home: Path
) -> None:
    own = profile(
        tmp_path,
        ('language = "en"', 'language = "en"\nfilter = { own_words = "no-such-words.txt" }'),
    )
    with pytest.raises(
        InvalidProfile, match=r"filter\.own_words: no-such-words\.txt cannot be read"
    ):
        content_filter(turns.load_profile(own))


def test_an_unknown_model(tmp_path: Path, fails: Fails) -> None:
    for action in ("pull", "path", "show", "verify"):
        fails(["models", action, "whisper-bas"], UnknownModel, "did you mean 'whisper-base'")
    own = profile(tmp_path, ("silero-vad", "silero-vda"))
    fails(["transcribe", QUESTION, "--profile", own], UnknownModel, "did you mean 'silero-vad'")


@pytest.mark.usefixtures("fakes")
def test_a_language_that_whisper_lacks(tmp_path: Path, output: Path, fails: Fails) -> None:
    own = profile(tmp_path, ('language = "en"', 'language = "xx"'))
    fails(
        ["transcribe", QUESTION, "--profile", own],
        UnsupportedLanguage,
        "does not know language 'xx'",
    )


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("tag", ["en-US", "EN", "en_gb", "auto"])
def test_any_tag_of_a_language_is_taken(
    tag: str, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert cli.main(["transcribe", QUESTION, "--language", tag]) == 0
    own = profile(tmp_path, ('language = "en"', f'language = "{tag}"'))
    assert cli.main(["say", "Hello there.", "-o", str(output), "--profile", own]) == 0
    assert cli.main(["say", "Hello there.", "-o", str(output), "--language", tag]) == 0
    assert capsys.readouterr().err == ""


def test_a_language_that_the_voice_lacks(
    tmp_path: Path, output: Path, fails: Fails, home: Path
) -> None:
    own = profile(tmp_path, ('language = "en"', 'language = "fi"'))
    says = "voice 'vits-en-us-joe' does not speak 'fi'"
    fails(["say", "Hyvää iltaa.", "-o", str(output), "--profile", own], UnsupportedLanguage, says)
    assert untouched(output)


def test_more_threads_than_cores(tmp_path: Path, output: Path, fails: Fails, home: Path) -> None:
    own = profile(tmp_path, ("threads = 1", f"threads = {Cores().available + 1}"))
    fails(
        ["transcribe", QUESTION, "--profile", own], UsageError, "stage 'listen': .* lower `threads`"
    )


def test_openvino_that_is_not_installed(
    tmp_path: Path, output: Path, fails: Fails, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    vocode = '[vocode]\nmodel = "vits-en-us-joe"\nexecutor = '
    own = profile(tmp_path, (f'{vocode}"onnx"', f'{vocode}"openvino"'))
    says = r"own\.vocode: executor 'openvino' is not installed; pip install 'voxturn\[openvino\]'"
    fails(["say", "Hello.", "-o", str(output), "--profile", own], ExecutorUnavailable, says)
    assert untouched(output)


def test_an_executor_that_this_version_lacks(
    tmp_path: Path, output: Path, fails: Fails, home: Path
) -> None:
    speak = '[speak]\nmodel = "vits-en-us-joe"\nexecutor = '
    own = profile(tmp_path, (f'{speak}"onnx"', f'{speak}"tensorrt"'))
    fails(
        ["say", "Hello.", "-o", str(output), "--profile", own],
        ExecutorUnavailable,
        "needs cuda-bindings",
    )
    assert untouched(output)


# --- model files


SILERO = {"input": "speech_probs", "h": "hn", "c": "cn"}


def identity(path: Path, names: dict[str, str]) -> None:
    """The smallest graph that loads: outputs by the names of their inputs."""
    from onnx import TensorProto, helper, save

    def values(of: Iterable[str]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in of]

    nodes = [helper.make_node("Identity", [x], [y]) for x, y in names.items()]
    graph = helper.make_graph(nodes, "g", values(names), values(names.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    save(model, str(path))


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOXTURN_HOME whose models are as small as can be: they load or not, but nobody ever runs
    them."""
    root = tmp_path_factory.mktemp("home")
    store, registry = Store(root), Registry.read()
    roles = {
        "decoder": {"token_decoder": "decoder.onnx"},
        "vits": {"acoustic_encoder": "acoustic.onnx", "waveform_decoder": "decoder.onnx"},
    }
    whisper = ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]
    files = {
        "silero-vad": ("checkpoint", "fp32", ["silero_vad.onnx"]),
        "whisper-base": ("checkpoint", "int8", whisper),
        "smollm2-135m": ("decoder", "int8", ["decoder.onnx", "tokenizer.json"]),
        "vits-en-us-joe": ("vits", "fp32", ["acoustic.onnx", "decoder.onnx"]),
    }
    for name, (kind, precision, wanted) in files.items():
        folder = store.artifact_path(registry.models[name], precision)
        folder.mkdir(parents=True)
        for file in wanted:
            if file.endswith(".onnx"):
                identity(folder / file, SILERO if "silero" in file else {"x": "y"})
            else:
                (folder / file).write_bytes(b"tiny")
        if "tokenizer.json" in wanted:
            words = ["[UNK]", "<|en|>", *(f"<|{name}|>" for name in MARKS)]
            vocabulary = {word: number for number, word in enumerate(words)}
            Tokenizer(WordLevel(vocabulary, "[UNK]")).save(str(folder / "tokenizer.json"))
        graphs = {role: ModelContract(file, (), ()) for role, file in roles.get(kind, {}).items()}
        properties = {
            "espeak_voice": "en-us",
            "phoneme_id_map": {"_": [0]},
            "noise_scale": 0.6,
            "length_scale": 1.0,
        }
        properties |= {
            "noise_w": 0.8,
            "noise_frames": 8,
            "sample_rate": 22050,
            "hop": 256,
            "margin": 3,
        }
        hashes = {file: sha256_of(folder / file) for file in wanted}
        manifest = Manifest(name, kind, precision, {}, hashes, graphs, properties)
        (folder / MANIFEST).write_text(manifest.to_json())
    return root


@pytest.fixture
def home(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "home"
    shutil.copytree(tiny_home, copy)
    monkeypatch.setenv("VOXTURN_HOME", str(copy))
    return copy


def test_models_that_are_not_here(
    tmp_path: Path, output: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "nothing"))
    for command in (
        ["say", "Hi.", "-o", str(output)],
        ["turn", QUESTION, "-o", str(output)],
        ["chat"],
    ):
        fails(command, ModelNotInstalled, "is not on this machine; run `voxturn models pull ")
    for action in ("path", "verify"):
        fails(
            ["models", action, "silero-vad"],
            ModelNotInstalled,
            "run `voxturn models pull silero-vad",
        )
    assert untouched(output)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_text("{"), "manifest.json: not a manifest"),
        (lambda path: path.write_bytes(b"\xff"), "manifest.json: not a manifest"),
        (lambda path: path.write_text("[]"), "manifest.json: written by another version"),
        (
            lambda path: path.write_text('{"format": 99}'),
            "manifest.json: written by another version",
        ),
        (lambda path: path.write_text('{"format": 1}'), "manifest.json: a field is missing"),
        (
            lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1})),
            "manifest.json: a field is missing or unknown",
        ),
        (
            lambda path: (path.parent / "silero_vad.onnx").unlink(),
            "lacks silero_vad.onnx; run `voxturn models pull",
        ),
        (
            lambda path: (path.parent / "silero_vad.onnx").write_bytes(b"noise" * 9),
            "ONNX Runtime cannot load it",
        ),
    ],
)
def test_an_artifact_that_is_damaged(
    damage: Callable[[Path], object],
    says: str,
    fails: Fails,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (manifest,) = (home / "checkpoints" / "silero-vad").glob(f"*/{MANIFEST}")
    assert cli.main(["models", "verify", "silero-vad"]) == 0
    damage(manifest)
    assert fails(["transcribe", QUESTION], CorruptModel, says) == ""
    fails(["models", "verify", "silero-vad"], CorruptModel, "silero")


def test_every_model_is_verified_whatever_the_first_one_says(
    home: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "verify"]) == 0
    sound = capsys.readouterr().out.splitlines()
    assert len(sound) == 4
    assert all(line.endswith(" good") for line in sound)
    folders = {path.parent.parent.name: path.parent for path in home.rglob(MANIFEST)}
    (folders["silero-vad"] / "silero_vad.onnx").write_bytes(b"noise")
    (folders["smollm2-135m"] / MANIFEST).write_text("{")
    mends = [
        f"voxturn models pull {name} --precision {precision} --again"
        for name, precision in (("silero-vad", "fp32"), ("smollm2-135m", "int8"))
    ]
    out = fails(["models", "verify"], CorruptModel, f"2 damaged; mend with .*{mends[0]}")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert len(out.splitlines()) == len(lines) == 4
    assert "damaged: " in lines["silero-vad"]
    assert "silero_vad.onnx differ from the manifest" in lines["silero-vad"]
    assert "damaged: " in lines["smollm2-135m"]
    assert "manifest.json: not a manifest" in lines["smollm2-135m"]
    for name in ("whisper-base", "vits-en-us-joe"):
        assert lines[name].endswith(" good")
    fails(["models", "verify"], CorruptModel, mends[1])


def test_a_model_that_cannot_be_read_does_not_keep_others_from_being_verified(
    home: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.verify

    def verify(store: Store, folder: Path) -> Manifest:
        if folder.parent.name == "silero-vad":
            raise PermissionError(errno.EACCES, "Permission denied", "silero_vad.onnx")
        return real(store, folder)

    monkeypatch.setattr(Store, "verify", verify)
    out = fails(["models", "verify"], CorruptModel, "cannot be read .Permission denied")
    assert sum(line.endswith(" good") for line in out.splitlines()) == 3
    assert sum("not checked: " in line for line in out.splitlines()) == 1


@pytest.mark.parametrize("file", ["acoustic.onnx", "decoder.onnx"])
def test_a_voice_that_is_damaged(file: str, output: Path, fails: Fails, home: Path) -> None:
    (path,) = (home / "artifacts" / "vits-en-us-joe").glob(f"*/{file}")
    path.write_bytes(path.read_bytes()[:20])
    fails(
        ["say", "Hello.", "-o", str(output)], CorruptModel, f"{file}: ONNX Runtime cannot load it"
    )
    assert untouched(output)


def test_a_speech_model_that_is_damaged(fails: Fails, home: Path) -> None:
    fails(
        ["transcribe", QUESTION],
        CorruptModel,
        "CTranslate2 cannot load it .*; pull or export the model again",
    )


# --- what ends a run from outside


def test_an_interruption_is_code_130_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> Registry:
        raise KeyboardInterrupt

    monkeypatch.setattr(models.Registry, "read", interrupted)
    assert cli.main(["models", "list"]) == 130
    assert capsys.readouterr().err == ""


def test_a_defect_of_ours_is_one_line_that_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Registry:
        raise LookupError("of\ntwo lines")

    monkeypatch.setattr(models.Registry, "read", broken)
    assert cli.main(["models", "list"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("voxturn: unexpected error: LookupError: of two lines; ")
    assert "--debug" in line
    assert line.count("\n") == 1
    with pytest.raises(LookupError):
        cli.main(["--debug", "models", "list"])


def run(
    *arguments: str, seconds: float = 0.0, before: str = "", **named: Any
) -> subprocess.Popen[bytes]:
    """`voxturn` on fakes in a process of its own; `before` it is called, this code."""
    # a background job's children ignore interrupts; this one is to be interrupted as in a terminal
    heeds = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = (
        f"{heeds}sys.path.append({str(ROOT)!r}); from tests.cli_fakes import main\n"
        f"{before}\nmain({seconds})"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | named
    return subprocess.Popen([sys.executable, "-P", "-c", code, *arguments], **streams)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, error = process.communicate(timeout=60)
    return process.returncode, error.decode()


START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
from voxturn.runtime.cli import main

class Moment:
    count = 0
    def find_spec(self, name, path=None, target=None):
        Moment.count += 1
        if Moment.count == {at}:
            {does}

sys.meta_path.insert(0, Moment())
code = main({arguments})
if {at} < 0:
    print(Moment.count)
sys.exit(code)
"""
"""`voxturn` in a process to which something happens at the import number `at` after its own first
lines."""
KILL = "os.kill(os.getpid(), signal.{})"
INTERRUPT = "raise KeyboardInterrupt"


def started(at: int, does: str, arguments: str = "") -> tuple[int, str, str]:
    code = START.format(at=at, does=does, arguments=arguments)
    process = subprocess.run(
        [sys.executable, "-P", "-c", code, "models", "list"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return process.returncode, process.stdout, process.stderr


@pytest.mark.slow
def test_an_interruption_while_commands_are_imported_is_without_a_word() -> None:
    code, out, error = started(-1, "pass")
    assert (code, error) == (0, "")
    imports = int(out.splitlines()[-1])
    assert imports > 100
    for at in (1, imports // 3, 2 * imports // 3):
        assert started(at, KILL.format("SIGINT")) == (130, "", "")
        assert started(at, KILL.format("SIGTERM")) == (143, "", "")
    # arguments are given by another program, whose handlers are its own
    for arguments in ("", "['models', 'list']"):
        assert started(1, INTERRUPT, arguments) == (130, "", "")


def test_the_way_in_imports_next_to_nothing() -> None:
    code = (
        "import sys, typing, signal, threading, contextlib; before = set(sys.modules); "
        "import voxturn.runtime.cli; print(sorted(set(sys.modules) - before))"
    )
    for way in (["-c", code], ["-m", "voxturn.runtime", "--version"]):
        done = subprocess.run(
            [sys.executable, "-P", "-X", "importtime", *way], capture_output=True, text=True
        )
        assert done.returncode == 0
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "voxturn.runtime.cli" in loaded
        assert not loaded & {"numpy", "asyncio", "argparse", "voxturn.runtime.commands"}
        if way[0] == "-c":
            ours = {name for name in loaded if name.split(".")[0] == "voxturn"}
            assert ours <= {"voxturn", *(f"voxturn.runtime{n}" for n in ("", ".cli", ".errors"))}


@pytest.mark.parametrize("given", [None, "3"])
def test_numpy_multiplies_in_one_thread_unless_told_otherwise(given: str | None) -> None:
    name = "OPENBLAS_NUM_THREADS"
    code = (
        "import os, sys; from voxturn.runtime.cli import main; "
        f"code = main(); print(os.environ[{name!r}], 'numpy' in sys.modules); sys.exit(code)"
    )
    environment = {key: value for key, value in os.environ.items() if key != name}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "models", "list"],
        env=environment | ({name: given} if given else {}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"{given or '1'} True"


@pytest.mark.parametrize("way", ["voxturn.runtime", "voxturn.runtime.cli"])
def test_the_command_line_is_a_module_too(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", way, "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{metadata.version('voxturn')}\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["models", "list"], ["say", "Hello there.", "-o", "-"], ["turn", QUESTION, "-o", "-"]],
)
def test_a_reader_that_has_gone_is_no_error(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        code, error = ended(run(*command, stdout=pipe))
    assert code == 0
    assert [line for line in error.splitlines() if not line.startswith(NEWS)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["models", "list"],
        ["say", "Hello there.", "-o", "-"],
        ["say", "Hello there.", "-o", "-", "--raw"],
        ["transcribe", QUESTION],
    ],
)
def test_a_full_device_behind_standard_output_is_said(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, error = ended(run(*command, stdout=full))
    assert code == DiskFull.exit_code
    assert error.startswith("voxturn: the output")
    assert "the disk is full" in error
    assert error.count("\n") == 1


TELLS = """
import os
def telling(call):
    def told(*args):
        os.write(1, b"!")
        return call(*args)
    return told
"""
"""Makes a function that writes a mark on standard output whenever it is called."""
TELLS_OF_WRITING = f"""{TELLS}
from voxturn.runtime.audio.encode import WavFile
WavFile.write = telling(WavFile.write)
"""
TELLS_OF_READING = f"""{TELLS}
class Stdin:
    def __init__(self, file):
        self.isatty, self.readline = file.isatty, telling(file.readline)
sys.stdin = Stdin(sys.stdin)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("signal_number", "wanted"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_in_the_middle_of_an_answer_keeps_the_old_file(
    output: Path, signal_number: signal.Signals, wanted: int
) -> None:
    text = "This is a sentence that takes its time. " * 50
    process = run("say", text, "-o", str(output), seconds=0.05, before=TELLS_OF_WRITING)
    assert process.stdout is not None
    assert process.stdout.read(1) == b"!"
    assert len(list(output.parent.iterdir())) == 2  # the new file is begun, under another name
    process.send_signal(signal_number)
    code, error = ended(process)
    assert (code, error) == (wanted, "")
    assert untouched(output)


@pytest.mark.slow
def test_one_interruption_ends_a_chat_that_waits_for_a_line() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "rb") as terminal:
        process = run("chat", stdin=terminal, before=TELLS_OF_READING)
    assert process.stdout is not None
    assert process.stdout.read(1) == b"!"  # its handler is there, and it reads
    process.send_signal(signal.SIGINT)
    code, error = ended(process)
    os.close(ours)
    assert (code, error) == (130, "> ")


def test_a_pipe_that_fails_otherwise_is_said() -> None:
    class Failing(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(
        OutputNotWritable, match=r"the output pipe: cannot be written \(Input/output error\)"
    ):
        PipeSink(Failing(), 22050, raw=False)


def test_a_failure_in_the_middle_leaves_neither_a_file_nor_a_part_of_one(tmp_path: Path) -> None:
    def fail() -> None:
        with WavFile(tmp_path / "a.wav", 16000) as file:
            file.write(tone(0.1))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_a_pipe_gets_is_a_wave_of_open_length() -> None:
    out = io.BytesIO()
    sink = PipeSink(out, 22050, raw=False)
    sink.write(np.array([0.0, 1.0, -2.0], np.float32))
    data = out.getvalue()
    assert (data[:4], data[8:12], data[36:40]) == (b"RIFF", b"WAVE", b"data")
    assert int.from_bytes(data[24:28], "little") == 22050
    assert np.frombuffer(data[44:], "<i2").tolist() == [0, 32767, -32768]
