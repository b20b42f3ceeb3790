"""What a profile needs of this machine: what is missing and what brings it, and bringing the
models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxturn.runtime.errors import (
    ConfigError,
    CorruptModel,
    ExportFailed,
    UnknownModel,
    UnknownStyle,
    UnknownVoice,
    UnsupportedLanguage,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.executors.catalogue import Executor, executor_of
from voxturn.runtime.executors.cuda.report import gpu_report
from voxturn.runtime.families.base import family_of
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.compatible import Problem, unserved
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, find_exporter, is_artifact, quiet
from voxturn.runtime.parts import Choice, choose, content_filter
from voxturn.runtime.profile import Engine, Profile
from voxturn.runtime.voices import languages_of, own_voices


def problems(
    profile: Profile, store: Store, registry: Registry, cores: Cores, name: str = ""
) -> list[Problem]:
    """Everything that keeps a profile from running here; empty if it runs.

    `name`: what the user calls it, a file maybe.
    """
    lacking = _lacking(profile, _stages(profile, store, registry), store, registry, cores, name)
    for own in own_voices(profile, registry):
        stages = own.stages if own.speaker else _stages(own.profile, store, registry, own.stages)
        of_voice = _lacking(own.profile, stages, store, registry, cores, name)
        lacking += [replace(problem, stage=own.where) for problem in of_voice]
    try:
        content_filter(profile)
    except VoxturnError as exc:
        lacking.append(Problem("filter", str(exc), "change [filter] of the profile"))
    return lacking


def _lacking(
    profile: Profile,
    stages: Sequence[str],
    store: Store,
    registry: Registry,
    cores: Cores,
    name: str,
) -> list[Problem]:
    """Everything that keeps some stages of a profile from running here."""
    rows = {stage: executor_of(profile.engine(stage).executor) for stage in stages}
    report = gpu_report() if any(row.on_gpu for row in rows.values()) else None
    lacking: list[Problem] = []
    for stage, executor in rows.items():
        lacks = report.executors[executor.name] if report and executor.on_gpu else ""
        if lacks:
            what = f"executor {executor.name!r} needs {lacks}"
            lacking.append(Problem(stage, what, "voxturn doctor --gpu"))
        engine = profile.engine(stage)
        try:
            cores.budget(stage, engine.threads)
            wrong = _unserved(stage, engine, executor, registry)
            wrong = wrong or _problem(profile, stage, store, registry)
        except ExportFailed as exc:
            fix = "a later version of voxturn, or pip install 'voxturn[export]'"
            wrong = Problem(stage, str(exc), fix)
        except VoxturnError as exc:
            wrong = Problem(stage, str(exc), _fix(exc, stage, engine, name or profile.name))
        lacking += [] if wrong is None else [wrong]
    return lacking


def damaged(profile: Profile, store: Store, registry: Registry, name: str = "") -> list[Problem]:
    """Artifacts of a profile whose files are not those that were recorded; every file is read, and
    its hash compared.

    What `problems` tells without reading them is left to it.
    """
    found: dict[Path, Problem | None] = {}
    own = [each.profile for each in own_voices(profile, registry) if not each.speaker]
    staged = [(profile, stage) for stage in _stages(profile, store, registry)]
    for each, stage in [*staged, *((voice, "speak") for voice in own)]:
        engine = each.engine(stage)
        try:
            choice = choose(each, stage, store, registry)
        except VoxturnError:
            continue
        if choice.executor.whole or choice.folder in found:  # a voice has two stages
            continue
        try:
            store.verify(choice.folder)
            found[choice.folder] = None
        except CorruptModel as exc:
            fix = _fix(exc, stage, engine, name or profile.name)
            found[choice.folder] = Problem(stage, str(exc), fix)
        except OSError as exc:
            what = f"{exc.filename or choice.folder}: cannot be read ({exc.strerror})"
            found[choice.folder] = Problem(stage, what, "look after the disk and its permissions")
    return [problem for problem in found.values() if problem is not None]


def _stages(
    profile: Profile, store: Store, registry: Registry, only: Sequence[str] = ()
) -> list[str]:
    """The stages that the profile names (`only`: these of them), and a vocoder that its voice has
    and it leaves out."""
    stages = [stage for stage in profile.engines() if not only or stage in only]
    if "vocode" not in stages:
        try:
            voice = choose(profile, "speak", store, registry)
        except VoxturnError:  # told of the stage speak
            return stages
        stages += ["vocode"] if voice.vocodes else []
    return stages


def _unserved(stage: str, engine: Engine, executor: Executor, registry: Registry) -> Problem | None:
    """A model of the registry that no server has is told of before it is brought here."""
    if not engine.from_registry:
        return None
    family = family_of(registry.resolve(engine.model)[0].exporter)
    return unserved(stage, engine, executor, family) if family is not None else None


def _problem(profile: Profile, stage: str, store: Store, registry: Registry) -> Problem | None:
    choice = _choice(profile, stage, store, registry)
    wrong = choice.missing() or choice.problem(languages_of(profile, stage, registry), store.root)
    if wrong is None and stage == "vocode":
        return choice.beside(choose(profile, "speak", store, registry))
    return wrong


def _choice(profile: Profile, stage: str, store: Store, registry: Registry) -> Choice:
    """What is to run a stage.

    Raises `ExportFailed` where what would make its artifact is not here either.
    """
    engine = profile.engine(stage)
    if engine.from_registry:
        model, _ = registry.resolve(engine.model)
        precision = engine.precision or model.precisions[0]
        if model.exporter != "none" and not store.installed(model, precision):
            find_exporter(model.exporter)
    return choose(profile, stage, store, registry)


def _fix(exc: VoxturnError, stage: str, engine: Engine, profile: str) -> str:
    if isinstance(exc, UsageError | ConfigError) and not isinstance(exc, UnknownModel):
        return f"change [{stage}] of the profile"
    if isinstance(exc, UnknownVoice | UnknownStyle | UnsupportedLanguage):
        return "change the profile's voice, style or language"
    if executor_of(engine.executor).whole:
        return "name a model that the server has"
    if is_artifact(engine.model):
        return "voxturn export --help"
    again = " --again" if isinstance(exc, CorruptModel) else ""
    return f"voxturn models pull --profile {profile}{again}"


def bring(
    profile: Profile,
    store: Store,
    registry: Registry,
    progress: Progress = quiet,
    again: bool = False,
) -> None:
    """Pull and export every model of a profile that is not here yet, or all of them `again`."""
    done: set[tuple[str, str]] = set()
    own = [each.profile.speak for each in own_voices(profile, registry)]
    for engine in [*profile.engines().values(), *own]:
        if not engine.from_registry:
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
    """Pull a model and export it to `precision` (empty: its default).

    Nothing is asked of the network if it is here.
    """
    model, _ = registry.resolve(name)
    wanted = precision or model.precisions[0]
    if again or not store.installed(model, wanted):
        if model.exporter != "none":
            find_exporter(model.exporter)
        store.pull(model, progress, again)
        vocoder = None
        if model.vocoder:
            vocoder = store.pull(registry.resolve(model.vocoder)[0], progress, again)
        store.export(model, wanted, progress, again, vocoder)
