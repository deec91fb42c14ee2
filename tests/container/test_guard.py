from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from understudy.actors.podman import Container, ContainerSpec, Guard, container_name, run_podman

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = pytest.mark.podman

# An owner as the fleet is one: a guard, and containers that are busy and read no stdin.
OWNER = """
import json, sys, threading
from pathlib import Path
from understudy.actors.podman import Container, ContainerSpec, Guard
plan = json.load(sys.stdin)
env = plan["env"]
guard = Guard(plan["run_id"], env)
guard.start()
def make(serial):
    folder = Path(plan["root"], str(serial))
    for name in ("home", "work"):
        (folder / name).mkdir(parents=True)
    spec = ContainerSpec(
        name=f"understudy-{plan['run_id']}-agent_000-1-{serial}", image=plan["image"],
        command=("sh", "-c", "trap '' TERM; sleep 600"), home_dir=folder / "home",
        work_dir=folder / "work", memory="64m", timeout_s=300,
    )
    container = Container(spec, env=env)
    started.append(container)
    container.start()
started = []
threads = [threading.Thread(target=make, args=(i,)) for i in range(plan["containers"])]
print(guard.pid, flush=True)
for thread in threads: thread.start()
for thread in threads: thread.join()
print("up", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def owner(
    tmp_path: Path, agent_image: str, podman_environment: dict[str, str], run_id: str
) -> Generator[Callable[..., subprocess.Popen[str]]]:
    """Start an owner with so many containers."""
    owners: list[subprocess.Popen[str]] = []

    def start_owner(
        containers: int, env: dict[str, str] = podman_environment
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        owners.append(process)
        plan = {
            "run_id": run_id,
            "root": str(tmp_path / "owner"),
            "image": agent_image,
            "containers": containers,
            "env": env,
        }
        assert process.stdin is not None
        json.dump(plan, process.stdin)
        process.stdin.close()
        return process

    yield start_owner
    for process in owners:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def containers_of(run_id: str, env: dict[str, str]) -> list[str]:
    label = f"--filter=label=understudy.run={run_id}"
    args = ("ps", "--all", label, "--format={{.Names}}")
    return run_podman(*args, timeout_s=30, env=env).stdout.split()


def test_after_sigkill_of_the_owner_its_containers_go_even_in_mid_tool_call(
    owner: Callable[..., subprocess.Popen[str]],
    run_id: str,
    podman_environment: dict[str, str],
    eventually: Callable[..., bool],
) -> None:
    process = owner(2)
    guard_pid = int(line_of(process))
    assert line_of(process) == "up"
    assert len(containers_of(run_id, podman_environment)) == 2
    process.kill()
    process.wait()
    assert eventually(lambda: not containers_of(run_id, podman_environment))
    assert eventually(lambda: not psutil.pid_exists(guard_pid))


def test_containers_that_are_being_made_when_the_owners_group_is_killed_go_too(
    owner: Callable[..., subprocess.Popen[str]],
    run_id: str,
    podman_environment: dict[str, str],
    tmp_path: Path,
    eventually: Callable[..., bool],
) -> None:
    # Clients that take a second before they begin: the guard's first looks find nothing.
    script, made = tmp_path / "podman", tmp_path / "made"
    real = shutil.which("podman")
    script.write_text(
        f'#!/bin/sh\n[ "$1" = run ] || exec {real} "$@"\n'
        f'touch {tmp_path}/asked-$$; sleep 1; {real} "$@" && echo made >> {made}\n'
    )
    script.chmod(0o755)
    path = f"{tmp_path}:{podman_environment['PATH']}"
    process = owner(2, {**podman_environment, "PATH": path})
    guard_pid = int(line_of(process))
    assert eventually(lambda: len(list(tmp_path.glob("asked-*"))) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert eventually(lambda: not psutil.pid_exists(guard_pid), within_s=30.0)
    assert made.read_text() == "made\nmade\n"
    left = containers_of(run_id, podman_environment)
    run_podman(
        "rm", "-f", "-i", "-t", "0", *left, timeout_s=30, env=podman_environment, check=False
    )
    assert left == []


def test_closing_the_guard_is_quick_and_takes_what_is_left(
    make_spec: Callable[..., ContainerSpec],
    podman_environment: dict[str, str],
    run_id: str,
) -> None:
    guard = Guard(run_id, podman_environment)
    guard.start()
    with Container(make_spec("sleep", "600"), env=podman_environment) as forgotten:
        guard.close()
        assert forgotten.wait(5.0)
    with Guard(run_id, podman_environment):
        started = time.monotonic()
    assert time.monotonic() - started < 2.0
    guard.close()


def test_the_guard_stays_at_its_post_when_a_terminal_or_service_manager_signals_everybody(
    start: Callable[..., Container],
    podman_environment: dict[str, str],
    run_id: str,
    eventually: Callable[..., bool],
) -> None:
    container = start("sleep", "600")
    with Guard(run_id, podman_environment) as guard:
        assert guard.pid is not None
        process = psutil.Process(guard.pid)
        # It ignores signals from its first statement on; before, they would be Python's.
        assert eventually(lambda: _ignores(process.pid, signal.SIGTERM))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        assert process.is_running()
        assert container.alive()
    assert container.wait(5.0)


def _ignores(pid: int, number: signal.Signals) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123
        ignored = next(line for line in file if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) >> (number - 1) & 1)


def test_the_guard_leaves_the_containers_of_other_runs_alone(
    start: Callable[..., Container], podman_environment: dict[str, str]
) -> None:
    other = start("cat", name=container_name("0therrun", "agent_000", 1, 1))
    with Guard("thisrun", podman_environment):
        pass
    assert other.alive()
