"""The gate that lets one engine compute at a time, the most urgent first; and the budgets of the
cores."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.scheduling import Cores, Gate, Pace


class Crowd:
    """Threads that want turns, and the order in which they had them."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.order = gate, list[str]()
        self._threads: list[threading.Thread] = []
        self._wanted = 0

    def join_in(self, name: str, urgency: int) -> None:
        """A thread that waits for its turn; returns once it waits."""

        def work() -> None:
            with self.gate.turn(urgency):
                self.order.append(name)

        self._threads.append(threading.Thread(target=work, name=f"voxturn-{name}"))
        self._threads[-1].start()
        self._wanted += 1
        until(lambda: self.gate.waiting == self._wanted or name in self.order)

    def end(self) -> list[str]:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        return self.order


def until(true: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(30_000):
        if true():
            return
        done.wait(0.001)
    raise AssertionError("never came true")


def test_the_most_urgent_goes_first_whoever_came_first() -> None:
    crowd = Crowd(Gate())
    with crowd.gate.turn(1):
        for name, urgency in (
            ("late", 2),
            ("speak", 1),
            ("vocode", 0),
            ("vocode", 0),
            ("speak", 1),
        ):
            crowd.join_in(name, urgency)
    assert crowd.end() == ["vocode", "vocode", "speak", "speak", "late"]


def test_what_waits_does_not_cut_into_a_loop_of_more_urgent_calls() -> None:
    clock = ManualClock()
    crowd = Crowd(Gate(clock))

    def reply() -> None:
        with crowd.gate.turn(3, grace_s=0.5):
            crowd.order.append("reply")

    with crowd.gate.turn(1):
        thread = threading.Thread(target=reply)
        thread.start()
        until(lambda: crowd.gate.waiting == 1)
    for _ in range(3):
        until(lambda: clock.waiting == 1)
        clock.advance(0.4)  # the reply waits, and nobody holds the gate
        with crowd.gate.turn(2):
            crowd.order.append("speak")
    until(lambda: clock.waiting == 1)
    clock.advance(0.5)
    thread.join(10)
    assert not thread.is_alive()
    assert crowd.order == ["speak", "speak", "speak", "reply"]


def test_what_has_waited_too_long_goes_first_but_for_the_most_urgent() -> None:
    crowd = Crowd(Gate())

    def reply() -> None:
        with crowd.gate.turn(3, patience_s=lambda: 0.0):
            crowd.order.append("reply")

    with crowd.gate.turn(1):
        thread = threading.Thread(target=reply)
        thread.start()
        until(lambda: crowd.gate.waiting == 1)
        crowd._wanted += 1
        for name, urgency in (("speak", 2), ("first", 0)):
            crowd.join_in(name, urgency)
    crowd.end()
    thread.join(10)
    assert crowd.order == ["first", "reply", "speak"]


def test_whose_patience_ends_while_it_sleeps_goes_first_and_holds_nobody_up() -> None:
    clock = ManualClock()
    crowd, patience = Crowd(Gate(clock)), [60.0]

    def reply() -> None:
        with crowd.gate.turn(3, grace_s=60.0, patience_s=lambda: patience[0]):
            crowd.order.append("reply")

    with crowd.gate.turn(1):
        thread = threading.Thread(target=reply)
        thread.start()
        until(lambda: crowd.gate.waiting == 1)
    until(lambda: clock.waiting == 1)  # the reply sleeps out its grace
    patience[0] = 0.0
    speak = threading.Thread(target=crowd.join_in, args=("speak", 2))
    speak.start()
    thread.join(10)
    assert not thread.is_alive()
    speak.join()
    assert crowd.end() == ["reply", "speak"]


def test_two_that_wait_behind_one_that_sleeps_do_not_wake_each_other() -> None:
    clock = ManualClock()
    crowd, looks = Crowd(Gate(clock)), [0]

    def patience() -> float:
        looks[0] += 1
        return float("inf")

    def turn(urgency: int, grace_s: float) -> None:
        with crowd.gate.turn(urgency, grace_s, patience):
            crowd.order.append(str(urgency))

    threads = [threading.Thread(target=turn, args=(urgency, 60.0)) for urgency in (1, 2, 3)]
    with crowd.gate.turn(0):
        for thread in threads:
            thread.start()
        until(lambda: crowd.gate.waiting == 3)
    until(lambda: clock.waiting == 3)
    threading.Event().wait(0.05)  # long enough for thousands
    assert looks[0] < 200
    for count in (1, 2, 3):
        clock.advance(60.0)
        until(lambda count=count: len(crowd.order) >= count)  # type: ignore[misc]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert crowd.order == ["1", "2", "3"]


def test_a_turn_in_progress_is_not_interrupted_by_a_more_urgent_one() -> None:
    crowd = Crowd(Gate())
    with crowd.gate.turn(9):
        crowd.join_in("urgent", 0)
        crowd.order.append("holder ends")
    assert crowd.end() == ["holder ends", "urgent"]


def test_nobody_ever_computes_beside_another() -> None:
    """Everybody stays inside until all others that could get in have had their chance to."""
    gate, inside, most = Gate(), set[int](), [0]
    count, turns = 6, 20
    left = [turns] * count

    def others_wait(me: int) -> bool:
        return gate.waiting + len(inside - {me}) >= sum(n > 0 for n in left) - 1

    def work(me: int) -> None:
        while left[me]:
            with gate.turn(me % 3):
                inside.add(me)
                until(lambda: others_wait(me))  # they are at the gate, or came in beside this one
                most[0] = max(most[0], len(inside))
                left[me] -= 1
                inside.discard(me)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert left == [0] * count
    assert most == [1]


def test_a_failure_gives_the_turn_back() -> None:
    gate = Gate()
    for _ in range(2):
        with pytest.raises(LookupError), gate.turn(0):
            raise LookupError
    crowd = Crowd(gate)
    with gate.turn(0):
        crowd.join_in("next", 1)
    assert crowd.end() == ["next"]


def test_free_cores_are_taken_at_once() -> None:
    """The clock stands still: who waited out a grace that is for the more urgent alone would wait
    for ever."""
    clock = ManualClock()
    gate, order = Gate(clock), list[int]()

    def work() -> None:
        for urgency, grace_s in ((3, 60.0), (1, 60.0), (1, 60.0), (0, 60.0), (2, 0.0)):
            with gate.turn(urgency, grace_s):
                order.append(urgency)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert order == [3, 1, 1, 0, 2]
    assert clock.waiting == 0


def test_budgets_of_the_cores() -> None:
    cores = Cores(4)
    budget = cores.budget("speak", 0, spin=True)
    assert (budget.threads, budget.spin, budget.nice) == (4, True, 0)
    assert cores.budget("reply", 2).nice > cores.budget("vocode", 2).nice == 0
    with pytest.raises(
        UsageError, match="stage 'vocode': 5 threads asked for, but this process has 4 cores"
    ):
        cores.budget("vocode", 5)


def test_the_voice_is_as_far_ahead_as_the_answer_that_will_soonest_run_dry() -> None:
    clock = ManualClock()
    pace, one, other = Pace(clock), object(), object()
    assert pace.lead_s == float("inf")
    pace.made(one, 0.0)
    assert pace.lead_s == 0.0
    pace.made(one, 50.0)
    pace.made(other, 20.0)
    pace.made(other, 20.0)
    assert pace.lead_s == 40.0
    clock.advance(5.0)
    assert pace.lead_s == 35.0
    pace.ended(other)
    assert pace.lead_s == 45.0
    pace.ended(one)
    pace.ended(one)
    assert pace.lead_s == float("inf")


def test_an_answer_that_ran_dry_goes_on_from_now() -> None:
    clock = ManualClock()
    pace, answer = Pace(clock), object()
    pace.made(answer, 0.0)
    clock.advance(7.0)
    assert pace.lead_s == -7.0
    pace.made(answer, 20.0)
    assert pace.lead_s == 20.0


def test_processes_that_share_the_cores_are_given_as_many_threads_as_they_have() -> None:
    share = Cores(5).share(2)
    assert [share.budget("speak", threads).threads for threads in (0, 1, 2, 3)] == [2, 1, 2, 2]
    assert Cores(2).share(4).budget("speak", 2).threads == 1
