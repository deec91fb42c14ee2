from __future__ import annotations

from understudy.supervision.liveness import Liveness
from understudy.supervision.patience import Clocks


def at(now: float, suspended_s: float = 0.0) -> Clocks:
    return Clocks(now, suspended_s)


def verdicts(liveness: Liveness, until: float, suspended_s: float = 0.0) -> list[str]:
    """What it says when it is asked at each of its times, up to that one."""
    said: list[str] = []
    while liveness.wakes_at <= until:
        verdict = liveness.due(at(liveness.wakes_at, suspended_s))
        if verdict is not None:
            said.append(f"{verdict} {liveness.wakes_at:g}")
        if verdict == "hung":
            break
    return said


def test_the_first_ping_goes_out_after_half_an_interval() -> None:
    liveness = Liveness(10, at(100))
    assert liveness.wakes_at == 105
    assert liveness.due(at(104.9)) is None
    assert liveness.due(at(105)) == "ping"
    assert liveness.number == 1


def test_a_ping_that_is_not_answered_within_an_interval_means_hung() -> None:
    liveness = Liveness(10, at(100))
    assert verdicts(liveness, 200) == ["ping 107.5", "hung 115"]


def test_a_loop_that_gets_stuck_is_found_within_one_and_a_half_intervals() -> None:
    liveness = Liveness(10, at(0))
    liveness.due(at(5))
    liveness.answered(1, 6)
    assert verdicts(liveness, 100) == ["ping 13.5", "hung 21"]


def test_after_an_answer_the_next_ping_waits_half_an_interval() -> None:
    liveness = Liveness(10, at(100))
    liveness.due(at(105))
    liveness.answered(1, 107)
    assert liveness.wakes_at == 112
    assert liveness.due(at(112)) == "ping"
    assert liveness.number == 2


def test_an_answer_to_an_older_ping_does_not_count() -> None:
    liveness = Liveness(10, at(100))
    liveness.due(at(105))
    liveness.answered(1, 106)
    liveness.due(at(111))
    liveness.answered(1, 112)
    assert verdicts(liveness, 200) == ["hung 121"]


def test_when_we_were_away_ourselves_the_child_gets_a_new_ping_and_a_fresh_interval() -> None:
    liveness = Liveness(10, at(100))
    liveness.due(at(105))
    assert liveness.due(at(3715)) == "doubt"
    assert (liveness.number, liveness.away_s) == (2, 3607.5)
    assert verdicts(liveness, 9999) == ["hung 3725"]


def test_an_answer_from_before_we_were_away_is_no_answer_to_the_new_ping() -> None:
    liveness = Liveness(10, at(100))
    liveness.due(at(105))
    liveness.due(at(3715))
    liveness.answered(1, 3716)
    assert verdicts(liveness, 9999) == ["hung 3725"]
