"""How much of the machine others used: what was busy, less this process and all below it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

# /proc/stat, proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
_BUSY = (0, 1, 2, 5, 6, 7)
# /proc/PID/stat behind the name, proc(5): state, ppid, ... utime, stime, cutime, cstime.
_PARENT = 1
_TIMES = slice(11, 15)

NOISY = 0.10
"""A run is noisy when others used more than this share of all CPUs."""


@dataclass(frozen=True)
class Snapshot:
    """CPU time used so far, in seconds.

    Attributes:
        at: when, on the monotonic clock.
        busy_s: by everybody, what the host took included.
        ours_s: by this process and all below it, children that were waited for included: the sum
            stays the same when one of them ends.
    """

    at: float
    busy_s: float
    ours_s: float


def parse_stat(text: str) -> tuple[int, int]:
    """Of one /proc/PID/stat: the parent, and ticks used with the children it waited for."""
    fields = text.rpartition(")")[2].split()
    return int(fields[_PARENT]), sum(int(field) for field in fields[_TIMES])


def ticks_below(processes: dict[int, tuple[int, int]], top: int) -> int:
    """Ticks used by `top` and all below it; `processes` has parent and ticks by number."""

    def is_below(pid: int) -> bool:
        while pid in processes and pid != top:
            pid = processes[pid][0]
        return pid == top

    return sum(ticks for pid, (_, ticks) in processes.items() if is_below(pid))


def snapshot() -> Snapshot:
    """What was used up to now."""
    processes: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                processes[int(folder.name)] = parse_stat((folder / "stat").read_text("utf-8"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
    cpu = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    tick = os.sysconf("SC_CLK_TCK")
    busy = sum(int(cpu[field]) for field in _BUSY)
    return Snapshot(time.monotonic(), busy / tick, ticks_below(processes, os.getpid()) / tick)


def share(before: Snapshot, after: Snapshot, cpus: int) -> float:
    """The share of all CPUs that others and the host used between two snapshots, 0 to 1."""
    wall_s = max(after.at - before.at, 1e-6)
    used_s = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
    return min(1.0, max(0.0, used_s / (wall_s * cpus)))
