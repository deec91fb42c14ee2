"""What supervision adds to OTP, with real processes: budgets, failure kinds, resources, doubt."""

# ruff: noqa: ANN401 - fields are passed on as they are

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.supervision import (
    Backoff,
    Budget,
    ChildEvent,
    ChildSpec,
    ChildStatus,
    ForkServer,
    InvalidSpec,
    Result,
    Strategy,
    Supervisor,
    SupervisorSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

LIMIT_S = 20.0
HERE = Path(__file__).parent
BUDGET = Budget("usd", 10, "gateway")


def kid(name: str, target: str, **fields: Any) -> ChildSpec:
    every: dict[str, Any] = {"shutdown_s": 1.0, **fields}
    return ChildSpec(name, f"supervised_targets:{target}", **every)


class Grove:
    """A supervisor under test, and what it tells."""

    def __init__(self, forks: ForkServer, children: tuple[ChildSpec, ...], **rules: Any) -> None:
        self.events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        spec = SupervisorSpec("top", children=children, **rules)
        self.ref = Supervisor.start(spec, forks, self.events.put)
        self.proxy = self.ref.proxy()

    def until(self, kind: str, child_id: str) -> ChildEvent:
        """The next event of that kind about that child; what comes before it is dropped."""
        ends = time.monotonic() + LIMIT_S
        while True:
            event = self.events.get(timeout=max(0.0, ends - time.monotonic()))
            if (event.kind, event.child_id) == (kind, child_id):
                return event

    def status(self, child_id: str) -> ChildStatus:
        statuses: list[ChildStatus] = self.proxy.status().get(timeout=LIMIT_S)
        return next(status for status in statuses if status.child_id == child_id)


@pytest.fixture
def plant(forks: ForkServer) -> Iterator[Callable[..., Grove]]:
    """Start a supervisor with these children; stopped at the end."""
    groves: list[Grove] = []

    def start(*children: ChildSpec, **rules: Any) -> Grove:
        groves.append(Grove(forks, children, **rules))
        return groves[-1]

    yield start
    for grove in groves:
        grove.ref.stop(block=True, timeout=LIMIT_S)


def test_a_child_that_says_it_has_spent_all_ends_and_goes_on_with_a_grant(
    plant: Callable[..., Grove],
) -> None:
    grove = plant(kid("a", "spend", args={"amount": 10}, budget=BUDGET), intensity=0)
    assert grove.until("budget_warning", "a").info["spent"] == 10
    grove.until("budget_spent", "a")
    reason = grove.until("stopped", "a").reason
    assert reason is not None
    assert (reason.kind, reason.failure_kind, reason.exit_code) == ("shutdown", "budget", 0)
    assert grove.proxy.restart_child("a").get(timeout=LIMIT_S) == Result.NO_BUDGET
    grove.proxy.grant("a", 50).get(timeout=LIMIT_S)
    assert grove.until("ready", "a").incarnation == 2
    assert grove.status("a").limit == 60


def test_what_the_parent_measures_counts_as_well(plant: Callable[..., Grove]) -> None:
    grove = plant(kid("a", "serve", budget=BUDGET))
    grove.until("ready", "a")
    grove.proxy.spent("a", 4).get(timeout=LIMIT_S)
    os.kill(grove.status("a").pid or 0, signal.SIGKILL)
    assert grove.until("ready", "a").incarnation == 2
    grove.proxy.spent("a", 6, 1).get(timeout=LIMIT_S)
    grove.until("stopped", "a")
    assert grove.status("a").spent == 10
    with pytest.raises(InvalidSpec):
        grove.proxy.grant("a", -1).get(timeout=LIMIT_S)


def test_a_child_that_names_an_uncounted_kind_comes_back_more_often_than_the_intensity(
    plant: Callable[..., Grove],
) -> None:
    child = kid("a", "fail_until", args={"incarnation": 4}, backoff=Backoff(0.01, 0.01))
    grove = plant(child, intensity=0, uncounted_kinds=frozenset({"rate_limited"}))
    reason = grove.until("exited", "a").reason
    assert reason is not None
    assert (reason.kind, reason.failure_kind) == ("crash", "rate_limited")
    assert reason.detail == "come back later"
    assert grove.until("ready", "a").incarnation == 4


def test_a_kind_that_is_permanent_for_the_supervisor_is_not_tried_again(
    plant: Callable[..., Grove],
) -> None:
    child = kid("a", "fail_until", args={"incarnation": 4})
    grove = plant(child, permanent_kinds=frozenset({"rate_limited"}))
    reason = grove.until("gave_up", "a").reason
    assert reason is not None
    assert (reason.kind, reason.failure_kind) == ("permanent", "rate_limited")


def test_a_resource_and_its_user_are_children_of_one_rest_for_one_supervisor(
    plant: Callable[..., Grove], tmp_path: Path
) -> None:
    args = {"path": str(tmp_path / "resource")}
    resource = kid("resource", "hold_resource", args=args)
    user = kid("user", "use_resource", args=args)
    grove = plant(resource, user, strategy=Strategy.REST_FOR_ONE)
    grove.until("ready", "user")
    first = grove.status("resource").pid
    assert first is not None
    os.kill(grove.status("user").pid or 0, signal.SIGKILL)
    assert grove.until("ready", "user").incarnation == 2
    assert grove.status("resource").pid == first, "the user's fall costs the resource nothing"
    os.kill(first, signal.SIGKILL)
    assert grove.until("ready", "resource").incarnation == 2
    assert grove.until("ready", "user").incarnation == 3, "a new resource, a new user"


def test_children_outlive_the_thread_that_asked_for_them(forks: ForkServer) -> None:
    # The parent-death signal of Linux follows a parent's thread: nothing here may rest on it.
    groves: list[Grove] = []
    thread = threading.Thread(target=lambda: groves.append(Grove(forks, (kid("a", "serve"),))))
    thread.start()
    thread.join(LIMIT_S)
    [grove] = groves
    pid = grove.until("ready", "a").info["pid"]
    pidfd = os.pidfd_open(pid)
    with contextlib.closing(os.fdopen(pidfd, closefd=True)):
        assert not select.select([pidfd], [], [], 0.5)[0]
        grove.ref.stop(block=True, timeout=LIMIT_S)
        assert select.select([pidfd], [], [], LIMIT_S)[0]


def test_the_end_of_one_lifeline_is_the_end_of_one_child(
    plant: Callable[..., Grove],
) -> None:
    # A sibling that had inherited the other end would keep the deaf one alive, or fall with it.
    grove = plant(kid("a", "deaf", shutdown_s=0.1), kid("b", "serve"), kid("c", "serve"))
    grove.until("ready", "c")
    assert grove.proxy.terminate_child("a").get(timeout=LIMIT_S) == Result.OK
    reason = grove.until("exited", "a").reason
    assert reason is not None
    assert reason.detail == "it was ended by end of file"
    assert [grove.status(name).incarnation for name in "bc"] == [1, 1]
    assert [grove.status(name).state for name in "bc"] == ["ready", "ready"]


def test_a_program_that_a_child_starts_does_not_inherit_its_lifeline(
    plant: Callable[..., Grove],
) -> None:
    # podman's monitor outlives the agent that started it: it must not keep the lifeline open.
    ready = plant(kid("a", "run_a_program")).until("ready", "a")
    assert "pipe:" in ready.info["descriptors"]
    assert "socket:" not in ready.info["descriptors"]


# -- standing still -------------------------------------------------------------------------------


@contextlib.contextmanager
def root_program(target: str) -> Generator[tuple[subprocess.Popen[str], list[int]]]:
    """A supervising program with one child; pidfds of it, its fork server and the child."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = [sys.executable, str(HERE / "supervised_root.py"), target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as root:
        assert root.stdout is not None
        pids = json.loads(root.stdout.readline())
        pidfds = [os.pidfd_open(pid) for pid in (root.pid, pids["forks"], *pids["children"])]
        try:
            yield root, pidfds
        finally:
            for pidfd in pidfds:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)


def send(number: signal.Signals, *pidfds: int) -> None:
    for pidfd in pidfds:
        signal.pidfd_send_signal(pidfd, number)


def test_after_all_stood_still_together_nobody_is_killed() -> None:
    with root_program("serve@3") as (root, pidfds):
        *ours, child = pidfds
        # The child first, for long enough that a ping is on its way when we are stopped.
        send(signal.SIGSTOP, child)
        time.sleep(2.0)
        send(signal.SIGSTOP, *ours)
        time.sleep(3.5)
        # We come first: our clock says that the child is late before it can say anything.
        send(signal.SIGCONT, *ours)
        assert root.stdout is not None
        assert root.stdout.readline() == "spared kid01\n"
        send(signal.SIGCONT, child)
        assert not select.select([child], [], [], 5)[0], "it was killed for our own absence"


def test_a_child_is_given_its_whole_time_anew_when_our_own_thread_was_late(
    forks: ForkServer, plant: Callable[..., Grove]
) -> None:
    grove = plant(kid("a", "never_ready", start_timeout_s=2.0))
    # Answered when the process is started: the wait for its readiness begins before our sleep.
    grove.status("a")
    forks.reactor.call_soon(lambda: time.sleep(1.5))
    spared = grove.until("spared", "a")
    assert spared.info["what"] == "its readiness"
    assert 0.5 < spared.info["away_s"] < LIMIT_S
    reason = grove.until("exited", "a").reason
    assert reason is not None
    assert reason.kind == "start_timeout"
