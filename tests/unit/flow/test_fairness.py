"""The order in which clients are served."""

from __future__ import annotations

from voxturn.runtime.flow.fairness import Rounds


def test_the_client_that_was_served_longest_ago_is_next() -> None:
    rounds, order = Rounds(), list[str]()
    for _ in range(6):
        chosen = min("abc", key=rounds.last)
        rounds.served(chosen)
        order.append(chosen)
    assert order == ["a", "b", "c", "a", "b", "c"]


def test_new_names_do_not_come_before_those_who_wait() -> None:
    rounds = Rounds()
    rounds.came("busy")
    rounds.served("busy")
    rounds.came("early")
    rounds.came("busy")
    rounds.served("early")
    rounds.came("late")
    assert sorted(("late", "early", "busy"), key=rounds.last) == ["busy", "late", "early"]


def test_however_many_names_there_are_few_are_remembered() -> None:
    rounds = Rounds()
    for number in range(5000):
        rounds.served(str(number))
    assert len(rounds._served) == 1024
    assert rounds.last("0") == 0 < rounds.last("4000") < rounds.last("4999")
