"""A file that version 1 of the schema wrote, with data, is taken over and loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.tasks.rows import Lease, StoredAttempt
from understudy.actors.tasks.store import StoreError, TaskStore
from understudy.actors.tasks.task import TaskState

VERSION_1 = Path(__file__).with_name("data") / "tasks-v1.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(VERSION_1, tmp_path / "tasks.db"))


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_the_file_under_test_is_of_version_1(path: Path) -> None:
    assert version(path) == 1
    TaskStore(path).close()
    assert version(path) == 4


def test_every_task_result_and_event_of_version_1_is_there(path: Path) -> None:
    with TaskStore(path) as store:
        states = {row.task_id: (row.state, row.attempts) for row in store.tasks()}
        done = store.result("done")
        events = [(event.task_id, event.kind) for event in store.events()]
    assert states == {
        "waits": (TaskState.SUBMITTED, 0),
        "worked_on": (TaskState.WORKING, 2),
        "retried": (TaskState.SUBMITTED, 1),
        "done": (TaskState.COMPLETED, 1),
        "poisoned": (TaskState.FAILED, 3),
        "canceled": (TaskState.CANCELED, 0),
        "embedded_waits": (TaskState.SUBMITTED, 0),
        "embedded_poisoned": (TaskState.FAILED, 3),
    }
    assert done is not None
    assert done.result == {"output": "failure_kind poison", "n": 1}
    assert events == [("waits", "queued"), ("done", "queued"), ("done", "finished")]


def test_poison_of_version_1_is_in_quarantine_and_nothing_else_is(path: Path) -> None:
    with TaskStore(path) as store:
        quarantined = [row.task_id for row in store.tasks(poison=True)]
        assert quarantined == ["embedded_poisoned", "poisoned"]
        assert store.replay("poisoned")
        assert store.start("poisoned", Lease("agent_000", 1), 1)


def test_what_version_1_left_at_work_was_in_flight_at_a_death(path: Path) -> None:
    with TaskStore(path, wall=lambda: 3000.0) as store:
        rows = {row.task_id: row for row in store.recover("service", 3)}
        assert list(rows) == ["waits", "worked_on", "retried"]
        assert [row.may_have_run for row in rows.values()] == [False, True, True]
        assert [row.deaths for row in rows.values()] == [0, 1, 0]
        assert store.attempts("worked_on") == [
            StoredAttempt(2, "agent_000", 0, 2000.0, 3000.0, "service_died")
        ]


def test_a_migration_that_finds_no_space_leaves_version_1_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def without_space(database: Path, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - passed on
        connection: sqlite3.Connection = connect(database, **options)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", without_space)
    with pytest.raises(StoreError, match=r"disk is full .*; free some space"):
        TaskStore(path)
    monkeypatch.undo()
    assert version(path) == 1
    with TaskStore(path) as store:
        assert len(store.tasks()) == 8


def test_a_file_cut_in_half_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = path.read_bytes()
    with pytest.raises(StoreError, match="damaged"):
        TaskStore(path)
    assert path.read_bytes() == before
