"""`voxturn models …` and `voxturn doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from importlib import metadata

from voxturn.runtime.decode import sampler
from voxturn.runtime.errors import UsageError
from voxturn.runtime.executors.cuda.report import gpu_report
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.prepare import bring, bring_model, problems
from voxturn.runtime.profile import SHIPPED, load_profile
from voxturn.runtime.progress import Bar

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


def list_models(args: argparse.Namespace) -> int:
    """All models, and which of them are here."""
    registry, store = Registry.read(), Store()
    for name, model in sorted(registry.models.items(), key=lambda item: (item[1].task, item[0])):
        here = [p for p in model.precisions if store.installed(model, p)]
        state = f"here: {', '.join(here)}" if here else "-"
        print(f"{name:24} {model.task:16} {state:16} {model.license}")
    for name, alias in registry.aliases.items():
        language = f" in {alias.language}" if alias.language else ""
        print(f"{name:24} is {alias.model}{language}")
    return 0


def pull(args: argparse.Namespace) -> int:
    """Pull and export one model or those of a profile."""
    if bool(args.model) == bool(args.profile):
        raise UsageError(
            "name a model or --profile, one of them; `voxturn models list` shows the models"
        )
    registry, store = Registry.read(), Store()
    with Bar() as bar:
        if args.profile:
            bring(load_profile(args.profile), store, registry, bar, args.again)
            return 0
        model, _ = registry.resolve(args.model)
        bring_model(args.model, args.precision, store, registry, bar, args.again)
    print(store.artifact_path(model, args.precision or model.precisions[0]))
    return 0


def verify(args: argparse.Namespace) -> int:
    """Read every file of a model, or of all that are here, and compare hashes."""
    registry, store = Registry.read(), Store()
    names = [args.model] if args.model else list(registry.models)
    for name in names:
        model, _ = registry.resolve(name)
        folders = {
            store.checkpoint_path(model),
            *(store.artifact_path(model, p) for p in model.precisions),
        }
        present = sorted(folder for folder in folders if (folder / "manifest.json").exists())
        if args.model and not present:
            store.artifact(model, model.precisions[0])
        for folder in present:
            manifest = store.verify(folder)
            print(
                f"{name:24} {manifest.kind:10} {manifest.precision:7} {manifest.digest[:16]} good"
            )
    return 0


def path(args: argparse.Namespace) -> int:
    """Where a model lies."""
    model, _ = Registry.read().resolve(args.model)
    folder, _ = Store().artifact(model, args.precision or model.precisions[0])
    print(folder)
    return 0


def show(args: argparse.Namespace) -> int:
    """What the registry says of a model, and the manifests of what is here."""
    registry, store = Registry.read(), Store()
    model, alias = registry.resolve(args.model)
    if alias:
        print(
            f"{args.model} is {alias.model}"
            + (f", language {alias.language}" if alias.language else "")
        )
    entry = dataclasses.asdict(model)
    here = {p: store.artifact(model, p)[1] for p in model.precisions if store.installed(model, p)}
    entry["installed"] = {
        p: {"sha256": m.digest, "reached": dict(m.reached)} for p, m in here.items()
    }
    print(json.dumps(entry, indent=1, ensure_ascii=False))
    return 0


def doctor(args: argparse.Namespace) -> int:
    """What this machine can run; exit code 0 if the profile asked for (default: demo) runs, or with `--gpu` a GPU's executor."""
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
        for name in (*SHIPPED, *args.extra)
    }
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
    actions.add_parser("list", help="all models and which are here").set_defaults(run=list_models)
    add = actions.add_parser(
        "pull",
        help="bring a model, or all of a profile, and export it",
        epilog="examples:\n  voxturn models pull whisper-base\n  voxturn models pull --profile demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("model", nargs="?", metavar="ID")
    add.add_argument("--profile", metavar="P", help="a shipped profile or a .toml file")
    add.add_argument(
        "--precision", default="", help="what to export it to (default: the model's first)"
    )
    add.add_argument(
        "--again", action="store_true", help="check every hash and replace what is damaged"
    )
    add.set_defaults(run=pull)
    check = actions.add_parser("verify", help="read every file and compare hashes")
    check.add_argument("model", nargs="?", metavar="ID")
    check.set_defaults(run=verify)
    for name, function, text in (
        ("path", path, "where a model lies"),
        ("show", show, "all that is known of a model"),
    ):
        parser = actions.add_parser(name, help=text)
        parser.add_argument("model", metavar="ID")
        parser.add_argument("--precision", default="")
        parser.set_defaults(run=function)
    health = commands.add_parser(
        "doctor", help="what this machine can run, and what would mend the rest"
    )
    health.add_argument("--json", action="store_true")
    health.add_argument(
        "--gpu", action="store_true", help="what a GPU needs: driver, toolkit, libraries, executors"
    )
    health.add_argument("--profile", default="demo", help="the profile that decides the exit code")
    health.set_defaults(run=lambda args: doctor(_with_extra(args)))


def _with_extra(args: argparse.Namespace) -> argparse.Namespace:
    args.extra = [] if args.profile in SHIPPED else [args.profile]
    return args
