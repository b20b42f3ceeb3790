"""`voxturn voices add | list | show | remove`.

`voices import` joins from `export`, which can read checkpoints.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from voxturn.runtime.commands.loading import cloning_profile, load_parts, voice_artifact
from voxturn.runtime.commands.options import style_option, track_number
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import Family
from voxturn.runtime.families.xtts.voices import VoiceStore
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import Store

_LOG = logging.getLogger(__name__)


def library_artifact(name: str, store: Store) -> tuple[Path, Manifest, Family]:
    """A voice whose speakers can be added to, by its folder or its name. Raises `UsageError`."""
    folder, manifest, family = voice_artifact(name, store)
    if family.library is None:
        raise UsageError(
            f"{name or folder}: a voice of kind {family.kind!r} has no speakers of one's own; "
            "name one that clones, as XTTS"
        )
    return folder, manifest, family


def voice_store(name: str) -> VoiceStore:
    """The speakers of an artifact, named as `voice_artifact` takes it."""
    store = Store()
    folder, manifest, family = library_artifact(name, store)
    assert family.library is not None  # looked at above
    library: VoiceStore = family.library(store.root, folder, manifest)
    return library


def add(args: argparse.Namespace) -> int:
    """Clone a voice from recordings and keep it."""
    store = Store()
    folder, manifest, family = library_artifact(args.model, store)
    style = args.style or ""
    voice_store(args.model).check_new(args.name, style)
    assert family.cloner is not None  # what has a library clones
    recordings = [Path(recording) for recording in args.recordings]
    parts = load_parts(cloning_profile(folder, family))
    try:
        added = family.cloner(parts).clone(args.name, recordings, args.track)
    finally:
        parts.close()
    for warning in added.warnings:
        _LOG.warning("voice %r: %s", args.name, warning)
    if manifest.synthetic:
        _LOG.warning("%s has synthetic weights; its voices are noise", manifest.model)
    voice_store(args.model).add(added.voice, recordings, style=style)
    name = f"{args.name}/{style}" if style else args.name
    print(f"{name}: {added.seconds:.1f} s of speech from {len(recordings)} recording(s)")
    return 0


def list_voices(args: argparse.Namespace) -> int:
    """All voices of an artifact, where they are from, and their styles."""
    voices = voice_store(args.model)
    for name, kind in voices.names().items():
        print(f"{name:32} {kind:6}  {', '.join(voices.styles(name))}".rstrip())
    return 0


def show(args: argparse.Namespace) -> int:
    """What is known of a voice or of one of its styles."""
    voices = voice_store(args.model)
    voice, noted = voices.read(args.name, args.style or "")
    if not args.style:
        noted |= {"styles": voices.styles(args.name)}
    shapes = {"latents": list(voice.latents.shape), "speaker": list(voice.speaker.shape)}
    known = {"name": args.name, "checkpoint": voices.checkpoint, "key": voice.key} | noted | shapes
    print(json.dumps(known, indent=1, ensure_ascii=False))
    return 0


def remove(args: argparse.Namespace) -> int:
    """Forget a voice that was added with all its styles, or one of them."""
    voice_store(args.model).remove(args.name, args.style or "")
    return 0


def actions_of(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Where other packages add actions of `voxturn voices`."""
    matches = (
        a for a in commands.choices["voices"]._actions if isinstance(a, argparse._SubParsersAction)
    )
    return next(matches)


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
        "voxturn voices add Ana ana-1.wav ana-2.ogg\n  voxturn voices add Ana laughing.wav --style happy",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="REF",
        help="recordings of any kind; 3 s or more of speech clone well",
    )
    parser.add_argument(
        "--track",
        type=track_number,
        default=0,
        metavar="N",
        help="which audio track of each, from 1 (default: the one that is flagged so, else the first)",
    )
    _add_style(parser, "keep it as a style of the voice NAME, which is there already")
    parser.set_defaults(run=add)
    parser = action(actions, "list", "all voices", "voxturn voices list --model xtts-int8")
    parser.set_defaults(run=list_voices)
    for name, function, text in (
        ("show", show, "what is known of a voice"),
        ("remove", remove, "forget a voice and its styles"),
    ):
        parser = action(actions, name, text, f"voxturn voices {name} Ana")
        parser.add_argument("name", metavar="NAME")
        _add_style(parser, "of this style of it alone")
        parser.set_defaults(run=function)


def _add_style(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--style", type=style_option, metavar="STYLE", help=f"{text}: a word, as happy"
    )
