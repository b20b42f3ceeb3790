"""Who is told of the work that is done for a stream: of each call in a lane, and of what its
prompts cost.

The observer is a context variable: it belongs to the tasks of one turn, however many turns share
the engines.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from typing import Protocol


class Observer(Protocol):
    """Told of work as it ends, from any thread: both methods must be quick and must not raise."""

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        """A call ran in a lane from `begin_s` to `end_s`, in seconds of the lane's clock."""
        ...

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        """A prompt is in its slot: so many of its positions were computed, so many came from the
        prefix cache."""
        ...


OBSERVER: ContextVar[Observer | None] = ContextVar("voxturn_observer", default=None)
"""Told of the work that tasks of this context ask for."""


def observing(observer: Observer) -> Context:
    """The current context, with `observer` told of the work that tasks of the new one ask for."""
    context = copy_context()
    context.run(OBSERVER.set, observer)
    return context
