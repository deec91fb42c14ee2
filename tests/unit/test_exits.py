from __future__ import annotations

import signal

import pytest

from understudy.supervision.events import ExitReason
from understudy.supervision.exits import Ending, explain_exit
from understudy.supervision.ladder import Rung, Step, stop_ladder


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (Ending(code=0), ExitReason("normal", 0)),
        (Ending(code=0, asked=True, rung=Rung.ASK), ExitReason("shutdown", 0)),
        (Ending(code=0, asked=True, rung=Rung.CLOSE), ExitReason("shutdown", 0)),
        (
            Ending(code=71, asked=True, rung=Rung.CLOSE),
            ExitReason("killed", 71, detail="it was ended by end of file"),
        ),
        (Ending(code=2), ExitReason("crash", 2, detail="exit code 2")),
        (Ending(code=1, said="KeyError: 1"), ExitReason("crash", 1, detail="KeyError: 1")),
        (
            Ending(code=1, asked=True, rung=Rung.ASK, said="OSError"),
            ExitReason("crash", 1, detail="OSError"),
        ),
        (Ending(code=-9), ExitReason("killed", None, 9, "ended by signal SIGKILL")),
        (Ending(code=-15), ExitReason("killed", None, 15, "ended by signal SIGTERM")),
        (Ending(code=-11), ExitReason("crash", None, 11, "ended by signal SIGSEGV")),
        (Ending(code=-6), ExitReason("crash", None, 6, "ended by signal SIGABRT")),
        (Ending(code=-63), ExitReason("killed", None, 63, "ended by signal 63")),
        (
            Ending(code=-9, asked=True, rung=Rung.KILL),
            ExitReason("killed", None, 9, "it was ended by SIGKILL"),
        ),
        (
            Ending(code=-6, verdict="hung", said="no answer"),
            ExitReason("hung", None, 6, "no answer"),
        ),
        (
            Ending(code=-9, verdict="start_timeout", said="late"),
            ExitReason("start_timeout", None, 9, "late"),
        ),
        (Ending(code=70), ExitReason("permanent", 70, detail="exit code 70")),
        (
            Ending(code=70, said="no key", failure_kind="auth"),
            ExitReason("permanent", 70, detail="no key", failure_kind="auth"),
        ),
        (
            Ending(code=None, said="no key", failure_kind="auth", for_good=True),
            ExitReason("permanent", detail="no key", failure_kind="auth"),
        ),
        (
            Ending(code=1, said="busy", failure_kind="rate_limited"),
            ExitReason("crash", 1, detail="busy", failure_kind="rate_limited"),
        ),
        (Ending(), ExitReason("unknown", detail="nobody was left to see how it ended")),
        (Ending(said="ValueError"), ExitReason("crash", detail="ValueError")),
    ],
)
def test_what_is_known_of_an_end_becomes_a_reason(ending: Ending, reason: ExitReason) -> None:
    assert explain_exit(ending) == reason


def test_the_ladder_is_gentle_first_and_the_hard_rungs_are_quick() -> None:
    steps = stop_ladder(10)
    assert [step.rung for step in steps] == [Rung.ASK, Rung.CLOSE, Rung.TERM, Rung.KILL]
    assert [step.patience_s for step in steps] == [10, 2.5, 1, 5]


def test_no_time_means_to_be_killed_and_no_limit_means_to_be_asked() -> None:
    assert stop_ladder(0) == (Step(Rung.KILL, 5),)
    assert stop_ladder(None) == (Step(Rung.ASK, None),)


def test_faults_are_told_from_signals_of_others() -> None:
    kinds = {number: explain_exit(Ending(code=-number)).kind for number in signal.valid_signals()}
    crashes = {number for number, kind in kinds.items() if kind == "crash"}
    assert crashes == {
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
