"""Strict TOML: tables become dataclasses, and each mistake is an error that names its key.

Written here and not taken from a library: decision 0016 says why.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")
MakeError = Callable[[str], Exception]
"""Makes the exception that is raised out of its message, one line; usually an exception class."""


def read_toml(path: Path, error: MakeError) -> dict[str, Any]:
    """The content of a TOML file in UTF-8.

    Raises `error` where the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise error(f"{path}: cannot be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise error(f"{path}: not TOML: {exc}") from exc
    except ValueError as exc:  # tomllib lets pass what `int` says of thousands of digits
        raise error(f"{path}: not TOML: a whole number has too many digits") from exc
    except RecursionError as exc:
        raise error(f"{path}: not TOML: it is nested too deeply") from exc


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` with the known word that is most alike, or nothing where none is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def build(kind: type[T], table: object, where: str, error: MakeError) -> T:
    """An instance of the dataclass `kind` out of a parsed table.

    Fields may be `str`, `int`, `float`, `bool`, a dataclass, `X | None` of these, `tuple[X, ...]`,
    `X | tuple[X, ...]` or `Mapping[str, X]`. A whole number is taken for a float; no other type is converted, and a bool is no int. `where` is
    the table's name in messages: `profile mine`. Raises `error` for an unknown key, for a missing one
    and for a value of another type.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where}: must be a table")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
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


def _chosen(choices: Iterable[Any], value: Any) -> Any:
    """Which of the annotations of a union a value is converted to."""
    lists = isinstance(value, list)
    present = [choice for choice in choices if choice is not types.NoneType]
    return next((each for each in present if (get_origin(each) is tuple) == lists), present[0])


def _convert(hint: Any, value: Any, where: str, error: MakeError) -> Any:
    """`value` as the annotation `hint` wants it."""
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type[Any], hint), value, where, error)
    if origin in (Union, types.UnionType):
        return _convert(_chosen(get_args(hint), value), value, where, error)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise error(f"{where}: must be a table")
        kind = get_args(hint)[1]
        return {key: _convert(kind, item, f"{where}.{key}", error) for key, item in value.items()}
    if origin is tuple:
        if not isinstance(value, list):
            raise error(f"{where}: must be a list")
        return tuple(
            _convert(get_args(hint)[0], item, f"{where}[{i}]", error)
            for i, item in enumerate(value)
        )
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError as exc:
            raise error(f"{where}: is too large for a float") from exc
    if type(value) is not hint:
        raise error(f"{where}: must be {hint.__name__}, not {type(value).__name__}")
    return value
