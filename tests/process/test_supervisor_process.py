# ruff: noqa: ANN401, S311 - fields are passed on as they are; chance for tests, not secrets

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from understudy.supervision import (
    AutoShutdown,
    Backoff,
    ChildEvent,
    ChildSpec,
    ChildStatus,
    DuplicateChild,
    ForkServer,
    Restart,
    Result,
    Strategy,
    Supervisor,
    SupervisorSpec,
    SupervisorStopping,
    UnknownChild,
)
from understudy.supervision import process as process_module

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

LIMIT_S = 20.0
HERE = Path(__file__).parent


def kid(name: str, target: str = "serve", **fields: Any) -> ChildSpec:
    every: dict[str, Any] = {"shutdown_s": 1.0, **fields}
    return ChildSpec(name, f"supervised_targets:{target}", **every)


class Tree:
    """A supervisor under test, and what it tells."""

    def __init__(self, forks: ForkServer, children: tuple[ChildSpec, ...], **rules: Any) -> None:
        self.events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        spec = SupervisorSpec("top", children=children, **rules)
        self.ref = Supervisor.start(spec, forks, self.events.put, rng=random.Random(1))
        self.proxy = self.ref.proxy()

    def until(self, kind: str, child_id: str) -> ChildEvent:
        """The next event of that kind about that child; what comes before it is dropped."""
        ends = time.monotonic() + LIMIT_S
        while True:
            event = self.events.get(timeout=max(0.0, ends - time.monotonic()))
            if (event.kind, event.child_id) == (kind, child_id):
                return event

    def pid(self, child_id: str) -> int:
        statuses: list[ChildStatus] = self.proxy.status().get(timeout=LIMIT_S)
        pid = next(status.pid for status in statuses if status.child_id == child_id)
        assert pid is not None
        return pid

    def shutdown(self) -> None:
        self.proxy.shutdown().get(timeout=LIMIT_S)

    def told(self) -> list[str]:
        told: list[str] = []
        while not self.events.empty():
            event = self.events.get()
            told.append(f"{event.kind} {event.child_id}{event.incarnation}")
        return told


@pytest.fixture
def grow(forks: ForkServer) -> Iterator[Callable[..., Tree]]:
    """Start a supervisor with these children; stopped at the end."""
    trees: list[Tree] = []

    def start(*children: ChildSpec, on: ForkServer = forks, **rules: Any) -> Tree:
        tree = Tree(on, children, **rules)
        trees.append(tree)
        return tree

    yield start
    for tree in trees:
        tree.ref.stop(block=True, timeout=LIMIT_S)


