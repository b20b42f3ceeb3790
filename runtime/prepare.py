"""What a profile needs of this machine: what is missing and what brings it, and bringing the models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from voxturn.runtime.errors import CorruptModel, ExportFailed, InvalidProfile, VoxturnError
from voxturn.runtime.executors.cuda.report import gpu_report
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, find_exporter, is_artifact, quiet
from voxturn.runtime.profile import (
    GPU_EXECUTORS,
    NOT_FOR_A_GPU,
    NOT_FOR_CTRANSLATE2,
    NOT_SERVED,
    Engine,
    Profile,
    is_for_ctranslate2,
)

_LIBRARIES = {
    "onnx": ("onnxruntime",),
    "ctranslate2": ("ctranslate2",),
    "ctranslate2-cuda": ("ctranslate2",),
    "openvino": ("openvino",),
    "triton": ("tritonclient",),
    "tensorrt": ("tensorrt", "tensorrt_rtx"),
    "onnx-cuda": ("onnxruntime",),
}
"""By executor: one of these has to be here."""
_EXTRAS = {
    "onnx": "embedded",
    "ctranslate2": "embedded",
    "ctranslate2-cuda": "embedded",
    "openvino": "openvino",
    "triton": "triton",
    "tensorrt": "gpu",
    "onnx-cuda": "gpu",
}
_ON_A_GPU = {"tensorrt": "tensorrt", "onnx-cuda": "onnx-cuda", "ctranslate2-cuda": "ctranslate2"}
"""Executors that need a GPU, by what `gpu_report` calls them."""


@dataclass(frozen=True)
class Problem:
    """Something that a stage lacks, and the command or change that mends it."""

    stage: str
    what: str
    fix: str


def problems(
    profile: Profile, store: Store, registry: Registry, cores: Cores, name: str = ""
) -> list[Problem]:
    """Everything that keeps a profile from running here; empty if it runs. `name`: what the user calls it, a file maybe."""
    found: list[Problem] = []
    lacks = (
        gpu_report().executors
        if any(e.executor in _ON_A_GPU for e in profile.engines().values())
        else {}
    )
    for stage, engine in profile.engines().items():
        if missing := lacks.get(_ON_A_GPU.get(engine.executor, "")):
            found.append(
                Problem(
                    stage, f"executor {engine.executor!r} needs {missing}", "voxturn doctor --gpu"
                )
            )
        elif not any(find_spec(library) for library in _LIBRARIES[engine.executor]):
            extra = _EXTRAS[engine.executor]
            found.append(
                Problem(
                    stage,
                    f"executor {engine.executor!r} is not installed",
                    f"pip install 'voxturn[{extra}]'",
                )
            )
        try:
            cores.budget(stage, engine.threads)
            kind = _kind(stage, engine, store, registry)
        except ExportFailed as exc:
            found.append(
                Problem(
                    stage, str(exc), "a later version of voxturn, or pip install 'voxturn[export]'"
                )
            )
        except VoxturnError as exc:
            damaged = " --again" if isinstance(exc, CorruptModel) else ""
            pull = f"voxturn models pull --profile {name or profile.name}{damaged}"
            found.append(
                Problem(
                    stage, str(exc), "voxturn export --help" if is_artifact(engine.model) else pull
                )
            )
        else:
            if kind == "xtts" and find_spec("num2words") is None:
                found.append(
                    Problem(
                        stage,
                        "what writes numbers as words is not installed",
                        "pip install 'voxturn[xtts]'",
                    )
                )
            if kind == "vits" and find_spec("piper") is None:
                found.append(
                    Problem(
                        stage,
                        "espeak-ng's phonemes are not installed",
                        "pip install 'voxturn[vits]'",
                    )
                )
    return found


def _kind(stage: str, engine: Engine, store: Store, registry: Registry) -> str:
    """What kind of model a stage has, if it is here and for its executor. Raises as the store and the registry do."""
    by_ctranslate2 = stage == "reply" and engine.executor == "ctranslate2-cuda"
    if not is_artifact(engine.model):
        if by_ctranslate2:
            raise InvalidProfile(f"{engine.model}: {NOT_FOR_CTRANSLATE2}")
        model, _ = registry.resolve(engine.model)
        if model.exporter != "none" and not store.installed(model, engine.precision):
            find_exporter(model.exporter)
        kind = _served(engine, model.exporter)
        store.artifact(model, engine.precision)
        return kind
    manifest = store.at(Path(engine.model))[1]
    decodes = stage in ("reply", "speak") and engine.executor in GPU_EXECUTORS
    if decodes and manifest.properties.get("engine") != "tensorrt":
        raise InvalidProfile(f"{engine.model}: {NOT_FOR_A_GPU}")
    if by_ctranslate2 and not is_for_ctranslate2(manifest):
        raise InvalidProfile(f"{engine.model}: {NOT_FOR_CTRANSLATE2}")
    if stage == "reply" and engine.executor == "onnx" and "decoder" not in manifest.graphs:
        raise InvalidProfile(f"{engine.model}: has no graph of a decoder; export it with --to onnx")
    return _served(engine, manifest.kind)


def _served(engine: Engine, kind: str) -> str:
    """The kind, unless it asks a server for what none has."""
    if engine.executor == "triton" and kind == "vits":
        raise InvalidProfile(f"{engine.model}: {NOT_SERVED}")
    return kind


def bring(
    profile: Profile,
    store: Store,
    registry: Registry,
    progress: Progress = quiet,
    again: bool = False,
) -> None:
    """Pull and export every model of a profile that is not here yet, or all of them `again`."""
    done: set[tuple[str, str]] = set()
    for engine in profile.engines().values():
        if is_artifact(engine.model):
            continue
        model, _ = registry.resolve(engine.model)
        if (model.id, engine.precision) not in done:  # a voice has two stages
            bring_model(model.id, engine.precision, store, registry, progress, again)
            done.add((model.id, engine.precision))


def bring_model(
    name: str,
    precision: str,
    store: Store,
    registry: Registry,
    progress: Progress = quiet,
    again: bool = False,
) -> None:
    """Pull a model and export it to `precision` (empty: its default). Nothing is asked of the network if it is here."""
    model, _ = registry.resolve(name)
    wanted = precision or model.precisions[0]
    if again or not store.installed(model, wanted):
        if model.exporter != "none":
            find_exporter(model.exporter)
        store.pull(model, progress, again)
        store.export(model, wanted, progress, again)
