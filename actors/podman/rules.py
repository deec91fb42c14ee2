"""What podman and the kernel say about themselves, judged: one pure function for each check."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from .machine import limits_mend

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .machine import Machine

# 4.3 is the first with keep-id:uid=,gid=, without which rootless agents do not own their files.
MINIMUM_PODMAN = (4, 3)
_MEGABYTE = 1 << 20
_LITTLE_DISK_BYTES = 2 << 30


@dataclass(frozen=True)
class Check:
    """One thing a fleet needs of the machine.

    Attributes:
        name: what was looked at.
        status: "fail" stops a fleet, "warn" costs it speed or safety.
        detail: what was found.
        mend: what to do about it, or "".
        packages: Debian's names of the packages that mend it.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    mend: str = ""
    packages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {**asdict(self), "packages": list(self.packages)}


Info = dict[str, Any]


def check_version(said: str) -> Check:
    """`podman --version`."""
    found = re.search(r"(\d+)\.(\d+)(\.\d+)?", said)
    if found is None:
        return Check("podman", "fail", f"`podman --version` says {said.strip()[:80]!r}")
    if (int(found[1]), int(found[2])) < MINIMUM_PODMAN:
        wanted = ".".join(map(str, MINIMUM_PODMAN))
        detail = f"version {found[0]} is too old; {wanted} is the first that works"
        return Check("podman", "fail", detail, f"upgrade podman to {wanted} or newer")
    return Check("podman", "ok", f"version {found[0]}")


def check_runtime(info: Info, machine: Machine) -> Check:
    """The program that makes containers, and whether it can live with the control groups here."""
    runtime: Mapping[str, Any] = info["host"].get("ociRuntime") or {}
    name, path = str(runtime.get("name", "")), str(runtime.get("path", ""))
    if not name or not path:
        return Check("runtime", "fail", "podman finds no runtime", "install runc", ("runc",))
    if name == "crun" and not machine.pure_cgroup_v2:
        detail = "crun refuses control groups of version 1 and hybrid ones"
        mend = 'install runc, and set runtime = "runc" in the containers.conf that you use'
        return Check("runtime", "fail", detail, mend, ("runc",))
    return Check("runtime", "ok", f"{name} at {path}")


def check_cgroups(info: Info, machine: Machine, allowed: Collection[str] = ()) -> Check:
    """Whether limits of memory, CPU and processes can be set; those allowed to lack need not."""
    number = str(info["host"].get("cgroupVersion", "unknown")).lstrip("v")
    lacking = machine.unkept_limits
    if not lacking:
        return Check("control groups", "ok", f"version {number}")
    detail = f"version {number}, with which an ordinary user's containers have no limit of "
    detail += ", ".join(lacking)
    if set(lacking) <= set(allowed):
        detail += "; agent.allow_missing_limits allows it"
        return Check("control groups", "warn", detail, limits_mend(machine))
    return Check("control groups", "fail", detail, limits_mend(machine))


def check_cgroup_manager(info: Info, machine: Machine) -> Check:
    """Who makes the control groups."""
    manager = str(info["host"].get("cgroupManager", "unknown"))
    if manager == "systemd" and not machine.systemd:
        mend = 'set cgroup_manager = "cgroupfs" in the containers.conf that you use'
        return Check("cgroup manager", "fail", "systemd, which does not run here", mend)
    return Check("cgroup manager", "ok", manager)


def check_user_ids(info: Info, machine: Machine, user: str) -> Check:
    """Whether an ordinary user has numbers for the users inside containers."""
    if not machine.rootless:
        return Check("user ids", "ok", "root; agents run as user 1000 inside")
    mappings: dict[str, Any] = info["host"].get("idMappings") or {}
    rows: list[object] = mappings.get("uidmap") or []
    if len(rows) <= 1:
        mend = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        detail = f"{user} has no range in /etc/subuid and /etc/subgid, or newuidmap is missing"
        return Check("user ids", "fail", detail, mend, ("uidmap",))
    return Check("user ids", "ok", f"{user} has a range of its own")


def check_storage(info: Info) -> Check:
    """How images and containers are stored."""
    driver = str(info["store"].get("graphDriverName", "unknown"))
    if driver == "vfs":
        detail = "vfs copies the whole image for each container: 0.5 to 1.5 s and 100s of MB each"
        mend = (
            'write [storage] and driver = "overlay" to ~/.config/containers/storage.conf, then '
            "`podman system reset`, which removes all images and containers of yours"
        )
        return Check("storage", "warn", detail, mend)
    return Check("storage", "ok", driver)


def check_seccomp(info: Info) -> Check:
    """Whether system calls can be filtered."""
    security: dict[str, Any] = info["host"].get("security") or {}
    if security.get("seccompEnabled"):
        return Check("seccomp", "ok", "on")
    detail = "podman was built without seccomp: agents could use every system call"
    return Check("seccomp", "fail", detail, "install your distribution's podman")


def check_rlimits(machine: Machine, *, conf_in_use: bool) -> Check:
    """Whether podman's default limits may be set; a private containers.conf mends it where not."""
    if machine.rootless or machine.may_raise_limits:
        return Check("limits", "ok", f"open files up to {machine.hard_nofile}")
    if conf_in_use:
        return Check("limits", "ok", "cannot be raised here; a private containers.conf stays below")
    mend = f'set default_ulimits = ["nofile={machine.hard_nofile}:{machine.hard_nofile}"]'
    detail = "podman's defaults cannot be set here, and CONTAINERS_CONF names a file of yours"
    return Check("limits", "warn", detail, f"{mend} there")


def check_disk(free_bytes: int, place: str) -> Check:
    """Room for an image build."""
    free_mb = free_bytes // _MEGABYTE
    if free_bytes < _LITTLE_DISK_BYTES:
        detail = f"{free_mb} MB left in {place}; an image build needs {_LITTLE_DISK_BYTES >> 20}"
        return Check("disk", "warn", detail, "free some space, or set storage.cache_dir")
    return Check("disk", "ok", f"{free_mb} MB left in {place}")


def check_isolation(status: str, interfaces: str) -> Check:
    """/proc/self/status and the network interfaces as a process in a container saw them."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    wanted = {"CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
    wrong = [name for name, value in wanted.items() if fields.get(name, "").strip() != value]
    if fields.get("Uid", "").split()[:2] != ["1000", "1000"]:
        wrong.append("Uid")
    if interfaces.split() != ["lo"]:
        wrong.append("network")
    if wrong:
        detail = f"a container is not as locked down as asked: {', '.join(wrong)}"
        return Check("isolation", "fail", detail, "report it, with the output of `podman info`")
    return Check("isolation", "ok", "no capabilities, no new privileges, seccomp, no network")


def check_memory_limit(found: str, wanted_bytes: int) -> Check:
    """The memory limit as the kernel holds it."""
    if found.strip() == str(wanted_bytes):
        return Check("memory limit", "ok", "set by the kernel as asked")
    detail = f"the kernel has {found.strip() or 'none'} where {wanted_bytes} bytes were asked for"
    return Check("memory limit", "fail", detail, "see the line about control groups")
