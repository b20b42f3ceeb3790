"""`voxturn export …`: a checkpoint on this machine to an artifact folder, and synthetic checkpoints
for tests.

Also `voxturn voices import`, which reads a file of a checkpoint.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, ModuleType

from voxturn.export.coqui import mel_synthetic, synthetic
from voxturn.export.coqui.artifact import PRECISIONS as COQUI_PRECISIONS
from voxturn.export.coqui.openvoice import synthetic as openvoice_synthetic
from voxturn.export.coqui.vits import synthetic as vits_synthetic
from voxturn.export.decoder.families import ENGINES, TARGETS
from voxturn.export.folder_command import FolderCommand
from voxturn.export.options import add_options
from voxturn.export.whisper import spec
from voxturn.export.xtts.checkpoint import flat, read_speakers
from voxturn.runtime.audio.encode import output_error
from voxturn.runtime.commands import voices
from voxturn.runtime.errors import CorruptModel, ExportFailed, OutputNotWritable, UsageError
from voxturn.runtime.families.xtts.voices import check_name
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import find_exporter, publish
from voxturn.runtime.progress import Bar

MODELS = ("xtts-v2", "xtts-v1.1", "smollm2-135m", "vits-en-us-joe")
"""The registry's models that are exported by their own names; text models and Whispers go by
`qwen3` and `whisper`."""
_COQUI_MAKERS = (vits_synthetic, mel_synthetic, openvoice_synthetic)
_SYNTHETIC = (
    "xtts-v2",
    "xtts-v1.1",
    "qwen3-0.6b",
    "qwen3-1.7b",
    "qwen3-4b",
    "qwen3-8b",
    "whisper-large-v3-turbo",
    *(f"coqui:{kind}" for maker in _COQUI_MAKERS for kind in maker.KINDS),
)


def export(args: argparse.Namespace) -> int:
    """Export a folder, as `models pull` exports what it pulled."""
    model, _ = Registry.read().resolve(args.model)
    if model.exporter == "none":
        raise UsageError(f"model {model.id!r} is loaded as it is; there is nothing to export")
    precision = args.precision or model.precisions[0]
    if precision not in model.precisions:
        raise UsageError(
            f"model {model.id!r} has no --precision {precision}; it has {', '.join(model.precisions)}"
        )
    return write(
        model.id, model.exporter, Path(args.checkpoint), Path(args.output), precision, args.engine
    )


def write(
    model: str,
    exporter: str,
    checkpoint: Path,
    target: Path,
    precision: str,
    engine: str,
    folders: Mapping[str, Path] = MappingProxyType({}),
) -> int:
    """Export a folder of `model` to `target`, which appears whole or not at all, and print what was
    reached. `folders` are others that the exporter takes, by name."""
    for folder in (checkpoint, *folders.values()):
        if not folder.exists():
            raise ExportFailed(f"{folder}: no such checkpoint")
    if target.exists() and not (target / "manifest.json").exists():
        raise OutputNotWritable(f"{target}: exists and is not an artifact; choose another folder")
    source = Manifest(
        model,
        "checkpoint",
        "source",
        {"checkpoint": checkpoint.name, "voxturn": metadata.version("voxturn")},
        {},
    )
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        staging.mkdir(parents=True)
        with Bar() as bar:
            export_into = find_exporter(exporter)
            export_into(checkpoint, source, staging, precision, bar, engine, **folders)
        publish(staging, target)
    except OSError as exc:
        raise output_error(exc, str(exc.filename or target)) from exc
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    manifest = Manifest.read(target)
    print(f"{target}: {manifest.kind} {manifest.precision} {manifest.digest[:16]}")
    for name, value in sorted(manifest.reached.items()):
        print(f"  {name} {value:g}")
    return 0


def make_checkpoint(args: argparse.Namespace) -> int:
    """A synthetic checkpoint in the official layout."""
    target = Path(args.output)
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: must be 0 or more")
    if target.exists():
        raise OutputNotWritable(f"{target}: exists; choose another folder")
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        if args.model.startswith("xtts-"):
            synthetic.make_checkpoint(staging, args.size, args.seed, args.model)
        elif args.model.startswith("coqui:"):
            kind = args.model.removeprefix("coqui:")
            maker = next(each for each in _COQUI_MAKERS if kind in each.KINDS)
            maker.make_checkpoint(staging, kind, args.size, args.seed)
        elif args.model == "whisper-large-v3-turbo":
            _maker("whisper.synthetic").make_checkpoint(
                staging, args.size, args.seed, args.tokenizer
            )
        else:
            _maker("decoder.synthetic").make_checkpoint(
                staging, args.model, args.size, args.seed, args.tokenizer
            )
        staging.rename(target)
    except OSError as exc:
        raise output_error(exc, str(exc.filename or target)) from exc
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    print(f"{target}: synthetic {args.model}, {args.size}, seed {args.seed}; what it says is noise")
    return 0


def _maker(name: str) -> ModuleType:
    """A module of `export` that needs the extra `export`; this one must be importable without it."""
    try:
        return importlib.import_module(f"voxturn.export.{name}")
    except ImportError as exc:
        raise ExportFailed(
            f"making a checkpoint needs {exc.name}; pip install 'voxturn[export]'"
        ) from exc


def import_voices(args: argparse.Namespace) -> int:
    """Keep the voices of a checkpoint's `speakers_xtts.pth` as cloned ones are kept: all of them,
    or none."""
    path = Path(args.speakers)
    store = voices.voice_store(args.model)
    found = []
    for name, values in read_speakers(path).items():
        try:
            check_name(name)
            found.append(store.checked(name, *flat(values)))
        except (UsageError, ValueError) as exc:
            raise CorruptModel(f"{path}: voice {name!r} cannot be kept ({exc})") from exc
    if not found:
        raise CorruptModel(f"{path}: holds no voices; get the file again")
    for voice in found:
        store.add(voice, imported=path.name)
        print(voice.name)
    return 0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `export` to the command line: an action for every model that has an exporter, and
    `make-checkpoint`."""
    group = commands.add_parser(
        "export", help="turn a checkpoint on this machine into an artifact, or make a synthetic one"
    )
    actions = group.add_subparsers(required=True, metavar="MODEL")
    for name in MODELS:
        _add_model(actions, name)
    about = "a Whisper of any size, from a transformers or a CTranslate2 folder"
    FolderCommand("whisper", "whisper", about, spec.PRECISIONS).add(actions, write)
    about = "a Qwen3, Qwen2.5, Llama or Mistral, from a Hugging Face folder or a GGUF file"
    FolderCommand("qwen3", "qwen3", about, TARGETS).add(actions, write)
    about = "a voice of Coqui's, of Piper's training or of MMS, or an OpenVoice, from its folder"
    folders = {"vocoder": "the folder of its vocoder, for a voice that gives mels"}
    FolderCommand("coqui", "coqui", about, COQUI_PRECISIONS, folders).add(actions, write)
    _add_maker(actions)
    if "voices" in commands.choices:
        _add_import(commands)


