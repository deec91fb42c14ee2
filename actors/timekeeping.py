"""What limits a running task: its own time, which stands still while it waits, and its deadline."""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Any

from .dispatch import OVERTIME_S
from .failure import FailureKind
from .orders import GATEWAY
from .running import past_deadline
from .steering import CANCEL_GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from understudy.supervision import ChildEvent

    from .orders import Orders
    from .roster import Roster
    from .running import Running
    from .task_book import TaskBook
    from .tasks.task import Task, TaskResult
    from .way_out import WayOut

_log = logging.getLogger(__name__)


class Timekeeper:
    """Used by the root actor alone, in its thread.

    Args:
        kill_agent: ends an agent that does not answer in time.
        clock: monotonic seconds.
        way_out: told of the pauses that the API asks for.
    """

    def __init__(
        self,
        book: TaskBook,
        roster: Roster,
        orders: Orders,
        kill_agent: Callable[[str], None],
        clock: Callable[[], float],
        way_out: WayOut,
    ) -> None:
        self._book = book
        self._roster = roster
        self._orders = orders
        self._kill_agent = kill_agent
        self._clock = clock
        self._way_out = way_out
        self._deadlines: list[tuple[float, str]] = []

    def watch(self, tasks: Iterable[Task]) -> None:
        """See to it that these tasks are over by their deadlines."""
        for task in tasks:
            if task.deadline is not None:
                heapq.heappush(self._deadlines, (task.deadline, task.task_id))

    def note_report(self, report: dict[str, Any]) -> None:
        """Keep what the gateway tells of an agent, see `Roster.note_report`, or of the API."""
        if report["kind"] == "paused":
            self._way_out.note_pause(report)
            return
        self._roster.note_report(report)
        if report["kind"] == "waiting":
            self._note_wait(self._roster.task_of(report), report)

    def note_service(self, event: ChildEvent) -> None:
        """Keep what happened to a child that is no agent."""
        self._roster.note_service(event)
        if event.child_id == GATEWAY and event.kind == "exited":
            # What it held, it holds no more; its clients are cut off and try again.
            for task_id in self._book.running:
                self._note_wait(task_id, {"waits_for": None})

    def _note_wait(self, task_id: str | None, wait: Mapping[str, Any]) -> None:
        """The gateway holds a request of that task, or no longer (see `Gate.tell`)."""
        running = self._book.running.get(task_id) if task_id else None
        if running is None or running.ends_early:
            return
        if wait.get("waits_for") is None:
            running.pauses.end(GATEWAY, self._clock())
            order: dict[str, Any] = {"command": "go_on"}
        else:
            times = {name: float(wait.get(name) or 0.0) for name in ("at_most_s", "waited_s")}
            running.pauses.begin(GATEWAY, self._clock(), **times)
            order = {"command": "hold", **times}
        self._orders.tell_agent(running.agent_id, {**order, "number": running.number})

    @staticmethod
    def say_why(running: Running, result: TaskResult) -> None:
        """A task that was canceled because of its deadline is told so."""
        if running.is_overdue and result.failure_kind == FailureKind.CANCELED:
            result.status, (result.failure_kind, result.error) = "timeout", running.ended_as

    def tick(self) -> None:
        """End what is past its deadline, and agents that do not answer when they should."""
        while self._deadlines and self._deadlines[0][0] <= self._book.wall():
            self._end_overdue(heapq.heappop(self._deadlines)[1])
        now = self._clock()
        for running in list(self._book.running.values()):
            if running.left_s(now) <= 0:
                running.must_end_in(OVERTIME_S, now)
                _log.warning("%s does not answer; it is ended", running.agent_id)
                self._kill_agent(running.agent_id)

    def _end_overdue(self, task_id: str) -> None:
        if task := self._book.take_waiting(task_id):
            self._book.fail(task, *past_deadline("before it ran"))
        elif (running := self._book.running.get(task_id)) and not running.canceled:
            running.canceled = running.is_overdue = True
            running.must_end_in(CANCEL_GRACE_S, self._clock())
            self._orders.cancel(running)
