from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from understudy.supervision import EXIT_PERMANENT, ExitReason
from understudy.supervision import ladder as ladder_module
from understudy.supervision import process as process_module
from understudy.supervision.control import EXIT_ORPHANED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from understudy.supervision import ForkServer

LIMIT_S = 20.0


def test_a_child_gets_its_arguments_and_is_ready(run: Callable[..., Any]) -> None:
    args = {"text": "é", "number": 3, "list": [1, None, {"x": b"bytes"}]}
    child = run("serve", args=args)
    info = child.ready()
    assert info == {"pid": child.pid, "args": args, "incarnation": 1}


def test_arguments_larger_than_any_socket_buffer_arrive(run: Callable[..., Any]) -> None:
    args = {"big": "x" * 5_000_000}
    assert run("serve", args=args).ready()["args"] == args


def test_a_child_that_is_asked_ends_by_itself(run: Callable[..., Any]) -> None:
    child = run("serve")
    child.ready()
    child.stop(10)
    assert child.end() == ExitReason("shutdown", exit_code=0)


def test_what_waits_for_a_stop_is_called_although_another_callback_failed(
    run: Callable[..., Any],
) -> None:
    child = run("stop_by_callback")
    child.ready()
    child.stop(10)
    assert child.end().kind == "shutdown"


def test_a_stop_that_came_before_anybody_waited_for_it_is_not_lost(
    run: Callable[..., Any],
) -> None:
    child = run("late_for_the_stop")
    child.stop(10)
    assert child.end() == ExitReason("shutdown", exit_code=0)


def test_a_child_that_returns_ended_normally(run: Callable[..., Any]) -> None:
    assert run("return_at_once").end() == ExitReason("normal", exit_code=0)


def test_readiness_counts_once(run: Callable[..., Any]) -> None:
    child = run("ready_twice")
    assert child.ready()["said"] == 1
    child.stop(10)
    child.end()
    assert child.readiness.empty()


def test_a_crash_tells_the_last_line_of_its_traceback(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    reason = run("raise_at_once", log_path=str(log)).end()
    assert reason == ExitReason("crash", exit_code=1, detail="ValueError: no luck for kid")
    assert "in raise_at_once" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, ExitReason("normal", 0)),
        (0, ExitReason("normal", 0)),
        (3, ExitReason("crash", 3, detail="exit code 3")),
        ("out of luck", ExitReason("crash", 1, detail="out of luck")),
        (EXIT_PERMANENT, ExitReason("permanent", 70, detail="exit code 70")),
    ],
)
def test_an_exit_code_is_understood(
    run: Callable[..., Any], code: object, reason: ExitReason
) -> None:
    assert run("exit_with", args={"code": code}).end() == reason


