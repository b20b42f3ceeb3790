"""What doctor calls runnable loads, and what does not load it tells, over every stage, kind of
artifact and executor."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime import errors, prepare
from voxturn.runtime.errors import VoxturnError
from voxturn.runtime.executors.catalogue import Executor, catalogue, on_gpu
from voxturn.runtime.executors.cuda.report import GpuReport, Item
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.compatible import Problem
from voxturn.runtime.models.manifest import FAKE
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import problems
from voxturn.runtime.profile import ConvertEngine, Engine, Profile

from tests.artifacts import KINDS, FakeBackends, all_kinds, on_cpu

LOADED = {
    "listen": LoadedParts.activity,
    "end_of_turn": LoadedParts.sound_of_end,
    "transcribe": LoadedParts.recogniser,
    "reply": LoadedParts.replier,
    "speak": LoadedParts.voice,
    "vocode": LoadedParts.voice,
    "convert": LoadedParts.converter,
}
RUNS = {
    ("listen", "silero"): {"onnx"},
    ("end_of_turn", "smart-turn"): {"onnx", "openvino"},
    ("transcribe", "whisper-ctranslate2"): {"ctranslate2", "ctranslate2-cuda", "triton"},
    ("transcribe", "whisper-onnx"): {"onnx", "triton"},
    ("transcribe", "whisper-tensorrt"): {"onnx", "triton"},
    ("reply", "decoder-onnx"): {"onnx", "triton"},
    ("reply", "decoder-tensorrt"): {"onnx", "onnx-cuda", "tensorrt", "triton"},
    ("reply", "decoder-openvino"): {"onnx", "triton"},
    ("reply", "decoder-ctranslate2"): {"ctranslate2-cuda", "triton"},
    ("speak", "xtts-onnx"): {"onnx", "triton"},
    ("speak", "xtts-tensorrt"): {"onnx", "onnx-cuda", "tensorrt", "triton"},
    ("speak", "vits"): {"onnx", "onnx-cuda", "tensorrt"},
    ("speak", "vits-multi"): {"onnx", "onnx-cuda", "tensorrt"},
    ("vocode", "xtts-onnx"): {"onnx", "openvino", "onnx-cuda", "tensorrt", "triton"},
    ("vocode", "xtts-tensorrt"): {"onnx", "openvino", "onnx-cuda", "tensorrt", "triton"},
    ("vocode", "vits"): {"onnx", "openvino", "onnx-cuda", "tensorrt"},
    ("vocode", "vits-multi"): {"onnx", "openvino", "onnx-cuda", "tensorrt"},
    ("convert", "openvoice"): {"onnx"},
}
"""Everything that runs where every library, a GPU and a server are here; all else does not."""

REGISTRY = Registry.read()
ALL = list(product(LOADED, KINDS))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return all_kinds(tmp_path_factory.mktemp("kinds"))


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> FakeBackends:
    fakes = FakeBackends()
    fakes.install(monkeypatch)
    return fakes


def profile_of(folders: dict[str, Path], stage: str, kind: str, executor: str) -> Profile:
    """A profile that runs, but for one stage."""
    profile = on_cpu(folders)
    if stage == "vocode":
        voice = str(folders[kind if kind.startswith("vits") else "xtts-onnx"])
        speak = replace(profile.speak, model=voice)
        return replace(profile, speak=speak, vocode=Engine(str(folders[kind]), executor))
    if stage == "convert":
        return replace(profile, convert=ConvertEngine(str(folders[kind]), executor))
    settings = replace(profile.engine(stage), model=str(folders[kind]), executor=executor)
    changes: dict[str, Any] = {stage: settings}
    return replace(profile, **changes)


def told(profile: Profile, store: Store) -> list[Problem]:
    return problems(profile, store, REGISTRY, Cores())


def loading(profile: Profile, stage: str, store: Store) -> VoxturnError | None:
    """What loading a stage raises. Whatever is no error of ours is raised here."""
    parts = LoadedParts(profile, store, REGISTRY)
    try:
        LOADED[stage](parts)
        return None
    except VoxturnError as exc:
        return exc
    finally:
        parts.close()


def is_ours_and_one_line(error: VoxturnError) -> bool:
    return vars(errors).get(type(error).__name__) is type(error) and "\n" not in str(error)


@pytest.mark.parametrize(("stage", "kind"), ALL)
def test_what_doctor_says_is_what_loading_does(
    stage: str,
    kind: str,
    folders: dict[str, Path],
    backends: FakeBackends,
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    for executor in catalogue():
        profile = profile_of(folders, stage, kind, executor)
        wrong = told(profile, store)
        error = loading(profile, stage, store)
        runs = executor in RUNS.get((stage, kind), set())
        assert (not wrong, error is None) == (runs, runs), (executor, wrong, error)
        if error is not None:
            assert is_ours_and_one_line(error), error
            assert wrong[0].stage == stage
            assert not any("\n" in problem.what + problem.fix for problem in wrong)
            assert wrong[0].what in str(error)  # the same reason


@pytest.mark.parametrize(("stage", "kind"), ALL)
def test_it_is_so_on_a_machine_that_lacks_executors_as_well(
    stage: str,
    kind: str,
    folders: dict[str, Path],
    backends: FakeBackends,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Two executors are installed, and there is no GPU."""
    here = {"onnx", "ctranslate2", "fake"}
    monkeypatch.setattr(Executor, "installed", lambda row: row.name in here)
    lacking = {row.name: "driver, device" for row in on_gpu()}
    report = GpuReport((Item("driver", "", "install a driver"),), lacking)
    monkeypatch.setattr(prepare, "gpu_report", lambda: report)
    store = Store(tmp_path)
    for executor in catalogue():
        profile = profile_of(folders, stage, kind, executor)
        wrong = told(profile, store)
        error = loading(profile, stage, store)
        runs = executor in RUNS.get((stage, kind), set()) & here
        assert (not wrong, error is None) == (runs, runs), (executor, wrong, error)
        if error is not None:
            assert is_ours_and_one_line(error), error
            assert any(problem.what in str(error) for problem in wrong), (wrong, error)


