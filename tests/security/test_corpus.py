"""Every hostile file through the command that a user would hand it to: a typed error in time, and
nothing else done."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.families.fake import write_profile

from tests.security.hostile_audio import AUDIO, READABLE
from tests.security.hostile_models import MODELS
from tests.tiny.conftest import Tiny
from tests.tiny.conftest import narrow as narrow
from tests.tiny.conftest import tiny as tiny
from tests.voiced import voiced

_MOST_CPU_S = 5.0
_IN_TIME_S, _WARM_S = 20.0, 120.0
"""How long a command may take on a machine that is busy."""
_MOST_MB = 1000.0
_LONGEST_LINE = 5000
_TYPED = range(2, 8)
"""Exit codes of errors that were raised on purpose (`errors.py`)."""
_SAYS = {
    "header of 100 GB": "model.safetensors: not a whole safetensors file (its header would have 100,000,000,000 bytes)",
    "a shard above the folder": "names '../../../../etc/passwd', which is not in its folder",
    "a named pipe for weights": "model.safetensors: cannot be read (it is a named pipe, not a file)",
    "a device for weights": "model.safetensors: cannot be read (it is a device, not a file)",
    "10^9 layers": "num_hidden_layers 1,000,000,000, which no model has",
    "10^7 layers": "its configuration has 10,000,000 layers, its weights are",
    "10^12 positions": "max_position_embeddings 1,000,000,000,000, which no model has",
    "a configuration that nests": "config.json: is missing or not JSON (it is nested too deeply)",
    "a configuration of a gigabyte": "config.json: is missing or not JSON (it has 1,000,000,000 bytes",
    "a template that does not end": "chat_template.jinja cannot be used (it takes more than",
    "2^63 keys": "it would have 0 tensors and 9,223,372,036,854,775,808 keys",
    "a list of 2^63 bytes": "it would have 9,223,372,036,854,775,808 values in lists",
    "tensors of GGUF that overlap": "begins within another tensor",
    "2^32 aliases": "would have 4,294,967,295 variables",
    "packed weights": "its members are packed",
    "a member of 100 GB": "its members are more than the whole file",
    "weights above the folder": "voice.onnx: not a whole ONNX file",
    "an artifact's weights above it": "silero_vad.onnx: ONNX Runtime cannot load it",
    "an artifact's constant of 3 GB": "silero_vad.onnx: ",
    "a file above the artifact": "is no name of a file in its folder",
    "a file that is shorter than recorded": "acoustic_encoder.onnx has 0 bytes, not 77,000,000; export it again",
    "voices that are objects": "voices.npz: cannot be read (an array holds objects, which are not unpickled)",
    "a header that nests": "voices.npz: cannot be read (an array has a damaged header)",
    "a voice of 10^12 zeros": "an array of [1000000, 1000000] float32 has 64 bytes",
    "a Whisper of 2^32 variables": "CTranslate2 cannot load it",
}  # fmt: skip
"""What some of the errors say."""
_OURS = "voxturn.export.decoder.template_process"
"""The process with limits that renders a chat template."""
_ANYWHERE = ("/dev/null", "/dev/urandom", "/proc", "/sys", "/etc/localtime", "/usr", "/lib")
"""What a Python process reads by itself."""


class Warm:
    """The process of `warm.py`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("warm.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"VOXTURN_HOME": str(home)},
            cwd=home,
            text=True,
            bufsize=1,
        )

    def run(self, *argv: str, patience_s: float = _IN_TIME_S) -> dict[str, Any]:
        """One command. Fails the test if it is not done in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argv": argv}) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], patience_s)[0]:
            self.close()
            pytest.fail(f"voxturn {' '.join(argv)}: not done within {patience_s:g} s")
        did: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        assert did, f"voxturn {' '.join(argv)}: the process died"
        return did

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


@pytest.fixture(scope="module")
def roots(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands need besides the hostile file."""
    folder = tmp_path_factory.mktemp("warm")
    home = folder / "home"
    home.mkdir()
    return {"home": home, "profile": write_profile(folder / "profile"), "voice": tiny.int8}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.wav"
    with WavFile(path, 24000) as sink:
        sink.write(voiced(3.0, rate=24000))
    return path


