"""What the kernel's control groups know of a container: whether it was killed for its memory."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomCounter:
    """Counts the processes of one container that were killed for want of memory.

    Podman 4.3's own OOMKilled is false on cgroup v1 in every case. The kernel's counter goes away
    with the control group, about 0.1 s after the container's end: it must be sampled before.
    """

    def __init__(self, pid: int) -> None:
        self._file = _counter_file(pid)
        self._kills = 0

    def sample(self) -> int:
        """Read the counter, if it is still there; the highest number seen so far."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # the control group is gone: the last number stands
                found = _OOM_KILLS.search(self._file.read_text(encoding="ascii"))
                self._kills = max(self._kills, int(found[1]) if found else 0)
        return self._kills


def _counter_file(pid: int) -> Path | None:
    """Where the kernel counts for that process's control group (cgroups(7), /proc/PID/cgroup)."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _ROOT / "memory" / path.lstrip("/") / "memory.oom_control"
    for line in lines:
        if line.startswith("0::"):
            return _ROOT / line[3:].lstrip("/") / "memory.events"
    return None
