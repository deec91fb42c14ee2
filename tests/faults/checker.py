"""What must be so after all the killing, read from the file alone: no code of the store is used."""

from __future__ import annotations

import collections
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FINAL = ("completed", "failed", "canceled", "rejected")
# How a task may end when the way to the model was cut too often or for too long.
NOT_THE_SERVICES_FAULT = ("timeout", "api_down", "overloaded")


def faults_in(
    database: Path,
    acknowledged: Iterable[str],
    journal: list[dict[str, Any]],
    *,
    may_fail: Iterable[str] = (),
) -> list[str]:
    """Every promise that is broken, in words; the service has stopped and has done all its tasks.

    `may_fail` are the kinds of failure that a task may have ended with.
    """
    with contextlib.closing(connect(database)) as connection:
        found = [
            *_lost(connection, acknowledged),
            *_failed(connection, may_fail),
            *_twice(connection),
            *_left_open(connection),
            *_overlapping_lives(connection),
        ]
    return [*found, *_recorded_twice(journal), *_not_told(journal), *_counted_back(journal)]


def connect(database: Path) -> sqlite3.Connection:
    """Open the file to read it alone."""
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


def ends(database: Path) -> dict[str, int]:
    """How many tasks ended how: a success or a kind of failure."""
    with contextlib.closing(connect(database)) as connection:
        return dict(collections.Counter(kind for _, kind, _ in _results(connection)).most_common())


def results(database: Path) -> dict[str, dict[str, Any]]:
    """The result of each task that has one."""
    with contextlib.closing(connect(database)) as connection:
        return _all_results(connection)


def _all_results(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    rows = _rows(connection, "SELECT task_id, result FROM results")
    return {task_id: msgpack.unpackb(blob) for task_id, blob in rows}


def _results(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Task, how it ended, and the error."""
    found = _all_results(connection).items()
    return [(i, r["failure_kind"] or r["status"], r["error"] or "") for i, r in found]


def _failed(connection: sqlite3.Connection, may_fail: Iterable[str]) -> list[str]:
    good = {"success", "partial", *may_fail}
    found = _results(connection)
    return [f"task {i} ended by {kind}: {error}" for i, kind, error in found if kind not in good]


def _overlapping_lives(connection: sqlite3.Connection) -> list[str]:
    """Of two incarnations of an agent the older one ended first."""
    sql = """
        SELECT one.agent_id, one.incarnation FROM incarnations one JOIN incarnations other
            ON one.run_id = other.run_id AND one.agent_id = other.agent_id
            AND one.incarnation < other.incarnation
        WHERE one.ended_at > other.started_at
    """
    rows = _rows(connection, sql)
    return [f"incarnation {number} of {agent} outlived a later one" for agent, number in rows]


def _rows(connection: sqlite3.Connection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def _lost(connection: sqlite3.Connection, acknowledged: Iterable[str]) -> list[str]:
    states = dict(_rows(connection, "SELECT task_id, state FROM tasks"))
    results = {row[0] for row in _rows(connection, "SELECT task_id FROM results")}
    lost = [f"acknowledged task {i} is lost" for i in acknowledged if i not in states]
    unfinished = [f"task {i} is {s}" for i, s in states.items() if s not in _FINAL]
    resultless = [f"task {i} has no result" for i in states if i not in results]
    return lost + unfinished + resultless


def _twice(connection: sqlite3.Connection) -> list[str]:
    sources = {
        "rows": "SELECT task_id FROM tasks",
        "results": "SELECT task_id FROM results",
        "finished events": "SELECT task_id FROM events WHERE kind = 'finished'",
        "good attempts": "SELECT task_id FROM attempts WHERE outcome IN ('success', 'partial')",
    }
    found: list[str] = []
    for what, sql in sources.items():
        counts = collections.Counter(row[0] for row in _rows(connection, sql))
        found += [f"task {i} has {count} {what}" for i, count in counts.items() if count > 1]
    return found


def _left_open(connection: sqlite3.Connection) -> list[str]:
    leases = _rows(connection, "SELECT task_id FROM attempts WHERE ended_at IS NULL")
    lives = _rows(
        connection, "SELECT agent_id, incarnation FROM incarnations WHERE ended_at IS NULL"
    )
    checks = _rows(connection, "PRAGMA integrity_check") + _rows(
        connection, "PRAGMA foreign_key_check"
    )
    return (
        [f"task {row[0]} is still held" for row in leases]
        + [f"incarnation {number} of {agent} has not ended" for agent, number in lives]
        + [f"the file: {row}" for row in checks if row != ("ok",)]
    )


def _recorded_twice(journal: list[dict[str, Any]]) -> list[str]:
    counts = collections.Counter(line["task_id"] for line in journal if line["kind"] == "recorded")
    return [f"the result of task {i} was recorded {n} times" for i, n in counts.items() if n > 1]


def _not_told(journal: list[dict[str, Any]]) -> list[str]:
    """A task that an agent had before must say so, and one that is recorded must not run again."""
    found: list[str] = []
    had: set[str] = set()
    recorded: set[str] = set()
    for line in journal:
        if line["kind"] == "recorded":
            recorded.add(line["task_id"])
        if line["kind"] != "order":
            continue
        task_id = line["task_id"]
        if task_id in recorded:
            found.append(f"task {task_id} ran again after its result was recorded")
        if task_id in had and not line["may_have_run"]:
            found.append(
                f"task {task_id} ran again and its agent was not told that it may have run"
            )
        had.add(task_id)
    return found


def _counted_back(journal: list[dict[str, Any]]) -> list[str]:
    """The attempts of a task go up; one that cost nothing, the API's fault, keeps its number."""
    found: list[str] = []
    last: dict[str, int] = {}
    for line in journal:
        if line["kind"] == "order":
            task_id, attempt = line["task_id"], line["attempt"]
            if attempt < last.get(task_id, 1):
                found.append(f"task {task_id}: attempt {attempt} after {last[task_id]}")
            last[task_id] = attempt
    return found
