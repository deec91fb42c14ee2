"""A database that is damaged, newer or another program's is never written to, nor is its log."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from understudy.actors.gateway.ledger import Ledger, Most
from understudy.actors.gateway.ledger_file import LedgerError
from understudy.actors.sqlite_check import check_file
from understudy.actors.tasks import Task, TaskResult, TaskState
from understudy.actors.tasks.database import APPLICATION_ID
from understudy.actors.tasks.rows import Lease
from understudy.actors.tasks.store import StoreError, TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


def fill(path: Path) -> None:
    """400 tasks, half of which are done."""
    lease = Lease("agent_000", 1)
    names = [f"t{number}" for number in range(400)]
    with TaskStore(path) as store:
        store.add_many([Task(task_id=name, description="x" * 200) for name in names], "service")
        for name in names[:200]:
            store.start(name, lease, 1)
            result = TaskResult(name, "agent_000", "success", {"output": "y" * 200})
            store.finish(result, TaskState.COMPLETED, lease=lease)


def root_page(path: Path, name: str) -> int:
    """The number of the first page of a table or an index."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(sql, (name,)).fetchone()
        return int(page)


def damage(path: Path, page: int) -> None:
    """Write chance over one page."""
    with path.open("r+b") as file:
        file.seek((page - 1) * _PAGE_BYTES)
        file.write(random.Random(page).randbytes(_PAGE_BYTES))  # noqa: S311 - no secret


@pytest.mark.parametrize("name", ["results", "attempts", "tasks_by_state", "leases"])
def test_a_store_with_one_damaged_page_is_refused_and_left_as_it_is(path: Path, name: str) -> None:
    fill(path)
    damage(path, root_page(path, name))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"it is damaged .*move it away"):
        TaskStore(path)
    assert path.read_bytes() == before


def test_a_store_whose_inner_pages_are_damaged_is_refused(path: Path) -> None:
    fill(path)
    for page in (60, path.stat().st_size // _PAGE_BYTES):
        good = path.read_bytes()
        damage(path, page)
        with pytest.raises(StoreError, match="it is damaged"):
            TaskStore(path)
        path.write_bytes(good)
    TaskStore(path).close()


def test_a_store_whose_tables_are_gone_is_damaged(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 4")
    with pytest.raises(StoreError, match="its tables are gone"):
        TaskStore(path)


def test_a_ledger_with_a_damaged_page_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    for number in range(200):
        ledger.begin("service", "agent_000", f"t{number}", "model", 1.0, Most())
    ledger.close()
    damage(path, root_page(path, "asks_of_task"))
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="it is damaged"):
        Ledger(path)
    assert path.read_bytes() == before


# -- whoever may write changes a file with a log by closing it -------------------------------------


def die_after(path: Path, *statements: str) -> None:
    """A process that writes these to the log of a file, and dies."""
    program = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for sql in sys.argv[2:]: db.execute(sql)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path), *statements], check=True)


def another_programs(path: Path) -> None:
    die_after(path, "PRAGMA journal_mode = WAL", "CREATE TABLE songs (title)")


def newer_store(path: Path) -> None:
    TaskStore(path).close()
    die_after(path, "PRAGMA user_version = 99")


def newer_ledger(path: Path) -> None:
    Ledger(path).close()
    die_after(path, "PRAGMA user_version = 99")


def open_ledger(path: Path) -> None:
    Ledger(path).close()


def open_store(path: Path) -> None:
    TaskStore(path).close()


@pytest.mark.parametrize(
    ("make", "opened", "problem"),
    [
        (another_programs, open_store, "another program's database"),
        (newer_store, open_store, "schema version 99"),
        (another_programs, open_ledger, "another program's database"),
        (newer_ledger, open_ledger, "a newer version"),
    ],
)
def test_a_refused_files_log_is_left_as_it_is(
    path: Path, make: Callable[[Path], None], opened: Callable[[Path], None], problem: str
) -> None:
    make(path)
    log = path.with_name("tasks.db-wal")
    before = (path.read_bytes(), log.read_bytes())
    assert before[1]
    with pytest.raises((StoreError, LedgerError), match=problem):
        opened(path)
    assert (path.read_bytes(), log.read_bytes()) == before


def test_what_a_death_left_half_done_before_there_was_a_log_is_undone(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE songs (title)")
        connection.execute("INSERT INTO songs VALUES (zeroblob(100000))")
    # A cache of one page: what is not committed yet is in the file, and what was there beside it.
    die_after(path, "PRAGMA cache_size = 1", "BEGIN", "UPDATE songs SET title = zeroblob(90000)")
    assert path.with_name("tasks.db-journal").stat().st_size
    with pytest.raises(StoreError, match="another program's database"):
        TaskStore(path)


def test_a_new_file_and_a_path_with_signs_pass(tmp_path: Path) -> None:
    path = tmp_path / "a?b%20 #c.db"
    path.touch()
    check_file(path, APPLICATION_ID, 4, timeout_s=1.0)
    TaskStore(path).close()
    check_file(path, APPLICATION_ID, 4, timeout_s=1.0)
