"""`voxturn models …` and `voxturn doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from importlib import metadata
from pathlib import Path

from voxturn.runtime.decode import sampler
from voxturn.runtime.errors import CorruptModel, UsageError, VoxturnError
from voxturn.runtime.executors.cuda.report import gpu_report
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.manifest import MANIFEST
from voxturn.runtime.models.registry import TASKS, Model, Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.prepare import bring, bring_model, damaged, problems
from voxturn.runtime.profile import SHIPPED, load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.text.language import find

_LIBRARIES = (
    "numpy",
    "onnxruntime",
    "ctranslate2",
    "faster-whisper",
    "tokenizers",
    "av",
    "openvino",
    "piper-tts",
    "onnx",
    "torch",
)


_SHORT = {
    "llm": "text-generation",
    "stt": "speech-to-text",
    "tts": "text-to-speech",
    "vad": "voice-activity",
    "vc": "voice-conversion",
}
"""Other names of tasks."""


def list_models(args: argparse.Namespace) -> int:
    """All models, or those of a task or language, and which of them are here.

    Without either, those of coqui-tts's list that are not here are counted alone.
    """
    registry, store = Registry.read(), Store()
    task, every = _SHORT.get(args.task, args.task), args.task or args.language
    if task and task not in TASKS:
        raise UsageError(f"--task {args.task}: must be one of {', '.join([*_SHORT, *TASKS])}")
    shown, counted = [], 0
    for name, model in sorted(registry.models.items(), key=lambda item: (item[1].task, item[0])):
        here = [p for p in model.precisions if store.installed(model, p)]
        if (task and model.task != task) or (args.language and not _speaks(model, args.language)):
            continue
        if every or here or model.exporter != "coqui":
            shown.append((name, model, here))
        else:
            counted += 1
    width = max([24, *(len(name) for name, _, _ in shown)])
    for name, model, here in shown:
        state = f"here: {', '.join(here)}" if here else "-"
        print(f"{name:{width}} {model.task:16} {state:16} {model.license}")
    for name, alias in registry.aliases.items() if not every else ():
        language = f" in {alias.language}" if alias.language else ""
        print(f"{name:{width}} is {alias.model}{language}")
    if counted:
        print(f"and {counted} of coqui-tts's list: name a --task or a --language")
    return 0


def _speaks(model: Model, language: str) -> bool:
    return any(known == "*" or find(language, known.__eq__) for known in model.languages)


def pull(args: argparse.Namespace) -> int:
    """Pull and export one model or those of a profile."""
    if (args.model is None) == (args.profile is None):
        raise UsageError(
            "name a model or --profile, one of them; `voxturn models list` shows the models"
        )
    if args.profile is not None and args.precision is not None:
        raise UsageError("--precision goes with a model; a profile names the precision of each")
    registry, store = Registry.read(), Store()
    if args.profile is not None:
        profile = load_profile(args.profile)
        with Bar() as bar:
            bring(profile, store, registry, bar, args.again)
        return 0
    model, _ = registry.resolve(args.model)
    precision = _precision(model, args.precision)
    with Bar() as bar:
        bring_model(args.model, precision, store, registry, bar, args.again)
    print(store.artifact_path(model, precision))
    return 0


def _precision(model: Model, precision: str | None) -> str:
    """The precision asked for, or the model's first.

    Raises `UsageError` for one that the model has not.
    """
    if precision is None:
        return model.precisions[0]
    if precision not in model.precisions:
        raise UsageError(
            f"--precision {precision}: model {model.id!r} has {', '.join(model.precisions)}"
        )
    return precision


def verify(args: argparse.Namespace) -> int:
    """Read every file of a model, or of all that are here, and compare hashes; a line each on
    standard output.

    All are checked, whatever the first says. Raises `CorruptModel` with the commands that mend the
    damaged ones, or else the first error that kept a model from being checked.
    """
    registry, store = Registry.read(), Store()
    names = list(registry.models) if args.model is None else [args.model]
    mends: dict[str, None] = {}
    unchecked: list[VoxturnError] = []
    for name in names:
        model, _ = registry.resolve(name)
        folders = _folders(model, store)
        if args.model is not None and not folders:
            store.artifact(model, model.precisions[0])  # says that it is not here
        for folder, precision in folders.items():
            try:
                manifest = store.verify(folder)
            except CorruptModel as exc:
                mend = f"voxturn models pull {model.id} --precision {precision} --again"
                print(f"{name:24} damaged: {exc}")
                mends[mend] = None
            except (VoxturnError, OSError) as exc:
                error = (
                    exc
                    if isinstance(exc, VoxturnError)
                    else CorruptModel(f"{folder}: cannot be read ({exc.strerror}: {exc.filename})")
                )
                print(f"{name:24} not checked: {error}")
                unchecked.append(error)
            else:
                print(
                    f"{name:24} {manifest.kind:10} {manifest.precision:7} {manifest.digest[:16]} good"
                )
    if mends:
        commands = ", ".join(f"`{mend}`" for mend in mends)
        raise CorruptModel(f"{len(mends)} damaged; mend with {commands}")
    if unchecked:
        raise unchecked[0]
    return 0


def _folders(model: Model, store: Store) -> dict[Path, str]:
    """The folders of a model that are here, its checkpoint first, each with the precision to pull
    for it."""
    folders = {store.checkpoint_path(model): model.precisions[0]}
    for precision in model.precisions:
        folders.setdefault(store.artifact_path(model, precision), precision)
    return {
        folder: precision
        for folder, precision in folders.items()
        if (folder / MANIFEST).is_symlink() or (folder / MANIFEST).exists()
    }


def path(args: argparse.Namespace) -> int:
    """Where a model lies."""
    model, _ = Registry.read().resolve(args.model)
    folder, _ = Store().artifact(model, _precision(model, args.precision))
    print(folder)
    return 0


def show(args: argparse.Namespace) -> int:
    """What the registry says of a model, and the manifests of what is here, or of one precision of
    it."""
    registry, store = Registry.read(), Store()
    model, alias = registry.resolve(args.model)
    asked = model.precisions if args.precision is None else [_precision(model, args.precision)]
    if alias:
        print(
            f"{args.model} is {alias.model}"
            + (f", language {alias.language}" if alias.language else "")
        )
    entry = dataclasses.asdict(model)
    here = {p: store.artifact(model, p)[1] for p in asked if store.installed(model, p)}
    entry["installed"] = {
        p: {"sha256": m.digest, "reached": dict(m.reached)} for p, m in here.items()
    }
    print(json.dumps(entry, indent=1, ensure_ascii=False))
    return 0


def doctor(args: argparse.Namespace) -> int:
    """What this machine can run; exit code 0 if the profile asked for (default: demo) runs, or with
    `--gpu` a GPU's executor.

    Files are compared with their manifests by size, and with `--verify` those of the profile by
    hash.
    """
    if args.gpu and args.verify:
        raise UsageError("--verify reads the models of a profile; --gpu looks at none")
    if args.gpu:
        report = gpu_report()
        print(
            json.dumps(dataclasses.asdict(report), indent=1)
            if args.json
            else "\n".join(["GPU:", *report.lines()])
        )
        return 0 if not all(report.executors.values()) else 1
    store, registry, cores = Store(), Registry.read(), Cores()
    libraries = {name: _version(name) for name in _LIBRARIES}
    reports = {
        name: problems(load_profile(name), store, registry, cores, name)
        for name in dict.fromkeys((args.profile, *SHIPPED))
    }
    if args.verify:
        profile = load_profile(args.profile)
        reports[args.profile] += damaged(profile, store, registry, args.profile)
    if args.json:
        data = {
            "python": platform.python_version(),
            "cores": cores.available,
            "sampler": sampler.BACKEND,
            "libraries": libraries,
            "profiles": {
                name: [dataclasses.asdict(p) for p in found] for name, found in reports.items()
            },
        }
        print(json.dumps(data, indent=1))
    else:
        print(
            f"Python {platform.python_version()} on {platform.machine()}, {cores.available} cores"
        )
        built = (
            "C++"
            if sampler.BACKEND == "native"
            else "numpy twin (no compiler was found when voxturn was installed)"
        )
        print(f"sampler: {built}")
        print("libraries: " + ", ".join(f"{n} {v or 'missing'}" for n, v in libraries.items()))
        for name, found in reports.items():
            print(f"\nprofile {name}: {load_profile(name).about}")
            print("  runs here" if not found else "  does not run here:")
            for problem in found:
                print(f"  {problem.stage}: {problem.what}\n    → {problem.fix}")
    return 1 if reports[args.profile] else 0


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's commands."""
    models = commands.add_parser("models", help="list, pull, verify and find models")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all models and which are here")
    listing.add_argument("--task", metavar="T", help=f"one task: {', '.join(sorted(_SHORT))}, …")
    listing.add_argument("--language", metavar="L", help="those that know a language")
    listing.set_defaults(run=list_models)
    add = actions.add_parser(
        "pull",
        help="bring a model, or all of a profile, and export it",
        epilog="examples:\n  voxturn models pull whisper-base\n  voxturn models pull --profile demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("model", nargs="?", metavar="ID")
    add.add_argument("--profile", metavar="P", help="a shipped profile or a .toml file")
    add.add_argument(
        "--precision", metavar="P", help="what to export it to (default: the model's first)"
    )
    add.add_argument(
        "--again", action="store_true", help="check every hash and replace what is damaged"
    )
    add.set_defaults(run=pull)
    check = actions.add_parser("verify", help="read every file and compare hashes")
    check.add_argument("model", nargs="?", metavar="ID")
    check.set_defaults(run=verify)
    for name, function, text, about in (
        ("path", path, "where a model lies", "of which precision (default: the model's first)"),
        ("show", show, "all that is known of a model", "of which precision (default: all)"),
    ):
        parser = actions.add_parser(name, help=text)
        parser.add_argument("model", metavar="ID")
        parser.add_argument("--precision", metavar="P", help=about)
        parser.set_defaults(run=function)
    health = commands.add_parser(
        "doctor", help="what this machine can run, and what would mend the rest"
    )
    health.add_argument("--json", action="store_true")
    health.add_argument(
        "--gpu", action="store_true", help="what a GPU needs: driver, toolkit, libraries, executors"
    )
    health.add_argument("--profile", default="demo", help="the profile that decides the exit code")
    health.add_argument(
        "--verify",
        action="store_true",
        help="read every file of the profile's models and compare hashes (otherwise: sizes alone)",
    )
    health.set_defaults(run=doctor)
