"""What other packages bring: their entry points, and whether a module is here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import Any

_LOG = logging.getLogger(__name__)


def entry_points(group: str) -> Iterator[tuple[metadata.EntryPoint, Any]]:
    """The entry points of a group and what they name. One that cannot be imported is passed over, with a warning."""
    for point in metadata.entry_points(group=group):
        try:
            row = point.load()
        except Exception as exc:  # noqa: BLE001  another package's: everything else runs without it
            package = point.dist.name if point.dist is not None else "an unknown package"
            reason = " ".join(f"{type(exc).__name__}: {exc}".split())
            _LOG.warning("%s: %s is passed over (%s)", package, point.value, reason)
            continue
        yield point, row


def importable(module: str) -> bool:
    """Whether a module is here. It is not imported, but the packages are in which it lies."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package in which it lies is not here
        return False
