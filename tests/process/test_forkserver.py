# ruff: noqa: ANN401 - a child's fields are passed on as they are

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from understudy.supervision import (
    ChildSpec,
    ExitReason,
    ForkServer,
    ForkServerBroken,
    ForkServerClosed,
    Process,
    SpawnFailed,
)
from understudy.supervision import forkserver as forkserver_module

if TYPE_CHECKING:
    from collections.abc import Callable


LIMIT_S = 20.0


def process(forks: ForkServer, target: str, **fields: Any) -> Process:
    spec = ChildSpec("kid", f"supervised_targets:{target}", **fields)
    return Process(spec, 1, forks, on_ready=lambda _: None, on_exit=lambda _: None)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_has_nothing_but_what_it_needs(run: Callable[..., Any]) -> None:
    sibling = run("serve")
    sibling.ready()
    child = run("describe_self", env={"EXTRA": "yes"}, id="a-child-with-a-long-name")
    about = child.ready()
    sockets = [path for path in about["descriptors"] if path.startswith("socket:")]
    assert len(sockets) == 1, "its control socket"
    assert not any("pidfd" in path for path in about["descriptors"])
    assert about["environment"]["EXTRA"] == "yes"
    assert about["session"] == child.pid
    assert about["core_bytes"] == 0
    assert about["threads"] == ["MainThread", "understudy-lifeline"]
    assert about["name"] == "a-child-with-a-"


def test_a_child_finds_its_modules_in_memory_but_not_the_parents_main(
    run: Callable[..., Any],
) -> None:
    about = run("describe_self").ready()
    assert about["main"] is None
    assert "supervised_targets" in about["modules"]
    assert "pytest" not in about["modules"]
    assert about["frozen"] > 10_000
    assert about["collects"]


