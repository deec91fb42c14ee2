"""How tasks end in the store, and what becomes of those that a dead fleet left.

Each function works inside a transaction of the `TaskStore`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..failure import FailureKind
from . import statements
from .storefile import pack
from .task import TaskResult, TaskState

if TYPE_CHECKING:
    import sqlite3

    from .rows import Lease


def holds(connection: sqlite3.Connection, task_id: str, lease: Lease) -> bool:
    """Whether that incarnation has the task now."""
    row = (task_id, lease.agent_id, lease.incarnation)
    return connection.execute(statements.HOLDS_LEASE, row).fetchone() is not None


def finish(
    connection: sqlite3.Connection, result: TaskResult, state: TaskState, now: float
) -> bool:
    """Record the result, the state and the end of the attempt; False when it had a result."""
    task_id = result.task_id
    changes = (state.value, result.agent_id, result.attempts, now, task_id)
    if connection.execute(statements.SET_STATE, changes).rowcount != 1:
        return False
    connection.execute(statements.INSERT_RESULT, (task_id, now, pack(result.to_wire())))
    how = result.failure_kind or result.status
    connection.execute(statements.END_ATTEMPT, (now, how, task_id))
    if result.failure_kind == FailureKind.POISON:
        connection.execute("UPDATE tasks SET quarantined = 1 WHERE task_id = ?", (task_id,))
    return True


def take_over(connection: sqlite3.Connection, run_id: str, max_deaths: int, now: float) -> None:
    """End the leases of a dead service as deaths, quarantine what died too often."""
    named = {"run": run_id, "now": now}
    for step in (statements.COUNT_DEATHS, statements.END_LEASES, statements.WAIT_AGAIN):
        connection.execute(step, named)
    for task_id, attempts, deaths in connection.execute(
        statements.DEADLY, (run_id, max_deaths)
    ).fetchall():
        error = poison_text(deaths, "the service died")
        _fail(connection, task_id, attempts, FailureKind.POISON, error, now)


def abandon(connection: sqlite3.Connection, run_id: str, now: float) -> int:
    """Fail the unfinished tasks of a dead fleet; their number."""
    # No task has died -1 times: all that is unfinished.
    rows = connection.execute(statements.DEADLY, (run_id, -1)).fetchall()
    for task_id, attempts, _ in rows:
        error = "its run was killed before the task was done; run it again"
        _fail(connection, task_id, attempts, FailureKind.INTERNAL, error, now)
    return len(rows)


def poison_text(deaths: int, last: str) -> str:
    """What the result of a quarantined task says."""
    return (
        f"its agent fell {deaths} times while it worked on it; last: {last}; "
        "it is kept back until `understudy replay`"
    )


def _fail(
    connection: sqlite3.Connection,
    task_id: str,
    attempts: int,
    kind: FailureKind,
    error: str,
    now: float,
) -> None:
    result = TaskResult(
        task_id, "none", "failed", {}, error, timestamp=now, attempts=attempts,
        failure_kind=kind.value,
    )  # fmt: skip
    finish(connection, result, TaskState.FAILED, now)
    event = (task_id, None, now, "finished", f"failed: {error}")
    connection.execute(statements.INSERT_EVENT, event)
