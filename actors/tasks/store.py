"""Every accepted task, its state, its events and its one result, kept in SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgpack

from ..errors import AgentError
from .database import StoreError, open_database, store_errors, transaction
from .task import Task, TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

__all__ = ["DuplicateTask", "StoreError", "StoredEvent", "TaskRow", "TaskStore"]


class DuplicateTask(AgentError):
    """The id of a task is taken; nothing of what came with it was stored."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"task id {self.task_id!r} is taken; leave task_id out to get a fresh one"


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A stored task and where it stands. Times are seconds since the epoch."""

    task: Task
    state: TaskState
    run_id: str
    agent_id: str | None
    attempts: int
    submitted_at: float
    updated_at: float

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.task.task_id


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One thing that happened; `seq` grows with each. `at` is in seconds since the epoch."""

    seq: int
    task_id: str | None
    agent_id: str | None
    at: float
    kind: str
    text: str


class TaskStore:
    """The tasks in one file. Usable from any thread, and from several processes at once.

    What a method has written when it returns survives the end of this process at any moment. Every
    method raises `StoreError` when the file or its disk fails; then nothing of that call is stored.

    Args:
        path: the file; it is made when missing, readable by its owner alone.
        wall: seconds since the epoch.

    Raises:
        StoreError: the file is damaged, not ours, or of a newer version. It is left as it is.
    """

    def __init__(self, path: Path, *, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall = wall
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = open_database(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice; other methods raise `StoreError` afterwards."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # -- writing ------------------------------------------------------------------------------

    def add(self, task: Task, run_id: str) -> None:
        """Store a new task.

        Raises:
            DuplicateTask: its id is taken.
        """
        self.add_many([task], run_id)

    def add_many(self, tasks: Iterable[Task], run_id: str) -> None:
        """Store new tasks, all or none.

        Raises:
            DuplicateTask: an id is taken, or stands twice among them.
        """
        now = self._wall()
        with self._write() as connection:
            for task in tasks:
                row = (task.task_id, run_id, task.priority, now, now, _pack(task.to_wire()))
                try:
                    connection.execute(_INSERT_TASK, row)
                except sqlite3.IntegrityError:
                    raise DuplicateTask(task.task_id) from None

    def set_state(
        self,
        task_id: str,
        state: TaskState,
        *,
        agent_id: str | None = None,
        attempts: int | None = None,
    ) -> bool:
        """Record where a task stands, who holds it, and how often it was given to an agent.

        Without `agent_id` nobody holds it; without `attempts` that number stays as it is.

        Returns:
            False when the task is finished already, or not known: nothing is changed then.
        """
        row = (state.value, agent_id, attempts, self._wall(), task_id)
        with self._write() as connection:
            return connection.execute(_SET_STATE, row).rowcount == 1

    def finish(self, result: TaskResult, state: TaskState) -> bool:
        """Record the one result of a task and its final state, together.

        Returns:
            False when the task has a result already, or is not known: nothing is changed then.
        """
        now, task_id = self._wall(), result.task_id
        changes = (state.value, result.agent_id, result.attempts, now, task_id)
        with self._write() as connection:
            if connection.execute(_SET_STATE, changes).rowcount != 1:
                return False
            connection.execute(
                "INSERT INTO results (task_id, finished_at, result) VALUES (?, ?, ?)",
                (task_id, now, _pack(result.to_wire())),
            )
            return True

    def event(
        self, task_id: str | None, agent_id: str | None, at: float, kind: str, text: str
    ) -> int:
        """Add an event, and return its number."""
        with self._write() as connection:
            cursor = connection.execute(
                "INSERT INTO events (task_id, agent_id, at, kind, text) VALUES (?, ?, ?, ?, ?)",
                (task_id, agent_id, at, kind, text),
            )
            return int(cursor.lastrowid or 0)

    def prune(self, older_than_s: float) -> int:
        """Delete what was finished so long ago, with its events; return the number of tasks.

        Unfinished tasks stay, however old they are.
        """
        before = self._wall() - older_than_s
        with self._write() as connection:
            connection.execute(_PRUNE_EVENTS, (before,))
            return connection.execute(_PRUNE_TASKS, (before,)).rowcount

    # -- reading ------------------------------------------------------------------------------

    def task(self, task_id: str) -> Task | None:
        """That task, or None."""
        row = self.row(task_id)
        return row.task if row else None

    def row(self, task_id: str) -> TaskRow | None:
        """That task and where it stands, or None."""
        rows = self._read(f"{_SELECT_TASK} WHERE task_id = ?", (task_id,))
        return self._task_row(rows[0]) if rows else None

    def result(self, task_id: str) -> TaskResult | None:
        """The result of that task, or None while it has none."""
        rows = self._read("SELECT result FROM results WHERE task_id = ?", (task_id,))
        return TaskResult.from_wire(self._unpack(rows[0][0])) if rows else None

    def tasks(self, state: TaskState | None = None, limit: int = 50) -> list[TaskRow]:
        """The newest tasks first, of one state or of all; at most `limit`."""
        where, values = ("WHERE state = ?", [state.value]) if state else ("", [])
        rows = self._read(f"{_SELECT_TASK} {where} ORDER BY seq DESC LIMIT ?", (*values, limit))
        return [self._task_row(row) for row in rows]

    def ids_starting_with(self, start: str, limit: int = 10) -> list[str]:
        """The ids of the tasks whose id begins so, the newest first; at most `limit`."""
        sql = "SELECT task_id FROM tasks WHERE substr(task_id, 1, ?) = ? ORDER BY seq DESC LIMIT ?"
        return [row[0] for row in self._read(sql, (len(start), start, limit))]

    def unfinished(self, run_id: str | None = None) -> list[TaskRow]:
        """The tasks without a result, of one run or of all, in the order they came."""
        return [self._task_row(row) for row in self._read(_UNFINISHED, (run_id,))]

    def events(
        self,
        *,
        task_id: str | None = None,
        agent_id: str | None = None,
        after: int = 0,
        limit: int = 10_000,
    ) -> list[StoredEvent]:
        """Events of a task, of an agent, or of all, in their order; at most `limit`.

        To follow them, give the greatest `seq` seen so far as `after`.
        """
        filters = {"task_id": task_id, "agent_id": agent_id}
        wanted = {column: value for column, value in filters.items() if value is not None}
        where = "".join(f" AND {column} = ?" for column in wanted)
        sql = f"{_SELECT_EVENT} WHERE seq > ?{where} ORDER BY seq LIMIT ?"
        return [StoredEvent(*row) for row in self._read(sql, (after, *wanted.values(), limit))]

    # -- inside -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self) -> Generator[sqlite3.Connection]:
        with self._lock, store_errors(self._path):
            connection = self._opened()
            with transaction(connection):
                yield connection

    def _read(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock, store_errors(self._path):
            return self._opened().execute(sql, values).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(str(self._path), "it is closed", "open it again")
        return self._connection

    def _task_row(self, row: tuple[Any, ...]) -> TaskRow:
        blob, state, *rest = row
        return TaskRow(Task.from_wire(self._unpack(blob)), TaskState(state), *rest)

    def _unpack(self, blob: bytes) -> object:
        try:
            return msgpack.unpackb(blob)
        except ValueError as error:
            mend = "move it away (it is never overwritten); a new one is made at the next start"
            raise StoreError(str(self._path), f"a record is damaged ({error})", mend) from error


def _pack(data: dict[str, Any]) -> bytes:
    return msgpack.packb(data)


_INSERT_TASK = """
    INSERT INTO tasks (task_id, run_id, state, priority, submitted_at, updated_at, task)
    VALUES (?, ?, 'submitted', ?, ?, ?, ?)
"""
_SELECT_TASK = """
    SELECT task, state, run_id, agent_id, attempts, submitted_at, updated_at FROM tasks
"""
_SELECT_EVENT = "SELECT seq, task_id, agent_id, at, kind, text FROM events"
_SET_STATE = """
    UPDATE tasks SET state = ?, agent_id = ?, attempts = coalesce(?, attempts), updated_at = ?
    WHERE task_id = ? AND state NOT IN ('completed', 'failed', 'canceled', 'rejected')
"""
_UNFINISHED = f"""
    {_SELECT_TASK}
    WHERE state NOT IN ('completed', 'failed', 'canceled', 'rejected')
        AND run_id = coalesce(?, run_id)
    ORDER BY seq
"""
_PRUNE_EVENTS = """
    DELETE FROM events WHERE at < ?1 AND task_id IS NULL OR task_id IN (
        SELECT task_id FROM tasks
        WHERE updated_at < ?1 AND state IN ('completed', 'failed', 'canceled', 'rejected')
    )
"""
_PRUNE_TASKS = """
    DELETE FROM tasks
    WHERE updated_at < ? AND state IN ('completed', 'failed', 'canceled', 'rejected')
"""
