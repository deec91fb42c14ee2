"""The breaker of a credential: open after failures in a row, probed by one, open wide again."""

from __future__ import annotations

import random

from understudy.actors.gateway.breaker import Breaker
from understudy.actors.gateway.fairness import FairLine


def breaker() -> Breaker:
    rng = random.Random(0)  # noqa: S311 - no secret
    return Breaker(rng, threshold=3, min_s=1.0, max_s=8.0, jitter=0.0)


def fail(made: Breaker, *times: float) -> None:
    for now in times:
        made.failed(now, now, "overloaded")


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    made = breaker()
    fail(made, 0.0, 0.1)
    made.succeeded(0.2)
    fail(made, 0.3, 0.4)
    assert (made.state(0.5), made.room(0.5)) == ("closed", None)
    fail(made, 0.5)
    assert (made.state(0.6), made.room(0.6), made.why) == ("open", 0, "overloaded")


def test_one_probe_goes_when_the_wait_is_over_and_each_failure_doubles_the_next() -> None:
    made = breaker()
    fail(made, 0.0, 0.0, 0.0)
    waits: list[float] = []
    for _ in range(6):
        at = made.open_until
        assert (made.state(at), made.room(at)) == ("half_open", 1)
        made.failed(at, at, "overloaded")
        waits.append(made.open_until - at)
    assert waits == [2.0, 4.0, 8.0, 8.0, 8.0, 8.0]


def test_what_was_on_its_way_when_it_opened_tells_nothing_new() -> None:
    made = breaker()
    fail(made, 1.0, 1.0, 1.0)
    for _ in range(20):
        made.failed(1.5, 0.5, "overloaded")
    assert made.open_until == 2.0
    made.succeeded(0.5)
    assert made.state(1.5) == "open"


def test_each_success_doubles_the_room_until_nobody_counts_any_more() -> None:
    made = breaker()
    fail(made, 0.0, 0.0, 0.0)
    rooms: list[int | None] = []
    while made.state(2.0) != "closed":
        rooms.append(made.room(2.0))
        made.succeeded(2.0)
    assert rooms == [1, 2, 4, 8, 16, 32, 64]


def test_the_wait_is_moved_by_chance_and_never_shortened() -> None:
    ends: set[float] = set()
    for seed in range(20):
        rng = random.Random(seed)  # noqa: S311 - no secret
        made = Breaker(rng, threshold=1, min_s=1.0, jitter=0.2)
        made.failed(0.0, 0.0, "api_down")
        ends.add(made.open_until)
        assert 1.0 <= made.open_until <= 1.2
    assert len(ends) > 10


def test_a_rejected_key_breaks_it_until_there_is_another() -> None:
    made = breaker()
    made.break_("rejected", 2.0)
    made.succeeded(1.0)
    assert (made.state(61.0), made.refusal(61.0)) == ("broken", "rejected")
    made.mend()
    assert (made.state(0.0), made.refusal(0.0)) == ("closed", None)


def test_a_minute_after_a_key_was_rejected_one_request_tries_it_again() -> None:
    made = breaker()
    made.break_("rejected", 0.0)
    assert (made.state(60.0), made.refusal(60.0), made.room(60.0)) == ("half_open", None, 1)
    made.break_("rejected", 60.5)
    assert made.refusal(61.0) == "rejected"
    made.succeeded(121.0)
    assert (made.broken, made.refusal(121.0), made.room(121.0)) == (None, None, 2)


# -- who goes first ---------------------------------------------------------------------------


class Waiter:
    def __init__(self, agent_id: str, priority: int = 5, since: float = 0.0) -> None:
        self.agent_id = agent_id
        self.priority = priority
        self.since = since


def served(line: FairLine[Waiter], now: float) -> list[str]:
    order: list[str] = []
    while len(line):
        first = line.in_order(now)[0]
        line.go(first)
        order.append(first.agent_id)
    return order


def test_agents_of_the_same_priority_take_turns_however_many_requests_one_has() -> None:
    line: FairLine[Waiter] = FairLine()
    for agent_id in "aaabbc":
        line.add(Waiter(agent_id))
    assert served(line, 0.0) == ["a", "b", "c", "a", "b", "a"]


def test_the_more_urgent_goes_first() -> None:
    line: FairLine[Waiter] = FairLine()
    for agent_id, priority in (("low", 1), ("high", 9), ("mid", 5)):
        line.add(Waiter(agent_id, priority))
    assert served(line, 0.0) == ["high", "mid", "low"]


def test_the_least_urgent_has_its_turn_too() -> None:
    line: FairLine[Waiter] = FairLine(ageing_s=10.0)
    line.add(Waiter("low", 1, since=0.0))
    line.add(Waiter("high", 9, since=79.0))
    assert [w.agent_id for w in line.in_order(79.0)] == ["high", "low"]
    line.go(line.in_order(79.0)[0])
    line.add(Waiter("high", 9, since=90.0))
    assert line.in_order(90.0)[0].agent_id == "low"
