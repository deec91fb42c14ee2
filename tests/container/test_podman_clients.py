"""A `podman run` that outlives its owner: nothing it makes stays."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from understudy.actors.errors import PodmanError
from understudy.actors.places import Places
from understudy.actors.podman import (
    Container,
    ContainerSpec,
    Guard,
    container_name,
    run_podman,
    sweep,
)
from understudy.actors.podman.clients import await_clients, made_name
from understudy.actors.podman.removal import container_exists
from understudy.actors.podman.sweep import remove_predecessors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = pytest.mark.podman

PLACE = "3f0c1a9e-0000-4000-8000-000000000001"
# An agent's process in small: it takes a place, and begins to make a container for it.
OWNER = """
import json, sys
from pathlib import Path
from understudy.actors.places import Places
from understudy.actors.podman import Container, ContainerSpec
plan = json.load(sys.stdin)
root = Path(plan["root"])
lock = Places(root, plan["env"]).hold(plan["place"], plan["name"], 0.0)
for name in ("home", "work"):
    (root / "own" / name).mkdir(parents=True)
spec = ContainerSpec(
    name=plan["name"], image=plan["image"], command=("sleep", "600"), memory="64m",
    home_dir=root / "own" / "home", work_dir=root / "own" / "work", timeout_s=300,
)
Container(spec, env=plan["env"]).start()
"""


@pytest.fixture
def late(
    tmp_path: Path, agent_image: str, podman_environment: dict[str, str], run_id: str
) -> Generator[Callable[..., str]]:
    """Have an owner killed while its client waits before it begins; the container's name."""
    name = container_name(run_id, "agent_000", 1, 1)
    clients: list[psutil.Process] = []

    def die(wait: str) -> str:
        script, asked = tmp_path / "podman", tmp_path / "asked"
        script.write_text(
            f'#!/bin/sh\n[ "$1" = run ] || exec {shutil.which("podman")} "$@"\n'
            f"echo $$ > {asked}.new; mv {asked}.new {asked}; {wait}\n"
            f'exec {shutil.which("podman")} "$@"\n'
        )
        script.chmod(0o755)
        path = f"{tmp_path}:{podman_environment['PATH']}"
        plan = {
            "root": str(tmp_path / "conversations"),
            "place": PLACE,
            "name": name,
            "image": agent_image,
            "env": {**podman_environment, "PATH": path},
        }
        owner = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, text=True)
        assert owner.stdin is not None
        json.dump(plan, owner.stdin)
        owner.stdin.close()
        ends = time.monotonic() + 20
        while not asked.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        clients.append(psutil.Process(int(asked.read_text())))
        owner.kill()
        owner.wait()
        return name

    yield die
    for client in clients:
        if client.is_running():
            client.kill()
    run_podman("rm", "-f", "-i", "-t", "0", name, timeout_s=60, env=podman_environment)


def runs(name: str) -> bool:
    """Whether anything makes, watches or keeps that container."""
    for process in psutil.process_iter(["cmdline"]):
        words: list[str] = process.info["cmdline"] or []
        if name in words or f"--name={name}" in words:
            return True
    return False


def test_who_takes_a_place_up_has_the_late_container_of_its_dead_holder_gone(
    late: Callable[..., str], tmp_path: Path, podman_environment: dict[str, str]
) -> None:
    name = late("sleep 1")
    places = Places(tmp_path / "conversations", podman_environment)
    with places.hold(PLACE, "next", 0.0):
        assert not runs(name)
        assert not container_exists(name, podman_environment)


def test_a_sweep_waits_for_the_clients_of_a_dead_run(
    late: Callable[..., str], run_id: str, podman_environment: dict[str, str]
) -> None:
    name = late("sleep 1")
    assert sweep(podman_environment, lambda run: run != run_id) == [run_id]
    assert not runs(name)


def test_the_next_incarnation_removes_what_a_client_of_the_one_before_still_makes(
    late: Callable[..., str], run_id: str, podman_environment: dict[str, str]
) -> None:
    name = late("sleep 1")
    remove_predecessors(run_id, "agent_000", 1, podman_environment)  # none is before the first
    assert runs(name)
    remove_predecessors(run_id, "agent_000", 2, podman_environment)
    assert not runs(name)
    assert not container_exists(name, podman_environment)


def test_the_guard_does_not_leave_while_a_client_of_its_run_is_at_work(
    late: Callable[..., str], run_id: str, podman_environment: dict[str, str]
) -> None:
    name = late("sleep 1")
    with Guard(run_id, podman_environment):
        pass
    assert not runs(name)
    assert not container_exists(name, podman_environment)


def test_a_client_that_was_stopped_is_ended(
    late: Callable[..., str], podman_environment: dict[str, str]
) -> None:
    name = late("kill -STOP $$")
    assert await_clients(lambda argv: made_name(argv) == name, limit_s=0.1, grace_s=0.5) == 1
    assert not runs(name)
    assert not container_exists(name, podman_environment)


def test_a_start_that_takes_too_long_leaves_nothing_that_comes_later(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path, podman_environment: dict[str, str]
) -> None:
    # A client that does not heed SIGTERM, and whose work somebody else does when it is dead.
    script, real = tmp_path / "podman", shutil.which("podman")
    script.write_text(
        f'#!/bin/sh\n[ "$1" = run ] || exec {real} "$@"\n'
        'if [ -z "$LATER" ]; then LATER=1 "$0" "$@" & trap "" TERM; wait; fi\n'
        f'sleep 7\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    env = {**podman_environment, "PATH": f"{tmp_path}:{podman_environment['PATH']}"}
    container = Container(make_spec("sleep", "60"), env=env)
    with pytest.raises(PodmanError):
        container.start(timeout_s=0.3)
    assert not runs(container.spec.name)
    assert not container_exists(container.spec.name, podman_environment)
