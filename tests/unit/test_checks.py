from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy.actors.errors import MachineNotReady
from understudy.actors.podman import Check, install_commands, run_checks
from understudy.actors.podman.limits import LIMIT_NAMES, unkept_limits
from understudy.actors.podman.machine import Machine, refuse_missing_limits
from understudy.actors.podman.packages import package_manager
from understudy.actors.podman.rules import (
    check_cgroup_manager,
    check_cgroups,
    check_disk,
    check_isolation,
    check_memory_limit,
    check_rlimits,
    check_runtime,
    check_seccomp,
    check_storage,
    check_user_ids,
    check_version,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MACHINE = Machine(
    rootless=False,
    pure_cgroup_v2=True,
    systemd=True,
    hard_nofile=1 << 20,
    hard_nproc=30_000,
    may_raise_limits=True,
    selinux=False,
)
ROOTLESS = replace(MACHINE, rootless=True)
UNLIMITED = replace(ROOTLESS, pure_cgroup_v2=False, unkept_limits=LIMIT_NAMES)
NO_CPU = replace(ROOTLESS, unkept_limits=("cpu",))
HYBRID = replace(MACHINE, pure_cgroup_v2=False, systemd=False)


def info(**host: Any) -> dict[str, Any]:  # noqa: ANN401
    usual: dict[str, Any] = {
        "ociRuntime": {"name": "crun", "path": "/usr/bin/crun"},
        "cgroupVersion": "v2",
        "cgroupControllers": ["cpuset", "cpu", "io", "memory", "pids"],
        "cgroupManager": "systemd",
        "idMappings": {"uidmap": [{"size": 1}, {"size": 65536}]},
        "security": {"seccompEnabled": True},
    }
    return {"host": {**usual, **host}, "store": {"graphDriverName": "overlay"}}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("podman version 4.3.1\n", "ok"),
        ("podman version 5.0.0-rc1", "ok"),
        ("podman version 4.10.0", "ok"),
        ("podman version 4.2.9", "fail"),
        ("podman version 3.4.4", "fail"),
        ("what is a version?", "fail"),
    ],
)
def test_a_podman_older_than_4_3_is_too_old(said: str, status: str) -> None:
    assert check_version(said).status == status


@pytest.mark.parametrize(
    ("check", "status", "told"),
    [
        (check_runtime(info(), MACHINE), "ok", "crun"),
        (check_runtime(info(), HYBRID), "fail", "version 1"),
        (check_runtime(info(ociRuntime={"name": "runc", "path": "/r"}), HYBRID), "ok", "runc"),
        (check_runtime(info(ociRuntime=None), MACHINE), "fail", "no runtime"),
        (check_cgroups(info(), ROOTLESS), "ok", "version 2"),
        (check_cgroups(info(cgroupVersion="v1"), UNLIMITED), "fail", "no limit of memory, pids"),
        (check_cgroups(info(cgroupVersion="v1"), UNLIMITED, ["cpu"]), "fail", "no limit of memory"),
        (check_cgroups(info(cgroupVersion="v1"), UNLIMITED, LIMIT_NAMES), "warn", "allows it"),
        (check_cgroups(info(cgroupVersion="v1", cgroupControllers=[]), HYBRID), "ok", "version 1"),
        (check_cgroups(info(), NO_CPU), "fail", "no limit of cpu"),
        (check_cgroup_manager(info(), MACHINE), "ok", "systemd"),
        (check_cgroup_manager(info(), HYBRID), "fail", "does not run"),
        (check_cgroup_manager(info(cgroupManager="cgroupfs"), HYBRID), "ok", "cgroupfs"),
        (check_user_ids(info(idMappings=None), MACHINE, "root"), "ok", "root"),
        (check_user_ids(info(), ROOTLESS, "eve"), "ok", "eve"),
        (check_user_ids(info(idMappings={"uidmap": [{}]}), ROOTLESS, "eve"), "fail", "subuid"),
        (check_storage(info()), "ok", "overlay"),
        (check_storage({"store": {"graphDriverName": "vfs"}}), "warn", "vfs"),
        (check_seccomp(info()), "ok", "on"),
        (check_seccomp(info(security={"seccompEnabled": False})), "fail", "every system call"),
        (check_rlimits(MACHINE, conf_in_use=False), "ok", "1048576"),
        (
            check_rlimits(replace(MACHINE, may_raise_limits=False), conf_in_use=True),
            "ok",
            "private",
        ),
        (
            check_rlimits(replace(MACHINE, may_raise_limits=False), conf_in_use=False),
            "warn",
            "CONTAINERS_CONF",
        ),
        (check_disk(50 << 30, "/c"), "ok", "51200 MB"),
        (check_disk(100 << 20, "/c"), "warn", "100 MB left in /c"),
        (check_memory_limit("268435456\n", 256 << 20), "ok", "kernel"),
        (check_memory_limit("max\n", 256 << 20), "fail", "has max"),
        (check_memory_limit("", 256 << 20), "fail", "has none"),
    ],
)
def test_each_finding_is_judged_and_told(check: Check, status: str, told: str) -> None:
    assert check.status == status
    assert told in check.detail
    assert bool(check.mend) == (status != "ok")


LOCKED = "Uid:\t1000\t1000\nNoNewPrivs:\t1\nSeccomp:\t2\nCapEff:\t0000000000000000\n"


