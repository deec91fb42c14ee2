# pyright: reportPrivateUsage=false
"""The log of the store's file: synced and moved beside the writer, and begun anew."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from understudy.actors.tasks import storefile
from understudy.actors.tasks.storefile import StoreFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG_BYTES = 100_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreFile]:
    """A store's file whose log is long with two writes."""
    monkeypatch.setattr(storefile, "_LONG_LOG_BYTES", LONG_BYTES)
    file = StoreFile(tmp_path / "tasks.db")
    with file.write() as connection:
        connection.execute("CREATE TABLE more (text)")
    yield file
    file.close()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The files that were synced by us, by inode."""
    found: list[int] = []
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        found.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    return found


def write(file: StoreFile) -> None:
    with file.write() as connection:
        connection.execute("INSERT INTO more VALUES (?)", ("x" * 60_000,))


def log(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db-wal"


def rows_without_the_log(tmp_path: Path) -> int:
    """What somebody finds who has the file itself alone."""
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "tasks.db").read_bytes())
    connection = sqlite3.connect(copy)
    (count,) = connection.execute("SELECT count(*) FROM more").fetchone()
    connection.close()
    return int(count)


def test_a_long_log_is_moved_and_begins_anew_when_nothing_is_written(
    file: StoreFile, tmp_path: Path
) -> None:
    for _ in range(20):
        write(file)
    file.checkpoint()
    file.checkpoint()
    assert 0 < log(tmp_path).stat().st_size < LONG_BYTES / 10, "its first page is there"
    assert rows_without_the_log(tmp_path) == 20


def test_a_long_log_is_left_alone_while_much_is_written(file: StoreFile, tmp_path: Path) -> None:
    for _ in range(20):
        write(file)
    file.checkpoint()
    assert log(tmp_path).stat().st_size > 20 * 60_000


def test_the_longest_log_is_moved_however_much_is_written(
    file: StoreFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storefile, "_LONGEST_LOG_BYTES", 10 * 60_000)
    for _ in range(20):
        write(file)
    file.checkpoint()
    assert log(tmp_path).stat().st_size < LONG_BYTES / 10
    assert rows_without_the_log(tmp_path) == 20


def test_what_was_written_while_the_log_was_moved_is_moved_before_the_writer_is_held_back(
    file: StoreFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storefile, "_FEW_ROWS", 0)
    write(file)
    write(file)
    file.checkpoint()
    file.checkpoint()  # the connection beside the writer is there from now on
    for _ in range(3):
        write(file)
    file.checkpoint()
    steps: list[str] = []

    def note(sql: str) -> None:
        steps.append(sql.partition("(")[2])
        if steps == ["PASSIVE)"]:
            assert not file._lock.locked(), "the writer can write"
            write(file)

    assert file._beside
    file._beside.set_trace_callback(note)
    file.checkpoint()
    file._beside.set_trace_callback(None)
    assert steps == ["PASSIVE)", "PASSIVE)", "TRUNCATE)"]


def test_a_reader_elsewhere_is_not_waited_for(file: StoreFile, tmp_path: Path) -> None:
    write(file)
    reader = sqlite3.connect(tmp_path / "tasks.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM more").fetchone()
    write(file)
    file.checkpoint()
    file.checkpoint()
    assert log(tmp_path).stat().st_size > LONG_BYTES, "it is read"
    assert file._beside
    assert file._beside.execute("PRAGMA busy_timeout").fetchone() == (0,)
    write(file)
    reader.close()
    file.checkpoint()
    file.checkpoint()
    assert log(tmp_path).stat().st_size < LONG_BYTES / 10


def test_a_little_that_is_written_is_synced_once(
    file: StoreFile, tmp_path: Path, syncs: list[int]
) -> None:
    file.checkpoint()
    del syncs[:]
    write(file)
    file.checkpoint()
    file.checkpoint()
    assert syncs == [log(tmp_path).stat().st_ino]


def test_much_that_is_written_is_synced_when_it_is_over(
    file: StoreFile, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storefile, "_CALM_ROWS", 1)
    write(file)
    write(file)
    monkeypatch.setattr(storefile, "_LONG_LOG_BYTES", 10 * LONG_BYTES)
    file.checkpoint()
    assert syncs == []
    file.checkpoint()
    assert len(syncs) == 1


def test_files_that_somebody_removed_are_no_error(file: StoreFile, tmp_path: Path) -> None:
    log(tmp_path).unlink()
    write(file)
    file.checkpoint()
