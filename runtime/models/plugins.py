"""What other packages bring: their entry points, and whether a module is here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import Any, TypeVar

from voxturn.runtime.errors import InvalidProfile

RowT = TypeVar("RowT")
_LOG = logging.getLogger(__name__)


def entry_points(group: str) -> Iterator[tuple[metadata.EntryPoint, Any]]:
    """The entry points of a group and what they name.

    One that cannot be imported is passed over, with a warning.
    """
    for point in metadata.entry_points(group=group):
        try:
            row = point.load()
        except Exception as exc:  # noqa: BLE001  another package's: everything else runs without it
            package = point.dist.name if point.dist is not None else "an unknown package"
            reason = " ".join(f"{type(exc).__name__}: {exc}".split())
            _LOG.warning("%s: %s is passed over (%s)", package, point.value, reason)
            continue
        yield point, row


def rows(
    group: str, kind: type[RowT], name: Callable[[RowT], str], ours: Iterable[RowT] = ()
) -> dict[str, RowT]:
    """Rows by their names: `ours`, then those of a group. Raises `InvalidProfile` for another kind
    of object, or a name twice."""
    known = {name(row): row for row in ours}
    for point, row in entry_points(group):
        if not isinstance(row, kind) or name(row) in known:
            raise InvalidProfile(
                f"entry point {point.value!r} of {group} names no {kind.__name__.lower()} of its own"
            )
        known[name(row)] = row
    return known


def importable(module: str) -> bool:
    """Whether a module is here. It is not imported, but the packages are in which it lies."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package in which it lies is not here
        return False