@pytest.mark.parametrize(
    ("status", "interfaces", "wrong"),
    [
        (LOCKED, "lo\n", ""),
        (LOCKED, "lo\neth0\n", "network"),
        (LOCKED.replace("CapEff:\t0", "CapEff:\t8"), "lo", "CapEff"),
        (LOCKED.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"), "lo", "NoNewPrivs"),
        (LOCKED.replace("Seccomp:\t2", "Seccomp:\t0"), "lo", "Seccomp"),
        (LOCKED.replace("1000", "0"), "lo", "Uid"),
        ("", "", "network"),
    ],
)
def test_a_container_that_is_not_locked_down_is_found_out(
    status: str, interfaces: str, wrong: str
) -> None:
    check = check_isolation(status, interfaces)
    assert check.status == ("fail" if wrong else "ok")
    assert wrong in check.detail


# -- the whole, with a podman that is a script ---------------------------------------------------


@pytest.fixture
def podman_is(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def make(body: str) -> dict[str, str]:
        program = tmp_path / "podman"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin", "CONTAINERS_CONF": "/dev/null"}

    return make


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_without_podman_that_is_all_that_is_said_of_it(tmp_path: Path) -> None:
    checks = by_name(run_checks(tmp_path, {"PATH": str(tmp_path)}, machine=MACHINE))
    assert checks["podman"].status == "fail"
    assert "podman" in checks["podman"].packages
    assert "image" not in checks
    assert checks["git"].packages == ("git",)


def test_a_podman_that_is_too_old_is_told_with_what_else_is_wrong(
    tmp_path: Path, podman_is: Callable[[str], dict[str, str]]
) -> None:
    env = podman_is(
        'case "$*" in --version) echo podman version 3.4.4;; '
        '"image exists"*) exit 1;; *) echo "Error: no such thing" >&2; exit 125;; esac'
    )
    checks = by_name(run_checks(tmp_path, env, image="localhost/x", machine=MACHINE))
    assert "3.4.4 is too old" in checks["podman"].detail
    assert checks["podman info"].detail == "Error: no such thing"
    assert checks["image"].mend == "run `understudy image build`"


@pytest.mark.parametrize("answer", ["", "[]", '{"host": {}}', "not json"])
def test_an_answer_of_podman_that_is_not_understood_is_told(
    answer: str, tmp_path: Path, podman_is: Callable[[str], dict[str, str]]
) -> None:
    env = podman_is(f"case \"$1\" in info) echo '{answer}';; image) exit 1;; esac")
    checks = by_name(run_checks(tmp_path, env, machine=MACHINE))
    assert "not understood" in checks["podman info"].detail


# -- packages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "commands"),
    [
        (
            "apt-get",
            [
                ["apt-get", "update", "-q"],
                ["apt-get", "install", "-y", "-q", "--no-install-recommends", "podman", "uidmap"],
            ],
        ),
        ("dnf", [["dnf", "install", "-y", "-q", "podman", "shadow-utils"]]),
        ("zypper", [["zypper", "--non-interactive", "install", "podman", "shadow"]]),
        ("pacman", [["pacman", "-Sy", "--noconfirm", "--needed", "podman", "shadow"]]),
    ],
)
def test_packages_are_installed_the_systems_own_way(
    program: str, commands: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / program).write_text("")
    (tmp_path / program).chmod(0o755)
    manager = package_manager({"PATH": str(tmp_path)})
    assert install_commands(["podman", "uidmap"], manager, is_root=True) == commands
    as_user = install_commands(["podman", "uidmap"], manager, is_root=False)
    assert as_user == [["sudo", *command] for command in commands]


def test_an_unknown_system_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineNotReady, match="podman, runc"):
        install_commands(["podman", "runc"])


def test_a_limit_that_cannot_be_kept_is_refused_unless_it_may_lack() -> None:
    refuse_missing_limits(MACHINE, ())
    refuse_missing_limits(UNLIMITED, ("cpu", "memory", "pids"))
    with pytest.raises(MachineNotReady, match="cannot limit memory here") as caught:
        refuse_missing_limits(UNLIMITED, ("cpu", "pids"))
    assert "agent.allow_missing_limits: [memory, pids, cpu]" in str(caught.value)
    with pytest.raises(MachineNotReady, match="Delegate=cpu memory pids"):
        refuse_missing_limits(NO_CPU, ())


def test_which_limits_an_ordinary_user_can_have_is_read_off_the_control_groups(
    tmp_path: Path,
) -> None:
    def unkept(*, rootless: bool = True) -> tuple[str, ...]:
        return unkept_limits(rootless=rootless, root=tmp_path, proc=tmp_path / "proc")

    process = tmp_path / "proc" / str(os.getpid())
    process.mkdir(parents=True)
    (process / "cgroup").write_text("0::/session\n")
    assert unkept(rootless=False) == ()
    assert unkept() == ("memory", "pids", "cpu")  # version 1, or hybrid
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert unkept() == ("memory", "pids", "cpu")
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "cgroup.controllers").write_text("memory pids\n")
    assert unkept() == ("cpu",)
    user = tmp_path / f"user.slice/user-{os.geteuid()}.slice/user@{os.geteuid()}.service"
    user.mkdir(parents=True)
    (user / "cgroup.controllers").write_text("cpu memory pids\n")
    assert unkept() == ()