@pytest.fixture(scope="module")
def processes(
    roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Warm]]:
    started: list[Warm] = []
    yield started
    for process in started:
        if process.alive:
            process.close()


@pytest.fixture
def warm(processes: list[Warm], roots: dict[str, Path], good: Path) -> Warm:
    """The process, warm: every library that a good file needs is loaded."""
    if not processes or not processes[-1].alive:
        processes.append(Warm(roots["home"]))
        for argv in (_transcribe(roots, good), _clone(roots, good)):
            assert processes[-1].run(*argv, patience_s=_WARM_S)["code"] == 0
        processes[-1].run("voices", "remove", "stranger", "--model", str(roots["voice"]))
    return processes[-1]


def _transcribe(roots: dict[str, Path], path: Path) -> tuple[str, ...]:
    return "transcribe", str(path), "--json", "--profile", str(roots["profile"])


def _clone(roots: dict[str, Path], path: Path) -> tuple[str, ...]:
    return "voices", "add", "stranger", str(path), "--model", str(roots["voice"])


def _contents(*folders: Path) -> dict[str, tuple[int, int]]:
    """Every file below some folders, with its size and when it was changed."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def check(did: dict[str, Any], allowed: list[Path], readable: bool = False) -> None:
    """A typed error of one line, or a result where the sound is there; nothing foreign was touched."""
    *warnings, error = [*did["told"].splitlines(), *([""] if did["code"] == 0 else [])]
    assert did["code"] in _TYPED or (readable and did["code"] == 0), did["told"]
    assert all(line.startswith("warning: ") for line in warnings), did["told"]
    assert error.startswith("voxturn: ") == (did["code"] != 0)
    assert len(error) < _LONGEST_LINE
    assert did["peak_mb"] < _MOST_MB
    assert did["cpu_s"] < _MOST_CPU_S
    assert [each for each in did["reached"] if _OURS not in each] == []
    known = [*map(str, allowed), *filter(None, sys.path), sys.base_prefix]
    assert _elsewhere(did["read"], [*known, *_ANYWHERE]) == []
    assert _elsewhere(did["written"], [*known, "/dev/null"]) == []


def _elsewhere(paths: list[str], known: list[str]) -> list[str]:
    return [path for path in paths if not str(Path(path).absolute()).startswith(tuple(known))]


@pytest.mark.parametrize("command", [_transcribe, _clone], ids=["transcribe", "voices-add"])
@pytest.mark.parametrize("name", sorted(AUDIO))
def test_audio(name: str, command: Any, warm: Warm, roots: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / name
    AUDIO[name](path)
    before = _contents(tmp_path, roots["home"])
    did = warm.run(*command(roots, path))
    if did["code"] == 0 and command is _clone:
        warm.run("voices", "remove", "stranger", "--model", str(roots["voice"]))
    assert _contents(tmp_path, roots["home"]) == before
    check(did, [path, roots["home"], roots["profile"].parent, roots["voice"]], name in READABLE)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models(name: str, warm: Warm, roots: dict[str, Path], tmp_path: Path) -> None:
    hostile, path, out = MODELS[name], tmp_path / "hostile", tmp_path / "out"
    hostile.write(path)
    before = _contents(tmp_path, roots["home"])
    did = warm.run(*(word.format(path=path, out=out) for word in hostile.command))
    assert _contents(tmp_path, roots["home"]) == before
    staging = out.with_name(f".{out.name}.")  # the beginning of its name
    check(did, [path, roots["home"], out, staging])
    assert _SAYS.get(name, "") in did["told"]


def test_there_are_enough_and_what_is_said_is_of_them() -> None:
    assert len(AUDIO) + len(MODELS) >= 120
    assert set(_SAYS) <= set(MODELS)


def test_what_is_refused_is_a_checkpoint_that_would_be_exported_otherwise(tmp_path: Path) -> None:
    """Or the corpus would prove nothing: its whole checkpoint is whole."""
    from voxturn.export.decoder.export import Opened

    from tests.security import ingredients

    ingredients.qwen3(tmp_path / "whole")
    assert Opened.open(tmp_path / "whole").config.layers == 1
    ingredients.weights(tmp_path / "whole" / "model.safetensors", {"model.norm.weight": [8]})
    with pytest.raises(ExportFailed, match="does not fit family"):
        Opened.open(tmp_path / "whole")