def test_a_permanent_failure_says_what_failed_and_tidies_up_on_the_way(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    tidied = tmp_path / "tidied"
    reason = run("fail_for_good", args={"tidied": str(tidied)}).end()
    assert reason == ExitReason("permanent", 70, detail="the key is refused", failure_kind="auth")
    assert tidied.exists()


def _wait(event: threading.Event) -> None:
    event.wait(LIMIT_S)


def test_last_words_arrive_whole_although_the_end_is_seen_first(
    run: Callable[..., Any], forks: ForkServer
) -> None:
    message = "x" * 150_000
    child = run("fail_with", args={"message": message})
    is_over = threading.Event()
    forks.reactor.call_soon(partial(_wait, is_over))
    # One that is reaped already has no pidfd any more: its end was early.
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(child.pid)
        select.select([pidfd], [], [], LIMIT_S)
        os.close(pidfd)
    is_over.set()
    assert child.end().detail == message


def test_a_permanent_failure_can_be_told_from_any_thread(run: Callable[..., Any]) -> None:
    reason = run("fail_for_good_in_a_thread").end()
    assert (reason.kind, reason.failure_kind) == ("permanent", "image")


@pytest.mark.parametrize("target", ["there_is_no_such_function"])
def test_a_target_that_is_not_there_is_a_permanent_failure(
    run: Callable[..., Any], target: str
) -> None:
    reason = run(target).end()
    assert (reason.kind, reason.failure_kind) == ("permanent", "config")
    assert f"supervised_targets:{target} cannot be found" in reason.detail


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_is_told(run: Callable[..., Any], number: signal.Signals) -> None:
    child = run("serve")
    child.ready()
    os.kill(child.pid, number)
    reason = child.end()
    assert reason.kind == ("crash" if number == signal.SIGSEGV else "killed")
    assert (reason.exit_code, reason.signal) == (None, number)
    assert reason.detail == f"ended by signal {number.name}"


def test_a_child_takes_no_notice_of_the_terminals_interrupt(run: Callable[..., Any]) -> None:
    child = run("serve")
    child.ready()
    os.kill(child.pid, signal.SIGINT)
    assert child.join(0.2) is None
    child.stop(10)
    assert child.end().kind == "shutdown"


@pytest.fixture
def time_to_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is to write its stacks has time for it on a busy machine, too."""
    monkeypatch.setattr(process_module, "_DUMP_S", 10.0)


@pytest.mark.usefixtures("time_to_dump")
def test_a_child_that_is_not_ready_in_time_is_dumped_and_killed(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = run("never_ready", start_timeout_s=2.0, log_path=str(log))
    reason = child.end()
    assert reason.kind == "start_timeout"
    assert "start_timeout_s (2 s)" in reason.detail
    assert "in never_ready" in log.read_text(encoding="utf-8")


# -- liveness -------------------------------------------------------------------------------------


def test_a_loop_that_answers_lives(run: Callable[..., Any], tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    child = run("loop_that_answers", liveness_interval_s=1.0, args={"answers": str(answers)})
    child.ready()
    ends = time.monotonic() + LIMIT_S
    while child._liveness.number < 5:  # the fifth ping: the ones before it were answered
        assert child.join(0.05) is None
        assert time.monotonic() < ends
    child.stop(10)
    assert child.end().kind == "shutdown"
    assert int(answers.read_text(encoding="utf-8")) >= 4


@pytest.mark.usefixtures("time_to_dump")
def test_a_child_whose_loop_is_stuck_is_dumped_and_killed(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = run("loop_that_is_stuck", liveness_interval_s=0.2, log_path=str(log))
    reason = child.end()
    assert reason.kind == "hung"
    assert reason.signal == signal.SIGABRT
    assert f"its stack is in {log}" in reason.detail
    assert "in _stuck_here" in log.read_text(encoding="utf-8")


@pytest.mark.usefixtures("time_to_dump")
def test_a_child_that_was_frozen_is_found_hung_and_writes_its_stacks(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "kid.log"
    child = run("serve", liveness_interval_s=0.2, log_path=str(log))
    child.ready()
    os.kill(child.pid, signal.SIGSTOP)
    reason = child.end()
    assert (reason.kind, reason.signal) == ("hung", signal.SIGABRT)
    assert "in serve" in log.read_text(encoding="utf-8")


def test_a_child_that_lets_no_thread_run_is_found_hung(run: Callable[..., Any]) -> None:
    child = run("hold_the_interpreter", liveness_interval_s=0.3)
    child.ready()
    assert child.end().kind == "hung"


def test_a_child_without_a_loop_of_its_own_is_only_asked_to_be_alive(
    run: Callable[..., Any],
) -> None:
    child = run("serve", liveness_interval_s=1.0)
    child.ready()
    assert child.join(2.0) is None


def test_a_child_can_be_killed_for_a_reason_of_its_owners(run: Callable[..., Any]) -> None:
    child = run("deaf")
    child.ready()
    child.kill("hung", "no answer to its task")
    reason = child.end()
    assert (reason.kind, reason.detail) == ("hung", "no answer to its task")


# -- the stop ladder ------------------------------------------------------------------------------


def test_a_child_that_does_not_stop_loses_its_lifeline_and_tidies_up(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    tidied = tmp_path / "tidied"
    child = run("deaf", args={"tidied": str(tidied)})
    child.ready()
    child.stop(0.1)
    reason = child.end()
    assert (reason.kind, reason.detail) == ("killed", "it was ended by end of file")
    assert tidied.exists()


def test_an_orphan_that_tidies_up_for_ever_is_ended(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It ends by itself after its grace: the next rung must not come first.
    monkeypatch.setattr(ladder_module, "_CLOSE_MARGIN_S", 10.0)
    child = run("slow_orphan")
    child.ready()
    child.stop(0.1)
    reason = child.end()
    assert (reason.kind, reason.exit_code, reason.signal) == ("killed", EXIT_ORPHANED, None)


@pytest.mark.parametrize("ignore_term", [False, True])
def test_a_child_that_hears_nothing_is_terminated_and_then_killed(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *, ignore_term: bool
) -> None:
    monkeypatch.setattr(ladder_module, "ORPHAN_GRACE_S", 0.2)
    # One that ends by SIGTERM has time for it on a busy machine, too.
    monkeypatch.setattr(ladder_module, "_TERM_PATIENCE_S", 0.2 if ignore_term else 10.0)
    child = run("hold_the_interpreter", args={"ignore_term": ignore_term})
    child.ready()
    child.stop(1.0)  # it is ready a moment before it holds the interpreter
    reason = child.end()
    number = signal.SIGKILL if ignore_term else signal.SIGTERM
    assert (reason.kind, reason.signal) == ("killed", number)
    assert reason.detail == f"it was ended by {number.name}"


def test_with_no_time_to_stop_a_child_is_killed_without_being_asked(
    run: Callable[..., Any],
) -> None:
    child = run("serve")
    child.ready()
    child.stop(0)
    reason = child.end()
    assert (reason.kind, reason.signal) == ("killed", signal.SIGKILL)


def test_with_no_limit_a_child_is_only_asked(run: Callable[..., Any]) -> None:
    child = run("deaf")
    child.ready()
    child.stop(None)
    assert child.join(0.3) is None


def test_the_end_of_a_child_is_told_once_however_often_it_is_asked_for(
    run: Callable[..., Any],
) -> None:
    child = run("serve")
    child.ready()
    threads = [threading.Thread(target=child.stop, args=(t,)) for t in (10, 10, 0, 5)]
    for thread in threads:
        thread.start()
        thread.join()
    child.end()
    child.stop(1)
    child.kill("hung", "too late")
    assert child.end().kind in ("shutdown", "killed")
