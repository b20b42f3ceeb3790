"""`voxturn voices add | list | show | remove`. `voices import` joins from `export`, which can read checkpoints."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from voxturn.runtime.assemble import Assembler
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.xtts.voices import VoiceStore, check_name
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import SpeakEngine, load_profile

_PROFILE = "cpu"
"""Whose voice model is meant where none is named."""


def artifact(name: str, store: Store) -> tuple[Path, Manifest]:
    """An XTTS artifact by its folder or its name in the registry; empty: the one of the profile `cpu`."""
    if name and (Path(name).exists() or "/" in name):
        folder, manifest = store.at(Path(name))
    else:
        speak = load_profile(_PROFILE).speak
        model, _ = Registry.read().resolve(name or speak.model)
        precision = speak.precision if speak.precision in model.precisions else model.precisions[0]
        folder, manifest = store.artifact(model, precision)
    if manifest.kind != "xtts":
        raise UsageError(f"{name or folder}: is of kind {manifest.kind!r}, not an XTTS artifact")
    return folder, manifest


def voice_store(name: str) -> VoiceStore:
    """The voices of an artifact, named as `artifact` takes it."""
    store = Store()
    return VoiceStore(store.root, *artifact(name, store))


def add(args: argparse.Namespace) -> int:
    """Clone a voice from recordings and keep it."""
    check_name(args.name)
    store = Store()
    folder, manifest = artifact(args.model, store)
    speak = SpeakEngine(str(folder), "onnx", manifest.precision)
    make = Assembler(replace(load_profile(_PROFILE), speak=speak), store)
    recordings = [Path(recording) for recording in args.recordings]
    try:
        added = make.cloner().clone(args.name, recordings)
    finally:
        make.close()
    for warning in added.warnings:
        print(f"warning: voice {args.name!r}: {warning}", file=sys.stderr)
    if manifest.synthetic:
        print(
            f"warning: {manifest.model} has synthetic weights; its voices are noise",
            file=sys.stderr,
        )
    VoiceStore(store.root, folder, manifest).add(added.voice, recordings)
    print(f"{args.name}: {added.seconds:.1f} s of speech from {len(recordings)} recording(s)")
    return 0


def list_voices(args: argparse.Namespace) -> int:
    """All voices of an artifact and where they are from."""
    for name, kind in voice_store(args.model).names().items():
        print(f"{name:32} {kind}")
    return 0


def show(args: argparse.Namespace) -> int:
    """What is known of a voice."""
    voices = voice_store(args.model)
    voice, noted = voices.read(args.name)
    shapes = {"latents": list(voice.latents.shape), "speaker": list(voice.speaker.shape)}
    known = {"name": args.name, "checkpoint": voices.checkpoint, "key": voice.key} | noted | shapes
    print(json.dumps(known, indent=1, ensure_ascii=False))
    return 0


def remove(args: argparse.Namespace) -> int:
    """Forget a voice that was added."""
    voice_store(args.model).remove(args.name)
    return 0


def actions_of(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Where other packages add actions of `voxturn voices`."""
    found = (
        a for a in commands.choices["voices"]._actions if isinstance(a, argparse._SubParsersAction)
    )
    return next(found)


def action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, example: str
) -> argparse.ArgumentParser:
    """An action of `voxturn voices`."""
    parser = actions.add_parser(
        name,
        help=text,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default="",
        metavar="ARTIFACT",
        help="an XTTS artifact's folder, or a model of the registry (default: the one of the profile cpu)",
    )
    return parser


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's commands."""
    group = commands.add_parser("voices", help="clone, list and remove the voices of XTTS")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    parser = action(
        actions,
        "add",
        "clone a voice from recordings",
        "voxturn voices add Ana ana-1.wav ana-2.ogg",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="REF",
        help="recordings of any kind; 3 s or more of speech clone well",
    )
    parser.set_defaults(run=add)
    parser = action(actions, "list", "all voices", "voxturn voices list --model xtts-int8")
    parser.set_defaults(run=list_voices)
    for name, function, text in (
        ("show", show, "what is known of a voice"),
        ("remove", remove, "forget a voice"),
    ):
        parser = action(actions, name, text, f"voxturn voices {name} Ana")
        parser.add_argument("name", metavar="NAME")
        parser.set_defaults(run=function)
