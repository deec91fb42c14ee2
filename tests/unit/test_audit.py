from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.podman import ContainerSpec
from understudy.actors.podman.argv import SECCOMP_PROFILE
from understudy.actors.podman.audit import Finding, compare, exit_code, sockets_finding
from understudy.actors.podman.canary import Search
from understudy.actors.podman.egress_probe import egress_finding
from understudy.actors.podman.facts import (
    CAPABILITY_SETS,
    EnvFact,
    Facts,
    MountFact,
    ProcessFact,
    parse_mountinfo,
    parse_status,
)
from understudy.actors.podman.machine import Machine
from understudy.actors.podman.probe import PROBES, expected_errno, probe_command, probe_finding
from understudy.actors.podman.promise import Promise, promise_of, size_bytes

MACHINE = Machine(
    rootless=False,
    pure_cgroup_v2=True,
    systemd=True,
    hard_nofile=1 << 20,
    hard_nproc=1 << 20,
    may_raise_limits=True,
    selinux=False,
)
SPEC = ContainerSpec(
    name="understudy-r1-agent_000-1-1",
    image="i",
    command=("claude", "-p"),
    home_dir=Path("/run/u/home"),
    work_dir=Path("/run/u/work"),
    socket_dir=Path("/run/u/sockets"),
    memory="1g",
    cpus="1.5",
    env={"A": "b"},
)
PROMISE = promise_of(SPEC, MACHINE)
INIT = ProcessFact(
    pid=77,
    name="podman-init",
    uids=(1000,) * 4,
    gids=(1000,) * 4,
    groups=(1000,),
    capabilities=dict.fromkeys(CAPABILITY_SETS, 0),
    no_new_privs=True,
    seccomp=2,
)
MOUNTS = (
    MountFact(1, "/", frozenset({"ro", "relatime"}), "overlay"),
    MountFact(2, "/proc", frozenset({"rw", "nosuid", "nodev", "noexec"}), "proc"),
    MountFact(3, "/proc/keys", frozenset({"rw"}), "tmpfs"),
    MountFact(4, "/proc/sys", frozenset({"ro"}), "proc"),
    MountFact(5, "/tmp", frozenset({"rw", "nosuid", "nodev"}), "tmpfs", 256 << 20),
    MountFact(6, "/dev/shm", frozenset({"rw", "nosuid", "nodev", "noexec"}), "tmpfs", 16 << 20),
    MountFact(7, "/home/agent", frozenset({"rw", "nosuid", "nodev"}), "ext4", same_source=True),
    MountFact(8, "/work", frozenset({"rw", "nosuid", "nodev"}), "ext4", same_source=True),
    MountFact(
        9, "/run/agent", frozenset({"ro", "nosuid", "nodev", "noexec"}), "ext4", same_source=True
    ),
)
FACTS = Facts(
    mounts=MOUNTS,
    present=frozenset({"/proc/keys", "/proc/sys"}),
    processes=(INIT,),
    shared_namespaces=(),
    limits={
        "memory": 1 << 30, "swap": 0, "pids": 256, "cpu": 1.5,
        "nofile": 4096, "nproc": 16384, "core": 0,
    },
    interfaces=("lo",),
    routes=("lo",),
    environments=(EnvFact("podman-init (77)", {"A": "b", "HOME": "/home/agent", "LANG": "C"}),),
    command=("claude", "-p"),
    devices=("/dev/null", "/dev/pts/0"),
    descriptors=(),
)  # fmt: skip


def findings(promise: Promise = PROMISE, **changes: Any) -> list[Finding]:  # noqa: ANN401
    return compare(promise, replace(FACTS, **changes), ["LANG"])


def bad(lines: list[Finding]) -> dict[str, str]:
    return {line.what: line.found for line in lines if line.verdict != "ok"}


def mounted(target: str, **changes: Any) -> tuple[MountFact, ...]:  # noqa: ANN401
    return tuple(replace(m, **changes) if m.target == target else m for m in MOUNTS)


def added(target: str, *options: str, kind: str = "ext4") -> tuple[MountFact, ...]:
    return (*MOUNTS, MountFact(99, target, frozenset(options), kind))


