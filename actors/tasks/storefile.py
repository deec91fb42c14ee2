"""The open file of the task store: one connection, one writer at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import msgpack

from .database import MEND_DAMAGED, StoreError, open_database, store_errors, transaction

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# SQLite's write-ahead log is moved into the file itself when it is longer than the first of these,
# and the second for each row that was written since the last call: to move it slows the writer
# down, so it waits for a calmer moment, until it is longer than the third.
_LONG_LOG_BYTES = 16 << 20
_MORE_PER_ROW_BYTES = 1 << 20
_LONGEST_LOG_BYTES = 512 << 20
# Each row is some four pages of the log: moved while the writer waits, within milliseconds.
_FEW_ROWS = 200
_MOST_MOVES = 4
# A sync, too, slows the writer down: not while more than this is written between two calls.
_CALM_ROWS = 100


class StoreFile:
    """Usable from any thread. Everything raises `StoreError` when the file or its disk fails.

    Raises:
        StoreError: the file is damaged, not ours, or of a newer version. It is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = open_database(path)
        self._beside: sqlite3.Connection | None = None
        self._beside_lock = threading.Lock()
        self._log = path.with_name(f"{path.name}-wal")
        self._rows_written = self._rows_seen = self._rows_synced = 0

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._beside_lock, self._lock:
            open_ones = (self._beside, self._connection)
            self._beside = self._connection = None
            for connection in open_ones:
                if connection is not None:
                    connection.close()

    def checkpoint(self) -> None:
        """Bring what was written to the disk, and a long log into the file itself.

        To be called now and then. Takes as long as the disk does, beside the writer: not for a
        thread that others wait for. The writer is held back for the end of a long log alone.
        """
        with self._beside_lock, store_errors(self._path):
            if self._connection is None:
                return
            written = self._rows_written
            fresh, self._rows_seen = written - self._rows_seen, written
            allowed = _LONG_LOG_BYTES + fresh * _MORE_PER_ROW_BYTES
            # Where somebody has removed the files of an open store there is nothing to save.
            with contextlib.suppress(FileNotFoundError):
                if self._log.stat().st_size > min(allowed, _LONGEST_LOG_BYTES):
                    self._move_log()
                elif fresh <= _CALM_ROWS and written > self._rows_synced:
                    _sync(self._log)
                    self._rows_synced = written

    def _move_log(self) -> None:
        if self._beside is None:
            # Whoever reads or writes in another process is not waited for: the writer would be too.
            self._beside = sqlite3.connect(self._path, timeout=0.0, check_same_thread=False)
        for _ in range(_MOST_MOVES):
            before = self._rows_written
            self._beside.execute("PRAGMA wal_checkpoint(PASSIVE)")
            with self._lock:
                if self._rows_written - before <= _FEW_ROWS:
                    _begin_anew(self._beside, self._opened())
                    return

    @contextlib.contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """All that is written inside is there when it ends, or nothing of it."""
        with self._lock, store_errors(self._path):
            connection = self._opened()
            before = connection.total_changes
            with transaction(connection):
                yield connection
            self._rows_written += connection.total_changes - before

    def read(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query."""
        with self._lock, store_errors(self._path):
            return self._opened().execute(sql, values).fetchall()

    def unpack(self, blob: bytes) -> object:
        """What `pack` packed."""
        try:
            return msgpack.unpackb(blob)
        except ValueError as error:
            problem = f"a record is damaged ({error})"
            raise StoreError(str(self._path), problem, MEND_DAMAGED) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(str(self._path), "it is closed", "open it again")
        return self._connection


def _begin_anew(beside: sqlite3.Connection, writer: sqlite3.Connection) -> None:
    """Move what is left of the log, and write the first page of a new one.

    SQLite syncs that page, for the file's sake, and the writer forgets what it had read: it would
    be the next caller's to wait for.
    """
    busy, _, _ = beside.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if not busy:
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        writer.execute(f"PRAGMA user_version = {version}")


def _sync(log: Path) -> None:
    # SQLite has no locks on this file, so that to close it here drops none.
    descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def pack(data: dict[str, Any]) -> bytes:
    """The record as the file keeps it."""
    return msgpack.packb(data)
