"""The strategies by their names, and when each has a reason to cut."""

from __future__ import annotations

import pytest
from voxturn.runtime.errors import InvalidProfile, UsageError
from voxturn.runtime.turn.interrupt.after_ms import AfterMs
from voxturn.runtime.turn.interrupt.base import Overheard, Strategy
from voxturn.runtime.turn.interrupt.choose import STRATEGIES, settings_of, strategy_of
from voxturn.runtime.turn.interrupt.never import Never
from voxturn.runtime.turn.interrupt.settings import InterruptSettings
from voxturn.runtime.turn.interrupt.speech import AtOnce
from voxturn.runtime.turn.interrupt.words import AfterWords

EXCUSED, UNKNOWN, TWO = (), None, ("wait", "please")


@pytest.mark.parametrize(
    ("settings", "ms", "words", "cuts"),
    [
        (InterruptSettings("speech"), 64, UNKNOWN, True),
        (InterruptSettings("never"), 9000, TWO, False),
        (InterruptSettings("after_ms", ms=500), 499, UNKNOWN, False),
        (InterruptSettings("after_ms", ms=500), 500, UNKNOWN, True),
        (InterruptSettings("after_ms", ms=500), 500, EXCUSED, False),
        (InterruptSettings("after_ms", ms=500), 500, TWO, True),
        (InterruptSettings("words", words=2), 9000, UNKNOWN, False),
        (InterruptSettings("words", words=2), 9000, EXCUSED, False),
        (InterruptSettings("words", words=2), 100, TWO, True),
        (InterruptSettings("words", words=3), 100, TWO, False),
    ],
)
def test_when_it_cuts(
    settings: InterruptSettings, ms: float, words: tuple[str, ...] | None, cuts: bool
) -> None:
    assert bool(strategy_of(settings).reason(Overheard(ms, words))) == cuts


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_has_its_own_values_where_none_are_given(name: str) -> None:
    strategy = strategy_of(InterruptSettings(name))
    assert strategy.too_little
    assert strategy.pause_ms >= 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (InterruptSettings("nods"), "interrupt.strategy: must be speech, after_ms, words, never"),
        (InterruptSettings("words", ms=3), "interrupt.ms: the strategy 'words' has no such key"),
        (InterruptSettings("never", pause_ms=3), "interrupt.pause_ms"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: InterruptSettings, message: str) -> None:
    with pytest.raises(InvalidProfile, match=message) as caught:
        strategy_of(settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "strategy", [AtOnce(), Never(), AfterMs(300, 0), AfterWords(3, 200), AfterWords()]
)
def test_a_strategy_can_be_set_elsewhere_as_it_is_here(strategy: Strategy) -> None:
    again = strategy_of(settings_of(strategy))
    assert type(again) is type(strategy)
    assert vars(again) == vars(strategy)


def test_a_strategy_of_somebody_s_own_cannot() -> None:
    class Own(AfterWords):
        """Cuts otherwise."""

    with pytest.raises(UsageError, match="not Own"):
        settings_of(Own())
