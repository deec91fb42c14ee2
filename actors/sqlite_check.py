"""Whether a file is a sound SQLite database of ours, found out without changing it."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path


class Flaw(Enum):
    """Why a database must not be written to."""

    FOREIGN = "it is another program's database"
    NEWER = "it is of a newer version"
    DAMAGED = "it is damaged"


class FlawedFile(Exception):
    """A database must not be written to.

    Attributes:
        flaw: what is wrong with it.
        version: of its schema.
        detail: what SQLite says; empty where it says nothing.
    """

    def __init__(self, flaw: Flaw, version: int, detail: str = "") -> None:
        super().__init__(flaw, version, detail)
        self.flaw = flaw
        self.version = version
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.flaw.value} ({self.detail})" if self.detail else self.flaw.value


def check_file(path: Path, application_id: int, newest: int, *, timeout_s: float) -> None:
    """Refuse a file that is another program's, of a later version than `newest`, or damaged.

    A new, empty file passes. Its pages and its log are read, all of them, and stay as they are.

    Raises:
        FlawedFile: it must not be written to.
        sqlite3.Error, IsADirectoryError: it is no database, or cannot be read.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # Whoever may write changes the file by looking at it: the last to close moves the log into it.
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s)) as connection:
            _check(connection, application_id, newest)
    except sqlite3.OperationalError as error:
        # What a death cut off before there was a log, only one who may write can undo.
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        with closing(sqlite3.connect(path, timeout=timeout_s)) as connection:
            _check(connection, application_id, newest)


def _check(connection: sqlite3.Connection, application_id: int, newest: int) -> None:
    # One reading transaction: another process may be making the file meanwhile.
    connection.execute("BEGIN")
    owner = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    if owner != application_id and (owner or version or tables):
        raise FlawedFile(Flaw.FOREIGN, version)
    if version > newest:
        raise FlawedFile(Flaw.NEWER, version)
    if owner and not (tables and version):
        raise FlawedFile(Flaw.DAMAGED, version, "its tables are gone")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise FlawedFile(Flaw.DAMAGED, version, " ".join(str(found).split()))


def _number(connection: sqlite3.Connection, sql: str) -> int:
    (value,) = connection.execute(sql).fetchone()
    return int(value)
