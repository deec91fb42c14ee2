from __future__ import annotations

import pickle

from understudy.supervision.intensity import RestartWindow


def test_as_many_restarts_as_the_intensity_are_borne_and_one_more_is_not() -> None:
    window = RestartWindow(3, 5)
    assert [window.add(t) for t in (0, 1, 2, 3)] == [True, True, True, False]


def test_restarts_older_than_the_period_are_forgotten() -> None:
    window = RestartWindow(1, 5)
    assert window.add(0)
    assert window.add(5.001)
    assert window.add(10.1)


def test_a_restart_exactly_as_old_as_the_period_still_counts() -> None:
    window = RestartWindow(1, 5)
    assert window.add(10)
    assert not window.add(15)


def test_in_whole_seconds_a_restart_counts_until_the_second_is_over_that_is_too_late() -> None:
    window = RestartWindow(1, 5, whole_seconds=True)
    assert window.add(10.2)
    assert window.count(15.9) == 1
    assert not window.add(15.9)
    window = RestartWindow(1, 5, whole_seconds=True)
    assert window.add(10.9)
    assert window.count(16.0) == 0
    assert window.add(16.0)


def test_an_intensity_of_zero_bears_none() -> None:
    assert not RestartWindow(0, 5).add(0)


def test_it_keeps_no_more_than_its_window() -> None:
    window = RestartWindow(1, 1)
    assert all(window.add(2.0 * number) for number in range(10_000))
    assert len(pickle.dumps(window)) < 1000
