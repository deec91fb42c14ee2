from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from understudy.actors.podman import Container, container_name, run_podman, sweep
from understudy.actors.podman.removal import container_exists

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = pytest.mark.podman

STORE = "UNDERSTUDY_TEST_STORE"


@pytest.fixture
def orphan(podman_environment: dict[str, str], agent_image: str) -> Generator[Callable[..., str]]:
    """A container whose owner has died without a guard; its name."""
    names: list[str] = []

    def make(name: str, *options: str, env: dict[str, str] | None = None) -> str:
        args = ("run", "-d", "--rm", "--network=none", f"--name={name}", *options)
        ulimits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
        image = agent_image if env is None else "localhost/tiny"
        run_podman(
            *(*args, *ulimits, image, "sleep", "600"),
            timeout_s=60,
            env=env or podman_environment,
        )
        names.append(name)
        return name

    yield make
    for name in names:
        run_podman("rm", "-f", "-i", "-t", "0", name, timeout_s=60, env=podman_environment)


def dead_owner() -> tuple[str, str]:
    """The labels of a process that was, and is no more."""
    code = (
        "from understudy.actors.podman.names import owner_labels; print(*owner_labels().values())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid, start = said.stdout.split()
    return f"--label=understudy.owner_pid={pid}", f"--label=understudy.owner_start={start}"


def test_the_containers_of_a_dead_run_are_removed_and_its_id_is_told(
    orphan: Callable[..., str], run_id: str, podman_environment: dict[str, str]
) -> None:
    label = f"--label=understudy.run={run_id}"
    names = [
        orphan(container_name(run_id, "agent_000", 1, 1), label, *dead_owner()),
        orphan(container_name(run_id, "agent_001", 1, 1), label),
    ]
    assert sweep(podman_environment, lambda run: run != run_id) == [run_id]
    assert not any(container_exists(name, podman_environment) for name in names)
    assert sweep(podman_environment, lambda run: run != run_id) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(("user", "is_ours"), [(0, True), (65534, False)])
def test_another_users_containers_are_not_looked_at(
    run_id: str, podman_environment: dict[str, str], user: int, is_ours: bool
) -> None:
    # A monitor of a container that our podman does not know; it ends when its input does.
    argv = ["conmon", "-c", "read line", "-n", container_name(run_id, "agent_000", 1, 1)]
    asked: list[str] = []

    def is_alive(run: str) -> bool:
        asked.append(run)
        return True

    with subprocess.Popen(argv, executable="/bin/sh", user=user, stdin=subprocess.PIPE):
        assert sweep(podman_environment, is_alive) == []
    assert (run_id in asked) == is_ours


def test_a_run_that_is_alive_keeps_its_containers(
    orphan: Callable[..., str], run_id: str, podman_environment: dict[str, str]
) -> None:
    name = container_name(run_id, "agent_000", 1, 1)
    orphan(name, f"--label=understudy.run={run_id}")
    asked: list[str] = []

    def is_alive(run: str) -> bool:
        asked.append(run)
        return True

    assert sweep(podman_environment, is_alive) == []
    assert run_id in asked
    assert container_exists(name, podman_environment)


def test_a_container_whose_owner_lives_is_kept_though_its_run_is_not_known(
    start: Callable[..., Container], run_id: str, podman_environment: dict[str, str]
) -> None:
    container = start("cat")
    assert sweep(podman_environment, lambda run: run != run_id) == []
    assert container.alive()


def test_containers_of_others_are_not_touched_and_no_path_is_taken_for_a_run(
    orphan: Callable[..., str], run_id: str, podman_environment: dict[str, str]
) -> None:
    mine = {
        orphan(f"understudy-database-{run_id}"),
        orphan(f"foreign-{run_id}", "--label=understudy.run=../../etc"),
    }
    swept = sweep(podman_environment, lambda run: run not in {"../../etc", run_id, "database"})
    assert swept == []
    assert all(container_exists(name, podman_environment) for name in mine)


# -- wreckage ------------------------------------------------------------------------------------


@pytest.fixture
def private_store(podman_environment: dict[str, str]) -> Generator[dict[str, str]]:
    """A store of our own with a small image, so that its database can be taken away."""
    # Podman wants the path of a run root to have at most 50 characters.
    root = Path(tempfile.mkdtemp(dir="/tmp", prefix="us-store-"))
    conf = root / "storage.conf"
    conf.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{root}/store"\nrunroot = "{root}/run"\n'
    )
    env = {**podman_environment, "CONTAINERS_STORAGE_CONF": str(conf), STORE: str(root)}
    listed = subprocess.run(
        ["sh", "-c", "which sleep; ldd $(which sleep) | grep -o '/[^ ]*'"],
        capture_output=True,
        text=True,
        check=True,
    )
    archive = root / "tiny.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for file in listed.stdout.split():
            tar.add(file)
    run_podman("import", "--quiet", str(archive), "localhost/tiny", timeout_s=60, env=env)
    yield env
    run_podman("rm", "--all", "--force", "--time=0", timeout_s=60, env=env)
    shutil.rmtree(root)


def test_a_container_that_podman_has_lost_is_ended_and_its_storage_freed(
    private_store: dict[str, str],
    run_id: str,
    orphan: Callable[..., str],
    eventually: Callable[..., bool],
) -> None:
    name = orphan(container_name(run_id, "agent_000", 1, 1), env=private_store)
    form = "--format={{.State.Pid}} {{.State.ConmonPid}} {{.Id}}"
    shown = run_podman("inspect", form, name, timeout_s=30, env=private_store).stdout.split()
    pid, conmon, container_id = int(shown[0]), int(shown[1]), shown[2]
    # What a podman client leaves that is killed at the wrong moment: no record, but all the rest.
    for database in Path(private_store[STORE], "store", "libpod").glob("*bolt_state.db"):
        database.unlink()
    assert not container_exists(name, private_store)
    assert psutil.pid_exists(pid)

    assert sweep(private_store, lambda run: run != run_id) == [run_id]

    assert eventually(lambda: not psutil.pid_exists(pid) and not psutil.pid_exists(conmon))
    listed = run_podman("ps", "--all", "--external", timeout_s=30, env=private_store).stdout
    assert name not in listed
    assert not Path("/run/runc", container_id).exists()


def test_a_container_that_goes_away_while_podman_lists_them_does_not_stop_the_sweep(
    tmp_path: Path, podman_environment: dict[str, str], run_id: str
) -> None:
    # What podman 4.3 says then, from a script that says it twice before it calls the real one.
    real = shutil.which("podman")
    script = tmp_path / "podman"
    script.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = ps ] && [ ! -e {tmp_path}/2 ]; then\n'
        f"  if [ -e {tmp_path}/1 ]; then touch {tmp_path}/2; else touch {tmp_path}/1; fi\n"
        "  echo 'Error: determining buildah container for container 12: x' >&2; exit 125\n"
        f'fi\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    env = {**podman_environment, "PATH": f"{tmp_path}:{podman_environment['PATH']}"}
    assert sweep(env, lambda run: run != run_id) == []
    assert (tmp_path / "2").exists()