def process(**changes: Any) -> tuple[ProcessFact, ...]:  # noqa: ANN401
    return (INIT, replace(INIT, pid=78, name="node", **changes))


def test_what_is_as_promised_is_in_order() -> None:
    assert bad(findings()) == {}
    assert exit_code(findings()) == 0


OPEN = frozenset({"rw"})


@pytest.mark.parametrize(
    ("changes", "line", "found"),
    [
        ({"mounts": added("/mnt", "ro")}, "other mounts", "/mnt is mounted (ext4)"),
        ({"mounts": mounted("/proc", options=OPEN)}, "other mounts",
         "/proc lacks nodev, noexec, nosuid"),
        ({"mounts": added("/sys/fs/cgroup/memory", "rw", kind="cgroup")}, "other mounts",
         "/sys/fs/cgroup/memory lacks nodev, noexec, nosuid, ro"),
        ({"mounts": mounted("/home/agent", same_source=False)}, "folders",
         "/home/agent is not the promised folder"),
        ({"mounts": mounted("/work", options=OPEN)}, "folders", "/work lacks nodev, nosuid"),
        ({"mounts": mounted("/work", options=frozenset({"ro", "nosuid", "nodev"}))}, "folders",
         "/work is read-only"),
        ({"mounts": added("/work", "rw", "nosuid", "nodev")}, "folders",
         "/work is not the promised folder"),
        ({"mounts": MOUNTS[:-1]}, "folders", "/run/agent is not mounted"),
        ({"mounts": mounted("/tmp", size_bytes=None)}, "writable",
         "/tmp has a size of None where 268435456 bytes are promised"),
        ({"present": frozenset({"/proc/kcore"})}, "/proc and /sys", "/proc/kcore is open"),
        ({"present": frozenset({"/proc/irq"})}, "/proc and /sys", "/proc/irq can be written to"),
        ({"processes": process(capabilities={"CapBnd": 8192})}, "capabilities",
         "node (78) has CapBnd 2000"),
        ({"processes": process(no_new_privs=False)}, "new privileges", "node (78) may gain some"),
        ({"processes": process(seccomp=0)}, "seccomp", "node (78) is in mode 0"),
        ({"processes": process(uids=(1000, 0, 1000, 1000))}, "user",
         "node (78) has user ids 0,1000"),
        ({"processes": process(gids=(0,) * 4)}, "user", "node (78) has group ids 0"),
        ({"processes": process(groups=(1000, 27))}, "user", "node (78) is in groups 27,1000"),
        ({"shared_namespaces": ("pid",)}, "namespaces", "pid is shared with the machine"),
        ({"interfaces": ("lo", "eth0")}, "network", "interface eth0"),
        ({"routes": ("eth0",)}, "network", "a route by eth0"),
        ({"devices": ("/dev/null", "/dev/kvm")}, "devices", "/dev/kvm"),
        ({"descriptors": ("77: 5 -> /etc",)}, "open files", "77: 5 -> /etc"),
        ({"command": ("claude",)}, "command", "claude with other arguments"),
        ({"limits": {**FACTS.limits, "memory": None}}, "limit of memory", "none"),
        ({"limits": {**FACTS.limits, "pids": 99.0}}, "limit of pids", "99 processes"),
        ({"environments": (EnvFact("x", {"LD_PRELOAD": "y"}),)}, "environment",
         "LD_PRELOAD is set"),
    ],
)  # fmt: skip
def test_one_thing_that_is_not_as_promised_is_one_line(
    changes: dict[str, Any], line: str, found: str
) -> None:
    assert bad(findings(**changes)) == {line: found}
    assert exit_code(findings(**changes)) == 1


def test_a_root_that_can_be_written_to_is_two_lines() -> None:
    lines = bad(findings(mounts=mounted("/", options=OPEN)))
    assert lines == {"other mounts": "/ lacks ro", "writable": "/ can be written to"}


