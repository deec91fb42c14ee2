"""What of this machine decides how podman must be called: read from the kernel alone."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

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
    """

    rootless: bool
    pure_cgroup_v2: bool
    systemd: bool
    hard_nofile: int
    hard_nproc: int
    may_raise_limits: bool
    selinux: bool

    @classmethod
    def here(cls) -> Machine:
        """This machine, seen from this process."""
        return cls(
            rootless=os.geteuid() != 0,
            # Only the root of a cgroup2 file system carries this file.
            pure_cgroup_v2=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
            systemd=Path("/run/systemd/system").is_dir(),
            hard_nofile=_hard_limit(resource.RLIMIT_NOFILE),
            hard_nproc=_hard_limit(resource.RLIMIT_NPROC),
            may_raise_limits=_has_capability(_CAP_SYS_RESOURCE),
            selinux=Path("/sys/fs/selinux/enforce").exists(),
        )


def _hard_limit(which: int) -> int:
    hard = resource.getrlimit(which)[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else min(hard, _UNLIMITED)


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
