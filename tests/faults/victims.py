"""The processes and containers of one home, found by what the kernel says of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .points import Role

_PROC = Path("/proc")
_FORK_SERVER = "supervision.forkhost"
_TIMEOUT_S = 30.0


def all_processes() -> frozenset[int]:
    """Every process of the machine."""
    return frozenset(int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - often called


def processes_of(home: Path, older: frozenset[int] = frozenset()) -> list[int]:
    """The processes that were started for that home, and those in its containers.

    They carry its path in their environment, their command line, or in what is mounted for them.
    The `older` ones are not looked at.
    """
    mark = os.fsencode(home)
    others = all_processes() - older - {os.getpid()}
    return [pid for pid in sorted(others) if _is_marked(_PROC / str(pid), mark)]


def is_of(home: Path, pid: int) -> bool:
    """Whether that process was started for that home, or is in one of its containers."""
    return _is_marked(_PROC / str(pid), os.fsencode(home))


def _is_marked(entry: Path, mark: bytes) -> bool:
    if _is_zombie(entry):
        return False
    for file in ("environ", "cmdline", "mountinfo"):
        with contextlib.suppress(OSError):
            if mark in (entry / file).read_bytes():
                return True
    return False


def _is_zombie(entry: Path) -> bool:
    try:
        stat = (entry / "stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[0] in b"ZX"


def role_of(pid: int) -> Role | None:
    """What part that process plays, or None when it is none of the parts that are killed."""
    name, words = name_of(pid), command_of(pid)
    program, text = (words or [""])[0], " ".join(words)
    if name == "scripted_model":
        return None
    signs: dict[Role, bool] = {
        "agent": name.startswith("agent_"),
        "gateway": name == "gateway",
        "guard": "guard_process.py" in text,
        "conmon": program.endswith("/conmon"),
        "cli": program == "claude",
        "podman": program == "podman",
        "fork server": _FORK_SERVER in text and not _is_just_forked(pid),
        "service": "faults/driver.py" in text,
    }
    return next((role for role, is_so in signs.items() if is_so), None)


def _is_just_forked(pid: int) -> bool:
    """Whether it is a child of a fork server that has no name yet."""
    return _FORK_SERVER in " ".join(command_of(parent_of(pid)))


def with_role(home: Path, role: Role) -> list[int]:
    """The processes of that home that play that part."""
    return [pid for pid in processes_of(home) if role_of(pid) == role]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Signal that process; whether it was there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def containers_of(run_ids: set[str], env: Mapping[str, str]) -> list[str]:
    """The containers of these runs, by name, running or not."""
    done = subprocess.run(
        ["podman", "ps", "--all", "--filter=label=understudy.run", "--format=json"],
        env=dict(env), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    rows = json.loads(done.stdout or "[]")
    return [row["Names"][0] for row in rows if row["Labels"]["understudy.run"] in run_ids]


def name_of(pid: int) -> str:
    """The name that the process gave itself, a child's id for instance; empty when it is gone."""
    return _read(pid, "comm").strip()


def command_of(pid: int) -> list[str]:
    """Its command line; empty when it is gone."""
    return [word for word in _read(pid, "cmdline").split("\0") if word]


def parent_of(pid: int) -> int:
    """Its parent's process id; 0 when it is gone."""
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def shown(pids: list[int]) -> list[str]:
    """The processes, for people."""
    return [f"{pid} {name_of(pid)}: {' '.join(command_of(pid))[:120]}" for pid in pids]


def _read(pid: int, file: str) -> str:
    try:
        return (_PROC / str(pid) / file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