def test_of_many_faults_the_first_are_shown_and_the_rest_counted() -> None:
    lines = bad(findings(interfaces=tuple(f"eth{number}" for number in range(6))))
    assert lines["network"].endswith("interface eth3 and 2 more")


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("GITHUB_TOKEN", "x", True),
        ("DB_PASSWORD", "x", True),
        ("ANTHROPIC_API_KEY", "placeholder", False),
        ("SOME_KEY", "", False),
        ("HARMLESS", "sk-ant-api03-abc", True),
        ("HARMLESS", "-----BEGIN OPENSSH PRIVATE KEY-----", True),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "32000", False),
    ],
)
def test_secrets_are_told_by_name_and_value_and_their_value_is_not_shown(
    name: str, value: str, is_secret: bool
) -> None:
    tool = EnvFact("node (78)", {name: value})
    lines = bad(findings(environments=(*FACTS.environments, tool)))
    assert lines == ({"secrets in the environment": f"{name} in node (78)"} if is_secret else {})


def test_a_limit_that_the_kernel_does_not_tell_is_unknown() -> None:
    limits = {name: value for name, value in FACTS.limits.items() if name != "swap"}
    assert bad(findings(limits=limits)) == {"limit of swap": "the kernel does not tell"}
    assert exit_code(findings(limits=limits)) == 3
    assert exit_code(findings(limits=limits, interfaces=("eth0",))) == 1


def test_a_limit_that_may_lack_is_in_order_without_and_differs_with_another_value() -> None:
    allowed = replace(PROMISE, missing_limits=("memory",))
    assert bad(findings(allowed, limits={**FACTS.limits, "memory": None, "swap": None})) == {}
    assert "limit of memory" in bad(findings(allowed, limits={**FACTS.limits, "memory": 5.0}))


def test_sockets_that_lead_out_are_told_from_those_of_the_container() -> None:
    seen = ["/run/agent/api.sock", "/tmp/own", "/work/mine", "/work/theirs", "/run/agent/x"]
    finding = sockets_finding(PROMISE, seen, {"/run/u/work/theirs", "/tmp/own"})
    assert finding.found == "/run/agent/x; /work/theirs"
    assert sockets_finding(PROMISE, seen[:3], ()).verdict == "ok"


def test_a_way_out_is_promised_by_its_hosts_and_its_socket_may_be_there() -> None:
    seen = ["/run/agent/api.sock", "/run/egress/egress.sock"]
    assert sockets_finding(PROMISE, seen, ()).found == "/run/egress/egress.sock"
    way = replace(PROMISE, egress_hosts=("a.org:443",))
    assert sockets_finding(way, seen, ()).verdict == "ok"
    assert sockets_finding(way, [*seen, "/run/egress/x"], ()).found == "/run/egress/x"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("403\n", "ok"), ("200\n", "DIFFERS"), ("no answer: x", "unknown"), ("", "unknown")],
)
def test_a_way_out_that_lets_anybody_through_is_told(said: str, verdict: str) -> None:
    way = replace(PROMISE, egress_hosts=("a.org:443",))
    assert egress_finding(way, said).verdict == verdict
    assert egress_finding(PROMISE, "").verdict == "ok"


def test_a_promise_crosses_as_a_label() -> None:
    assert Promise.from_label(PROMISE.to_label()) == PROMISE


@pytest.mark.parametrize("text", ["", "7", "{}", '{"version":0}', '{"version":1,"mounts":[]}'])
def test_a_damaged_label_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"promise|another version"):
        Promise.from_label(text)


def test_an_ordinary_users_containers_are_promised_to_be_theirs() -> None:
    promise = promise_of(SPEC, replace(MACHINE, rootless=True))
    assert (promise.uid, promise.gid) == (os.geteuid(), os.getegid())
    assert (PROMISE.uid, PROMISE.gid) == (1000, 1000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("2g", 2 << 30), ("512M", 512 << 20), ("7", 7), ("9b", 9), ("1k", 1024)),
        *(("1.5GiB", 3 << 29), ("2q", 0), ("", 0)),
    ],
)
def test_sizes_are_podmans(text: str, size: int) -> None:
    assert size_bytes(text) == size


# -- what the kernel writes ----------------------------------------------------------------------


