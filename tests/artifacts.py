"""Artifacts of every kind that are manifests and small files alone, and backends that load them
without a model.

A fake backend has the methods that the executor's own class has, and asks of an artifact what that
asks: its graphs, their dialects, its format. `tests/tiny/test_compatible.py` proves on real
artifacts that it tells the truth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models
from voxturn.runtime import prepare
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.errors import CorruptModel, InvalidProfile
from voxturn.runtime.executors import catalogue
from voxturn.runtime.executors.backend import Backend, Host, LoadedArtifact
from voxturn.runtime.executors.cuda.report import GpuReport, Item
from voxturn.runtime.executors.fake import FakeDecoder, FakeGraph, FakeWhisper
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.models.manifest import (
    CTRANSLATE2,
    MANIFEST,
    ONNX,
    ONNX_CONTRIB,
    ONNX_SCATTER_ELEMENTS,
    ONNX_TENSOR_SCATTER,
    Manifest,
    ModelContract,
)
from voxturn.runtime.profile import (
    EndOfTurnEngine,
    ListenEngine,
    Profile,
    load_profile,
)
from voxturn.runtime.protocols import Generated

VITS = {
    "espeak_voice": "en-us",
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [3]},
    "noise_scale": 0.6,
    "length_scale": 1.0,
    "noise_w": 0.8,
    "noise_frames": 64,
    "sample_rate": 22050,
    "hop": 256,
    "margin": 3,
}
XTTS = {
    "id_stride": 1024,
    "gpt_number_text_tokens": 100,
    "gpt_num_audio_tokens": 64,
    "gpt_start_text_token": 90,
    "gpt_stop_text_token": 91,
    "gpt_start_audio_token": 62,
    "gpt_stop_audio_token": 63,
    "gpt_max_text_tokens": 40,
    "gpt_max_audio_tokens": 60,
    "gpt_n_model_channels": 8,
    "gpt_code_stride_len": 1024,
    "output_sample_rate": 24000,
    "input_sample_rate": 22050,
    "output_hop_length": 256,
    "margin": 3,
    "clone": {},
    "speaker_encoder": {},
    "whole_positions": True,
}
DECODER = {"chat": "chatml", "context": 2048, "vocabulary": 300}
WHISPER = {
    "mels": 80,
    "vocabulary": 300,
    "text_positions": 64,
    "audio_positions": 1500,
    "start": 1,
    "end": 2,
    "no_speech": 3,
    "no_timestamps": 4,
    "languages": {"en": 5},
    "multilingual": True,
    "suppress": [],
    "alignment_heads": [[0, 0]],
}
_VOICE = ("conditioning_encoder", "speaker_encoder", "windowed_waveform_decoder")


def vocabulary(path: Path, *marks: str) -> None:
    """A tokenizer of single characters with these marks."""
    tokens = ["[UNK]", "[SPACE]", *marks, *"abcdefghijklmnopqrstuvwxyz .,"]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [], unk_token="[UNK]"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["[SPACE]", *marks])
    tokenizer.save(str(path))


def written(
    folder: Path,
    kind: str,
    task: str,
    graphs: Mapping[str, str],
    properties: Mapping[str, Any],
    dialect: str = ONNX,
    files: tuple[str, ...] = (),
    precision: str = "fp32",
) -> Path:
    """An artifact's folder.

    `graphs`: dialects by role; every file is empty unless it is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [*files, *(f"{role}.onnx" for role in graphs)]
    names += [f"{role}.onnx.data" for role in graphs]
    for name in names:
        (folder / name).touch()
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    contracts = {
        role: ModelContract(f"{role}.onnx", (), (), dialect) for role, dialect in graphs.items()
    }
    manifest = Manifest(
        folder.name,
        kind,
        precision,
        {"checkpoint": "0" * 64},
        hashes,
        contracts,
        dict(properties),
        task=task,
        dialect=dialect,
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def _whisper(folder: Path, graphs: Mapping[str, str], dialect: str, *files: str) -> Path:
    folder.mkdir(parents=True)
    marks = (
        "<|startoftranscript|>",
        "<|transcribe|>",
        "<|notimestamps|>",
        "<|startofprev|>",
        "<|en|>",
        "<|es|>",
    )
    vocabulary(folder / "tokenizer.json", *marks)
    return written(folder, "whisper", "speech-to-text", graphs, WHISPER, dialect, files)


def whisper(folder: Path, decoder: str) -> Path:
    """A Whisper whose decoder's graph is in the dialect `decoder`; CTRANSLATE2: a folder of that
    format."""
    if decoder == CTRANSLATE2:
        return _whisper(folder, {}, CTRANSLATE2, "model.bin", "config.json", "vocabulary.json")
    return _whisper(folder, {"whisper_encoder": ONNX, "whisper_decoder": decoder}, ONNX)


def decoder(folder: Path, dialect: str) -> Path:
    """A text model."""
    folder.mkdir(parents=True)
    vocabulary(folder / "tokenizer.json", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
    task = "text-generation"
    if dialect == CTRANSLATE2:
        (folder / "vocabulary.json").write_text('["a", "b"]', encoding="utf-8")
        return written(folder, "decoder", task, {}, DECODER, CTRANSLATE2, ("model.bin",))
    return written(folder, "decoder", task, {"token_decoder": dialect}, DECODER)


def xtts(folder: Path, dialect: str) -> Path:
    """An XTTS with the studio voices `Ana`, of zeros, and `Ben`, of ones."""
    folder.mkdir(parents=True)
    vocabulary(folder / "vocab.json", "[en]", "[es]", "[START]", "[STOP]")
    arrays: dict[str, Any] = {}
    for number, name in enumerate(("Ana", "Ben")):
        arrays[f"{name}/latents"] = np.full((32, 8), number, np.float32)
        arrays[f"{name}/speaker"] = np.ones(512, np.float32)
    np.savez(folder / "voices.npz", **arrays)
    graphs = {"token_decoder": dialect} | dict.fromkeys(_VOICE, ONNX)
    return written(folder, "xtts", "text-to-speech", graphs, XTTS, files=("mel.npz",))


def vits(folder: Path) -> Path:
    """A Piper voice of English."""
    graphs = {"acoustic_encoder": ONNX, "waveform_decoder": ONNX}
    return written(folder, "vits", "text-to-speech", graphs, VITS)


def vits_of_several(folder: Path) -> Path:
    """A VITS of Coqui's with the speakers `Ana`, of zeros, and `Ben`, of ones; it reads letters."""
    folder.mkdir(parents=True)
    np.savez(folder / "speakers.npz", rows=np.array([[0] * 4, [1] * 4], np.float32))
    graphs = {"acoustic_encoder": ONNX, "waveform_decoder": ONNX}
    piper = ("espeak_voice", "phoneme_id_map")
    properties = {key: value for key, value in VITS.items() if key not in piper} | {
        "channels": 4,
        "languages": ["en"],
        "speakers": ["Ana", "Ben"],
        "text": {
            "symbols": {char: i for i, char in enumerate("_ abcdefghijklmnopqrstuvwxyz.,")},
            "cleaner": "basic_cleaners",
            "phonemizers": {},
            "blank": 0,
            "ends": None,
        },
    }
    return written(folder, "vits", "text-to-speech", graphs, properties)


OPENVOICE = {
    "sample_rate": 22050,
    "fft": 1024,
    "hop": 256,
    "win": 1024,
    "channels": 4,
    "reach": 5,
    "margin": 3,
    "tau": 0.5,
    "tells_speaker": False,
}


def openvoice(folder: Path) -> Path:
    """A converter."""
    graphs = dict.fromkeys(("voice_encoder", "voice_converter", "waveform_decoder"), ONNX)
    return written(folder, "openvoice", "voice-conversion", graphs, OPENVOICE)


def pulled(folder: Path, name: str) -> Path:
    """A checkpoint as `models pull` leaves it: the kind is told by its file."""
    return written(folder, "checkpoint", "", {}, {}, files=(name,), precision="source")


def unknown(folder: Path) -> Path:
    """An artifact of a family that is not installed."""
    graphs = {"token_decoder": ONNX_CONTRIB}
    return written(folder, "kokoro", "text-to-speech", graphs, {})


KINDS: dict[str, Callable[[Path], Path]] = {
    "silero": lambda folder: pulled(folder, "silero_vad.onnx"),
    "smart-turn": lambda folder: pulled(folder, "smart_turn.onnx"),
    "whisper-ctranslate2": lambda folder: whisper(folder, CTRANSLATE2),
    "whisper-onnx": lambda folder: whisper(folder, ONNX_CONTRIB),
    "whisper-tensorrt": lambda folder: whisper(folder, ONNX_TENSOR_SCATTER),
    "decoder-onnx": lambda folder: decoder(folder, ONNX_CONTRIB),
    "decoder-tensorrt": lambda folder: decoder(folder, ONNX_TENSOR_SCATTER),
    "decoder-openvino": lambda folder: decoder(folder, ONNX_SCATTER_ELEMENTS),
    "decoder-ctranslate2": lambda folder: decoder(folder, CTRANSLATE2),
    "xtts-onnx": lambda folder: xtts(folder, ONNX_CONTRIB),
    "xtts-tensorrt": lambda folder: xtts(folder, ONNX_TENSOR_SCATTER),
    "vits": vits,
    "vits-multi": vits_of_several,
    "openvoice": openvoice,
    "checkpoint": lambda folder: pulled(folder, "weights.safetensors"),
    "unknown": unknown,
}


def all_kinds(root: Path) -> dict[str, Path]:
    """A folder of each kind."""
    return {name: make(root / name) for name, make in KINDS.items()}


def on_cpu(folders: Mapping[str, Path]) -> Profile:
    """A profile of which every stage runs on these artifacts."""
    demo = _demo()
    heard = replace(demo.transcribe, model=str(folders["whisper-ctranslate2"]), threads=0)
    return replace(
        demo,
        name="mine",
        listen=ListenEngine(str(folders["silero"]), "onnx"),
        end_of_turn=EndOfTurnEngine(str(folders["smart-turn"]), "onnx", kind="both"),
        transcribe=replace(heard, precision=""),
        reply=replace(demo.reply, model=str(folders["decoder-onnx"]), precision=""),
        speak=replace(demo.speak, model=str(folders["xtts-onnx"]), precision=""),
        vocode=None,
    )


@cache
def _demo() -> Profile:
    return load_profile("demo")


class FakeBackends:
    """Stands for every executor's library, GPU and server.

    Whatever was made is in `engines`, newest last.
    """

    def __init__(self) -> None:
        self.engines: list[Any] = []
        self.artifacts: list[LoadedArtifact] = []
        self.whisper: Callable[[], FakeWhisper] = lambda: FakeWhisper([Generated((), -0.1, 0.0)])
        self.graph: Callable[[str], FakeGraph] = lambda role: FakeGraph(dict)
        self.decoder: Callable[[str, int, int], FakeDecoder] = lambda role, slots, capacity: (
            FakeDecoder(lambda ids: 0, 300, slots, capacity)
        )
        self.tokens: Callable[[str, int, int], FakeTokens] | None = None
        """In place of a token engine over `decoder`, for all executors."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """In place of every executor, all of which are here, for as long as `patch` lasts."""
        real = catalogue.Executor.load
        backends = {
            row.name: self.backend(row, real(row)) for row in catalogue.catalogue().values()
        }
        patch.setattr(catalogue.Executor, "load", lambda row: backends[row.name])
        patch.setattr(catalogue.Executor, "installed", lambda row: True)
        report = GpuReport((Item("driver", "CUDA 13.0", ""),), dict.fromkeys(backends, ""))
        patch.setattr(prepare, "gpu_report", lambda: report)

    def backend(self, row: catalogue.Executor, real: type[Backend]) -> type[Backend]:
        """A class with the methods that the executor's own has."""
        fakes = self

        class Fake(Backend):
            def __init__(self, host: Host) -> None:
                super().__init__(host)

            def arithmetic(self, artifact: LoadedArtifact) -> str:
                return artifact.compute or ""

            if real.graph is not Backend.graph:

                def graph(self, artifact: LoadedArtifact, role: str) -> Any:
                    return fakes.made(fakes.graph(role), row, artifact, role)

            if real.decoder is not Backend.decoder:

                def decoder(
                    self, artifact: LoadedArtifact, role: str, slots: int, capacity: int
                ) -> Any:
                    return fakes.made(fakes.decoder(role, slots, capacity), row, artifact, role)

            if real.tokens is not Backend.tokens or fakes.tokens is not None:

                def tokens(
                    self,
                    artifact: LoadedArtifact,
                    role: str,
                    slots: int,
                    capacity: int,
                    lane: Lane,
                ) -> Any:
                    return fakes.made(
                        (fakes.tokens or FakeTokens)(role, slots, capacity), row, artifact, role
                    )

            if real.whisper is not Backend.whisper:

                def whisper(self, artifact: LoadedArtifact) -> Any:
                    return fakes.made(fakes.whisper(), row, artifact, "whisper_decoder")

        return Fake

    def made(
        self, engine: Any, row: catalogue.Executor, artifact: LoadedArtifact, role: str
    ) -> Any:
        """An engine that the executor has made. Raises as the executor's library or server does."""
        if row.remote:
            if role not in artifact.served:
                raise InvalidProfile(f"no server has a {role}")
        elif CTRANSLATE2 in row.dialects:
            if not (artifact.folder / "model.bin").is_file():
                raise CorruptModel(f"{artifact.folder}: CTranslate2 cannot load it")
        elif artifact.contract(role).dialect not in row.dialects:
            raise CorruptModel(f"{artifact.folder}: {row.name} cannot load it")
        elif not artifact.path(role).is_file():
            raise CorruptModel(f"{artifact.path(role)}: is not here")
        self.artifacts.append(artifact)
        self.engines.append(engine)
        return engine


class FakeTokens:
    """A token service that is not in this process; it keeps the requests that it was given.

    `script`: the steps of every request.
    """

    def __init__(self, role: str, slots: int, capacity: int, script: Sequence[Step] = ()) -> None:
        self.slots = slots
        self.capacity = capacity
        self.script = script
        self.requests: list[Request] = []

    async def stream(self, request: Request) -> AsyncGenerator[Step, None]:
        """The script."""
        self.requests.append(request)
        for step in self.script:
            yield step

    async def compute(self, request: Request) -> None:
        """Nothing is kept."""

    async def keep(self, request: Request) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


def damaged(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what an artifact's manifest says."""
    table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(change(table)), encoding="utf-8")
