from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.podman import ContainerSpec, run_argv
from understudy.actors.podman.argv import SECCOMP_PROFILE
from understudy.actors.podman.machine import Machine

ROOT_MACHINE = Machine(
    rootless=False,
    pure_cgroup_v2=True,
    systemd=True,
    hard_nofile=1 << 20,
    hard_nproc=1 << 20,
    may_raise_limits=True,
    selinux=False,
)
SPEC = ContainerSpec(
    name="understudy-r1-agent_000-2-1",
    image="localhost/understudy-agent:1.2.3",
    command=("claude", "-p", "--model=x"),
    home_dir=Path("/run/u/home"),
    work_dir=Path("/run/u/work"),
    socket_dir=Path("/run/u/sockets"),
    memory="1g",
    cpus="1.5",
    pids_limit=99,
    timeout_s=3600,
    labels={"understudy.owner_pid": "7"},
    env={"A": "b c", "EMPTY": ""},
    hostname="agent-000",
)


def argv(spec: ContainerSpec = SPEC, machine: Machine = ROOT_MACHINE, **changes: Any) -> list[str]:  # noqa: ANN401
    return run_argv(replace(spec, **changes), detach=True, pidfile=None, machine=machine)


@pytest.mark.parametrize(
    "flag",
    [
        "-d",
        "-i",
        "--rm",
        "--init",
        "--pull=never",
        "--log-driver=passthrough",
        "--network=none",
        "--no-hosts",
        "--http-proxy=false",
        "--ipc=private",
        "--user=1000:1000",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        f"--security-opt=seccomp={SECCOMP_PROFILE}",
        "--read-only",
        "--read-only-tmpfs=false",
        "--memory=1g",
        "--memory-swap=1g",
        "--cpus=1.5",
        "--pids-limit=99",
        "--timeout=3600",
        "--ulimit=core=0:0",
        "--entrypoint=",
        "--image-volume=ignore",
        "--sdnotify=ignore",
        "--env=HOME=/home/agent",
        "--env=A=b c",
        "--env=EMPTY=",
        "--hostname=agent-000",
    ],
)
def test_every_container_gets_the_whole_set_of_flags(flag: str) -> None:
    assert flag in argv()


def test_the_command_line_ends_with_the_image_and_the_command() -> None:
    assert argv()[:2] == ["podman", "run"]
    assert argv()[-4:] == [SPEC.image, "claude", "-p", "--model=x"]


def test_nothing_gives_back_what_was_taken() -> None:
    for word in ("--privileged", "--cap-add", "--device", "--pid=host", "--net=host", "unconfined"):
        assert not [flag for flag in argv() if word in flag]


def test_labels_say_what_the_name_says_and_whose_it_is() -> None:
    labels = {flag for flag in argv() if flag.startswith("--label=")}
    labels -= {flag for flag in labels if flag.startswith("--label=understudy.promise=")}
    assert labels == {
        "--label=understudy.run=r1",
        "--label=understudy.agent=agent_000",
        "--label=understudy.incarnation=2",
        "--label=understudy.owner_pid=7",
    }


def test_only_the_three_folders_are_mounted_and_the_sockets_read_only() -> None:
    assert [flag for flag in argv() if flag.startswith(("--mount", "-v"))] == [
        '--mount=type=bind,"source=/run/u/home",target=/home/agent,nosuid,nodev',
        '--mount=type=bind,"source=/run/u/work",target=/work,nosuid,nodev',
        '--mount=type=bind,"source=/run/u/sockets",target=/run/agent,ro,nosuid,nodev,noexec',
    ]


def test_a_read_only_workspace_is_mounted_so_and_no_socket_folder_is_no_mount() -> None:
    flags = argv(read_only_work=True, socket_dir=None)
    assert '--mount=type=bind,"source=/run/u/work",target=/work,ro,nosuid,nodev' in flags
    assert not [flag for flag in flags if "/run/agent" in flag]


