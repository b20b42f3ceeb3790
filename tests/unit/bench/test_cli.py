"""`voxturn bench …` with wrong values and files: one line and its exit code, before anything is
measured."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from voxturn.bench import checks, harness
from voxturn.runtime import cli
from voxturn.runtime.errors import (
    AudioNotFound,
    CorruptModel,
    ExecutorUnavailable,
    ModelNotInstalled,
    UnknownProfile,
    UnreadableAudio,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.models.manifest import MANIFEST, Manifest, ModelContract

VOICE = ("token_decoder", "windowed_waveform_decoder", "sequence_waveform_decoder")
KINDS = {
    "voice": ("xtts", "text-to-speech", VOICE),
    "vits": ("vits", "text-to-speech", ("acoustic_encoder", "waveform_decoder")),
    "whisper": ("whisper", "speech-to-text", ("whisper_encoder", "whisper_decoder")),
    "reply": ("decoder", "text-generation", ("token_decoder",)),
    "silero": ("checkpoint", "", ()),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with artifacts of every kind, checkpoints and files, and what is none of them;
    nothing is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    for name, (kind, task, roles) in KINDS.items():
        graphs = {role: ModelContract(f"{role}.onnx", (), ()) for role in roles}
        folder = tmp_path / name
        folder.mkdir()
        manifest = Manifest(name, kind, "fp32", {}, {}, graphs, {"width": 4}, task=task)
        (folder / MANIFEST).write_text(manifest.to_json())
    for name in ("nothing", "damaged", "lacking", "again/voice", "texts", "empty", "config"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "damaged" / MANIFEST).write_text("{")
    (tmp_path / "again/voice" / MANIFEST).write_text((tmp_path / "voice" / MANIFEST).read_text())
    lacking = Manifest("lacking", "xtts", "fp32", {}, {"gpt.onnx": "0" * 64})
    (tmp_path / "lacking" / MANIFEST).write_text(lacking.to_json())
    (tmp_path / "texts" / "a.wav").write_text("Dear reader,\n" * 50)
    (tmp_path / "texts" / "b.txt").write_text("text")
    (tmp_path / "empty" / "b.txt").write_text("text")
    for name in ("checkpoint", "broken", "list"):
        (tmp_path / name).mkdir()
        for file in {*checks.XTTS_FILES, *checks.TEXT_FILES}:
            (tmp_path / name / file).write_text("{}")
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "list" / "config.json").write_text("[]")
    (tmp_path / "config" / "model.pth").touch()
    for name, data in {
        "sentences.json": {"trained": ["One."], "held_out": ["Two."]},
        "none.json": {"trained": [], "held_out": []},
        "numbers.json": {"trained": [1]},
        "number.json": {"trained": 1},
        "array.json": ["One."],
        "kernels.json": {"metrics": {"kernels.a": {"p50": 1}}},
        "built.json": {"metrics": {"kernels.a": {"value": 1}}},
        "metrics.json": {"metrics": []},
    }.items():
        (tmp_path / name).write_text(json.dumps(data))
    return tmp_path


@pytest.fixture
def fails(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, type[VoxturnError], str], None]:
    """Runs `voxturn bench` with words; it raises the class, and says one line with its exit code."""

    def measured(*_: object, **__: object) -> None:
        raise AssertionError("something is measured")

    monkeypatch.setattr(harness.Result, "__init__", measured)

    def run(words: str, kind: type[VoxturnError], says: str) -> None:
        arguments = ["bench", *("" if word == "''" else word for word in words.split())]
        with pytest.raises(VoxturnError, match=says) as caught:
            cli.main(["--debug", *arguments])
        assert type(caught.value) is kind
        capsys.readouterr()
        assert cli.main(arguments) == kind.exit_code
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"voxturn: {' '.join(str(caught.value).split())}"]

    return run


STORMS = ("connections", "messages", "kills", "engine-kills", "seed")
Fails = Callable[[str, type[VoxturnError], str], None]
COMMANDS = {
    "turn": "turn",
    "decode": "decode",
    "stt": "stt",
    "endpoint": "endpoint",
    "echo": "echo",
    "parity": "parity",
    "speaking": "speaking --checkpoint checkpoint --artifact voice --sentences sentences.json",
    "tts": "tts --artifact voice",
    "roofline": "roofline --whisper whisper --reply reply --voice voice",
    "load": "load --artifact voice",
    "languages": "languages",
    "fairness": "fairness",
    "filter": "filter",
    "faults": "faults",
    "tools": "tools",
    "llm": "llm --artifact reply",
    "session": "session",
    "telephony": "telephony",
    "gateway": "gateway",
    "gateway-faults": "gateway-faults",
    "page": "page --voxturn sh",
}
"""Each as it runs, to which a wrong option is added: the last of an option's values counts."""


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no/x.json", "its folder does not exist"),
        ("nothing", "is a folder"),
        ("/dev/null", "is no file but a device"),
        ("x.png", "is written as JSON"),
        ("''", "is a folder"),
    ],
)
def test_a_result_that_cannot_be_written(name: str, value: str, says: str, fails: Fails) -> None:
    fails(f"{COMMANDS[name]} --json {value}", UsageError, f"--json .*{says}")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *((name, "--runs") for name in ("turn", "tts", "load", "llm", "fairness")),
        ("stt", "--clips"),
        *(("endpoint", f"--{name}") for name in ("rounds", "words-ms", "sound-ms")),
        ("stt", "--turns"),
        ("speaking", "--limit"),
        ("faults", "--kills"),
        ("faults", "--hangs"),
        *(("session", f"--{name}") for name in ("minutes", "speed")),
        ("telephony", "--clips"),
        *(("gateway", f"--{name}") for name in ("minutes", "soak-minutes")),
        *(("gateway-faults", f"--{name}") for name in STORMS),
        ("page", "--rounds"),
    ],
)
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "''"])
def test_numbers_begin_at_one(name: str, option: str, value: str, fails: Fails) -> None:
    fails(f"{COMMANDS[name]} {option} {value}", UsageError, f"{option} .*must be ")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("session", f"--{name}") for name in ("dialogues", "bare", "pairs")),
        *(("gateway", f"--{name}") for name in ("pairs", "idle", "soak", "places")),
    ],
)
@pytest.mark.parametrize("value", ["-1", "x", "1.5", "''"])
def test_numbers_begin_at_none(name: str, option: str, value: str, fails: Fails) -> None:
    fails(f"{COMMANDS[name]} {option} {value}", UsageError, f"{option} .*must be ")


