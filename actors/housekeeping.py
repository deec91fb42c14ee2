"""What dead runs left is removed, and what is kept does not grow for ever."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from typing import TYPE_CHECKING

from .failure import FailureKind
from .podman.sweep import sweep
from .tasks.task import TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .fleet_places import FleetBase
    from .tasks.store import TaskStore

_log = logging.getLogger(__name__)

LOCK_NAME = "lock"
# What the tasks of the service are filed under; those of other runs under the run's id.
SERVICE_LABEL = "service"
_YOUNG_S = 5.0
_LOG_BYTES = 16 << 20
_DAY_S = 24 * 3600.0


def remove_dead_runs(base: FleetBase, env: Mapping[str, str], *, now: float) -> set[str]:
    """Remove containers, workspaces and sockets of runs whose process is gone; their ids.

    A folder younger than a few seconds may be a run that has not taken its lock yet.
    """
    runs = base.state_dir / "runs"

    def is_alive(run_id: str) -> bool:
        return lock_is_held(runs / run_id / LOCK_NAME)

    dead = set(sweep(env, is_alive))
    for folder in runs.iterdir():
        if now - folder.stat().st_mtime > _YOUNG_S and not is_alive(folder.name):
            dead.add(folder.name)
    for run_id in dead:
        _log.info("removing what the dead run %s left", run_id)
        shutil.rmtree(runs / run_id, ignore_errors=True)
        shutil.rmtree(base.run_root / run_id, ignore_errors=True)
    return dead


def end_dead_tasks(store: TaskStore, dead: set[str]) -> None:
    """Finish the tasks of those runs: nobody is left who could."""
    for run_id in dead:
        for row in store.unfinished(run_id):
            result = TaskResult(
                task_id=row.task_id,
                agent_id=row.agent_id or "none",
                status="failed",
                result={},
                error="its run was killed before the task was done; run it again",
                failure_kind=FailureKind.INTERNAL.value,
                attempts=row.attempts,
            )
            store.finish(result, TaskState.FAILED)


def prune(store: TaskStore, folders: Iterable[Path], keep_days: float, *, now: float) -> None:
    """Delete finished tasks, transcripts and logs older than `keep_days`; cut logs that are large.

    `now` is in seconds since the epoch.
    """
    store.prune(keep_days * _DAY_S)
    for folder in folders:
        for path in folder.iterdir():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # another fleet tidies up too
            if now - stat.st_mtime > keep_days * _DAY_S:
                path.unlink(missing_ok=True)
            elif path.suffix == ".log" and stat.st_size > _LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))


def take_lock(path: Path) -> int:
    """Hold the lock file as long as the descriptor is open; the descriptor."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # at most somebody's quick look is in the way
    return descriptor


def lock_is_held(path: Path) -> bool:
    """Whether a living process holds the lock file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