def _add_model(actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    parser = actions.add_parser(
        name,
        help=f"a folder of {name}, as its makers lay it out",
        epilog=f"example:\n  voxturn export {name} --checkpoint DIR -o ARTIFACT --precision int8",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    engines = (
        "what its token loop will run on: onnx has ONNX Runtime's own operators, the others standard ones "
        "(default: tensorrt for fp16, else onnx)"
    )
    precisions = "one of the registry's for the model (default: its first)"
    add_options(parser, ENGINES, engines, precisions, engine_needed=False)
    parser.set_defaults(run=export, model=name)


def _add_maker(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "make-checkpoint",
        help="write a synthetic checkpoint (random weights, official layout) for tests and benchmarks",
        epilog="example:\n  voxturn export make-checkpoint xtts-v2 --size tiny --seed 1 -o tiny-xtts",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", choices=_SYNTHETIC)
    parser.add_argument("--size", choices=["tiny", "full"], default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="a tokenizer.json for a Qwen3 (default: a small one) or a Whisper",
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.set_defaults(run=make_checkpoint)


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = voices.action(
        voices.actions_of(commands),
        "import",
        "keep the voices of a checkpoint's speakers_xtts.pth",
        "voxturn voices import speakers_xtts.pth",
    )
    parser.add_argument("speakers", metavar="PTH", help="the checkpoint's file of studio voices")
    parser.set_defaults(run=import_voices)
