"""What agents left for each other: kept until it is read, over deaths of agents and service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .storefile import StoreFile


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message; `seq` grows with each, `task_id` is what its sender worked on."""

    seq: int
    sender: str
    task_id: str
    at: float
    text: str


class InboxTable:
    """Part of a `TaskStore`. Usable from any thread; raises `StoreError`."""

    def __init__(self, file: StoreFile, wall: Callable[[], float]) -> None:
        self._file = file
        self._wall = wall

    def put(
        self, run_id: str, receiver: str, sender: str, task_id: str, text: str, at_most: int
    ) -> int | None:
        """Leave a message; its number, or None when `at_most` wait for that receiver already."""
        with self._file.write() as connection:
            counted = "SELECT count(*) FROM messages WHERE run_id = ? AND receiver = ?"
            ((waiting,),) = connection.execute(counted, (run_id, receiver)).fetchall()
            if waiting >= at_most:
                return None
            sql = (
                "INSERT INTO messages (run_id, receiver, sender, task_id, at, text) "
                "VALUES (?, ?, ?, ?, ?, ?)"
            )
            row = (run_id, receiver, sender, task_id, self._wall(), text)
            return connection.execute(sql, row).lastrowid

    def take(self, run_id: str, receiver: str, limit: int) -> list[StoredMessage]:
        """Remove that receiver's oldest messages, and return them."""
        sql = (
            "SELECT seq, sender, task_id, at, text FROM messages "
            "WHERE run_id = ? AND receiver = ? ORDER BY seq LIMIT ?"
        )
        # Looked at first: most inboxes are empty, and need no write.
        if not self._file.read(sql, (run_id, receiver, 1)):
            return []
        with self._file.write() as connection:
            rows = connection.execute(sql, (run_id, receiver, limit)).fetchall()
            found = [StoredMessage(*row) for row in rows]
            gone = [(message.seq,) for message in found]
            connection.executemany("DELETE FROM messages WHERE seq = ?", gone)
            return found
