"""Every accepted task, its state, its events and its one result, kept in SQLite."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Self

from . import recovery, statements
from .database import StoreError
from .inbox import InboxTable
from .incarnations import IncarnationTable
from .rows import (
    Conversation,
    DuplicateTask,
    Lease,
    Outcome,
    StoredAttempt,
    StoredEvent,
    TaskRow,
)
from .storefile import StoreFile, pack
from .task import Task, TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["DuplicateTask", "Lease", "Outcome", "StoreError", "StoredEvent", "TaskRow", "TaskStore"]

# What the tasks of the long-running service are filed under; they outlive it.
SERVICE_RUN = "service"


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
        self._wall = wall
        self._file = StoreFile(path)
        self.incarnations = IncarnationTable(self._file, wall)
        self.inbox = InboxTable(self._file, wall)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice; other methods raise `StoreError` afterwards."""
        self._file.close()

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
        with self._file.write() as connection:
            for task in tasks:
                row = (task.task_id, run_id, task.priority, now, now, pack(task.to_wire()))
                try:
                    connection.execute(statements.INSERT_TASK, row)
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
        with self._file.write() as connection:
            return connection.execute(statements.SET_STATE, row).rowcount == 1

    def start(
        self, task_id: str, lease: Lease, attempt: int, conversation: Conversation | None = None
    ) -> bool:
        """Record that the task is with that agent from now on, for the `attempt`-th time.

        `conversation` is where it will work: see `conversation_of`.

        Returns:
            False when the task is finished already, or not known: nothing is changed then.

        Raises:
            StoreError: somebody holds the task's lease.
        """
        now = self._wall()
        row = (TaskState.WORKING.value, lease.agent_id, attempt, now, task_id)
        with self._file.write() as connection:
            if connection.execute(statements.SET_STATE, row).rowcount != 1:
                return False
            where = (conversation.session_id, conversation.place) if conversation else (None, None)
            given = (task_id, attempt, lease.agent_id, lease.incarnation, now, *where)
            connection.execute(statements.INSERT_ATTEMPT, given)
            return True

    def move(self, task_id: str, lease: Lease, session_id: str) -> bool:
        """Record that the attempt under way goes on in another conversation, in the same place.

        Returns:
            False when that incarnation does not hold the task: nothing is changed then.
        """
        with self._file.write() as connection:
            if not recovery.holds(connection, task_id, lease):
                return False
            connection.execute(statements.MOVE_ATTEMPT, (session_id, task_id))
            return True

    def end_attempt(self, task_id: str, outcome: Outcome, attempts: int) -> int:
        """Record that the attempt under way ended without a result; the task waits again.

        Args:
            task_id: a task that is with an agent.
            outcome: how it ended.
            attempts: the task's number of attempts from now on.

        Returns:
            How often the task was in flight at a death.
        """
        now = self._wall()
        with self._file.write() as connection:
            ended = connection.execute(statements.END_ATTEMPT, (now, outcome.value, task_id))
            row = (TaskState.SUBMITTED.value, None, attempts, now, task_id)
            connection.execute(statements.SET_STATE, row)
            death = (int(outcome.is_death and ended.rowcount == 1), task_id)
            connection.execute("UPDATE tasks SET deaths = deaths + ? WHERE task_id = ?", death)
            found = "SELECT deaths FROM tasks WHERE task_id = ?"
            row_or_none = connection.execute(found, (task_id,)).fetchone()
            return int(row_or_none[0]) if row_or_none else 0

    def finish(self, result: TaskResult, state: TaskState, *, lease: Lease | None = None) -> bool:
        """Record the one result of a task and its final state, together; its lease ends.

        With `lease`, the result counts only if that incarnation holds the task; one that does not
        is refused, and the refusal is kept. Without, it is the root's own word.

        Returns:
            False when the task has a result already, is not known, or is somebody else's: nothing
            of the task is changed then.
        """
        now = self._wall()
        with self._file.write() as connection:
            if lease is not None and not recovery.holds(connection, result.task_id, lease):
                row = (lease.agent_id, now, result.task_id, lease.incarnation)
                connection.execute(statements.INSERT_REFUSAL, row)
                return False
            return recovery.finish(connection, result, state, now)

    def add_work(self, result: TaskResult, text: str) -> bool:
        """Put the work that was found after a task's end into its result, and note it.

        Returns:
            False when the task has no result any more: nothing is changed then.
        """
        now, task_id = self._wall(), result.task_id
        with self._file.write() as connection:
            row = (pack(result.to_wire()), task_id)
            changed = connection.execute("UPDATE results SET result = ? WHERE task_id = ?", row)
            if changed.rowcount != 1:
                return False
            event = (task_id, None, now, "progress", text)
            connection.execute(statements.INSERT_EVENT, event)
            return True

    def recover(self, run_id: str, max_deaths: int) -> list[TaskRow]:
        """Take over the tasks of a dead service; those to queue again, in the order they came.

        What it had in flight was in flight at a death; at the `max_deaths`-th it is quarantined.
        Only for a service that has given out no task yet, while no other runs.
        """
        with self._file.write() as connection:
            recovery.take_over(connection, run_id, max_deaths, self._wall())
        return self.unfinished(run_id)

    def abandon(self, run_id: str) -> int:
        """End the tasks and incarnations of a dead embedded fleet; the number of the tasks.

        Nobody waits for them any more, and nobody else would ever run them.
        """
        with self._file.write() as connection:
            count = recovery.abandon(connection, run_id, self._wall())
        self.incarnations.take_over(run_id)
        return count

    def replay(self, task_id: str) -> bool:
        """Put a quarantined task back: it waits for the service, and its deaths are forgotten.

        Its poisoned result goes; its attempts stay on record.

        Returns:
            False when it is not in quarantine: nothing is changed then.
        """
        now = self._wall()
        with self._file.write() as connection:
            changes = (SERVICE_RUN, now, task_id)
            if connection.execute(statements.PUT_BACK, changes).rowcount != 1:
                return False
            event = (task_id, None, now, "requeued", "put back from quarantine")
            connection.execute(statements.INSERT_EVENT, event)
            connection.execute("DELETE FROM results WHERE task_id = ?", (task_id,))
            return True

    def event(
        self, task_id: str | None, agent_id: str | None, at: float, kind: str, text: str
    ) -> int:
        """Add an event, and return its number."""
        with self._file.write() as connection:
            row = (task_id, agent_id, at, kind, text)
            return int(connection.execute(statements.INSERT_EVENT, row).lastrowid or 0)

    def events_of_many(self, task_ids: Iterable[str], at: float, kind: str) -> None:
        """Add the same event to each of these tasks, together."""
        with self._file.write() as connection:
            rows = ((task_id, None, at, kind, "") for task_id in task_ids)
            connection.executemany(statements.INSERT_EVENT, rows)

    def prune(self, older_than_s: float, keep: Iterable[str] = ()) -> int:
        """Delete what was finished so long ago, and all that is about it; the number of tasks.

        Unfinished tasks stay, however old they are, and those whose ids are in `keep`.
        """
        before = (self._wall() - older_than_s,)
        but_for = (*before, json.dumps(list(keep)))
        with self._file.write() as connection:
            connection.execute(statements.PRUNE_EVENTS, but_for)
            connection.execute(statements.PRUNE_REFUSALS, before)
            connection.execute(statements.PRUNE_MESSAGES, before)
            connection.execute(statements.PRUNE_INCARNATIONS, before)
            return connection.execute(statements.PRUNE_TASKS, but_for).rowcount

    def delete(self, task_ids: Iterable[str]) -> int:
        """Delete these tasks, if they are finished, and all that is about them; their number."""
        named = (json.dumps(list(task_ids)),)
        with self._file.write() as connection:
            connection.execute(statements.DELETE_EVENTS, named)
            return connection.execute(statements.DELETE_TASKS, named).rowcount

    def checkpoint(self) -> None:
        """See `StoreFile.checkpoint`; to be called now and then while much is written."""
        self._file.checkpoint()

    # -- reading ------------------------------------------------------------------------------

    def task(self, task_id: str) -> Task | None:
        """That task, or None."""
        row = self.row(task_id)
        return row.task if row else None

    def row(self, task_id: str) -> TaskRow | None:
        """That task and where it stands, or None."""
        rows = self._file.read(f"{statements.SELECT_TASK} WHERE task_id = ?", (task_id,))
        return self._task_row(rows[0]) if rows else None

    def result(self, task_id: str) -> TaskResult | None:
        """The result of that task, or None while it has none."""
        rows = self._file.read("SELECT result FROM results WHERE task_id = ?", (task_id,))
        return TaskResult.from_wire(self._file.unpack(rows[0][0])) if rows else None

    def tasks(
        self, state: TaskState | None = None, limit: int = 50, *, poison: bool = False
    ) -> list[TaskRow]:
        """The newest first, of one state or of all; with `poison` all in quarantine instead."""
        where = "WHERE quarantined = 1" if poison else "WHERE state = ?" if state else ""
        values = [state.value] if state and not poison else []
        order = f"{statements.SELECT_TASK} {where} ORDER BY seq DESC LIMIT ?"
        return [self._task_row(row) for row in self._file.read(order, (*values, limit))]

    def tasks_since(self, task_ids: Iterable[str]) -> list[Task]:
        """All tasks that came after the first of these, in their order."""
        rows = self._file.read(statements.TASKS_SINCE, (json.dumps(list(task_ids)),))
        return [Task.from_wire(self._file.unpack(row[0])) for row in rows]

    def ids_starting_with(self, start: str, limit: int = 10) -> list[str]:
        """The ids of the tasks whose id begins so, the newest first; at most `limit`."""
        sql = "SELECT task_id FROM tasks WHERE substr(task_id, 1, ?) = ? ORDER BY seq DESC LIMIT ?"
        return [row[0] for row in self._file.read(sql, (len(start), start, limit))]

    def unfinished(self, run_id: str | None = None) -> list[TaskRow]:
        """The tasks without a result, of one run or of all, in the order they came."""
        return [self._task_row(row) for row in self._file.read(statements.UNFINISHED, (run_id,))]

    def finished_before(self, older_than_s: float) -> list[str]:
        """The ids of the tasks that have had their result for so long, the oldest first."""
        before = (self._wall() - older_than_s,)
        return [row[0] for row in self._file.read(statements.FINISHED_BEFORE, before)]

    def open_runs(self) -> list[str]:
        """The runs that have unfinished tasks, or incarnations that have not ended."""
        return [row[0] for row in self._file.read(statements.OPEN_RUNS)]

    def attempts(self, task_id: str) -> list[StoredAttempt]:
        """Every time that the task was with an agent, in order."""
        rows = self._file.read(statements.SELECT_ATTEMPTS, (task_id,))
        return [StoredAttempt(*row) for row in rows]

    def conversation_of(self, task_id: str) -> Conversation | None:
        """Where the task was worked on last, or None when it never was."""
        rows = self._file.read(statements.CONVERSATION_OF, (task_id,))
        return Conversation(*rows[0]) if rows else None

    def places_in_use(self) -> set[str]:
        """The places of all tasks that are not finished."""
        return {row[0] for row in self._file.read(statements.PLACES_IN_USE)}

    def refused(self, agent_id: str) -> int:
        """How many results of that agent were refused, as it did not hold the lease any more."""
        found = "SELECT count(*) FROM refusals WHERE agent_id = ?"
        return int(self._file.read(found, (agent_id,))[0][0])

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
        sql = f"{statements.SELECT_EVENT} WHERE seq > ?{where} ORDER BY seq LIMIT ?"
        return [StoredEvent(*row) for row in self._file.read(sql, (after, *wanted.values(), limit))]

    def has_event(self, task_id: str, kind: str) -> bool:
        """Whether an event of that kind is on record for the task."""
        return bool(self._file.read(statements.HAS_EVENT, (task_id, kind)))

    # -- inside -------------------------------------------------------------------------------

    def _task_row(self, row: tuple[Any, ...]) -> TaskRow:
        blob, state, *rest = row
        task = Task.from_wire(self._file.unpack(blob))
        return TaskRow(task, TaskState(state), *rest[:-2], *map(bool, rest[-2:]))
