"""Model files of strangers: every one of the corpus ends in an error of ours, at once, in little
memory, and leaves nothing.

One process runs them all, one after the other, so that one that breaks it is seen in those after
it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime import errors
from voxturn.runtime.errors import ExportFailed, VoxturnError

from tests.security.hostile_models import MODELS

ROOT = Path(__file__).parents[2]
Ended = dict[str, dict[str, Any]]
MOST_KB = 1_000_000
"""Of memory above what the process has when it begins: nearly a gigabyte."""
TYPED = {
    kind.exit_code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, VoxturnError) and kind is not VoxturnError
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """How every command ended, by the name of the model."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = os.environ | {"VOXTURN_HOME": str(folder.with_name("home"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.run_corpus", str(folder), *MODELS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = {line["name"]: line for line in lines}
    assert set(results) == set(MODELS), (done.returncode, done.stderr[-2000:])
    return results


@pytest.mark.parametrize("name", MODELS)
def test_it_ends_in_one_line_of_ours(name: str, ended: Ended) -> None:
    result = ended[name]
    assert result["code"] in TYPED, result
    *warnings, said = result["said"].splitlines()
    assert all(line.startswith("warning: ") for line in warnings), result
    assert said.startswith("voxturn: ")
    assert "unexpected error" not in said
    assert len(said) < 5_000
    assert result["left"] == []


def test_none_takes_seconds_or_gigabytes(ended: Ended) -> None:
    """Five seconds are the promise, two of them a template's; how busy the machine is, nobody
    knows."""
    assert {name: r["seconds"] for name, r in ended.items() if r["seconds"] > 30} == {}
    before, peak = next(iter(ended.values()))["before"], max(r["peak"] for r in ended.values())
    assert peak - before < MOST_KB, (before, peak)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("header of 100 GB", "model.safetensors: not a whole safetensors file (its header would have 100,000,000,000 bytes)"),
        ("a shard above the folder", "names '../../../../etc/passwd', which is not in its folder"),
        ("a named pipe for weights", "model.safetensors: cannot be read (it is a named pipe, not a file)"),
        ("a device for weights", "model.safetensors: cannot be read (it is a device, not a file)"),
        ("10^9 layers", "num_hidden_layers 1,000,000,000, which no model has"),
        ("10^7 layers", "its configuration has 10,000,000 layers, its weights are"),
        ("10^12 positions", "max_position_embeddings 1,000,000,000,000, which no model has"),
        ("a configuration that nests", "config.json: is missing or not JSON (it is nested too deeply)"),
        ("a configuration of a gigabyte", "config.json: is missing or not JSON (it has 1,000,000,000 bytes"),
        ("a template that does not end", "chat_template.jinja cannot be used (it takes more than"),
        ("2^63 keys", "it would have 0 tensors and 9,223,372,036,854,775,808 keys"),
        ("a list of 2^63 bytes", "it would have 9,223,372,036,854,775,808 values in lists"),
        ("tensors of GGUF that overlap", "begins within another tensor"),
        ("2^32 aliases", "would have 4,294,967,295 variables"),
        ("packed weights", "its members are packed"),
        ("a member of 100 GB", "its members are more than the whole file"),
        ("weights above the folder", "voice.onnx: not a whole ONNX file"),
        ("an artifact's weights above it", "silero_vad.onnx: ONNX Runtime cannot load it"),
        ("a file above the artifact", "is no name of a file in its folder"),
        ("a file that is shorter than recorded", "acoustic_encoder.onnx has 0 bytes, not 77,000,000; export it again"),
        ("voices that are objects", "voices.npz: cannot be read (an array holds objects, which are not unpickled)"),
        ("a header that nests", "voices.npz: cannot be read (an array has a damaged header)"),
        ("a voice of 10^12 zeros", "an array of [1000000, 1000000] float32 has 64 bytes"),
        ("a Whisper of 2^32 variables", "CTranslate2 cannot load it"),
    ],
)  # fmt: skip
def test_it_says_what_is_wrong(name: str, says: str, ended: Ended) -> None:
    assert says in ended[name]["said"]


def test_what_is_refused_is_a_checkpoint_that_would_be_exported_otherwise(tmp_path: Path) -> None:
    """Or the corpus would prove nothing: its whole checkpoint is whole."""
    from voxturn.export.decoder.export import Opened

    from tests.security import ingredients

    ingredients.qwen3(tmp_path / "whole")
    assert Opened.open(tmp_path / "whole").config.layers == 1
    ingredients.weights(tmp_path / "whole" / "model.safetensors", {"model.norm.weight": [8]})
    with pytest.raises(ExportFailed, match="does not fit family"):
        Opened.open(tmp_path / "whole")
