"""What of this machine decides how podman must be called: read from the kernel alone."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MachineNotReady
from .limits import unkept_limits

if TYPE_CHECKING:
    from collections.abc import Collection

# CAP_SYS_RESOURCE in include/uapi/linux/capability.h: may set limits above the own hard limit.
_CAP_SYS_RESOURCE = 24
_UNLIMITED = 1 << 20


@dataclass(frozen=True)
class Machine:
    """Facts that choose flags and configuration.

    Attributes:
        rootless: podman runs as an ordinary user.
        pure_cgroup_v2: only the unified tree is mounted; a hybrid tree counts as v1.
        systemd: systemd is the init of this machine (or container).
        hard_nofile: the caller's hard limit of open files, at most 2**20.
        hard_nproc: the caller's hard limit of processes, at most 2**20.
        may_raise_limits: limits above the caller's own can be set.
        selinux: SELinux is on.
        unkept_limits: those of `LIMIT_NAMES` that podman cannot set here.
    """

    rootless: bool
    pure_cgroup_v2: bool
    systemd: bool
    hard_nofile: int
    hard_nproc: int
    may_raise_limits: bool
    selinux: bool
    unkept_limits: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> Machine:
        """This machine, seen from this process."""
        rootless = os.geteuid() != 0
        return cls(
            rootless=rootless,
            # Only the root of a cgroup2 file system carries this file.
            pure_cgroup_v2=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
            systemd=Path("/run/systemd/system").is_dir(),
            hard_nofile=_hard_limit(resource.RLIMIT_NOFILE),
            hard_nproc=_hard_limit(resource.RLIMIT_NPROC),
            may_raise_limits=_has_capability(_CAP_SYS_RESOURCE),
            selinux=Path("/sys/fs/selinux/enforce").exists(),
            unkept_limits=unkept_limits(rootless=rootless),
        )


def refuse_missing_limits(machine: Machine, allowed: Collection[str]) -> None:
    """Have no container without limits that nobody said it may lack.

    Args:
        machine: where it would run.
        allowed: the limits that may lack, of `LIMIT_NAMES`.

    Raises:
        MachineNotReady: the machine cannot keep another one.
    """
    lacking = [name for name in machine.unkept_limits if name not in allowed]
    if lacking:
        what = f"the kernel cannot limit {', '.join(lacking)} here for an ordinary user"
        raise MachineNotReady(what, limits_mend(machine))


def limits_mend(machine: Machine) -> str:
    """What can be done about limits that the machine cannot keep."""
    mend = "boot with systemd.unified_cgroup_hierarchy=1"
    if machine.pure_cgroup_v2:
        mend = "delegate them: systemctl edit user@.service, [Service] Delegate=cpu memory pids"
    without = ", ".join(machine.unkept_limits)
    return f"run as root, or {mend}, or go without: agent.allow_missing_limits: [{without}]"


def _hard_limit(which: int) -> int:
    hard = resource.getrlimit(which)[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else min(hard, _UNLIMITED)


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
