"""Processes of a dead run that cannot end by themselves, because they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from understudy.actors.fleet_places import FleetBase
from understudy.actors.housekeeping import MARK_NAME, remove_dead_runs
from understudy.actors.podman import Guard

pytestmark = pytest.mark.podman

# A service in small: its lock and mark, its fork server, one child, and a guard if one is wanted.
OWNER = """
import json, sys, threading
from pathlib import Path
from understudy.actors.housekeeping import LOCK_NAME, leave_mark, take_lock
from understudy.actors.podman import Guard
from understudy.supervision import ForkServer
plan = json.load(sys.stdin)
forks = ForkServer()
forks.start()
folder = Path(plan["folder"])
folder.mkdir(parents=True)
take_lock(folder / LOCK_NAME)
leave_mark(folder, forks.mark)
guard = Guard(plan["run_id"], plan["env"], mark=forks.mark)
if plan["guarded"]:
    guard.start()
child = forks.spawn("agent_000", print)
print(json.dumps({"child": child.pid, "forks": forks.pid, "guard": guard.pid}), flush=True)
threading.Event().wait()
"""

Death = Callable[..., tuple[psutil.Process, int | None]]


@pytest.fixture
def runs(tmp_path: Path) -> FleetBase:
    (tmp_path / "runs").mkdir()
    return FleetBase(tmp_path, tmp_path, tmp_path / "run")


@pytest.fixture
def dies(runs: FleetBase, podman_environment: dict[str, str], run_id: str) -> Generator[Death]:
    """Have a service die after its fork server was killed and its child stopped."""
    owners: list[subprocess.Popen[str]] = []

    def death(*, guarded: bool) -> tuple[psutil.Process, int | None]:
        folder = str(runs.state_dir / "runs" / run_id)
        plan = {"run_id": run_id, "folder": folder, "env": podman_environment, "guarded": guarded}
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        owners.append(owner)
        assert owner.stdin is not None
        assert owner.stdout is not None
        json.dump(plan, owner.stdin)
        owner.stdin.close()
        pids: dict[str, Any] = json.loads(owner.stdout.readline())
        child = psutil.Process(pids["child"])
        os.kill(pids["forks"], signal.SIGKILL)
        child.suspend()
        owner.kill()
        owner.wait()
        return child, pids["guard"]

    yield death
    for owner in owners:
        owner.kill()
        owner.wait()
        assert owner.stdout is not None
        owner.stdout.close()


def test_the_guard_ends_a_stopped_child_whose_fork_server_is_gone_too(
    dies: Death, eventually: Callable[..., bool]
) -> None:
    child, guard = dies(guarded=True)
    assert eventually(lambda: not _lives(child), within_s=10.0)
    assert eventually(lambda: not psutil.pid_exists(guard or 0))


def test_without_a_guard_the_next_start_ends_it_and_nobody_else(
    dies: Death,
    runs: FleetBase,
    podman_environment: dict[str, str],
    eventually: Callable[..., bool],
) -> None:
    child, _ = dies(guarded=False)
    with _living_run(runs) as bystander:
        assert _lives(child)
        remove_dead_runs(runs, podman_environment, now=time.time())
        assert eventually(lambda: not _lives(child))
        assert bystander.poll() is None
        os.killpg(bystander.pid, signal.SIGKILL)


def _living_run(runs: FleetBase) -> subprocess.Popen[bytes]:
    """A process of another run, which lives: its lock is held by the process itself."""
    folder = runs.state_dir / "runs" / uuid.uuid4().hex[:10]
    folder.mkdir()
    mark = f"_UNDERSTUDY_FORKED_BY={uuid.uuid4().hex}"
    (folder / MARK_NAME).write_text(mark)
    name, _, value = mark.partition("=")
    held = ["flock", str(folder / "lock"), "sleep", "60"]
    process = subprocess.Popen(held, env={**os.environ, name: value}, start_new_session=True)
    while not psutil.Process(process.pid).children():
        time.sleep(0.01)
    return process


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_guard_that_is_killed_gets_a_successor_but_not_in_a_storm(
    podman_environment: dict[str, str], run_id: str, eventually: Callable[..., bool]
) -> None:
    told: list[str] = []
    with Guard(run_id, podman_environment, on_replaced=told.append) as guard:
        began, pids = time.monotonic(), [guard.pid]
        for _ in range(3):
            os.kill(pids[-1] or 0, signal.SIGKILL)
            assert eventually(lambda: guard.pid not in (None, *pids))
            pids.append(guard.pid)
        # 0.1, 0.2 and 0.4 s: each waits longer than the one before.
        assert time.monotonic() - began > 0.7
        assert eventually(lambda: len(told) == 3)
    assert [text.split(",")[0] for text in told] == [f"process {pid}" for pid in pids[1:]]
    assert "after one that ended with -9" in told[0]
    assert not psutil.pid_exists(pids[-1] or 0)


def test_the_successor_guards_the_containers_of_the_run(
    start: Callable[..., Any],
    podman_environment: dict[str, str],
    run_id: str,
    eventually: Callable[..., bool],
) -> None:
    container = start("sleep", "600")
    with Guard(run_id, podman_environment) as guard:
        first = guard.pid
        os.kill(first or 0, signal.SIGKILL)
        assert eventually(lambda: guard.pid not in (None, first))
        assert container.alive()
    assert container.wait(5.0)
