"""What dead runs left is removed, and what is kept does not grow for ever."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from .errors import AgentError
from .lock_file import try_lock
from .places import Places
from .podman.guard_process import end_marked
from .podman.sweep import sweep
from .repository.takeout import APPLIED, Work
from .saved_copies import task_of_copy
from .saving import Saving
from .tasks.store import SERVICE_RUN
from .work import rescue
from .workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from .fleet_places import FleetBase
    from .settings import StorageSettings
    from .tasks.store import TaskStore

_log = logging.getLogger(__name__)

LOCK_NAME = "lock"
MARK_NAME = "mark"
_YOUNG_S = 5.0
_LOG_BYTES = 16 << 20
_DAY_S = 24 * 3600.0
_EVERY_S = 3600.0
# After a task ended without its agent's word, what it left is looked for until its holder is gone.
_LOOK_AFTER_S = (0.05, 1.0, 5.0, 30.0)


class Housekeeper:
    """Tidies up in a thread of its own, at once and then every hour, until it is closed."""

    def __init__(
        self,
        base: FleetBase,
        env: Mapping[str, str],
        store: TaskStore,
        folders: tuple[Path, ...],
        storage: StorageSettings,
        *,
        every_s: float = _EVERY_S,
        look_after_s: tuple[float, ...] = _LOOK_AFTER_S,
    ) -> None:
        self._base = base
        self._env = env
        self._store = store
        self._folders = folders
        self._keep_days = storage.keep_days
        self._make = partial(
            Workspace,
            max_file_bytes=storage.max_file_bytes,
            max_total_bytes=storage.max_workspace_bytes,
        )
        self._saving = Saving(base.saved, storage.save_interval, storage.max_workspace_bytes)
        self._every_s = every_s
        self._look_after_s = look_after_s
        self._looks: list[float] = []
        self._lock = threading.Lock()
        self._closed = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._work, name="understudy-tidy", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End; what is under way gets 30 seconds."""
        self._closed = True
        self._woken.set()
        self._thread.join(timeout=30.0)

    def look(self) -> None:
        """Some task has ended in a place that its agent leaves as it is: look soon. Any thread."""
        with self._lock:
            self._looks = list(self._look_after_s)
        self._woken.set()

    def sweep(self) -> None:
        """Take up and remove what tasks that are over have left; see `sweep_places`.

        Raises:
            AgentError: podman or the store failed.
        """
        conversations = self._base.conversations
        sweep_places(conversations, self._store, self._env, self._make, self._saving)

    def _work(self) -> None:
        tidy_at = 0.0
        while not self._closed:
            if time.monotonic() >= tidy_at:
                self._tidy()
                tidy_at = time.monotonic() + self._every_s
            look_s = self._next_look()
            self._woken.wait(max(0.0, tidy_at - time.monotonic()) if look_s is None else look_s)
            self._woken.clear()
            if look_s is not None and not self._closed:
                self._look()

    def _next_look(self) -> float | None:
        with self._lock:
            return self._looks.pop(0) if self._looks else None

    def _look(self) -> None:
        try:
            self.sweep()
        except (AgentError, OSError):
            _log.exception("what a task left is not taken up; it is tried again")

    def _tidy(self) -> None:
        try:
            now = time.time()
            remove_dead_runs(self._base, self._env, now=now)
            abandon_dead_runs(self._base, self._store)
            self.sweep()
            Places(self._base.conversations, self._env).forget_older(
                self._keep_days * _DAY_S, now=now
            )
            prune(self._store, self._folders, self._keep_days, now=now)
        except (AgentError, OSError):
            _log.exception("tidying up failed; it is tried again in %g s", self._every_s)


def remove_dead_runs(base: FleetBase, env: Mapping[str, str], *, now: float) -> None:
    """Remove processes, containers, workspaces and sockets of runs whose process is gone.

    A folder younger than a few seconds, without a mark, may be a run that has no lock yet.
    """
    runs = base.state_dir / "runs"

    def is_alive(run_id: str) -> bool:
        return lock_is_held(runs / run_id / LOCK_NAME)

    dead = {folder.name for folder in runs.iterdir() if _is_dead(folder, now)}
    for run_id in dead:
        end_processes(runs / run_id)
    # After the processes: an agent that is left might still start a container.
    dead.update(sweep(env, is_alive))
    for run_id in dead:
        _log.info("removing what the dead run %s left", run_id)
        shutil.rmtree(runs / run_id, ignore_errors=True)
        shutil.rmtree(base.run_root / run_id, ignore_errors=True)


