"""A private containers.conf for machines on which podman's defaults do not work.

Nothing under /etc or in the user's own configuration is touched: podman is pointed at the file by
the variable CONTAINERS_CONF, which then stands in for all other containers.conf files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .machine import Machine

_HEAD = "# Written by understudy for the podman commands it runs; rewritten at each start.\n"
# What podman sets by default for root (containers.conf(5), default_ulimits is the caller's, but at
# least this): runc fails with "error setting rlimit type 7" where it is not allowed to.
_PODMAN_NOFILE = 1 << 20
_NPROC = 4096


def conf_text(machine: Machine) -> str:
    """The file for that machine, or "" where podman's own defaults work."""
    containers: list[str] = []
    engine: list[str] = []
    # Rootless podman lowers its defaults to the caller's limits by itself.
    if not machine.rootless and not machine.may_raise_limits:
        nofile = min(machine.hard_nofile, _PODMAN_NOFILE)
        nproc = min(machine.hard_nproc, _NPROC)
        containers.append(
            f'default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]'
        )
    if not machine.pure_cgroup_v2:
        # crun ends with "cgroups in hybrid mode not supported, drop all controllers from cgroupv2".
        engine.append('runtime = "runc"')
    if not machine.systemd:
        engine += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if not containers and not engine:
        return ""
    return "\n".join([_HEAD + "[containers]", *containers, "[engine]", *engine, ""])


def write_conf(cache_dir: Path, machine: Machine) -> Path | None:
    """Write the file into `cache_dir` when the machine needs one; its path, or None.

    Several processes may do this at once: the file is replaced whole, and only when it differs.
    """
    text = conf_text(machine)
    if not text:
        return None
    path = cache_dir / "containers.conf"
    if not _holds(path, text):
        cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=cache_dir, prefix="containers.conf.")
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(text)
        Path(new).replace(path)
    return path


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False
