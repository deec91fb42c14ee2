"""Names and labels: how a container is known to be ours, and whose it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "understudy"
RUN_LABEL = "understudy.run"
AGENT_LABEL = "understudy.agent"
INCARNATION_LABEL = "understudy.incarnation"
OWNER_PID_LABEL = "understudy.owner_pid"
OWNER_START_LABEL = "understudy.owner_start"

# Run ids become names of folders that are removed: nothing but these characters is taken for one.
_RUN_ID = r"[0-9A-Za-z]{1,32}"
_NAME = re.compile(rf"{PREFIX}-({_RUN_ID})-([0-9A-Za-z_.-]{{1,128}})-(\d+)-(\d+)")


@dataclass(frozen=True)
class NameParts:
    """What a container's name says."""

    run_id: str
    agent_id: str
    incarnation: int
    serial: int


def container_name(run_id: str, agent_id: str, incarnation: int, serial: int) -> str:
    """A name that no other container has.

    With `--rm` a record lives about 0.15 s longer than its process, so an incarnation that starts
    at once would meet its predecessor's name without the two numbers.

    Raises:
        ValueError: an id has characters that a container's name cannot have.
    """
    name = f"{PREFIX}-{run_id}-{agent_id}-{incarnation}-{serial}"
    if parse_name(name) != NameParts(run_id, agent_id, incarnation, serial):
        raise ValueError(f"run {run_id!r} or agent {agent_id!r} does not fit into a container name")
    return name


def parse_name(name: str) -> NameParts | None:
    """The parts of a name that `container_name` made, or None for anybody else's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return NameParts(found[1], found[2], int(found[3]), int(found[4]))


def is_run_id(text: str) -> bool:
    """Whether it can be a run's id. Anybody may write a label; only this may become a path."""
    return re.fullmatch(_RUN_ID, text) is not None


def name_labels(name: str) -> dict[str, str]:
    """The labels that say in fields what the name says; none for a foreign name."""
    parts = parse_name(name)
    if parts is None:
        return {}
    return {
        RUN_LABEL: parts.run_id,
        AGENT_LABEL: parts.agent_id,
        INCARNATION_LABEL: str(parts.incarnation),
    }


def owner_labels() -> dict[str, str]:
    """The labels that name this process as the owner."""
    pid = os.getpid()
    return {OWNER_PID_LABEL: str(pid), OWNER_START_LABEL: process_start(pid) or "0"}


def owner_lives(labels: Mapping[str, str]) -> bool:
    """Whether the process that owns a container with these labels still runs."""
    pid = labels.get(OWNER_PID_LABEL, "")
    return pid.isdecimal() and process_start(int(pid)) == labels.get(OWNER_START_LABEL)


def process_start(pid: int) -> str | None:
    """When a process was started, in clock ticks since boot, or None when it is gone.

    With it a number that was given to another process since is told apart (proc(5), field 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