def _is_dead(folder: Path, now: float) -> bool:
    if lock_is_held(folder / LOCK_NAME):
        return False
    return (folder / MARK_NAME).exists() or now - folder.stat().st_mtime > _YOUNG_S


def leave_mark(folder: Path, mark: str) -> None:
    """Have the processes with that mark ended once this run is dead; it has its lock already."""
    (folder / MARK_NAME).write_text(mark, encoding="ascii")


def end_processes(folder: Path) -> None:
    """Kill what is left of the processes of that run, which is dead.

    Nearly always nothing: only one that was stopped while fork server and guard were killed too.
    """
    path = folder / MARK_NAME
    mark = path.read_text(encoding="ascii") if path.exists() else ""
    # The file may have been cut off by a full disk: no mark, or half of one, is nobody's.
    if mark and (count := end_marked(mark)):
        _log.warning("ended %d processes that the dead run %s left", count, folder.name)


def abandon_dead_runs(base: FleetBase, store: TaskStore) -> None:
    """End the tasks of embedded fleets whose process is gone: nobody would ever run them."""
    for run_id in store.open_runs():
        if run_id != SERVICE_RUN and not lock_is_held(base.state_dir / "runs" / run_id / LOCK_NAME):
            count = store.abandon(run_id)
            _log.info("the dead run %s left %d unfinished tasks; they are ended", run_id, count)


def sweep_places(
    conversations: Path,
    store: TaskStore,
    env: Mapping[str, str],
    make: Callable[[Path], Workspace] = Workspace,
    saving: Saving | None = None,
) -> None:
    """Remove the folders of conversations that nobody holds and no unfinished task needs.

    The work in them that is nowhere else is taken out before, into the task's result and branch,
    or a copy.
    """

    def may_go(folder: Path) -> bool:
        return rescue(make(folder), store, saving)

    Places(conversations, env).sweep(store.places_in_use(), now=time.time(), may_go=may_go)


def prune(store: TaskStore, folders: Iterable[Path], keep_days: float, *, now: float) -> None:
    """Delete finished tasks, transcripts and logs older than `keep_days`; cut logs that are large.

    Tasks whose work nobody has taken over are kept, with their copies. `now` is in seconds since
    the epoch.
    """
    kept = not_taken_over(store, keep_days * _DAY_S)
    if kept:
        _log.info("%d old tasks are kept: their work is not taken over: %s", len(kept), kept)
    if gone := sorted(set(store.finished_before(keep_days * _DAY_S)) - set(kept)):
        _log.info("%d tasks go, they were over %g days ago: %s", len(gone), keep_days, gone)
    store.prune(keep_days * _DAY_S, kept)
    for folder in folders:
        for path in folder.iterdir():
            if task_of_copy(path) in kept:
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # another fleet tidies up too
            if now - stat.st_mtime > keep_days * _DAY_S:
                path.unlink(missing_ok=True)
            elif path.suffix == ".log" and stat.st_size > _LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))


def not_taken_over(store: TaskStore, older_than_s: float) -> list[str]:
    """The tasks that were over so long ago, and whose branch or patch has what nothing else has.

    Who removes a branch has let go of the work on it, though its patch is still there.
    """
    kept: list[str] = []
    for task_id in store.finished_before(older_than_s):
        task, result = store.task(task_id), store.result(task_id)
        if task is None or result is None:
            continue
        work = Work.of(task, result, was_applied=store.has_event(task_id, APPLIED))
        try:
            in_patch_alone = work.branch is None or bool(work.rest)
            if work.loss(looks_at_disk=False) and (in_patch_alone or work.is_on_branch()):
                kept.append(task_id)
        except AgentError as error:
            _log.info("%s is kept, its repository cannot be asked: %s", task_id, error)
            kept.append(task_id)
    return kept


def take_lock(path: Path) -> int:
    """Hold the lock file as long as the descriptor is open; the descriptor."""
    # At most a quick look is in the way, or a sweep that takes us for dead and removes it.
    descriptor, is_locked = try_lock(path, waits=True)
    if not is_locked:
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(path))
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