def test_children_start_in_order_and_stop_in_reverse(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a"), kid("b"))
    tree.until("ready", "b")
    tree.shutdown()
    assert tree.told() == ["exited b1", "stopped b1", "exited a1", "stopped a1", "stopped top0"]


def test_a_killed_child_comes_back_as_its_next_incarnation(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a", backoff=Backoff(min_s=0.05, max_s=1)), kid("b"))
    first = tree.until("ready", "a").info["pid"]
    tree.until("ready", "b")
    os.kill(first, signal.SIGKILL)
    exited = tree.until("exited", "a")
    assert exited.reason is not None
    assert (exited.incarnation, exited.reason.kind, exited.reason.signal) == (1, "killed", 9)
    delay_s = tree.until("restarting", "a").delay_s
    assert delay_s is not None
    assert 0.05 <= delay_s <= 0.06
    ready = tree.until("ready", "a")
    assert ready.incarnation == ready.info["incarnation"] == 2
    status = tree.proxy.status().get(timeout=LIMIT_S)[0]
    assert (status.state, status.restarts, status.pid) == ("ready", 1, ready.info["pid"])


def test_with_one_for_all_the_siblings_are_new_too(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a"), kid("b"), strategy=Strategy.ONE_FOR_ALL)
    tree.until("ready", "b")
    os.kill(tree.pid("a"), signal.SIGKILL)
    assert tree.until("ready", "b").incarnation == 2
    assert [s.incarnation for s in tree.proxy.status().get(timeout=LIMIT_S)] == [2, 2]


def test_a_hung_child_is_dumped_killed_and_restarted(
    grow: Callable[..., Tree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It has time to write its stacks on a busy machine, too.
    monkeypatch.setattr(process_module, "_DUMP_S", 10.0)
    log = tmp_path / "log"
    tree = grow(kid("a", "loop_that_is_stuck", liveness_interval_s=0.2, log_path=str(log)))
    exited = tree.until("exited", "a")
    assert exited.reason is not None
    assert exited.reason.kind == "hung"
    assert "in _stuck_here" in log.read_text(encoding="utf-8")
    tree.until("starting", "a")


def test_a_permanent_failure_is_not_restarted_and_the_others_go_on(
    grow: Callable[..., Tree], tmp_path: Path
) -> None:
    args = {"tidied": str(tmp_path / "tidied")}
    tree = grow(kid("a"), kid("b", "fail_for_good", args=args), kid("c"))
    gave_up = tree.until("gave_up", "b")
    assert gave_up.reason is not None
    assert (gave_up.reason.failure_kind, gave_up.reason.detail) == ("auth", "the key is refused")
    tree.until("ready", "c")
    assert [s.state for s in tree.proxy.status().get(timeout=LIMIT_S)] == [
        "ready",
        "failed",
        "ready",
    ]


def test_a_crash_loop_ends_the_supervisor_and_its_other_children(
    grow: Callable[..., Tree],
) -> None:
    tree = grow(kid("good"), kid("bad", "raise_at_once"), intensity=2, period_s=60)
    gave_up = tree.until("gave_up", "bad")
    assert gave_up.incarnation == 3
    assert tree.until("gave_up", "top").reason is not None
    assert tree.ref.actor_stopped.wait(LIMIT_S)
    with pytest.raises(pykka.ActorDeadError):
        tree.ref.ask("anything", timeout=LIMIT_S)


def test_a_child_that_never_gets_ready_is_tried_again(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a", "never_ready", start_timeout_s=0.1))
    exited = tree.until("exited", "a")
    assert exited.reason is not None
    assert exited.reason.kind == "start_timeout"
    assert tree.until("starting", "a").incarnation == 2


def test_a_child_can_be_added_and_stopped(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a"))
    tree.proxy.add_child(kid("z", restart=Restart.TEMPORARY)).get(timeout=LIMIT_S)
    pid = tree.until("ready", "z").info["pid"]
    with pytest.raises(DuplicateChild):
        tree.proxy.add_child(kid("z")).get(timeout=LIMIT_S)
    tree.proxy.stop_child("z").get(timeout=LIMIT_S)
    assert not Path(f"/proc/{pid}").exists()
    assert [s.child_id for s in tree.proxy.status().get(timeout=LIMIT_S)] == ["a"]
    with pytest.raises(UnknownChild):
        tree.proxy.stop_child("z").get(timeout=LIMIT_S)


def test_while_a_child_is_stopping_another_that_falls_is_restarted(
    grow: Callable[..., Tree],
) -> None:
    tree = grow(kid("deaf", "deaf", shutdown_s=0.5), kid("b"))
    tree.until("ready", "b")
    pid = tree.pid("b")
    stopped = tree.proxy.stop_child("deaf")
    os.kill(pid, signal.SIGKILL)
    assert tree.until("ready", "b").incarnation == 2
    stopped.get(timeout=LIMIT_S)


def test_a_child_that_its_owner_gives_up_is_killed_and_restarted(
    grow: Callable[..., Tree],
) -> None:
    tree = grow(kid("a", "deaf"))
    tree.until("ready", "a")
    tree.proxy.kill_child("a", "its task is overdue").get(timeout=LIMIT_S)
    exited = tree.until("exited", "a")
    assert exited.reason is not None
    assert (exited.reason.kind, exited.reason.detail) == ("hung", "its task is overdue")
    tree.until("ready", "a")
    with pytest.raises(UnknownChild):
        tree.proxy.kill_child("x").get(timeout=LIMIT_S)


def test_stopping_the_actor_shuts_its_children_down(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a"), kid("b"))
    pid = tree.until("ready", "a").info["pid"]
    tree.ref.stop(block=True, timeout=LIMIT_S)
    assert not Path(f"/proc/{pid}").exists()
    assert tree.told()[-1] == "stopped top0"


def test_a_shutdown_takes_no_longer_than_the_ladder(grow: Callable[..., Tree]) -> None:
    # It is ready a moment before it holds the interpreter: its own time must be longer.
    tree = grow(kid("a", "hold_the_interpreter", args={"ignore_term": True}, shutdown_s=1.0))
    tree.until("ready", "a")
    begins = time.monotonic()
    tree.shutdown()
    assert 4.5 <= time.monotonic() - begins < 15


def test_a_listener_that_fails_is_logged_and_supervision_goes_on(
    forks: ForkServer, caplog: pytest.LogCaptureFixture
) -> None:
    events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()

    def listener(event: ChildEvent) -> None:
        events.put(event)
        raise ValueError("bad listener")

    spec = SupervisorSpec("top", children=(kid("a"),))
    ref = Supervisor.start(spec, forks, listener)
    assert [events.get(timeout=LIMIT_S).kind for _ in range(2)] == ["starting", "ready"]
    ref.stop(block=True, timeout=LIMIT_S)
    assert "the listener of supervisor top failed" in caplog.text


def test_after_the_fork_server_was_killed_children_still_come_back(
    grow: Callable[..., Tree],
) -> None:
    with ForkServer() as own:
        tree = grow(kid("a"), kid("b"), on=own)
        tree.until("ready", "b")
        assert own.pid is not None
        os.kill(own.pid, signal.SIGKILL)
        os.kill(tree.pid("a"), signal.SIGKILL)
        tree.until("exited", "a")
        assert tree.until("ready", "a").incarnation >= 2
        tree.ref.stop(block=True, timeout=LIMIT_S)


def test_without_a_working_fork_server_the_children_fail_for_good(
    grow: Callable[..., Tree], capfd: pytest.CaptureFixture[str]
) -> None:
    with ForkServer(preload=["there_is_no_such_module"]) as own:
        tree = grow(kid("a"), on=own)
        gave_up = tree.until("gave_up", "a")
        assert gave_up.reason is not None
        assert gave_up.reason.failure_kind == "config"
        assert "there_is_no_such_module" in gave_up.reason.detail
        tree.ref.stop(block=True, timeout=LIMIT_S)
    capfd.readouterr()


def test_a_supervisor_whose_fork_server_was_closed_still_ends(grow: Callable[..., Tree]) -> None:
    own = ForkServer()
    own.start()
    tree = grow(kid("a"), kid("b"), on=own)
    tree.until("ready", "b")
    own.close()
    tree.ref.stop(block=True, timeout=LIMIT_S)
    assert not tree.ref.is_alive()


def test_events_are_logged_in_words(
    grow: Callable[..., Tree], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "understudy.supervision")
    tree = grow(kid("a", restart=Restart.TEMPORARY))
    os.kill(tree.until("ready", "a").info["pid"], signal.SIGKILL)
    tree.until("stopped", "a")
    assert "top: a (incarnation 1) exited: killed, ended by signal SIGKILL" in caplog.text


# -- the death of the parent ----------------------------------------------------------------------


@contextlib.contextmanager
def root_program(*targets: str) -> Generator[tuple[subprocess.Popen[str], dict[int, int]]]:
    """A supervising program; a pidfd for each of its processes."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = [sys.executable, str(HERE / "supervised_root.py"), *targets]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as root:
        assert root.stdout is not None
        pids = json.loads(root.stdout.readline())
        pidfds = {pid: os.pidfd_open(pid) for pid in [pids["forks"], *pids["children"]]}
        try:
            yield root, pidfds
        finally:
            root.kill()
            for pidfd in pidfds.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)


def left_after(pidfds: dict[int, int], limit_s: float) -> list[int]:
    """The processes that are not gone within the time."""
    ends = time.monotonic() + limit_s
    return [
        pid
        for pid, fd in pidfds.items()
        if not select.select([fd], [], [], max(0.0, ends - time.monotonic()))[0]
    ]


def test_a_killed_parent_leaves_no_process_for_long() -> None:
    with root_program("serve", "deaf", "loop_that_is_stuck", "serve") as (root, pidfds):
        os.kill(root.pid, signal.SIGKILL)
        # They go by themselves: the fork server's net kills what is left after 2.5 s.
        assert left_after(pidfds, 2.2) == []


def test_a_killed_parent_leaves_not_even_a_child_that_cannot_hear_of_it() -> None:
    with root_program("serve", "hold_the_interpreter", "slow_orphan") as (root, pidfds):
        frozen = list(pidfds)[1]
        os.kill(frozen, signal.SIGSTOP)
        os.kill(root.pid, signal.SIGKILL)
        assert left_after(pidfds, 10.0) == []


def test_children_do_not_need_the_fork_server_to_see_their_parents_death() -> None:
    with root_program("serve", "serve") as (root, pidfds):
        os.kill(next(iter(pidfds)), signal.SIGKILL)
        os.kill(root.pid, signal.SIGKILL)
        assert left_after(pidfds, 10.0) == []


@pytest.mark.parametrize("exact", [False, True])
def test_requests_are_answered_when_the_process_is_up_or_gone(
    grow: Callable[..., Tree], *, exact: bool
) -> None:
    tree = grow(kid("a"), exact=exact)
    proxy = tree.proxy
    answers: list[Result] = [
        proxy.restart_child("a").get(timeout=LIMIT_S),
        proxy.terminate_child("a").get(timeout=LIMIT_S),
        proxy.start_child(kid("a")).get(timeout=LIMIT_S),
        proxy.restart_child("a").get(timeout=LIMIT_S),
        proxy.start_child(kid("b", "fail_for_good")).get(timeout=LIMIT_S),
        proxy.delete_child("b").get(timeout=LIMIT_S),
    ]
    assert answers == [
        Result.RUNNING,
        Result.OK,
        Result.ALREADY_PRESENT,
        Result.OK,
        Result.START_FAILED,
        Result.NOT_FOUND,
    ]
    assert tree.pid("a")


def test_a_request_after_the_end_is_refused(grow: Callable[..., Tree]) -> None:
    tree = grow(kid("a"))
    tree.shutdown()
    with pytest.raises(SupervisorStopping):
        tree.proxy.restart_child("a").get(timeout=LIMIT_S)


def test_the_end_of_a_significant_child_ends_the_supervisor(grow: Callable[..., Tree]) -> None:
    kids = kid("a"), kid("b", restart=Restart.TEMPORARY, significant=True)
    tree = grow(*kids, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    tree.until("ready", "b")
    os.kill(tree.pid("b"), signal.SIGKILL)
    tree.until("stopped", "a")
    reason = tree.until("stopped", "top").reason
    assert reason is not None
    assert (reason.kind, reason.detail) == ("shutdown", "its significant child b has ended")
    assert tree.ref.actor_stopped.wait(LIMIT_S)


def test_a_request_that_the_end_of_the_supervisor_overtakes_is_refused(
    grow: Callable[..., Tree],
) -> None:
    tree = grow(kid("a"), intensity=0, exact=True)
    tree.until("ready", "a")
    os.kill(tree.pid("a"), signal.SIGKILL)
    tree.until("gave_up", "top")
    with pytest.raises((SupervisorStopping, pykka.ActorDeadError)):
        tree.proxy.restart_child("a").get(timeout=LIMIT_S)
