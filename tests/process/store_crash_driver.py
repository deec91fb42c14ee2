"""Kill a process that writes the store before each of its SQL statements; see what is left.

Run as a program: `store_crash_driver.py FOLDER SCENE [VERSION_1_FILE]`. It forks once for each
statement, checks the store after each death, and prints the number of deaths.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.actors.handle import TaskHandle
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.rows import Lease
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_DEATHS = 3


class Acknowledged:
    """What the writer was told is done, in a file that outlives it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, what: str, task_id: str) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.write(f"{what} {task_id}\n")

    def of(self, what: str) -> list[str]:
        lines = self._path.read_text(encoding="ascii").splitlines() if self._path.exists() else []
        return [line.split()[1] for line in lines if line.split()[0] == what]


def write(path: Path, told: Acknowledged) -> None:
    """A life of a service: it takes over, submits, gives out, sees falls and results."""
    with TaskStore(path) as store:
        book = TaskBook(TaskQueue(), store, "service")
        rows = store.recover("service", _MAX_DEATHS)
        book.recover([(row.task, row.attempts) for row in rows], [])
        for name in ("a", "b", "c"):
            if store.row(name) is None:
                book.accept([Task(task_id=name)], [TaskHandle(name, lambda _: False)])
                told.add("accepted", name)
        for incarnation in itertools.count(1):
            picked = book.take({"agent_000": None})
            if picked is None:
                return
            _one_run(book, picked[0], Lease("agent_000", incarnation), told)


def _one_run(book: TaskBook, task: Task, lease: Lease, told: Acknowledged) -> None:
    assert book.start(task, lease.agent_id, gives_up_at=9e9, incarnation=lease.incarnation)
    told.add("started", task.task_id)
    if lease.incarnation == 1:
        book.fell(book.running[task.task_id], "killed", _MAX_DEATHS)
        told.add("fell", task.task_id)
    else:
        result = TaskResult(task.task_id, "agent_000", "success", {})
        assert book.finish(result, lease)
        told.add("finished", task.task_id)


def check_tasks(path: Path, told: Acknowledged) -> None:
    """After the death: nothing that was told is forgotten, and the next life ends all tasks."""
    with TaskStore(path) as store:
        known = {row.task_id for row in store.tasks()}
        assert set(told.of("accepted")) <= known, "an accepted task is lost"
        for row in store.tasks():
            ended = store.result(row.task_id) is not None
            held = any(attempt.ended_at is None for attempt in store.attempts(row.task_id))
            assert row.state.is_final is ended, "a state without its result, or the reverse"
            assert not (ended and held), "a finished task is held"
            assert held is (row.state is TaskState.WORKING), "a holder without work"
        for task_id in told.of("finished"):
            assert store.result(task_id) is not None, "a result is lost"
        unfinished = {row.task_id: row for row in store.recover("service", _MAX_DEATHS)}
        assert not unfinished.keys() & set(told.of("finished")), "a finished task runs again"
        for task_id in unfinished.keys() & set(told.of("started")):
            assert unfinished[task_id].may_have_run, "a run is forgotten"
    write(path, told)
    with TaskStore(path) as store:
        assert store.unfinished() == []
        assert {row.task_id for row in store.tasks()} == {"a", "b", "c"}
        assert all(store.result(name) is not None for name in "abc")
    assert sorted(told.of("finished")) == sorted(set(told.of("finished"))), "finished twice"


def check_migrated(path: Path, told: Acknowledged) -> None:
    """After the death: the file opens, with all that version 1 had."""
    del told
    with TaskStore(path) as store:
        assert len(store.tasks()) == 8
        assert [row.task_id for row in store.tasks(poison=True)] == [
            "embedded_poisoned",
            "poisoned",
        ]
        assert len(store.attempts("worked_on")) == 1


def die_at(number: int) -> None:
    """Have this process killed before the statement of that number, in any database."""
    statements = itertools.count(1)

    def count(_sql: str) -> None:
        if next(statements) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def traced(database: Path, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - passed on
        connection = connect(database, **options)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


def killed_at(number: int, work: Callable[[], None]) -> bool:
    """Do the work in a process that dies at that statement; whether it came so far."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_at(number)
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the writer failed at statement {number}: {status}"
    return status == -signal.SIGKILL


def main() -> None:
    """One scene: `write` or `migrate`."""
    folder, scene = Path(sys.argv[1]), sys.argv[2]
    for number in itertools.count(1):
        place = folder / str(number)
        place.mkdir()
        path, told = place / "tasks.db", Acknowledged(place / "told")
        if scene == "migrate":
            shutil.copy(sys.argv[3], path)
            died = killed_at(number, lambda path=path: TaskStore(path).close())  # type: ignore[misc]
            check_migrated(path, told)
        else:
            died = killed_at(number, lambda path=path, told=told: write(path, told))  # type: ignore[misc]
            check_tasks(path, told)
        shutil.rmtree(place)
        if not died:
            sys.stdout.write(f"{number - 1}\n")
            return


if __name__ == "__main__":
    main()
