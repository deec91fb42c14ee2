"""The start of a fleet: over when every child is ready, or when one never will be."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING

from .errors import FleetStopped, MachineNotReady

if TYPE_CHECKING:
    from understudy.supervision import ChildEvent

    from .haste import Haste

_LOOK_S = 0.2


class Startup:
    """Hears the supervisors' events until the fleet is up.

    Args:
        see_logs: where to look when a child does not start, in words.
    """

    def __init__(self, see_logs: str, haste: Haste) -> None:
        self._see_logs = see_logs
        self._haste = haste
        self._events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        self._is_over = False

    def hear(self, event: ChildEvent) -> None:
        """Take an event, from any thread."""
        if not self._is_over:
            self._events.put(event)

    def await_ready(self, names: set[str], limit_s: float) -> None:
        """Return when each of these children is ready.

        Raises:
            MachineNotReady: one gave up, or was not ready within `limit_s`.
            FleetStopped: the end is wanted already.
        """
        ends = time.monotonic() + limit_s
        waiting = set(names)
        while waiting:
            event = self._next(ends)
            if event is None:
                left = ", ".join(sorted(waiting))
                reason = f"not ready within agent.startup_timeout ({limit_s:g} s): {left}"
                raise MachineNotReady(reason, self._see_logs)
            if event.kind == "ready":
                waiting.discard(event.child_id)
            elif event.kind == "gave_up":
                why = event.reason.detail if event.reason else "it ended again and again"
                raise MachineNotReady(f"{event.child_id} does not start: {why}", self._see_logs)
        self._is_over = True

    def _next(self, ends: float) -> ChildEvent | None:
        while (left_s := ends - time.monotonic()) > 0:
            if self._haste.is_on:
                raise FleetStopped("it was stopped while it started")
            try:
                return self._events.get(timeout=min(left_s, _LOOK_S))
            except queue.Empty:
                continue
        return None
