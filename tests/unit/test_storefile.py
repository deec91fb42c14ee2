# pyright: reportPrivateUsage=false
"""The log of the store's file: moved beside the writer, and begun anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from understudy.actors.tasks import storefile
from understudy.actors.tasks.storefile import StoreFile


def write(file: StoreFile) -> None:
    with file.write() as connection:
        connection.execute("UPDATE tasks SET priority = priority + 1")
        connection.execute("CREATE TABLE IF NOT EXISTS more (text)")
        connection.execute("INSERT INTO more VALUES (?)", ("x" * 50_000,))


def test_what_a_long_log_kept_is_moved_while_nothing_is_written_and_it_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StoreFile(tmp_path / "tasks.db")
    reader = sqlite3.connect(tmp_path / "tasks.db")
    move, lengths = storefile._move, list[int]()

    def move_beside_a_reader(connection: sqlite3.Connection) -> int:
        lengths.append(move(connection))
        reader.close()
        return lengths[-1]

    monkeypatch.setattr(storefile, "_move", move_beside_a_reader)
    monkeypatch.setattr(storefile, "_LONG_LOG_PAGES", 50)
    for _ in range(20):
        write(file)
    # As a write in the middle of it does, what the reader sees keeps the first from moving all.
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM more").fetchone()
    write(file)
    file.checkpoint()
    write(file)
    file.checkpoint()
    file.close()
    assert lengths[0] == lengths[1]
    assert lengths[2] < lengths[0] / 4


def test_a_short_log_holds_nobody_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StoreFile(tmp_path / "tasks.db")
    moves: list[bool] = []
    move = storefile._move

    def noted(connection: sqlite3.Connection) -> int:
        moves.append(file._lock.locked())
        return move(connection)

    monkeypatch.setattr(storefile, "_move", noted)
    write(file)
    file.checkpoint()
    file.close()
    assert moves == [False]
