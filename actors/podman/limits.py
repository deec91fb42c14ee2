"""What the kernel's control groups know of a container: its limits, and who died of them."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

LIMIT_NAMES = ("memory", "pids", "cpu")
"""The limits that control groups keep, by the names under which their lack can be allowed."""

_ROOT = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
# Version 1 says "no limit" with the largest number of pages, in bytes.
_ENDLESS = 1 << 60


class OomCounter:
    """Whether processes of one container were killed for want of memory.

    Podman 4.3's own OOMKilled is false on cgroup v1 in every case. The kernel's counter goes away
    with the control group, about 0.1 s after the container's end, so it must be sampled before: on
    a busy machine that is too late, and a program that fills its memory at once may be gone before
    it can be found. Conmon listens to the kernel from the start and leaves a file; where it leaves
    it is no promise of any release. So each counts.

    Args:
        pid: the container's first process.
        told: conmon's file, in the directory that podman was started in.
    """

    def __init__(self, pid: int, told: Path) -> None:
        self._file = _counter_file(pid)
        self._told = told
        self._was_seen = False

    def sample(self) -> bool:
        """Look while there is something to look at; what was seen once stays so."""
        self._was_seen = self._was_seen or self._told.exists() or self._kills() > 0
        return self._was_seen

    def _kills(self) -> int:
        if self._file is not None:
            with contextlib.suppress(OSError):  # the control group is gone
                found = _OOM_KILLS.search(self._file.read_text(encoding="ascii"))
                return int(found[1]) if found else 0
        return 0


def limit_values(pid: int, root: Path = _ROOT) -> dict[str, float | None]:
    """The limits that hold for a process: memory and swap in bytes, pids, cpu in processors.

    None stands for no limit; `swap` is what may be used beside the memory. A name is left out when
    the kernel does not tell.
    """
    found: dict[str, float | None] = {}
    for name, controller in (("memory", "memory"), ("pids", "pids"), ("cpu", "cpu")):
        place = _group(pid, controller, root)
        if place is not None:
            folder, version = place
            with contextlib.suppress(FileNotFoundError):
                found.update(_V1[name](folder) if version == 1 else _V2[name](folder))
    return found


def unkept_limits(*, rootless: bool, root: Path = _ROOT, proc: Path = _PROC) -> tuple[str, ...]:
    """The limits of `LIMIT_NAMES` that this machine cannot keep for our containers.

    Podman ignores limits for an ordinary user with control groups of version 1, hybrid ones
    included; with version 2 it keeps those whose controllers are delegated to the user.
    """
    if not rootless:
        return ()
    if not (root / "cgroup.controllers").exists():
        return LIMIT_NAMES
    here = _group(os.getpid(), "", root, proc)
    users = root / "user.slice" / f"user-{os.geteuid()}.slice" / f"user@{os.geteuid()}.service"
    for folder in (users, here[0] if here else root):
        with contextlib.suppress(OSError):
            given = (folder / "cgroup.controllers").read_text(encoding="ascii").split()
            return tuple(name for name in LIMIT_NAMES if name not in given)
    return LIMIT_NAMES


def _counter_file(pid: int) -> Path | None:
    """Where the kernel counts for that process's control group (cgroups(7), /proc/PID/cgroup)."""
    place = _group(pid, "memory", _ROOT)
    if place is None:
        return None
    folder, version = place
    return folder / ("memory.oom_control" if version == 1 else "memory.events")


def _group(pid: int, controller: str, root: Path, proc: Path = _PROC) -> tuple[Path, int] | None:
    """The folder of a process's control group for that controller, and the version of its tree."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return root / controller / path.lstrip("/"), 1
    for line in lines:
        if line.startswith("0::"):
            return root / line[3:].lstrip("/"), 2
    return None


def _number(path: Path) -> float | None:
    text = path.read_text(encoding="ascii").split()[0]
    value = None if text == "max" else float(text)
    return None if value is None or value >= _ENDLESS else value


def _memory_v1(folder: Path) -> dict[str, float | None]:
    memory = _number(folder / "memory.limit_in_bytes")
    found = {"memory": memory}
    both = folder / "memory.memsw.limit_in_bytes"
    if both.exists():  # a kernel may count no swap
        total = _number(both)
        found["swap"] = None if total is None or memory is None else total - memory
    return found


def _memory_v2(folder: Path) -> dict[str, float | None]:
    found = {"memory": _number(folder / "memory.max")}
    swap = folder / "memory.swap.max"
    if swap.exists():
        found["swap"] = _number(swap)
    return found


def _pids(folder: Path) -> dict[str, float | None]:
    return {"pids": _number(folder / "pids.max")}


def _cpu_v1(folder: Path) -> dict[str, float | None]:
    quota = _number(folder / "cpu.cfs_quota_us")
    period = _number(folder / "cpu.cfs_period_us")
    return {"cpu": None if quota is None or quota < 0 or not period else quota / period}


def _cpu_v2(folder: Path) -> dict[str, float | None]:
    quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    return {"cpu": None if quota == "max" else float(quota) / float(period)}


_V1 = {"memory": _memory_v1, "pids": _pids, "cpu": _cpu_v1}
_V2 = {"memory": _memory_v2, "pids": _pids, "cpu": _cpu_v2}
