"""What must be so after all the killing, read from the files alone: no code of the store is used."""

from __future__ import annotations

import collections
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FINAL = ("completed", "failed", "canceled", "rejected")


def faults_in(database: Path, acknowledged: Iterable[str], journal: list[dict[str, Any]]) -> list[str]:
    """Every promise that is broken, in words; the service has stopped and has done all its tasks."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        found = [*_lost(connection, acknowledged), *_twice(connection), *_left_open(connection)]
    connection.close()
    return [*found, *_recorded_twice(journal), *_not_told(journal), *_two_at_once(journal)]


def _rows(connection: sqlite3.Connection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def _lost(connection: sqlite3.Connection, acknowledged: Iterable[str]) -> list[str]:
    states = dict(_rows(connection, "SELECT task_id, state FROM tasks"))
    results = {row[0] for row in _rows(connection, "SELECT task_id FROM results")}
    lost = [f"acknowledged task {i} is lost" for i in acknowledged if i not in states]
    unfinished = [f"task {i} is {s}" for i, s in states.items() if s not in _FINAL]
    failed = [f"task {i} is {s}, not completed" for i, s in states.items() if s == "failed"]
    resultless = [f"task {i} has no result" for i in states if i not in results]
    return lost + unfinished + failed + resultless


def _twice(connection: sqlite3.Connection) -> list[str]:
    many = " GROUP BY task_id HAVING count(*) > 1"
    sources = {
        "tasks": "SELECT task_id, count(*) FROM tasks" + many,
        "results": "SELECT task_id, count(*) FROM results" + many,
        "finished events": "SELECT task_id, count(*) FROM events WHERE kind = 'finished'" + many,
        "successful attempts": (
            "SELECT task_id, count(*) FROM attempts WHERE outcome IN ('success', 'partial')" + many
        ),
    }
    return [
        f"task {task_id} has {count} {what}"
        for what, sql in sources.items()
        for task_id, count in _rows(connection, sql)
    ]


def _left_open(connection: sqlite3.Connection) -> list[str]:
    leases = _rows(connection, "SELECT task_id FROM attempts WHERE ended_at IS NULL")
    lives = _rows(connection, "SELECT agent_id, incarnation FROM incarnations WHERE ended_at IS NULL")
    checks = _rows(connection, "PRAGMA integrity_check") + _rows(connection, "PRAGMA foreign_key_check")
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
            found.append(f"task {task_id} ran again and its agent was not told that it may have run")
        had.add(task_id)
    return found


def _two_at_once(journal: list[dict[str, Any]]) -> list[str]:
    """The attempts of a task have numbers that go up."""
    found: list[str] = []
    last: dict[str, int] = {}
    for line in journal:
        if line["kind"] == "order":
            if line["attempt"] <= last.get(line["task_id"], 0):
                found.append(f"task {line['task_id']} was attempted twice as {line['attempt']}")
            last[line["task_id"]] = line["attempt"]
    return found
