"""The open file of the task store: one connection, one writer at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import msgpack

from .database import MEND_DAMAGED, StoreError, open_database, store_errors, transaction

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# 16 MB, as much as is kept of the log's file when it begins anew.
_LONG_LOG_PAGES = 4_000


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

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._beside_lock, self._lock:
            open_ones = (self._beside, self._connection)
            self._beside = self._connection = None
            for connection in open_ones:
                if connection is not None:
                    connection.close()

    def checkpoint(self) -> None:
        """Move what was written from the log into the file itself, beside the writer.

        The writer is held back for the end of a long log alone, for two syncs of the disk. Takes
        as long as the disk does: not for a thread that others wait for.
        """
        with self._beside_lock, store_errors(self._path):
            if self._connection is None:
                return
            if self._beside is None:
                self._beside = sqlite3.connect(self._path, check_same_thread=False)
            if _move(self._beside) < _LONG_LOG_PAGES:
                return
            # What was written meanwhile keeps the log from beginning anew: the little that it is
            # is moved while nothing is written, or the writer would have to move it all one day.
            with self._lock:
                _move(self._beside)

    @contextlib.contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """All that is written inside is there when it ends, or nothing of it."""
        with self._lock, store_errors(self._path):
            connection = self._opened()
            with transaction(connection):
                yield connection

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


def _move(connection: sqlite3.Connection) -> int:
    """Move the log into the file as far as nobody needs it; its length in pages."""
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)


def pack(data: dict[str, Any]) -> bytes:
    """The record as the file keeps it."""
    return msgpack.packb(data)