def test_the_environment_is_the_one_that_was_given(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    given = {name: value for name, value in os.environ.items() if name != "SOME_KEY"}
    with ForkServer(env=given) as own:
        child = run("describe_self", on=own)
        about = child.ready()
        child.stop(10)
        child.end()
    assert "SOME_KEY" not in about["environment"]


def test_what_a_child_leaves_in_its_process_group_is_killed_with_it(
    run: Callable[..., Any],
) -> None:
    child = run("leave_a_process")
    grandchild = psutil.Process(child.ready()["grandchild"])
    os.kill(child.pid, signal.SIGKILL)
    assert child.end().kind == "killed"
    # Whoever inherits it reaps it.
    psutil.wait_procs([grandchild], timeout=LIMIT_S)
    assert gone(grandchild.pid)


def test_a_supervisor_that_had_too_little_time_to_end_leaves_no_grandchild(
    run: Callable[..., Any],
) -> None:
    child = run("supervise")
    grandchild = psutil.Process(child.ready()["grandchild"])
    family = [grandchild, *grandchild.parents()]
    below = family[: [one.pid for one in family].index(child.pid)]
    # Deaf to all that asks it to end: the last rung is SIGKILL, and nothing of its own runs.
    os.kill(child.pid, signal.SIGSTOP)
    child.stop(0.1)
    assert child.end().kind == "killed"
    psutil.wait_procs(below, timeout=LIMIT_S)
    assert len(below) == 2, "the grandchild, and the fork server that made it"
    assert all(gone(one.pid) for one in below)


def test_a_child_writes_to_its_log(run: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n", encoding="utf-8")
    run("speak", log_path=str(log)).end()
    assert log.read_text(encoding="utf-8").split("\n") == [
        "before",
        "on stdout",
        "on stderr",
        "",
    ]


def test_what_a_child_prints_does_not_go_to_the_parents_stdout(
    forks: ForkServer, capfd: pytest.CaptureFixture[str]
) -> None:
    del forks
    with ForkServer() as own:
        child = process(own, "speak")
        child.start()
        child.join(LIMIT_S)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "on stdout" in captured.err


def test_a_missing_preload_is_told_at_the_first_spawn(
    forks: ForkServer, capfd: pytest.CaptureFixture[str]
) -> None:
    del forks
    with ForkServer(preload=["there_is_no_such_module"]) as own:
        for _ in range(2):
            with pytest.raises(ForkServerBroken, match="preloading there_is_no_such_module"):
                process(own, "serve").start()
    assert "ModuleNotFoundError" in capfd.readouterr().err


@pytest.mark.usefixtures("targets_on_path")
def test_a_preload_that_starts_a_thread_is_refused() -> None:
    with (
        ForkServer(preload=["supervised_thread_preload"]) as own,
        pytest.raises(ForkServerBroken, match=r"starts 1 thread\(s\)"),
    ):
        process(own, "serve").start()


def test_an_interpreter_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    own = ForkServer()
    with pytest.raises(SpawnFailed, match="No such file"):
        own.start()
    own.close()


def test_a_fork_server_that_cannot_import_us_is_broken(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [])
    with ForkServer() as own, pytest.raises(ForkServerBroken, match="exit code 1"):
        process(own, "serve").start()
    capfd.readouterr()


@pytest.mark.usefixtures("targets_on_path")
def test_children_outlive_a_killed_fork_server_and_the_next_spawn_starts_another() -> None:
    with ForkServer() as own:
        first, second = process(own, "serve"), process(own, "serve")
        first.start()
        second.start()
        killed = own.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        third = process(own, "serve")
        _start_when_the_loss_is_noticed(third, own, killed)
        assert own.pid != killed
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        reason = first.join(LIMIT_S)
        assert reason == ExitReason("unknown", detail="nobody was left to see how it ended")
        # One that ends in order says so itself.
        second.stop(10)
        assert second.join(LIMIT_S) == ExitReason("shutdown", exit_code=0)
        third.stop(10)
        assert third.join(LIMIT_S) == ExitReason("shutdown", exit_code=0)


def _start_when_the_loss_is_noticed(child: Process, forks: ForkServer, killed: int) -> None:
    while True:
        try:
            child.start()
        except SpawnFailed:
            assert forks.pid != killed
        else:
            return


@pytest.mark.usefixtures("targets_on_path")
def test_a_fork_server_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with ForkServer() as own:
        child = process(own, "serve")
        child.start()
        stopped = own.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        monkeypatch.setattr(forkserver_module, "_SPAWN_TIMEOUT_S", 0.2)
        with pytest.raises(SpawnFailed, match=r"no process for kid: no answer within 0\.2 s"):
            process(own, "serve").start()
        monkeypatch.undo()
        assert gone(stopped)
        other = process(own, "serve")
        other.start()
        for each in (child, other):
            each.stop(10)
            assert each.join(LIMIT_S) == ExitReason("shutdown", exit_code=0)


@pytest.mark.usefixtures("targets_on_path")
def test_closing_ends_children_that_are_left_even_frozen_ones() -> None:
    own = ForkServer()
    own.start()
    children = [process(own, "serve") for _ in range(3)]
    for child in children:
        child.start()
    frozen = children[0].pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    own.close()
    assert all(child.pid is not None and gone(child.pid) for child in children)


def test_closing_ends_children_whose_fork_server_process_was_killed(
    run: Callable[..., Any],
) -> None:
    own = ForkServer()
    own.start()
    child = run("serve", on=own)
    child.ready()
    assert own.pid is not None
    os.kill(own.pid, signal.SIGKILL)
    own.close()
    reason = child.join(0)
    assert reason is not None
    assert reason.kind == "killed"


def test_a_closed_fork_server_spawns_nothing() -> None:
    own = ForkServer()
    with pytest.raises(ForkServerClosed):
        process(own, "serve")
    own.start()
    own.start()
    own.close()
    own.close()
    with pytest.raises(ForkServerClosed):
        own.spawn("kid", lambda _: None)


@pytest.mark.parametrize("spare", range(6))
@pytest.mark.usefixtures("targets_on_path")
def test_without_descriptors_a_spawn_fails_and_the_next_one_works(spare: int) -> None:
    with ForkServer() as own:
        first = process(own, "serve")
        first.start()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        fill = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest)]
        second, third = process(own, "serve"), process(own, "serve")
        problem = ""
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(fill) + 1 + spare, hard))
        try:
            second.start()
        except SpawnFailed as error:
            problem = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in fill:
                os.close(fd)
        assert not problem or spare < 3
        assert "no answer" not in problem, "it was not told that it failed"
        third.start()
        for child in (first, third, *([second] if second.pid else [])):
            child.stop(10)
            assert child.join(LIMIT_S) == ExitReason("shutdown", exit_code=0)


@pytest.mark.usefixtures("targets_on_path")
def test_signals_that_the_parent_blocks_work_in_its_children() -> None:
    blocked = {signal.SIGTERM, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        own = ForkServer()
        own.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    child = process(own, "serve")
    child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGTERM)
    reason = child.join(LIMIT_S)
    own.close()
    assert reason is not None
    assert reason.signal == signal.SIGTERM