def test_mounts_are_read_with_their_options_and_escapes() -> None:
    text = (
        "118 65 0:53 / / ro,relatime - overlay overlay rw,lowerdir=/a\n"
        "123 118 0:58 / /tmp rw,nosuid shared:1 - tmpfs tmpfs rw,size=262144k\n"
        "70 120 0:62 / /proc/a\\040b rw - tmpfs tmpfs ro\n"
    )
    root, tmp, odd = parse_mountinfo(text, {"/": True})
    assert (root.options, root.same_source) == (frozenset({"ro", "relatime"}), True)
    assert (tmp.kind, tmp.size_bytes, tmp.same_source) == ("tmpfs", 256 << 20, None)
    assert odd.target == "/proc/a b"
    assert "ro" in odd.options


def test_the_rights_of_a_process_are_read() -> None:
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    fact = parse_status(5, text)
    assert fact.uids[1] == os.geteuid()
    assert set(fact.groups) >= set(os.getgroups())
    assert set(fact.capabilities) == set(CAPABILITY_SETS)


# -- the filter ----------------------------------------------------------------------------------

PROFILE: dict[str, Any] = json.loads(SECCOMP_PROFILE.read_text(encoding="utf-8"))
AS_PROMISED = [expected_errno(PROFILE, call, args) for _, call, args in PROBES]


@pytest.mark.parametrize(
    ("call", "args", "errno"),
    [
        ("socket", (1, 1, 0), 0),
        ("socket", (16, 3, 0), 0),
        ("socket", (16, 3, 9), 38),
        ("socket", (38, 5, 0), 38),
        ("socket", (40, 1, 0), 38),
        ("clone", (0x10000000,), 38),
        ("ptrace", (0, 0, 0, 0), 1),
        ("clone3", (0, 0), 38),
        ("no_such_call", (), 38),
    ],
)
def test_the_profile_says_what_a_call_gives(call: str, args: tuple[int, ...], errno: int) -> None:
    assert expected_errno(PROFILE, call, args) == errno


def test_tries_that_go_as_the_list_has_it_are_in_order() -> None:
    assert probe_finding(PROFILE, AS_PROMISED).verdict == "ok"
    # A kernel without IPv6 refuses the family for a reason of its own.
    no_ipv6 = [
        97 if name == "AF_INET6" else e for (name, *_), e in zip(PROBES, AS_PROMISED, strict=True)
    ]
    assert probe_finding(PROFILE, no_ipv6).verdict == "ok"


@pytest.mark.parametrize("name", [probe[0] for probe in PROBES])
def test_any_try_that_goes_otherwise_is_told(name: str) -> None:
    names = [probe[0] for probe in PROBES]
    at = names.index(name)
    other = [*AS_PROMISED]
    other[at] = 1 if AS_PROMISED[at] == 0 else 0
    finding = probe_finding(PROFILE, other)
    assert finding.verdict == "DIFFERS"
    assert finding.found.startswith(f"{name}: ")


def test_the_numbers_of_calls_are_known_for_both_architectures_of_the_profile() -> None:
    for architecture in ("x86_64", "aarch64"):
        command = probe_command(architecture)
        assert command is not None
        assert len(json.loads(command[-1])) == len(PROBES)
    assert probe_command("riscv64") is None


# -- the canary ----------------------------------------------------------------------------------

SECRET = b"sk-canary-0123456789"


def test_the_secret_is_found_wherever_it_stands_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * ((1 << 20) - 3) + SECRET)
    search = Search([SECRET])
    search.look_below(str(tmp_path))
    assert search.places == ["/a/file"]
    assert SECRET.decode() not in repr(search)
    assert search.finding().verdict == "DIFFERS"


def test_links_pipes_and_holes_are_passed_by(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(SECRET)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "folder").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe")
    with (inside / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    search = Search([SECRET])
    search.look_below(str(inside))
    assert (search.places, search.unread) == ([], [])
    assert search.searched_bytes <= 1 << 20


def test_what_was_not_read_to_its_end_is_not_called_clean(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"y" * (2 << 20))
    search = Search([SECRET], max_bytes=1 << 20)
    search.look_below(str(tmp_path))
    assert search.finding().verdict == "unknown"


def test_without_a_key_there_is_none_to_find_but_an_unknown_one_is_unknown() -> None:
    assert Search([]).finding().verdict == "ok"
    assert Search([]).finding(known=False).verdict == "unknown"
