"""Every life of a supervised process goes on record before it starts, and all that befalls it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from .tasks.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.supervision import ChildEvent, ExitReason

    from .tasks.store import TaskStore

_log = logging.getLogger(__name__)


class IncarnationLog:
    """Keeps the incarnations of one run's children. Made before the run has a process.

    Attributes:
        first: the number for the first start of each child: no earlier fleet of the run had it.

    Raises:
        StoreError: the store cannot be written.
    """

    def __init__(
        self, store: TaskStore, run_id: str, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._wall = wall
        self._table = store.incarnations
        self._run_id = run_id
        self._is_missing = False
        self.first = self._table.take_over(run_id)

    def note(self, event: ChildEvent) -> None:
        """Take a supervisor's event, in its thread. A disk that fails is logged: agents go on."""
        try:
            if event.kind == "starting":
                self._table.started(self._run_id, event.child_id, event.incarnation)
            elif event.kind == "exited" and event.reason is not None:
                reason = _why(event.reason)
                self._table.ended(self._run_id, event.child_id, event.incarnation, reason)
        except StoreError as error:
            self._miss(event.child_id, event.kind, error)
        self.say(event.child_id, event.kind, _words(event))

    def say(self, name: str, kind: str, text: str) -> None:
        """Add an event of that child, from any thread; `understudy logs NAME` shows it."""
        try:
            self._store.event(None, name, self._wall(), kind, text)
        except StoreError as error:
            self._miss(name, kind, error)
        else:
            self._is_missing = False

    def _miss(self, name: str, kind: str, error: StoreError) -> None:
        """Say what is not on record; for a disk that fails on and on once is enough for people."""
        level = logging.DEBUG if self._is_missing else logging.ERROR
        self._is_missing = True
        _log.log(level, "%s of %s is not on record: %s", kind, name, error)


def _why(reason: ExitReason) -> str:
    kind = reason.failure_kind or reason.kind
    return f"{kind}: {reason.detail}" if reason.detail else kind


def _words(event: ChildEvent) -> str:
    words = [f"incarnation {event.incarnation}"] if event.incarnation else []
    if pid := event.info.get("pid"):
        words.append(f"process {pid}")
    if event.delay_s is not None:
        words.append(f"next start in {event.delay_s:.2g} s")
    if event.kind in ("exited", "gave_up") and event.reason is not None:
        words.append(_why(event.reason))
    return ", ".join(words)
