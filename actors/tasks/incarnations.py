"""The lives of supervised processes, kept so that their numbers go up over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows import StoredIncarnation

if TYPE_CHECKING:
    from collections.abc import Callable

    from .storefile import StoreFile

_SERVICE_DIED = "its service ended without stopping it"


class IncarnationTable:
    """Part of a `TaskStore`. Usable from any thread; raises `StoreError`."""

    def __init__(self, file: StoreFile, wall: Callable[[], float]) -> None:
        self._file = file
        self._wall = wall

    def take_over(self, run_id: str) -> int:
        """End what a dead fleet left open, and return a number that none of that run has had.

        Only for a new fleet that has no process yet, while no other works under that run.
        """
        with self._file.write() as connection:
            connection.execute(
                "UPDATE incarnations SET ended_at = ?, reason = ? "
                "WHERE run_id = ? AND ended_at IS NULL",
                (self._wall(), _SERVICE_DIED, run_id),
            )
            ((newest,),) = connection.execute(
                "SELECT coalesce(max(incarnation), 0) FROM incarnations WHERE run_id = ?", (run_id,)
            ).fetchall()
            return int(newest) + 1

    def started(self, run_id: str, agent_id: str, incarnation: int) -> None:
        """That incarnation is about to start."""
        with self._file.write() as connection:
            connection.execute(
                "INSERT INTO incarnations (run_id, agent_id, incarnation, started_at) "
                "VALUES (?, ?, ?, ?)",
                (run_id, agent_id, incarnation, self._wall()),
            )

    def ended(self, run_id: str, agent_id: str, incarnation: int, reason: str) -> None:
        """That incarnation is gone; the first reason stays."""
        with self._file.write() as connection:
            connection.execute(
                "UPDATE incarnations SET ended_at = ?, reason = ? WHERE run_id = ? "
                "AND agent_id = ? AND incarnation = ? AND ended_at IS NULL",
                (self._wall(), reason, run_id, agent_id, incarnation),
            )

    def of(self, run_id: str) -> list[StoredIncarnation]:
        """All that are known of that run, in the order of their start."""
        sql = (
            "SELECT run_id, agent_id, incarnation, started_at, ended_at, reason FROM incarnations "
            "WHERE run_id = ? ORDER BY started_at, rowid"
        )
        return [StoredIncarnation(*row) for row in self._file.read(sql, (run_id,))]
