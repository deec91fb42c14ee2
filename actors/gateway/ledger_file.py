"""The ledger's file: what is in it, and how an older one becomes a new one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from ..errors import AgentError
from ..sqlite_check import Flaw, FlawedFile, check_file

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 3
# "Uled": a database of ours, as in `tasks.database`.
_APPLICATION_ID = 0x556C6564
_BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE asks (
    ask_id INTEGER PRIMARY KEY,
    fleet TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    task_id TEXT,
    model TEXT,
    asked_at REAL NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,
    status INTEGER,
    state TEXT NOT NULL DEFAULT 'open',
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_input_tokens INTEGER NOT NULL DEFAULT 0,
    cache_creation_input_tokens INTEGER NOT NULL DEFAULT 0,
    dollars REAL
);
CREATE INDEX asks_of_fleet ON asks (fleet, asked_at);
CREATE INDEX asks_of_task ON asks (task_id) WHERE task_id IS NOT NULL;
CREATE TABLE assigned (
    fleet TEXT NOT NULL, agent_id TEXT NOT NULL, task TEXT NOT NULL,
    PRIMARY KEY (fleet, agent_id)
);
"""
# New in version 2: which task was given away in which.
_PARENTS = """
CREATE TABLE parents (task_id TEXT PRIMARY KEY, parent_id TEXT NOT NULL);
CREATE INDEX parents_by_parent ON parents (parent_id);
"""
# New in version 3: the most that a request can cost, and what each row counts as.
_AT_MOST = """
ALTER TABLE asks ADD COLUMN most_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE asks ADD COLUMN most_dollars REAL;
CREATE VIEW counted AS SELECT
    ask_id, fleet, agent_id, task_id, model, asked_at, seconds, status, state, is_cut,
    CASE WHEN is_cut THEN max(told_tokens, most_tokens) ELSE told_tokens END AS tokens,
    CASE WHEN is_cut THEN coalesce(most_dollars, dollars) ELSE dollars END AS dollars,
    is_cut OR status IS 200 AS is_turn
FROM (
    SELECT *, state IN ('open', 'cut') AS is_cut,
        input_tokens + output_tokens + cache_read_input_tokens + cache_creation_input_tokens
            AS told_tokens
    FROM asks
)
"""


class LedgerError(AgentError):
    """The ledger cannot be read or written: without it no budget holds, so nothing passes."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"ledger {self.path}: {self.problem}; free its disk, or move the file away"


def open_file(path: Path) -> sqlite3.Connection:
    """The file at that path, of the present version; made when it is missing.

    Raises:
        LedgerError: it is another program's, of a later version, or damaged. It is left as it is.
        sqlite3.Error, OSError: it is no database, or cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Only a new file is opened here: closing a descriptor of an open database drops its locks.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        check_file(path, _APPLICATION_ID, _VERSION, timeout_s=_BUSY_S)
        return _opened(path)
    except FlawedFile as error:
        raise LedgerError(str(path), str(error)) from error


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(db)
        # What is committed survives the death of this process; a power cut may cost the last rows.
        db.execute("PRAGMA synchronous = NORMAL")
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    # Of two processes that turn a new file to WAL at once, SQLite refuses one without waiting.
    ends = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        # Asked again with the lock held: another process may have been faster.
        ((version,),) = db.execute("PRAGMA user_version").fetchall()
        if version > _VERSION:
            raise FlawedFile(Flaw.NEWER, version)  # noqa: TRY301 - it undoes what was begun
        for script in (_SCHEMA, _PARENTS, _AT_MOST)[version:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
