"""Who is told of the work that is done for a stream: of engines' calls and of prompts."""

from __future__ import annotations

from contextvars import Context
from typing import Protocol

from voxturn.runtime.flow.handoff import recording


class Observer(Protocol):
    """Told of what is done for one stream; from any thread."""

    def call(self, lane: str, begin_s: float, end_s: float) -> None: ...

    def prompt(self, lane: str, computed: int, reused: int) -> None: ...


def observing(observer: Observer) -> Context:
    """The current context, in which `observer` is told of what tasks of this context have done."""
    return recording(observer.call)
