"""Whether an artifact, a family and an executor suit a stage of a profile: asked by doctor, and
again by loading. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from voxturn.runtime.models.manifest import CTRANSLATE2, SOURCE, Manifest, ModelContract

TASKS = {
    "listen": "voice-activity",
    "end_of_turn": "end-of-turn",
    "transcribe": "speech-to-text",
    "reply": "text-generation",
    "speak": "text-to-speech",
    "vocode": "text-to-speech",
    "convert": "voice-conversion",
}
"""What the model of each stage of a profile must do."""

ENGINE_KEYS = frozenset({"model", "executor", "precision", "threads"})
"""Keys of a stage that every executor has."""

TURN_KEYS = {
    "listen": frozenset({"longest_s"}),
    "end_of_turn": frozenset({"kind"}),
    "transcribe": frozenset({"partial_share"}),
    "speak": frozenset({"max_chars", "voice_of"}),
}
"""Keys of a stage that are the turn's, whatever the family."""


EVERYWHERE = ("auto", "fp32")
"""Values of `compute` that every executor on a CPU satisfies."""


class ExecutorRow(Protocol):
    """What is asked of `executors.catalogue.Executor`."""

    @property
    def name(self) -> str: ...
    @property
    def remote(self) -> bool: ...
    @property
    def on_gpu(self) -> bool: ...
    @property
    def dialects(self) -> frozenset[str]: ...
    @property
    def stages(self) -> tuple[str, ...]: ...
    @property
    def options(self) -> frozenset[str]: ...
    @property
    def lacks(self) -> Mapping[str, str]: ...
    @property
    def advice(self) -> str: ...
    def conflict(self, settings: Any, /) -> str: ...


class FamilyRow(Protocol):
    """What is asked of `families.base.Family`."""

    @property
    def kind(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def roles(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def options(self) -> Mapping[str, frozenset[str]]: ...
    @property
    def contracts(self) -> Mapping[str, ModelContract]: ...
    @property
    def served(self) -> Mapping[str, str]: ...


class StageEngine(Protocol):
    """What is asked of `profile.Engine`, a dataclass whose other fields are options."""

    @property
    def model(self) -> str: ...
    @property
    def precision(self) -> str: ...


@dataclass(frozen=True)
class Problem:
    """Something that keeps a stage from running, and the command or change that mends it."""

    stage: str
    what: str
    fix: str


def compatible(
    stage: str,
    engine: StageEngine,
    manifest: Manifest,
    executor: ExecutorRow,
    family: FamilyRow | None,
) -> Problem | None:
    """The first thing that is wrong with running an artifact in a stage; None if it runs.

    `family` is the one of the manifest's kind, None where this installation has none.
    """
    wrong = _task(stage, engine, manifest, family)
    if wrong or family is None:
        return wrong
    return (
        _format(stage, engine, manifest, executor, family)
        or _options(stage, engine, executor, family)
        or _precision(stage, engine, manifest)
    )


def given(engine: object) -> dict[str, Any]:
    """The keys of a stage that differ from their defaults."""
    values = {}
    for field in dataclasses.fields(engine):  # type: ignore[arg-type]
        value = getattr(engine, field.name)
        if value != field.default:
            values[field.name] = value
    return values


def _task(
    stage: str, engine: StageEngine, manifest: Manifest, family: FamilyRow | None
) -> Problem | None:
    if manifest.dialect == SOURCE:
        return Problem(
            stage,
            f"{engine.model} is a checkpoint, which no executor runs",
            "voxturn export --help",
        )
    if family is None:
        return Problem(
            stage,
            f"{engine.model} is of kind {manifest.kind!r}, which no installed family runs",
            "install the package of that family, or name another model",
        )
    if family.task != TASKS[stage]:
        return Problem(
            stage,
            f"{engine.model} is a model for {family.task} ({family.kind}), not for {TASKS[stage]}",
            f"name a model for {TASKS[stage]}; `voxturn models list` shows them",
        )
    if stage not in family.roles:
        return Problem(
            stage,
            f"{engine.model} is of kind {family.kind!r}, which has no stage of that name",
            f"leave [{stage}] out of the profile",
        )
    return None


def _format(
    stage: str,
    engine: StageEngine,
    manifest: Manifest,
    executor: ExecutorRow,
    family: FamilyRow,
) -> Problem | None:
    if stage not in executor.stages:
        return Problem(
            stage,
            f"executor {executor.name!r} cannot run this stage",
            "name another executor in the profile",
        )
    if executor.remote:
        return unserved(stage, engine, executor, family)
    for role in family.roles[stage]:
        contract = manifest.graphs.get(role) or family.contracts.get(role)
        dialect = contract.dialect if contract is not None else manifest.dialect
        lacking = contract is None and dialect in executor.dialects and dialect.startswith("onnx")
        if lacking or dialect not in executor.dialects:
            return _unfit(stage, engine, executor, family)
    return None


def unserved(
    stage: str, engine: StageEngine, executor: ExecutorRow, family: FamilyRow
) -> Problem | None:
    """What is wrong with asking a server for a stage of a family; known before its artifact is
    here."""
    missing = [role for role in family.roles.get(stage, ()) if role not in family.served]
    return _unfit(stage, engine, executor, family) if missing and executor.remote else None


def _unfit(stage: str, engine: StageEngine, executor: ExecutorRow, family: FamilyRow) -> Problem:
    return Problem(
        stage,
        f"{engine.model} ({family.kind}) {executor.advice}",
        "name another executor in the profile, or export the model for this one",
    )


def _options(
    stage: str, engine: StageEngine, executor: ExecutorRow, family: FamilyRow
) -> Problem | None:
    theirs = family.options.get(stage, frozenset()) | TURN_KEYS.get(stage, frozenset())
    for key, value in given(engine).items():
        if key in executor.lacks:
            return Problem(
                stage,
                f"{key} = {value!r}: {executor.lacks[key]} (executor {executor.name!r})",
                f"leave {key} out of [{stage}]",
            )
        if key == "compute" and value in EVERYWHERE and not executor.on_gpu:
            continue
        if key not in ENGINE_KEYS | executor.options | theirs:
            return Problem(
                stage,
                f"{key} = {value!r}: neither {family.kind} nor the executor {executor.name!r} has it",
                f"leave {key} out of [{stage}]",
            )
    if conflict := executor.conflict(engine):
        return Problem(stage, conflict, f"change [{stage}] of the profile")
    return None


def _precision(stage: str, engine: StageEngine, manifest: Manifest) -> Problem | None:
    """An artifact has the precision that it was exported in; CTranslate2 converts its own when it
    loads it."""
    converted = manifest.dialect == CTRANSLATE2 or manifest.precision == "source"
    if not converted and engine.precision not in ("", manifest.precision):
        return Problem(
            stage,
            f"{engine.model} was exported in {manifest.precision}, not in {engine.precision}",
            f'set precision = "{manifest.precision}"',
        )
    return None