@pytest.mark.parametrize("value", ["0", "1,0", "x", "-1"])
def test_rates(value: str, fails: Fails) -> None:
    fails(f"gateway --rates {value}", UsageError, "--rates .*must be ")


@pytest.mark.parametrize("name", ["load", "fairness"])
@pytest.mark.parametrize("value", ["0", "1,0", "x", "''", "1,,2", "-1"])
def test_numbers_of_streams(name: str, value: str, fails: Fails) -> None:
    fails(f"{COMMANDS[name]} --streams {value}", UsageError, "must be numbers of streams")


PROFILED = (
    "turn",
    "decode",
    "stt",
    "endpoint",
    "parity",
    "languages",
    "fairness",
    "session",
    "telephony",
    "gateway",
    "gateway-faults",
    "page",
)


@pytest.mark.parametrize("name", PROFILED)
def test_profiles(name: str, fails: Fails) -> None:
    fails(f"{COMMANDS[name]} --profile dmeo", UnknownProfile, "no profile 'dmeo'")
    fails(f"{COMMANDS[name]} --profile ''", UnknownProfile, "no profile ''")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {*PROFILED}))
def test_a_profile_that_would_be_ignored_is_refused(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["bench", *COMMANDS[name].split(), "--profile", "demo"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --profile demo" in capsys.readouterr().err


FOLDERS = [
    ("turn", "--reply", "reply"),
    ("turn", "--voice", "voice"),
    ("speaking", "--artifact", "voice"),
    ("tts", "--artifact", "voice"),
    ("load", "--artifact", "voice"),
    ("llm", "--artifact", "reply"),
    ("roofline", "--whisper", "whisper"),
    ("roofline", "--reply", "reply"),
    ("roofline", "--voice", "voice"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option", "right"), FOLDERS)
def test_folders_that_are_not_the_artifact(
    name: str, option: str, right: str, fails: Fails
) -> None:
    command = f"{COMMANDS[name]} {option}"
    for value in ("no", "sentences.json", "''"):
        fails(f"{command} {value}", UsageError, f"{option} .*is no folder")
    fails(f"{command} nothing", ModelNotInstalled, "nothing: no artifact here")
    fails(f"{command} damaged", CorruptModel, "damaged/manifest.json: not a manifest")
    fails(f"{command} lacking", CorruptModel, "lacking: lacks gpt.onnx")
    for wrong in KINDS.keys() - {right}:
        fails(f"{command} {wrong}", UsageError, f"{option} {wrong}: ")


@pytest.mark.parametrize(
    "command",
    [
        COMMANDS["speaking"],
        f"{COMMANDS['tts']} --peer coqui-tts",
        "parity --model xtts-v2",
        "parity --model qwen3",
        COMMANDS["llm"],
    ],
)
def test_folders_that_are_no_checkpoint(command: str, fails: Fails) -> None:
    option = f"{command} --checkpoint"
    fails(f"{option} no", UsageError, "--checkpoint no: is no folder")
    fails(f"{option} nothing", CorruptModel, "nothing: lacks config.json")
    fails(f"{option} config", CorruptModel, "config: lacks config.json")
    fails(f"{option} broken", CorruptModel, "config.json is not JSON")
    fails(f"{option} list", CorruptModel, "config.json is not a table")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        ("turn --questions no", UsageError, "--questions no: is no folder"),
        ("languages --recordings no", UsageError, "--recordings no: is no folder"),
        ("languages --recordings empty", AudioNotFound, r"empty: holds no \.wav files"),
        ("turn --questions empty", AudioNotFound, r"empty: holds no \.wav files"),
        ("turn --questions texts", UnreadableAudio, r"a\.wav: .*not readable as audio"),
        ("decode --precision ''", UsageError, "--precision: is empty"),
        ("parity --model qwen3", UsageError, "needs --checkpoint"),
        ("parity --checkpoint checkpoint", UsageError, "goes with --model"),
        ("parity --model qwen3 --checkpoint checkpoint --profile cpu", UsageError, "without"),
        ("parity", ModelNotInstalled, "is not on this machine"),
        (f"{COMMANDS['tts']} --peer coqui-tts", UsageError, "needs --checkpoint"),
        (f"{COMMANDS['tts']} --checkpoint checkpoint", UsageError, "goes with --peer"),
        (f"{COMMANDS['speaking']} --artifact again/voice", UsageError, "two folders have"),
        *(
            (f"{COMMANDS['speaking']} --sentences {name}", UsageError, "--sentences .*must be")
            for name in ("none.json", "numbers.json", "number.json", "array.json")
        ),
        (f"{COMMANDS['speaking']} --sentences empty/b.txt", UsageError, "is not JSON"),
        (f"{COMMANDS['speaking']} --sentences no.json", UsageError, r"no\.json: is no file"),
        (f"{COMMANDS['roofline']} --gpu l4,h9", UsageError, "--gpu h9: must be some of"),
        (f"{COMMANDS['roofline']} --gpu ''", UsageError, "must be some of"),
        *(
            (f"{COMMANDS['roofline']} --built {name}", UsageError, "is no result of `make")
            for name in ("no.json", "empty", "kernels.json", "metrics.json", "empty/b.txt")
        ),
        (f"{COMMANDS['llm']} --llama-python /bin/sh", UsageError, "needs --checkpoint"),
        (
            f"{COMMANDS['llm']} --checkpoint checkpoint --llama-python no-such-python",
            UsageError,
            "no-such-python: is no program",
        ),
        (
            f"{COMMANDS['llm']} --checkpoint checkpoint --llama-python /bin/sh",
            UsageError,
            r"has fp32; llama\.cpp is compared in int8, int4",
        ),
    ],
)
def test_values_that_do_not_fit(
    words: str, kind: type[VoxturnError], says: str, fails: Fails
) -> None:
    fails(words, kind, says)


@pytest.mark.parametrize(
    ("name", "more", "library"),
    [
        ("turn", "", "soxr"),
        ("turn", "", "tokenizers"),
        ("decode", "", "tokenizers"),
        ("stt", "", "faster_whisper"),
        ("stt", "", "piper"),
        ("stt", "--hard", "piper"),
        ("endpoint", "", "piper"),
        ("endpoint", "--json x.json", "matplotlib"),
        ("echo", "", "pywebrtc_audio"),
        ("parity", "", "transformers"),
        ("parity", "", "torch"),
        ("parity", "", "gguf"),
        ("parity", "", "onnx"),
        ("parity", "--model xtts-v2 --checkpoint checkpoint", "TTS"),
        ("parity", "--model qwen3 --checkpoint checkpoint", "safetensors"),
        ("speaking", "", "TTS"),
        ("speaking", "", "openvino"),
        ("tts", "", "openvino"),
        ("tts", "--peer coqui-tts --checkpoint checkpoint", "TTS"),
        ("roofline", "", "onnx"),
        ("load", "", "tritonclient"),
        ("load", "", "pytriton"),
        ("fairness", "", "pytriton"),
        ("fairness", "", "piper"),
        ("languages", "", "piper"),
        ("faults", "", "tritonclient"),
        ("faults", "", "pytriton"),
        ("faults", "", "piper"),
        ("gateway-faults", "", "starlette"),
        ("gateway-faults", "", "websockets"),
        ("gateway-faults", "--triton sh", "tritonclient"),
        ("gateway", "", "starlette"),
        ("gateway", "", "websockets"),
        ("session", "", "pywebrtc_audio"),
        ("session", "--minutes 1", "piper"),
        ("telephony", "", "soxr"),
        ("tools", "", "jsonschema"),
        ("llm", "", "gguf"),
        ("llm", "--checkpoint checkpoint", "ctranslate2"),
    ],
)
def test_a_library_that_is_missing(
    name: str, more: str, library: str, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    extra = checks.EXTRAS[library]
    says = rf"needs {library}; pip install 'voxturn\[{extra}\]'"
    fails(f"{COMMANDS[name]} {more}", ExecutorUnavailable, says)


def test_hard_is_another_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def main(profile: str, path: Path | None) -> harness.Result:
        ran.append((profile, path))
        return harness.Result("stt-hard")

    monkeypatch.setattr("voxturn.bench.hard.main", main)
    assert cli.main(["bench", "stt", "--hard", "--json", "hard.json"]) == 0
    assert [(profile, path and path.name) for profile, path in ran] == [("demo", "hard.json")]


def test_every_option_of_every_benchmark_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    """One that is added needs a test above."""
    tested = {
        "turn": {"profile", "json", "runs", "reply", "voice", "questions"},
        "decode": {"profile", "json", "precision"},
        "stt": {"profile", "json", "clips", "turns", "hard"},
        "endpoint": {"profile", "json", "rounds", "words-ms", "sound-ms"},
        "echo": {"json"},
        "parity": {"profile", "json", "model", "checkpoint"},
        "speaking": {"json", "checkpoint", "artifact", "sentences", "limit"},
        "tts": {"json", "model", "artifact", "peer", "checkpoint", "vocoder", "runs"},
        "roofline": {"json", "gpu", "whisper", "reply", "voice", "built"},
        "load": {"json", "target", "artifact", "executor", "streams", "runs"},
        "languages": {"profile", "json", "recordings"},
        "fairness": {"profile", "json", "streams", "runs"},
        "filter": {"json"},
        "faults": {"json", "kills", "hangs"},
        "tools": {"json"},
        "llm": {"json", "artifact", "checkpoint", "llama-python", "runs"},
        "session": {"profile", "json", "dialogues", "bare", "pairs", "minutes", "speed"},
        "telephony": {"profile", "json", "clips"},
        "gateway": {"profile", "json", "pairs", "rates", "minutes"}
        | {"idle", "soak", "soak-minutes", "places"},
        "gateway-faults": {"profile", "json", "fake", "triton", *STORMS},
        "page": {"profile", "json", "voxturn", "rounds"},
    }
    assert tested.keys() == COMMANDS.keys()
    for name, options in tested.items():
        with pytest.raises(SystemExit):
            cli.main(["bench", name, "--help"])
        usage = capsys.readouterr().out
        usage = usage[: usage.index("options:")]
        assert {f"--{option}" for option in options} == set(re.findall(r"--[a-z-]+", usage))


def test_another_environment_s_program_has_to_be_one(fails: Fails) -> None:
    fails("gateway-faults --triton no/such", UsageError, "--triton no/such: is no program")
    fails("page --voxturn no/such", UsageError, "--voxturn no/such: is no program")
