"""What a benchmark was given, checked before anything is measured: a bad value ends in one line.

Types for argparse raise `UsageError` while the command line is parsed; the other functions are
called before a benchmark is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

from voxturn.runtime.errors import (
    CorruptModel,
    ExecutorUnavailable,
    OutputNotWritable,
    UsageError,
)
from voxturn.runtime.models.compatible import TASKS
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import Store

EXTRAS = {
    "TTS": "coqui",
    "ctranslate2": "embedded",
    "faster_whisper": "embedded",
    "gguf": "export",
    "jsonschema": "tools",
    "matplotlib": "embedded",
    "onnx": "export",
    "onnxruntime": "embedded",
    "openvino": "openvino",
    "piper": "vits",
    "pytriton": "triton-embedded",
    "pywebrtc_audio": "echo",
    "safetensors": "export",
    "soxr": "embedded",
    "starlette": "gateway",
    "tokenizers": "embedded",
    "torch": "export-whisper",
    "tqdm": "embedded",
    "transformers": "export-whisper",
    "tritonclient": "triton",
    "websockets": "gateway",
}
"""By a library's name in Python: the extra of voxturn that brings it."""

XTTS_FILES = ("config.json", "model.pth", "vocab.json", "speakers_xtts.pth")
"""What an XTTS checkpoint's folder has."""
TEXT_FILES = ("config.json", "tokenizer.json")
"""What a text model's checkpoint has, beside its weights."""


def numbers(option: str) -> Callable[[str], list[float]]:
    """Numbers above 0, with commas between; empty: none."""

    def parse(text: str) -> list[float]:
        try:
            values = [float(word) for word in text.split(",") if word.strip()]
        except ValueError:
            raise UsageError(f"{option} {text}: must be numbers, as 3,6,9") from None
        if not all(0 < value < 1e6 for value in values):
            raise UsageError(f"{option} {text}: must be numbers above 0")
        return values

    return parse


def folder(option: str) -> Callable[[str], Path]:
    """A folder that is there."""

    def parse(text: str) -> Path:
        if not text or not Path(text).is_dir():
            raise UsageError(f"{option} {text}: is no folder")
        return Path(text)

    return parse


def file(option: str) -> Callable[[str], Path]:
    """A file that is there."""

    def parse(text: str) -> Path:
        if not Path(text).is_file():
            raise UsageError(f"{option} {text}: is no file")
        return Path(text)

    return parse


def result(option: str) -> Callable[[str], Path]:
    """A JSON file that can be written."""

    def parse(text: str) -> Path:
        from voxturn.runtime.audio.encode import file_behind

        try:
            file_behind(text)
        except OutputNotWritable as exc:
            raise UsageError(f"{option} {exc}") from exc
        if Path(text).suffix.lower() == ".png":  # some benchmarks draw into a file beside it
            raise UsageError(f"{option} {text}: is written as JSON; name it .json")
        return Path(text)

    return parse


def built(text: str) -> Path:
    """A result of `make verify-gpu`, whose kernels are counted."""
    try:
        metrics = json.loads(Path(text).read_text(encoding="utf-8"))["metrics"]
        for name, metric in metrics.items():
            if name.startswith("kernels."):
                int(metric["value"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise UsageError(f"--built {text}: is no result of `make verify-gpu`") from exc
    return Path(text)


def streams(text: str) -> list[int]:
    """Numbers of streams, as 1,2,4."""
    try:
        counts = [int(count) for count in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(f"--streams {text}: must be numbers of streams, as 1,2,4")
    return counts


TOKENS = "token_decoder"
"""The graph that gives a text's or a voice's tokens."""


def needs(*libraries: str) -> None:
    """Raise `ExecutorUnavailable` for the first library that is not installed."""
    for library in libraries:
        if find_spec(library) is None:
            raise ExecutorUnavailable(
                f"this benchmark needs {library}; pip install 'voxturn[{EXTRAS[library]}]'"
            )


def command(option: str, path: str) -> None:
    """Raise `UsageError` for what is no program."""
    if shutil.which(path) is None:
        raise UsageError(f"{option} {path}: is no program; give the voxturn of another environment")


def artifact(option: str, path: Path, graphs: Collection[str]) -> Manifest:
    """The manifest of an artifact that has these graphs, by their roles.

    Raises `ModelNotInstalled` for a folder that holds no artifact, `CorruptModel` for a damaged
    one, `UsageError` for one of another kind.
    """
    manifest = Store().at(path)[1]
    roles = set(manifest.graphs)
    if missing := sorted(set(graphs) - roles):
        raise UsageError(f"{option} {path}: has no graph {', '.join(map(repr, missing))}")
    return manifest


def voice(option: str, path: Path) -> Manifest:
    """The manifest of an XTTS artifact."""
    return artifact(option, path, (TOKENS, "windowed_waveform_decoder"))


def text_model(option: str, path: Path) -> Manifest:
    """The manifest of a text model's artifact, in graphs or for CTranslate2."""
    manifest = artifact(option, path, ())
    if manifest.task != TASKS["reply"]:
        raise UsageError(f"{option} {path}: is of kind {manifest.kind!r}, not a text model")
    return manifest


def checkpoint(path: Path, names: Collection[str]) -> None:
    """Raise `CorruptModel` for a checkpoint that lacks a file, or whose configuration is none."""
    if missing := [name for name in names if not (path / name).is_file()]:
        raise CorruptModel(
            f"--checkpoint {path}: lacks {', '.join(missing)}; give a checkpoint's folder"
        )
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CorruptModel(f"--checkpoint {path}: config.json is not JSON ({exc})") from exc
    if not isinstance(config, dict):
        raise CorruptModel(f"--checkpoint {path}: config.json is not a table")


def sentences(path: Path) -> None:
    """Raise `UsageError` unless a file has the sentences of `bench speaking`."""
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UsageError(f"--sentences {path}: is not JSON ({exc})") from exc
    listed = [
        groups.get(group, []) if isinstance(groups, dict) else None
        for group in ("trained", "held_out")
    ]
    texts = [text for group in listed for text in (group if isinstance(group, list) else [None])]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UsageError(
            f'--sentences {path}: must be {{"trained": […], "held_out": […]}} with texts'
        )
