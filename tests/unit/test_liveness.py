from __future__ import annotations

from understudy.supervision.liveness import Liveness


def test_the_first_ping_goes_out_after_half_an_interval() -> None:
    liveness = Liveness(10, 100)
    assert liveness.wakes_at == 105
    assert liveness.due(104.9) is None
    assert liveness.due(105) == "ping"
    assert liveness.number == 1


def test_a_ping_that_is_not_answered_within_an_interval_means_hung() -> None:
    liveness = Liveness(10, 100)
    liveness.due(105)
    assert liveness.due(114.9) is None
    assert liveness.due(115) == "hung"


def test_a_loop_that_gets_stuck_is_found_within_one_and_a_half_intervals() -> None:
    liveness = Liveness(10, 0)
    liveness.due(5)
    liveness.answered(1, 6)
    stuck_at = 6
    assert liveness.due(liveness.wakes_at) == "ping"
    assert liveness.wakes_at - stuck_at <= 15
    assert liveness.due(liveness.wakes_at) == "hung"


def test_after_an_answer_the_next_ping_waits_half_an_interval() -> None:
    liveness = Liveness(10, 100)
    liveness.due(105)
    liveness.answered(1, 107)
    assert liveness.wakes_at == 112
    assert liveness.due(112) == "ping"
    assert liveness.number == 2


def test_an_answer_to_an_older_ping_does_not_count() -> None:
    liveness = Liveness(10, 100)
    liveness.due(105)
    liveness.answered(1, 106)
    liveness.due(111)
    liveness.answered(1, 112)
    assert liveness.due(121) == "hung"


def test_when_we_were_away_ourselves_the_child_gets_another_chance() -> None:
    liveness = Liveness(10, 100)
    liveness.due(105)
    assert liveness.due(115 + 3600) == "ping"
    assert liveness.due(3725) == "hung"
