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
_CHILD_NAMES = ("gateway", "scripted_model")
_TIMEOUT_S = 30.0


def processes_of(home: Path) -> list[int]:
    """The processes that were started for that home, and those in its containers.

    They carry its path in their environment, their command line, or in what is mounted for them.
    """
    mark = os.fsencode(home)
    others = (entry for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [int(entry.name) for entry in others if _is_marked(entry, mark)]


def _is_marked(entry: Path, mark: bytes) -> bool:
    if int(entry.name) == os.getpid() or _is_zombie(entry):
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
    words = command_of(pid)
    text = " ".join(words)
    comm = _read(pid, "comm").strip()
    if comm.startswith("agent_"):
        return "agent"
    if comm in _CHILD_NAMES:
        return "gateway" if comm == "gateway" else None
    if "guard_process.py" in text:
        return "guard"
    if words and words[0].endswith("/conmon"):
        return "conmon"
    if words and words[0] == "claude":
        return "cli"
    if "supervision.forkhost" in text:
        return None if "supervision.forkhost" in " ".join(command_of(_parent(pid))) else "fork server"
    return "service" if "faults/driver.py" in text else None


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


def command_of(pid: int) -> list[str]:
    """Its command line; empty when it is gone."""
    return [word for word in _read(pid, "cmdline").split("\0") if word]


def shown(pids: list[int]) -> list[str]:
    """The processes, for people."""
    return [f"{pid} {_read(pid, 'comm').strip()}: {' '.join(command_of(pid))[:120]}" for pid in pids]


def _parent(pid: int) -> int:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def _read(pid: int, file: str) -> str:
    try:
        return (_PROC / str(pid) / file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
