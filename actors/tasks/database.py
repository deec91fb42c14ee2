"""Opening the task store's SQLite file: whose it is, which version, what can be wrong with it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AgentError
from ..sqlite_check import Flaw, FlawedFile, check_file

if TYPE_CHECKING:
    from collections.abc import Generator

# "Udst", in the header of every file of ours: another program's database is never written to.
APPLICATION_ID = 0x55647374
_BUSY_TIMEOUT_S = 10.0
_BUSY_PAUSE_S = 0.01
# Of a new file. A change of one row writes the whole page that it is on to the log, some ten of
# them for each task that is given out: with SQLite's 4,096 the log grew three times as fast.
_PAGE_BYTES = 1024
# A checkpoint costs up to a second: a fleet makes them beside its writer, earlier than at this
# length of the log (`StoreFile.checkpoint`); the writer itself does so only where nobody else does.
_WRITERS_LOG_BYTES = 1 << 30


class StoreError(AgentError):
    """The task store cannot be read or written.

    Attributes:
        path: its file.
        problem: what is wrong with it.
        mend: what to do about it.
    """

    def __init__(self, path: str, problem: str, mend: str) -> None:
        super().__init__(path, problem, mend)
        self.path = path
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        return f"task store {self.path}: {self.problem}; {self.mend}"


def open_database(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode to a database of the present schema; made when missing.

    It may be used from several threads, one at a time.

    Raises:
        StoreError: it is damaged, not ours, of a newer version, or cannot be written.
    """
    with store_errors(path):
        _create_private(path)
        _check(path)
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            # Survives the death of this process at any moment; a power cut may cost the last
            # moments, but never the file.
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            pages = _WRITERS_LOG_BYTES // _pragma(connection, "page_size")
            connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """All statements inside take effect together, or none does."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def store_errors(path: Path) -> Generator[None]:
    """Turn what SQLite and the system say into a `StoreError`."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a fault of ours, not of the file
    except sqlite3.Error as error:
        raise _explained(path, error) from error
    except OSError as error:
        problem = f"it cannot be opened: {error.strerror or error}"
        raise StoreError(str(path), problem, _MEND_ACCESS) from error


_MEND_ACCESS = "make its folder writable for you, or set storage.state_dir to another one"
MEND_DAMAGED = "move it away (it is never overwritten); a new one is made at the next start"
_MEND_SPACE = "free some space, or set storage.state_dir to a folder on another disk"

# By the beginning of SQLite's error names; the first that fits counts.
_EXPLANATIONS = (
    ("SQLITE_NOTADB", "it is not an SQLite database", MEND_DAMAGED),
    ("SQLITE_CORRUPT", "it is damaged", MEND_DAMAGED),
    ("SQLITE_FULL", "the disk is full", _MEND_SPACE),
    ("SQLITE_IOERR", "the disk does not take or give the data", _MEND_SPACE),
    ("SQLITE_READONLY", "it cannot be written", _MEND_ACCESS),
    ("SQLITE_CANTOPEN", "it cannot be opened", _MEND_ACCESS),
    ("SQLITE_PERM", "it cannot be opened", _MEND_ACCESS),
    ("SQLITE_BUSY", "another process keeps it locked", "end that process, then try again"),
)


def _explained(path: Path, error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    for prefix, problem, mend in _EXPLANATIONS:
        if name.startswith(prefix):
            return StoreError(str(path), f"{problem} ({error})", mend)
    return StoreError(str(path), f"{name} {error}".strip(), "try again; look at its disk")


def _create_private(path: Path) -> None:
    # Tasks hold what users write and what their files say. Only a new file is opened here: to
    # close a descriptor of an open database would drop the locks that this process has on it.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _check(path: Path) -> None:
    """Refuse a file that is not ours, newer or damaged, before anything is written to it."""
    newest = max(_migrations())
    try:
        check_file(path, APPLICATION_ID, newest, timeout_s=_BUSY_TIMEOUT_S)
    except FlawedFile as error:
        if error.flaw is Flaw.NEWER:
            raise _newer(path, error.version, newest) from None
        raise StoreError(str(path), str(error), MEND_DAMAGED) from error


def _newer(path: Path, version: int, newest: int) -> StoreError:
    problem = f"it has schema version {version}, this program knows {newest}"
    return StoreError(str(path), problem, "install the newer version again, or move the file away")


def _use_wal(connection: sqlite3.Connection) -> None:
    # Two processes that turn a new file to WAL at once: SQLite gives one of them SQLITE_BUSY
    # without waiting, whatever the time-out, as waiting could be a deadlock. So we wait.
    ends = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    migrations = _migrations()
    newest = max(migrations)
    if _pragma(connection, "user_version") == newest:
        return
    with transaction(connection):
        # Asked again with the lock held: another process may have been faster.
        version = _pragma(connection, "user_version")
        if version > newest:
            raise _newer(path, version, newest)
        for number in range(version + 1, newest + 1):
            for statement in migrations[number].split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest}")


def _migrations() -> dict[int, str]:
    scripts = Path(__file__).with_name("migrations").glob("*.sql")
    return {int(script.stem): script.read_text(encoding="utf-8") for script in scripts}


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
