"""Every request to the API and what it cost, in one SQLite file that survives any death.

A row is written before the request leaves, and closed with the measured tokens before the agent
sees the end of its answer. So a row that is still open after a death is a request whose answer
nobody saw to its end: what was told of it until then counts.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from .usage import Usage

LEDGER_NAME = "ledger.db"
_VERSION = 2
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


class LedgerError(AgentError):
    """The ledger cannot be read or written: without it no budget holds, so nothing passes."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"ledger {self.path}: {self.problem}; free its disk, or move the file away"


@dataclass(frozen=True)
class Spent:
    """A sum over rows.

    Attributes:
        dollars: of the answers whose model has a price.
        tokens: read, written and cached, all kinds together.
        turns: answers with status 200.
        seconds: from the request to the end of its answer.
        unpriced: answers whose cost is unknown.
        asks: requests that left for the API, refused ones included.
    """

    dollars: float = 0.0
    tokens: int = 0
    turns: int = 0
    seconds: float = 0.0
    unpriced: int = 0
    asks: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.dollars + other.dollars,
            self.tokens + other.tokens,
            self.turns + other.turns,
            self.seconds + other.seconds,
            self.unpriced + other.unpriced,
            self.asks + other.asks,
        )


_TOKENS = "input_tokens + output_tokens + cache_read_input_tokens + cache_creation_input_tokens"
_SUMS = f"""
    coalesce(sum(dollars), 0), coalesce(sum({_TOKENS}), 0), coalesce(sum(status = 200), 0),
    coalesce(sum(seconds), 0), coalesce(sum(status = 200 AND dollars IS NULL), 0), count(*)
"""


class Ledger:
    """The file. For one thread of one process to write; others may read it meanwhile.

    Args:
        path: made when missing, readable by its owner alone.

    Raises:
        LedgerError: it is damaged, not ours, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._errors():
            self._db = _open(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- writing ------------------------------------------------------------------------------

    def begin(
        self, fleet: str, agent_id: str, task_id: str | None, model: str | None, asked_at: float
    ) -> int:
        """A request is about to leave; its row's number."""
        with self._errors():
            cursor = self._db.execute(
                "INSERT INTO asks (fleet, agent_id, task_id, model, asked_at) VALUES (?,?,?,?,?)",
                (fleet, agent_id, task_id, model, asked_at),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def note(
        self,
        ask_id: int,
        usage: Usage,
        *,
        status: int | None,
        seconds: float,
        dollars: float | None,
        state: str = "open",
    ) -> None:
        """What is known of that request by now.

        Args:
            ask_id: its row.
            usage: measured until now.
            status: of HTTP; None when no answer came.
            seconds: since it left.
            dollars: None is unknown.
            state: `open`, `done` (seen to its end) or `cut`.
        """
        values = (
            usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens, usage.model, status, seconds, dollars, state, ask_id,
        )  # fmt: skip
        with self._errors():
            self._db.execute(
                "UPDATE asks SET input_tokens=?, output_tokens=?, cache_read_input_tokens=?,"
                " cache_creation_input_tokens=?, model=coalesce(?, model), status=?, seconds=?,"
                " dollars=?, state=? WHERE ask_id=?",
                values,
            )

    def close_open(self, fleet: str) -> int:
        """What an earlier gateway of that fleet left open was cut; how many it were."""
        with self._errors():
            return self._db.execute(
                "UPDATE asks SET state = 'cut' WHERE fleet = ? AND state = 'open'", (fleet,)
            ).rowcount

    def forget(self, before: float) -> None:
        """Delete what was asked before that time."""
        with self._errors():
            self._db.execute("DELETE FROM asks WHERE asked_at < ? AND state != 'open'", (before,))
            self._db.execute(
                "DELETE FROM parents WHERE task_id NOT IN "
                "(SELECT task_id FROM asks WHERE task_id IS NOT NULL)"
            )

    def assign(self, fleet: str, agent_id: str, task: str) -> None:
        """Remember what that agent works on, for the next gateway."""
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO assigned VALUES (?,?,?)",
                             (fleet, agent_id, task))  # fmt: skip

    def note_family(self, task_ids: list[str]) -> None:
        """Each of these tasks was given away in the one after it."""
        with self._errors():
            rows = list(itertools.pairwise(task_ids))
            self._db.executemany("INSERT OR IGNORE INTO parents VALUES (?, ?)", rows)

    # -- reading ------------------------------------------------------------------------------

    def assigned(self, fleet: str) -> dict[str, str]:
        """What the agents of that fleet work on, as `assign` was told."""
        sql = "SELECT agent_id, task FROM assigned WHERE fleet = ?"
        return dict(self._rows(sql, (fleet,)))

    def of_task(self, task_id: str) -> Spent:
        """All that was spent on a task, and on what was given away in it."""
        sql = (
            "WITH RECURSIVE family (id) AS (SELECT ? UNION "  # noqa: S608 - constants only
            "SELECT parents.task_id FROM parents JOIN family ON parent_id = id) "
            f"SELECT {_SUMS} FROM asks WHERE task_id IN (SELECT id FROM family)"
        )
        return Spent(*next(self._rows(sql, (task_id,))))

    def of_fleet(self, fleet: str, since: float = 0.0) -> Spent:
        """All that a fleet has spent since that time."""
        sql = f"SELECT {_SUMS} FROM asks WHERE fleet = ? AND asked_at >= ?"  # noqa: S608 - constants
        return Spent(*next(self._rows(sql, (fleet, since))))

    def of_agent(self, fleet: str, agent_id: str, since: float = 0.0) -> Spent:
        """All that an agent of that fleet has spent since that time."""
        sql = (
            f"SELECT {_SUMS} FROM asks "  # noqa: S608 - constants only
            "WHERE fleet = ? AND asked_at >= ? AND agent_id = ?"
        )
        return Spent(*next(self._rows(sql, (fleet, since, agent_id))))

    def each(self, fleet: str, since: float) -> list[tuple[float, str, Spent]]:
        """When, by whom and how much, for every request of a fleet since that time."""
        sql = (
            f"SELECT asked_at, agent_id, {_SUMS} FROM asks "  # noqa: S608 - constants only
            "WHERE fleet = ? AND asked_at >= ? GROUP BY ask_id ORDER BY asked_at"
        )
        rows = self._rows(sql, (fleet, since))
        return [(at, agent_id, Spent(*sums)) for at, agent_id, *sums in rows]

    def _rows(self, sql: str, values: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
        with self._errors():
            return iter(self._db.execute(sql, values).fetchall())

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a fault of ours, not of the file
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(str(self._path), str(error)) from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Only a new file is opened here: closing a descriptor of an open database drops its locks.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(db)
        # What is committed survives the death of this process; a power cut may cost the last rows.
        db.execute("PRAGMA synchronous = NORMAL")
        _migrate(db, path)
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


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        ((version,), (owner,)) = (
            db.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "application_id")
        )
        ((tables,),) = db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if tables and (owner != _APPLICATION_ID or not 1 <= version <= _VERSION):
            problem = "it is another program's database, or of another version"
            raise LedgerError(str(path), problem)  # noqa: TRY301 - it undoes what was begun
        if not tables:
            version = 0
        for script in (_SCHEMA, _PARENTS)[version:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
