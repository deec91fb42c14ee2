"""Every life of a supervised process goes on record before it starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .tasks.database import StoreError

if TYPE_CHECKING:
    from understudy.supervision import ChildEvent

    from .tasks.store import TaskStore

_log = logging.getLogger(__name__)


class IncarnationLog:
    """Keeps the incarnations of one run's children. Made before the run has a process.

    Attributes:
        first: the number for the first start of each child: no earlier fleet of the run had it.

    Raises:
        StoreError: the store cannot be written.
    """

    def __init__(self, store: TaskStore, run_id: str) -> None:
        self._table = store.incarnations
        self._run_id = run_id
        self.first = self._table.take_over(run_id)

    def note(self, event: ChildEvent) -> None:
        """Take a supervisor's event, in its thread. A disk that fails is logged: agents go on."""
        try:
            if event.kind == "starting":
                self._table.started(self._run_id, event.child_id, event.incarnation)
            elif event.kind == "exited" and event.reason is not None:
                reason = event.reason
                text = f"{reason.kind}: {reason.detail}" if reason.detail else reason.kind
                self._table.ended(self._run_id, event.child_id, event.incarnation, text)
        except StoreError:
            _log.exception("%s of %s is not on record", event.kind, event.child_id)
