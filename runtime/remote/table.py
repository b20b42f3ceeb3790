"""JSON that comes from strangers, read field by field: whatever it holds, the error names the
field. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from voxturn.runtime.errors import UsageError
from voxturn.runtime.remote.contract import LONGEST_JSON, LONGEST_NAME

_INFINITE = 1e300


def json_value(text: str, name: str) -> Any:
    """The value of a JSON text, which the input `name` holds. Raises `UsageError`."""
    if len(text) > LONGEST_JSON:
        raise UsageError(
            f"{name}: JSON of {len(text)} characters; a request may have {LONGEST_JSON}"
        )
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except RecursionError as exc:
        raise UsageError(f"{name}: JSON that is nested too deep") from exc
    except ValueError as exc:
        raise UsageError(f"{name}: must be JSON ({exc})") from exc
    return value


class Table:
    """A JSON object, which errors call `name`. Every method reads a field and raises `UsageError`
    for a wrong value.

    Without a default a field has to be there. `close` refuses what was not read.
    """

    def __init__(self, value: Any, name: str) -> None:
        if not isinstance(value, dict):
            raise UsageError(f"{name}: must be a JSON object")
        self._fields: Mapping[str, Any] = value
        self._name = name
        self._read: set[str] = set()

    def __contains__(self, field: str) -> bool:
        """Whether it has the field, which may be null otherwise."""
        self._read.add(field)
        return self._fields.get(field) is not None

    def text(self, field: str, longest: int = LONGEST_NAME) -> str:
        """A text."""
        value = self._value(field)
        if not isinstance(value, str) or len(value) > longest:
            raise self._wrong(field, f"a text of at most {longest} characters")
        return value

    def one_of(self, field: str, choices: Collection[str]) -> str:
        """One of some texts."""
        value = self._value(field)
        if not isinstance(value, str) or value not in choices:
            raise self._wrong(field, f"one of {', '.join(choices)}")
        return value

    def flag(self, field: str) -> bool:
        """True or false."""
        value = self._value(field)
        if not isinstance(value, bool):
            raise self._wrong(field, "true or false")
        return value

    def whole(self, field: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number."""
        value = self._value(field, default)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(field, f"a whole number from {least} to {most}")
        return value

    def number(self, field: str, default: float) -> float:
        """A finite number."""
        value = self._value(field, default)
        if type(value) not in (int, float) or not abs(value) < _INFINITE:
            raise self._wrong(field, "a number")
        return float(value)

    def ids(self, field: str, end: int, most: int, default: list[int] | None = None) -> list[int]:
        """At most `most` whole numbers from 0 to below `end`."""
        value = self._value(field, default)
        if (
            not isinstance(value, list)
            or len(value) > most
            or not all(type(each) is int and 0 <= each < end for each in value)
        ):
            raise self._wrong(field, f"a list of at most {most} whole numbers from 0 to {end - 1}")
        return value

    def items(self, field: str) -> list[Any]:
        """A list."""
        value = self._value(field)
        if not isinstance(value, list):
            raise self._wrong(field, "a list")
        return value

    def table(self, field: str) -> Table:
        """An object in this one."""
        return Table(self._value(field), f"{self._name}.{field}")

    def tables(self, field: str, most: int) -> list[Table]:
        """At most `most` objects."""
        value = self._value(field)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(field, f"a list of at most {most} objects")
        return [Table(each, f"{self._name}.{field}[{i}]") for i, each in enumerate(value)]

    def object(self, field: str) -> dict[str, Any]:
        """An object in this one, as it is."""
        value = self._value(field)
        if not isinstance(value, dict):
            raise self._wrong(field, "a JSON object")
        return value

    def close(self) -> None:
        """Raise `UsageError` for fields that nobody has read."""
        if unknown := sorted(self._fields.keys() - self._read):
            names = ", ".join(each[:LONGEST_NAME] for each in unknown[:8])
            raise UsageError(f"{self._name}: has no field {names}")

    def _value(self, field: str, default: Any = None) -> Any:
        self._read.add(field)
        value = self._fields.get(field, default)
        if value is None and default is None:
            raise UsageError(f"{self._name}: needs {field}")
        return value

    def _wrong(self, field: str, what: str) -> UsageError:
        return UsageError(f"{self._name}.{field}: must be {what}")
