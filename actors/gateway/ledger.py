"""Every request to the API and what it cost, in one SQLite file that survives any death.

A row is written before the request leaves, and closed with the measured tokens before the agent
sees the end of its answer. So a row that is still open after a death is a request whose answer
nobody saw to its end. What it cost nobody knows; it counts as the most that it can have cost, which
stands in its row beside what had been told until then.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .ledger_file import LedgerError, open_file

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from .usage import Usage

LEDGER_NAME = "ledger.db"
# The API may have worked on after a death: so long at most is counted of it.
_MOST_UNSEEN_S = 600.0


@dataclass(frozen=True)
class Spent:
    """A sum over rows.

    Of a request whose answer was not seen to its end, all this is the most that it can have been.

    Attributes:
        dollars: of the answers whose model has a price.
        tokens: read, written and cached, all kinds together.
        turns: answers with status 200.
        seconds: from the request to the end of its answer.
        unpriced: answers whose cost is unknown.
        asks: requests that left for the API, refused ones included.
        cut: those whose answer was not seen to its end.
    """

    dollars: float = 0.0
    tokens: int = 0
    turns: int = 0
    seconds: float = 0.0
    unpriced: int = 0
    asks: int = 0
    cut: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.dollars + other.dollars,
            self.tokens + other.tokens,
            self.turns + other.turns,
            self.seconds + other.seconds,
            self.unpriced + other.unpriced,
            self.asks + other.asks,
            self.cut + other.cut,
        )


@dataclass(frozen=True)
class Most:
    """The most that a request can cost, as far as it is known; `dollars` None is unknown."""

    tokens: int = 0
    dollars: float | None = None


_SUMS = """
    coalesce(sum(dollars), 0), coalesce(sum(tokens), 0), coalesce(sum(is_turn), 0),
    coalesce(sum(seconds), 0), coalesce(sum(is_turn AND dollars IS NULL), 0), count(*),
    coalesce(sum(is_cut), 0)
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
            self._db = open_file(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- writing ------------------------------------------------------------------------------

    def begin(
        self,
        fleet: str,
        agent_id: str,
        task_id: str | None,
        model: str | None,
        asked_at: float,
        most: Most,
    ) -> int:
        """A request is about to leave; its row's number."""
        values = (fleet, agent_id, task_id, model, asked_at, most.tokens, most.dollars)
        with self._errors():
            cursor = self._db.execute(
                "INSERT INTO asks (fleet, agent_id, task_id, model, asked_at, most_tokens,"
                " most_dollars) VALUES (?,?,?,?,?,?,?)",
                values,
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
        most: Most,
        state: str = "open",
    ) -> None:
        """What is known of that request by now.

        Args:
            ask_id: its row.
            usage: measured until now.
            status: of HTTP; None when no answer came.
            seconds: since it left.
            dollars: of those tokens; None is unknown.
            most: that it can cost, by what is known now.
            state: `open`, `done` (seen to its end), `cut`, or `failed` (not answered at all).
        """
        values = (
            usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens, usage.model, status, seconds, dollars,
            most.tokens, most.dollars, state, ask_id,
        )  # fmt: skip
        with self._errors():
            self._db.execute(
                "UPDATE asks SET input_tokens=?, output_tokens=?, cache_read_input_tokens=?,"
                " cache_creation_input_tokens=?, model=coalesce(?, model), status=?, seconds=?,"
                " dollars=?, most_tokens=?, most_dollars=?, state=? WHERE ask_id=?",
                values,
            )

    def close_open(self, fleet: str, now: float) -> int:
        """What an earlier gateway of that fleet left open was cut; how many it were."""
        with self._errors():
            return self._db.execute(
                "UPDATE asks SET state = 'cut', seconds = max(seconds, min(? - asked_at, ?))"
                " WHERE fleet = ? AND state = 'open'",
                (now, _MOST_UNSEEN_S, fleet),
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
            f"SELECT {_SUMS} FROM counted WHERE task_id IN (SELECT id FROM family)"
        )
        return Spent(*next(self._rows(sql, (task_id,))))

    def of_fleet(self, fleet: str, since: float = 0.0) -> Spent:
        """All that a fleet has spent since that time."""
        sql = f"SELECT {_SUMS} FROM counted WHERE fleet = ? AND asked_at >= ?"  # noqa: S608 - constants
        return Spent(*next(self._rows(sql, (fleet, since))))

    def of_agent(self, fleet: str, agent_id: str, since: float = 0.0) -> Spent:
        """All that an agent of that fleet has spent since that time."""
        sql = (
            f"SELECT {_SUMS} FROM counted "  # noqa: S608 - constants only
            "WHERE fleet = ? AND asked_at >= ? AND agent_id = ?"
        )
        return Spent(*next(self._rows(sql, (fleet, since, agent_id))))

    def each(self, fleet: str, since: float) -> list[tuple[float, str, Spent]]:
        """When, by whom and how much, for every request of a fleet since that time."""
        sql = (
            f"SELECT asked_at, agent_id, {_SUMS} FROM counted "  # noqa: S608 - constants only
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
