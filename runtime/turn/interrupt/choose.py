"""The strategies by their names in a profile."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from voxturn.runtime.errors import InvalidProfile, UsageError
from voxturn.runtime.turn.interrupt.after_ms import AfterMs
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.interrupt.never import Never
from voxturn.runtime.turn.interrupt.settings import InterruptSettings
from voxturn.runtime.turn.interrupt.speech import AtOnce
from voxturn.runtime.turn.interrupt.words import AfterWords

STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
    "speech": AtOnce,
    "after_ms": AfterMs,
    "words": AfterWords,
    "never": Never,
}


def strategy_of(settings: InterruptSettings) -> Strategy:
    """The strategy that is set.

    Raises `InvalidProfile` for an unknown name, and for a key that the strategy has not.
    """
    make = STRATEGIES.get(settings.strategy)
    if make is None:
        raise InvalidProfile(
            f"interrupt.strategy: must be {', '.join(STRATEGIES)}, not {settings.strategy!r}"
        )
    given: dict[str, Any] = settings.given()
    keys = inspect.signature(make).parameters
    if unknown := [key for key in given if key not in keys]:
        raise InvalidProfile(
            f"interrupt.{unknown[0]}: the strategy {settings.strategy!r} has no such key"
            + (f"; it has {', '.join(keys)}" if keys else "")
        )
    return make(**given)


def settings_of(strategy: Strategy) -> InterruptSettings:
    """What `strategy_of` was given. Raises `UsageError` for a strategy of somebody's own."""
    for name, kind in STRATEGIES.items():
        if type(strategy) is kind:
            keys = inspect.signature(kind).parameters
            return InterruptSettings(name, **{key: getattr(strategy, key) for key in keys})
    raise UsageError(
        f"interrupt: a server knows {', '.join(STRATEGIES)}, not {type(strategy).__name__}"
    )
