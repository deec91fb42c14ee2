from __future__ import annotations

import time

import pytest

from understudy.supervision.patience import Clocks, Patience

# Of a wait of 8 s that began at 100: the looks at it (monotonic seconds, seconds suspended since
# boot) and what each says.
TABLE: dict[str, list[tuple[float, float, str | None]]] = {
    "on time": [(102, 50, None), (104, 50, None), (106, 50, None), (108, 50, "over")],
    "too early": [(101.9, 50, None)],
    "a little late": [(103.9, 50, None), (107.8, 50, None), (108, 50, "over")],
    "stopped for ever and a day": [(9999, 50, "doubt")],
    "stopped in its midst, awake before its end": [(102, 50, None), (107, 50, "doubt")],
    "stopped at its end": [(102, 50, None), (104, 50, None), (106, 50, None), (111, 50, "doubt")],
    "suspended, with no monotonic time gone": [(102, 50, None), (104, 3650, "doubt")],
    "suspended for a moment": [(102, 50.5, None), (104, 50.5, None), (106, 50.5, None)],
}


@pytest.mark.parametrize("name", TABLE)
def test_a_wait_is_over_only_when_we_were_there_to_see_it(name: str) -> None:
    patience = Patience(8, Clocks(100, 50))
    for now, suspended_s, verdict in TABLE[name]:
        assert patience.look(Clocks(now, suspended_s)) == verdict


def test_after_a_doubt_the_whole_time_begins_anew() -> None:
    patience = Patience(8, Clocks(100))
    assert patience.look(Clocks(200)) == "doubt"
    assert [patience.look(Clocks(200 + n)) for n in (2, 4, 6, 8)] == [None, None, None, "over"]


def test_it_says_how_long_we_were_away() -> None:
    patience = Patience(8, Clocks(100, 50))
    patience.look(Clocks(105, 60))
    assert patience.away_s == 3 + 10


def test_the_real_clocks_tell_how_long_the_machine_was_suspended() -> None:
    before = time.monotonic()
    clocks = Clocks.read()
    assert before <= clocks.now <= time.monotonic()
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert clocks.suspended_s == pytest.approx(boot - time.monotonic(), abs=0.5)