def test_quotes_in_a_path_are_doubled_as_csv_wants_them() -> None:
    flags = argv(work_dir=Path('/a,"b":c'))
    assert '--mount=type=bind,"source=/a,""b"":c",target=/work,nosuid,nodev' in flags


def test_an_ordinary_user_becomes_the_agents_user_inside() -> None:
    keep_id = "--userns=keep-id:uid=1000,gid=1000"
    assert keep_id in argv(machine=replace(ROOT_MACHINE, rootless=True))
    assert not [flag for flag in argv() if flag.startswith("--userns")]


def test_limits_stay_below_the_callers_where_they_cannot_be_raised() -> None:
    small = replace(ROOT_MACHINE, may_raise_limits=False, hard_nofile=1000, hard_nproc=500)
    flags = argv(machine=small)
    assert {"--ulimit=nofile=1000:1000", "--ulimit=nproc=500:500"} <= set(flags)
    assert {"--ulimit=nofile=4096:4096", "--ulimit=nproc=16384:16384"} <= set(argv())


def test_a_limit_that_may_lack_is_left_out_only_where_it_cannot_be_kept() -> None:
    limited = {"--memory=1g", "--memory-swap=1g", "--cpus=1.5", "--pids-limit=99"}
    assert limited <= set(argv(missing_limits=("memory", "cpu", "pids")))
    lacking = replace(ROOT_MACHINE, unkept_limits=("memory", "cpu"))
    assert limited.intersection(argv(machine=lacking, missing_limits=("memory",))) == {
        "--cpus=1.5",
        "--pids-limit=99",
    }


def test_where_selinux_is_on_its_labels_are_left_as_they_are() -> None:
    flag = "--security-opt=label=disable"
    assert flag in argv(machine=replace(ROOT_MACHINE, selinux=True))
    assert flag not in argv()


def test_with_a_pid_file_the_id_is_written_beside_it() -> None:
    flags = run_argv(SPEC, detach=False, pidfile=Path("/x/c.pid"), machine=ROOT_MACHINE)
    assert {"--pidfile=/x/c.pid", "--cidfile=/x/c.cid"} <= set(flags)
    assert "-d" not in flags
    assert not [flag for flag in argv() if "pidfile" in flag]


# -- the filter of system calls ------------------------------------------------------------------


def allowed() -> dict[str, list[Any]]:
    """Each allowed call with the conditions under which it is."""
    profile = json.loads(SECCOMP_PROFILE.read_text(encoding="utf-8"))
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules: dict[str, list[Any]] = {}
    for rule in profile["syscalls"]:
        if rule["action"] == "SCMP_ACT_ALLOW":
            for name in rule["names"]:
                rules.setdefault(name, []).append(rule.get("args", []))
    return rules


@pytest.mark.parametrize(
    "name",
    [
        *("ptrace", "process_vm_readv", "mount", "umount2", "unshare", "setns", "pivot_root"),
        *("keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
        *("open_by_handle_at", "kcmp", "personality", "clone3", "socketcall", "init_module"),
    ],
)
def test_a_call_that_no_agent_needs_is_not_allowed(name: str) -> None:
    assert name not in allowed()


def test_sockets_are_of_the_families_that_programs_use_and_of_no_other() -> None:
    families = {args[0]["value"] for args in allowed()["socket"]}
    assert all(args[0]["op"] == "SCMP_CMP_EQ" for args in allowed()["socket"])
    assert families == {1, 2, 10, 16}  # Unix, internet, netlink; not 38 (AF_ALG), not 40 (vsock)


def test_new_namespaces_cannot_be_cloned() -> None:
    [[condition]] = allowed()["clone"]
    assert (condition["op"], condition["valueTwo"]) == ("SCMP_CMP_MASKED_EQ", 0)
    for new_namespace in (0x00020000, 0x02000000, 0x10000000, 0x20000000, 0x40000000):
        assert condition["value"] & new_namespace


@pytest.mark.parametrize("name", ["read", "execve", "futex", "epoll_wait", "rseq", "seccomp"])
def test_calls_that_every_program_makes_are_allowed(name: str) -> None:
    assert allowed()[name] == [[]]
