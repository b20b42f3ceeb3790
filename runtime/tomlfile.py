"""Strict TOML: tables become dataclasses; unknown keys, wrong types and missing keys are errors that name them."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")
Raise = Callable[[str], Exception]


def read_toml(path: Path, error: Raise) -> dict[str, Any]:
    """Parse a TOML file; what goes wrong is raised as `error(one line)`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise error(f"{path}: cannot be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise error(f"{path}: not TOML: {exc}") from exc


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def build(kind: type[T], table: object, where: str, error: Raise) -> T:
    """A dataclass from a table, recursively."""
    if not isinstance(table, Mapping):
        raise error(f"{where}: must be a table")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise error(
                f"{where}: unknown key {key!r}{nearest(key, fields)}; known: {', '.join(fields)}"
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{where}.{name}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where}: key {name!r} is missing")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str, error: Raise) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type[Any], hint), value, where, error)
    if origin in (Union, types.UnionType):
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        return _convert(choices[0], value, where, error)
    if origin is tuple:
        if not isinstance(value, list):
            raise error(f"{where}: must be a list")
        return tuple(
            _convert(get_args(hint)[0], item, f"{where}[{i}]", error)
            for i, item in enumerate(value)
        )
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise error(f"{where}: must be {hint.__name__}, not {type(value).__name__}")
    return value
