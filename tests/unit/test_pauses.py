"""Time that does not count, and a turn whose limits are in the time that does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from understudy.actors.claude.errors import TurnStalled, TurnTimeout
from understudy.actors.claude.turn import Turn
from understudy.actors.pauses import Pauses


def test_pauses_that_overlap_count_once() -> None:
    pauses = Pauses()
    pauses.begin("gateway", 10.0, at_most_s=100.0)
    pauses.begin("permission", 12.0, at_most_s=100.0)
    pauses.end("gateway", 15.0)
    assert pauses.total_s(16.0) == 6.0
    pauses.end("permission", 20.0)
    assert (pauses.total_s(50.0), pauses.rest_s(50.0)) == (10.0, 0.0)


def test_a_pause_that_nobody_ends_ends_by_itself() -> None:
    pauses = Pauses()
    pauses.begin("gateway", 10.0, at_most_s=5.0)
    assert pauses.rest_s(11.0) == 4.0
    assert pauses.total_s(100.0) == 5.0
    pauses.end("gateway", 101.0)
    assert pauses.total_s(102.0) == 5.0


def test_a_wait_that_is_told_late_counts_from_its_beginning_and_never_twice() -> None:
    pauses = Pauses()
    pauses.begin("gateway", 10.0, at_most_s=100.0, waited_s=0.5)
    pauses.end("gateway", 11.0)
    assert pauses.total_s(11.0) == 1.5
    pauses.begin("gateway", 11.2, at_most_s=100.0, waited_s=0.5)
    # Only since the one before ended.
    assert round(pauses.total_s(11.2), 9) == 1.7


def test_a_turns_limits_are_in_the_time_that_counts() -> None:
    turn = Turn(0.0, timeout_s=10.0, stall_s=3.0)
    turn.sign(1.0)
    turn.pauses.begin("gateway", 2.0, at_most_s=600.0)
    assert turn.over_limit(500.0) is None
    turn.pauses.end("gateway", 500.0)
    assert turn.over_limit(501.9) is None
    assert turn.patience_s(501.0) == 1.0
    assert turn.over_limit(502.0) is TurnStalled
    turn.sign(502.0)
    turn.sign(505.0)
    turn.sign(507.9)
    assert turn.over_limit(508.0) is TurnTimeout


moves = st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 10), st.floats(0.1, 30))


@given(st.lists(moves, max_size=30))
def test_no_more_is_paused_than_has_gone_by_and_it_never_goes_back(
    steps: list[tuple[str, bool, float, float]],
) -> None:
    pauses, now, before = Pauses(), 0.0, 0.0
    for by, begins, later_s, at_most_s in steps:
        now += later_s
        if begins:
            pauses.begin(by, now, at_most_s=at_most_s)
        else:
            pauses.end(by, now)
        total = pauses.total_s(now)
        assert before - 1e-9 <= total <= now + 1e-9
        before = total
    assert pauses.total_s(now + 1000.0) == pauses.total_s(now + 2000.0)
