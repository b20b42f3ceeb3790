"""What commands load, with a progress bar for what takes long."""

from __future__ import annotations

from pathlib import Path

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import Family, family_of
from voxturn.runtime.models.compatible import TASKS
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.progress import Bar

_PROFILE = "cpu"
"""Whose voice is meant where none is named."""


def load_assistant(profile: str | Profile) -> Assistant:
    """A whole profile."""
    return Assistant.load(profile, progress=Bar())


def load_parts(profile: Profile) -> LoadedParts:
    """The parts of a profile, of which some are used."""
    return LoadedParts(profile, progress=Bar())


def voice_artifact(name: str, store: Store) -> tuple[Path, Manifest, Family]:
    """A voice by its folder or its name in the registry; empty: the one of the profile `cpu`.

    Raises `UsageError`.
    """
    if name and (Path(name).exists() or "/" in name):
        folder, manifest = store.at(Path(name))
    else:
        speak = load_profile(_PROFILE).speak
        model, _ = Registry.read().resolve(name or speak.model)
        precision = speak.precision if speak.precision in model.precisions else model.precisions[0]
        folder, manifest = store.artifact(model, precision)
    family = family_of(manifest.kind)
    if family is None or family.task != TASKS["speak"]:
        raise UsageError(f"{name or folder}: is of kind {manifest.kind!r}, not a voice")
    return folder, manifest, family


def cloning_profile(folder: Path, family: Family) -> Profile:
    """A profile whose voice is the artifact in a folder, on this machine's processor."""
    return load_profile(_PROFILE).with_voice(folder, Manifest.read(folder), tuple(family.roles))
