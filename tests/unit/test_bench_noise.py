"""Whose CPU time it was."""

from __future__ import annotations

import time

import pytest
from bench.noise import Snapshot, parse_stat, share, snapshot, ticks_below


def test_a_name_with_spaces_and_brackets_does_not_shift_the_fields() -> None:
    fields = " ".join(["S", "7", *["0"] * 9, "10", "20", "3", "4", "0", "0"])
    assert parse_stat(f"12 (a) b (c) {fields}") == (7, 37)


def test_time_of_grandchildren_is_ours_and_that_of_strangers_is_not() -> None:
    processes = {1: (0, 100), 5: (1, 10), 6: (5, 20), 7: (6, 40), 8: (1, 80)}
    assert ticks_below(processes, 5) == 70


def test_a_process_whose_parent_is_gone_from_the_list_is_not_ours() -> None:
    assert ticks_below({5: (1, 1), 9: (8, 50)}, 5) == 1


@pytest.mark.parametrize(
    ("busy_s", "ours_s", "expected"),
    [(2.0, 2.0, 0.0), (2.0, 1.0, 0.5), (2.0, 2.1, 0.0), (9.0, 0.0, 1.0)],
)
def test_others_have_what_was_busy_and_not_ours(
    busy_s: float, ours_s: float, expected: float
) -> None:
    assert share(Snapshot(0, 0, 0), Snapshot(1, busy_s, ours_s), 2) == expected


def test_what_this_process_does_counts_as_ours() -> None:
    before = snapshot()
    ends = time.process_time() + 0.1
    while time.process_time() < ends:
        pass
    assert 0.05 < snapshot().ours_s - before.ours_s < 5