def test_a_new_kind_or_executor_has_its_row_here() -> None:
    """Whole stages elsewhere, and stages without models, run no artifact:
    `families/test_remote.py`, `test_fake.py`."""
    here = {row.name for row in catalogue().values() if not row.whole and FAKE not in row.dialects}
    assert {executor for names in RUNS.values() for executor in names} == here
    assert {kind for _, kind in RUNS} == set(KINDS) - {"checkpoint", "unknown"}


@pytest.mark.parametrize(
    ("stage", "kind", "what"),
    [
        ("reply", "vits", "is a model for text-to-speech (vits), not for text-generation"),
        ("reply", "xtts-onnx", "is a model for text-to-speech (xtts), not for text-generation"),
        ("reply", "whisper-onnx", "is a model for speech-to-text (whisper), not for text-gen"),
        ("reply", "whisper-ctranslate2", "is a model for speech-to-text (whisper), not for"),
        ("transcribe", "vits", "is a model for text-to-speech (vits), not for speech-to-text"),
        ("speak", "checkpoint", "is a checkpoint, which no executor runs"),
        ("listen", "unknown", "is of kind 'kokoro', which no installed family runs"),
    ],
)
def test_an_artifact_of_another_task_is_told_by_its_task(
    stage: str,
    kind: str,
    what: str,
    folders: dict[str, Path],
    backends: FakeBackends,
    tmp_path: Path,
) -> None:
    """These ended in `StopIteration` and `KeyError`."""
    profile = profile_of(folders, stage, kind, "onnx")
    error = loading(profile, stage, Store(tmp_path))
    assert isinstance(error, errors.InvalidProfile)
    assert what in str(error)
    assert what in told(profile, Store(tmp_path))[0].what
